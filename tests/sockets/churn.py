"""What does a dump do while sockets come and go? Two processes open and close connections beside many that stay.

In: how many stay. Out: the namespace and the cookies of the staying ones. The namespace has a small table of
established sockets (1,024 buckets; kernel 6.1 and later), where long chains make a dump under churn show rows twice
and miss others, without NLM_F_DUMP_INTR. Each churner keeps a pool of open connections and replaces its oldest one
for ever, with SO_LINGER 0, so that no TIME-WAIT remains. Needs root; keeps every core busy that it gets.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Final, Self

if __package__ in (None, ""):  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.sockets.farm import Farm, raise_descriptor_limit
from tests.sockets.netns import command_in

BUCKETS: Final = 1024
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Churn:
    """``with Churn() as churn``: ``churn.ns`` is in turmoil; ``churn.stable_cookies`` stay open all the time.

    ``stable`` sockets, ``churners`` processes, ``pool`` connections held by each; ready once every pool is full.
    ``ehash_entries=None`` shares the host's table. Raises as ``Farm``.
    """

    def __init__(
        self, stable: int = 12_000, *, churners: int = 2, pool: int = 3_000, ehash_entries: int | None = BUCKETS
    ) -> None:
        self.ns = ""
        self.stable_cookies: frozenset[int] = frozenset()
        self.churners: list[subprocess.Popen[bytes]] = []
        self._count = churners
        self._pool = pool
        self._farm = Farm(stable, ehash_entries=ehash_entries, with_cookies=True)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            farm = stack.enter_context(self._farm)
            self.ns, self.stable_cookies = farm.ns, farm.cookies
            stack.callback(self._end_churners)
            argv = [sys.executable, str(Path(__file__).resolve()), str(self._pool)]
            for _ in range(self._count):
                self.churners.append(
                    subprocess.Popen(
                        command_in(self.ns, argv),
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        start_new_session=True,
                    )
                )
            for churner in self.churners:
                assert churner.stdout is not None
                if churner.stdout.readline() != b"ready\n":
                    raise RuntimeError("a churner failed; its traceback is on standard error")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def running(self) -> bool:
        """Whether every churner still works; a test without turmoil proves nothing."""
        return all(churner.poll() is None for churner in self.churners)

    def _end_churners(self) -> None:
        for churner in self.churners:
            churner.kill()
        for churner in self.churners:
            churner.wait()
            for stream in (churner.stdin, churner.stdout):
                assert stream is not None
                stream.close()
        self.churners.clear()


def churn(pool: int) -> None:
    """Replaces the oldest of ``pool`` connections until standard input ends."""
    raise_descriptor_limit()
    os.set_blocking(sys.stdin.fileno(), False)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    held = deque([_connect(listener) for _ in range(pool)])
    print("ready", flush=True)
    while _parent_lives():
        for _ in range(100):
            held.append(_connect(listener))
            for end in held.popleft():
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                end.close()


def _connect(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    caller = socket.create_connection(listener.getsockname())
    return caller, listener.accept()[0]


def _parent_lives() -> bool:
    try:
        return bool(os.read(sys.stdin.fileno(), 1))
    except BlockingIOError:
        return True


if __name__ == "__main__":
    churn(int(sys.argv[1]))
