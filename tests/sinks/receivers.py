"""Real receivers for the tests of sinks: what listens at the other end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Self

from tests.patience import patient


class Listener:
    """Takes every datagram, in `datagrams`, on a thread of its own; a context manager. `address` is HOST:PORT."""

    def __init__(self, port: int = 0) -> None:
        self.datagrams: list[bytes] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self._socket.bind(("127.0.0.1", port))
        self._socket.settimeout(0.05)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    @property
    def address(self) -> str:
        """As `--dest` writes it."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Nobody listens any more."""
        self._end.set()
        self._thread.join()
        self._socket.close()

    def wait_for(self, count: int) -> list[bytes]:
        """All datagrams, as soon as there are so many; what came after 5 s."""
        until(lambda: len(self.datagrams) >= count)
        return list(self.datagrams)

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                self.datagrams.append(self._socket.recv(65535))
            except TimeoutError:
                continue


def until(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Waits until something is so; whether it came to that."""
    end = time.monotonic() + patient(seconds)
    while not (met := true()) and time.monotonic() < end:
        time.sleep(0.002)
    return met


class StreamListener:
    """Takes connections to a socket at `path`, one behind the other; `texts` has what came through each so far."""

    def __init__(self, path: str) -> None:
        self.texts: list[bytes] = []
        self.leave = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(path)
        self._socket.listen(8)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        self._socket.settimeout(0.02)
        while not self._end.is_set():
            try:
                there, _ = self._socket.accept()
            except TimeoutError:
                continue
            with there:
                there.settimeout(0.02)
                self.texts.append(b"")
                self._read(there)

    def _read(self, there: socket.socket) -> None:
        while not self._end.is_set():
            try:
                data = there.recv(1 << 20)
            except TimeoutError:
                if self.leave.is_set():
                    self.leave.clear()
                    return
                continue
            if not data:
                return
            self.texts[-1] += data
