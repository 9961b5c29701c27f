"""A progress bar for the reading of a file, on a terminal, where it takes longer than half a second.

One line on standard error, plain characters without colour or escape sequences, erased when reading ends. None with
`--quiet` or `--no-progress`, none where standard error is no terminal, and none where rows go to the same terminal or
to another program, which may write there too.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from xtcp_replay.playing.player import Played

AFTER_S: Final = 0.5
EVERY_S: Final = 0.1
SENDING_EVERY_S: Final = 0.25

# They write while they read; others when they have read all.
_WRITE_AT_ONCE: Final = frozenset({"decode", "show", "send"})
_NARROWEST_BAR: Final = 10
_WIDEST_BAR: Final = 40


class Progress:
    """A `Watch` that draws how much of `size` bytes is read (None: not known), named `name`, on `stream`."""

    def __init__(
        self, name: str, size: int | None, stream: TextIO, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._size = size
        self._line = _Line(stream)
        self._clock = clock
        self._begun = self._drawn = clock()

    def begin(self) -> None:
        """The file is open."""
        self._begun = self._drawn = self._clock()

    def __call__(self, read: int) -> None:
        """`read` bytes of the file are read."""
        now = self._clock()
        if now - self._begun < AFTER_S or now - self._drawn < EVERY_S:
            return
        self._drawn = now
        self._line.show(self._text(read, now - self._begun))

    def end(self) -> None:
        """Reading is over: nothing of the line stays."""
        self._line.erase()

    def _text(self, read: int, seconds: float) -> str:
        """The line for `read` bytes after `seconds`, one column shorter than the terminal."""
        room = shutil.get_terminal_size().columns - 1
        rate = read / seconds
        count = _mebibytes(read) if self._size is None else f"{_mebibytes(read)} of {_mebibytes(self._size)}"
        parts = [count, f"{_mebibytes(rate)}/s"]
        if self._size is not None:
            share = min(read / self._size, 1.0) if self._size else 1.0
            parts.insert(0, f"{share:4.0%}")
            parts.append(f"{_clock_time((self._size - read) / rate if rate and read < self._size else 0)} left")
            bar = min(_WIDEST_BAR, room - len(self._name) - len("  ".join(parts)) - 6)
            if bar >= _NARROWEST_BAR:
                parts.insert(0, "[" + ("#" * int(share * bar)).ljust(bar, "-") + "]")
        return "  ".join([self._name, *parts])[: max(room, 0)]


class Sending:
    """The same for rows that are played: call it with what has been; `terminal` None: nothing is shown."""

    def __init__(self, terminal: TextIO | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._line = None if terminal is None else _Line(terminal)
        self._clock = clock
        self._started = self._shown = clock()
        self._rows = 0

    def __call__(self, played: Played) -> None:
        """Shows the rows, those a second since the last time, and the time since the first."""
        now = self._clock()
        since = now - self._shown
        if self._line is None or since < SENDING_EVERY_S:
            return
        rate = (played.rows - self._rows) / since
        self._rows, self._shown = played.rows, now
        dumps = f"{played.dumps:,} dump{'s' if played.dumps != 1 else ''}"
        self._line.show(f"{played.rows:,} rows of {dumps}, {rate:,.0f} rows/s, {now - self._started:.0f} s")

    def end(self) -> None:
        """Takes the line away."""
        if self._line is not None:
            self._line.erase()


class _Line:
    """A line of a terminal that is written over."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._width = 0

    def show(self, text: str) -> None:
        self._write(f"\r{text:{self._width}}")
        self._width = len(text)

    def erase(self) -> None:
        if self._width:
            self._write("\r" + " " * self._width + "\r")
            self._width = 0

    def _write(self, text: str) -> None:
        # Where it fails nobody looks any more.
        with contextlib.suppress(OSError):
            self._stream.write(text)
            self._stream.flush()


def progress(args: argparse.Namespace, path: str) -> Progress | None:
    """What shows the reading of the file at `path`, None where nothing is to be shown."""
    if not _wanted(args):
        return None
    try:
        status = Path(path).stat() if path != "-" else os.fstat(0)
        size = status.st_size if stat.S_ISREG(status.st_mode) else None
    except OSError:
        size = None
    name = "standard input" if path == "-" else Path(path).name
    return Progress("".join(c if c.isprintable() else "?" for c in name), size, sys.stderr)


def _wanted(args: argparse.Namespace) -> bool:
    if getattr(args, "quiet", False) or args.no_progress:
        return False
    if sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return False
    at_once = (
        args.verb in _WRITE_AT_ONCE
        and getattr(args, "output", "-") in {"-", None}
        and getattr(args, "format", None) != "null"
    )
    return not at_once or _is_file(sys.stdout)


def _is_file(stream: TextIO | None) -> bool:
    """Whether nobody watches `stream`: a file, or nothing."""
    try:
        if stream is None:
            return True
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    null = Path(os.devnull).stat()
    return stat.S_ISREG(status.st_mode) or (status.st_rdev == null.st_rdev and stat.S_ISCHR(status.st_mode))


def _mebibytes(count: float) -> str:
    return f"{count / (1 << 20):,.1f} MiB"


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
