"""`xtcp run` as a process of its own, its log read line by line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.cli.running import ENVIRONMENT, XTCP
from tests.conftest import ROOT
from tests.patience import patient

PATIENCE_S = 20.0


class Child:
    """A context manager; whatever happens, the process is gone at its end. `scripted`: see `tests.daemon.scripted`."""

    def __init__(
        self,
        *arguments: str | Path,
        environment: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        scripted: str = "",
    ) -> None:
        options = ("--listen", "off", "--log-level", "debug", "--nice", "0")
        program = [*XTCP[:1], "-m", "tests.daemon.scripted", scripted] if scripted else XTCP
        self._process = subprocess.Popen(
            [*before, *program, "run", *options, *map(str, arguments)],
            env={**ENVIRONMENT, "PYTHONPATH": f"{ENVIRONMENT['PYTHONPATH']}{os.pathsep}{ROOT}", **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self.rows = bytearray()
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_log, self._read_rows)]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._read_to_the_end()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    @property
    def pid(self) -> int:
        """Of the process itself."""
        return self._process.pid

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was logged so far."""
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def named(self, event: str) -> list[dict[str, Any]]:
        """The lines of one event."""
        return [line for line in self.events if line["event"] == event]

    def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        """Until an event was logged so often; the last of them."""
        self.until(lambda: len(self.named(event)) >= count, f"{count} × {event}")
        return self.named(event)[count - 1]

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Until something is so, or the process has ended."""
        end = time.monotonic() + patient(PATIENCE_S)
        while not condition():
            ended = self._process.poll()
            if ended is not None and not condition():
                self._read_to_the_end()
                assert condition(), f"ended with {ended} before {what}:\n" + "\n".join(self.lines[-20:])
                return
            assert time.monotonic() < end, f"no {what}:\n" + "\n".join(self.lines[-20:])
            time.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        """Sends it."""
        os.kill(self.pid, number)

    def ended(self, seconds: float = PATIENCE_S) -> int:
        """The exit code."""
        code = self._process.wait(patient(seconds))
        self._read_to_the_end()
        return code

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def status(self, name: str) -> int:
        """A number of /proc/PID/status."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise KeyError(name)

    def _read_to_the_end(self) -> None:
        for reader in self._readers:
            reader.join(patient(5))

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line.decode().rstrip("\n"))

    def _read_rows(self) -> None:
        assert self._process.stdout is not None
        while piece := os.read(self._process.stdout.fileno(), 65536):
            self.rows += piece
