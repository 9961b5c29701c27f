"""Log: what happened, one line an event, on standard error; text for people, JSON for machines.

    2026-11-28T12:38:31.204Z warning rows_dropped sink=kafka:broker:9092/tcp reason=queue rows=118812
    {"time":"2026-11-28T12:38:31.204Z","level":"warning","event":"rows_dropped","sink":"kafka:…","rows":118812}

The name of an event never changes; what varies stands in fields. An event that comes often is written a few times a
minute, and the next line of it says how many were `suppressed`. Passwords are replaced wherever they turn up. Where
nobody can read, nothing is written, and nothing fails.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TextIO

from xtcp.settings.values import LEVELS
from xtcp.spelling import visible

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

WINDOW_S: Final = 60.0
# Lines a minute of one event: what is wrong needs few, what is normal is asked for.
USUAL: Final = {"debug": 600, "info": 120, "warning": 6, "error": 6}
_MOST_KEYS: Final = 1024


def unbuffered(stream: TextIO) -> TextIO:
    """A text stream to where `stream` goes, that keeps nothing: what a terminal or a reader that has gone away did not
    take would be flushed again at the end of the process, and be its last word.
    """
    return io.TextIOWrapper(
        _Whole(stream.fileno(), "w", closefd=False), encoding="utf-8", errors="backslashreplace", write_through=True
    )


class _Whole(io.FileIO):
    """Goes on with what a signal cut short: a text stream does not look at how much was written."""

    def write(self, data: ReadableBuffer, /) -> int:
        view = memoryview(data).cast("B")
        written = 0
        while written < len(view) and (some := super().write(view[written:])):
            written += some
        return written


class Log:
    """Writes to `stream`. `least` is the least level that is written; `machine` chooses JSON. Any thread may call."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        least: str = "info",
        machine: bool = False,
        secrets: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._stream = unbuffered(sys.stderr) if stream is None else stream
        self._clock = clock
        self._wall_ns = wall_ns
        self._lock = threading.Lock()
        self._windows: dict[tuple[str, str], tuple[float, int, int]] = {}
        self.suppressed = 0
        self._least = LEVELS.index(least)
        self._machine = machine
        self._secrets: tuple[str, ...] = ()
        self.configure(least, machine=machine, secrets=secrets)

    def configure(self, least: str, *, machine: bool, secrets: Collection[str]) -> None:
        """Changes how lines are written from here on; `secrets` are texts that no line may show."""
        with self._lock:
            self._least, self._machine = LEVELS.index(least), machine
            self._secrets = tuple(sorted((s for s in secrets if len(s) > 2), key=len, reverse=True))

    def debug(self, event: str, /, **fields: object) -> None:
        """What only a developer wants to know."""
        self.write("debug", event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """What is as it should be."""
        self.write("info", event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """What somebody should look at."""
        self.write("warning", event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """What keeps the agent from its work."""
        self.write("error", event, fields)

    def write(self, level: str, event: str, fields: dict[str, object], *, about: str = "", most: int = 0) -> None:
        """A line, unless there were `most` of this event `about` one thing in the last minute (0: the usual)."""
        if LEVELS.index(level) < self._least:
            return
        with self._lock:
            suppressed = self._admit((event, about), most or USUAL[level])
            if suppressed is None:
                return
            if suppressed:
                fields = {**fields, "suppressed": suppressed}
            now = datetime.fromtimestamp(self._wall_ns() / 1e9, UTC)
            stamp = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            self._emit(self._json(stamp, level, event, fields) if self._machine else _text(stamp, level, event, fields))

    def _admit(self, key: tuple[str, str], most: int) -> int | None:
        """How many lines like this were suppressed before it; None where it is suppressed itself."""
        now = self._clock()
        begun, written, suppressed = self._windows.get(key, (now, 0, 0))
        if now - begun >= WINDOW_S:
            begun, written = now, 0
        if written >= most:
            self._windows[key] = (begun, written, suppressed + 1)
            self.suppressed += 1
            return None
        if len(self._windows) >= _MOST_KEYS and key not in self._windows:
            self._windows.clear()
        self._windows[key] = (begun, written + 1, 0)
        return suppressed

    def _json(self, stamp: str, level: str, event: str, fields: dict[str, object]) -> str:
        line = {"time": stamp, "level": level, "event": event, **fields}
        return json.dumps(line, default=str, separators=(",", ":"))

    def _emit(self, line: str) -> None:
        for secret in self._secrets:
            line = line.replace(secret, "***")
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return


def _text(stamp: str, level: str, event: str, fields: dict[str, object]) -> str:
    parts = [f"{name}={_value(value)}" for name, value in fields.items()]
    return " ".join((stamp, level, event, *parts))


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value).replace("\n", " | ")
    if text and not any(c in text for c in ' "=') and text.isprintable():
        return text
    return '"' + visible(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


class FromLibraries(logging.Handler):
    """What libraries log by Python's `logging`, as events `library` of the agent's log."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        level = "error" if record.levelno >= logging.ERROR else "warning"
        fields: dict[str, object] = {"logger": record.name, "message": record.getMessage()}
        self._log.write(level, "library", fields, about=record.name)
