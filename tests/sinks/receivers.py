"""Real receivers for the tests of sinks: what listens at the other end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from tests.patience import patient
from xtcp.collect.datagrams import enlarge


class Listener:
    """Takes every datagram, in `datagrams`, on a thread of its own; a context manager. `address` is HOST:PORT.

    So many as `room`, of a row each, are not lost however long the thread sleeps.
    """

    def __init__(self, port: int = 0) -> None:
        self.datagrams: list[bytes] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # A datagram of some hundred bytes takes no more of the buffer, all that the kernel adds included.
        self.room = enlarge(self._socket) // 1280
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
        """Nobody listens any more; what had come is taken."""
        self._end.set()
        self._thread.join()
        self._socket.close()

    def wait_for(self, count: int) -> list[bytes]:
        """All datagrams, as soon as there are so many; what came when that takes too long."""
        until(lambda: len(self.datagrams) >= count)
        return list(self.datagrams)

    def _run(self) -> None:
        while not self._end.is_set():
            with suppress(TimeoutError):
                self.datagrams.append(self._socket.recv(65535))
        self._socket.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self.datagrams.append(self._socket.recv(65535))


@contextmanager
def nobody(family: int = socket.AF_INET, host: str = "127.0.0.1") -> Iterator[int]:
    """A port where nobody listens, and nobody will: its socket takes datagrams from itself alone."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        sock.connect(sock.getsockname())
        yield int(sock.getsockname()[1])


def until(true: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Waits until something is so; whether it came to that."""
    end = time.monotonic() + patient(seconds)
    while not (met := true()) and time.monotonic() < end:
        time.sleep(0.002)
    return met


class StreamListener:
    """Takes connections to a socket at `path`, one behind the other; `texts` has what came through each so far."""

    def __init__(self, path: str) -> None:
        self.texts: list[bytes] = []
        # Set, it ends the connection; cleared when that is done.
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
            self.leave.clear()

    def _read(self, there: socket.socket) -> None:
        while not self._end.is_set():
            try:
                data = there.recv(1 << 20)
            except TimeoutError:
                if self.leave.is_set():
                    return
                continue
            if not data:
                return
            self.texts[-1] += data
