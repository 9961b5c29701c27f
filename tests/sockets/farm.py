"""Can very many sockets be held at once? A network namespace full of established connections to itself.

In: how many sockets. Out: the name of the namespace, which holds them until the end. Each worker process opens as
many connections as it may have descriptors for; a tenth is IPv6, each has carried 100 bytes one way and 2,000 the
other. Besides the connections there are two listeners a worker. Needs root.

By hand: ``python tests/sockets/farm.py --sockets 118800 --hold``.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if __package__ in (None, ""):  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.sockets.netns import command_in, namespace

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECTIONS_EACH: Final = 9_900
_SPARE_DESCRIPTORS: Final = 150
_SO_COOKIE: Final = 57
_IP_BIND_ADDRESS_NO_PORT: Final = 24


class Farm:
    """``with Farm(118_800) as farm``: ``farm.ns`` holds the connections, and two listeners a worker beside them.

    ``sockets`` is the number of established sockets, two a connection, rounded up to an even one. ``cookies`` is
    filled if ``with_cookies``: SO_COOKIE of each established socket. ``ehash_entries`` as in ``netns.namespace``.
    Raises RuntimeError with what a worker said when one fails, TimeoutError when they need more than ``timeout`` s.
    Workers end with their standard input, thus with this process however it ends.
    """

    def __init__(
        self,
        sockets: int,
        *,
        ehash_entries: int | None = None,
        with_cookies: bool = False,
        timeout: float = 180.0,
    ) -> None:
        self.connections = math.ceil(sockets / 2)
        self.listeners = 0
        self.ns = ""
        self.cookies: frozenset[int] = frozenset()
        self.workers: list[subprocess.Popen[bytes]] = []
        self._ehash_entries = ehash_entries
        self._with_cookies = with_cookies
        self._timeout = timeout
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.ns = stack.enter_context(
                namespace(
                    "farm",
                    sysctls={"net.ipv4.ip_local_port_range": "1024 65000"},
                    ehash_entries=self._ehash_entries,
                )
            )
            stack.callback(self._end_workers)
            for number, connections in enumerate(shares(self.connections), start=1):
                self.workers.append(self._start(number, connections))
            self.listeners = 2 * len(self.workers)
            self._await_workers()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, number: int, connections: int) -> subprocess.Popen[bytes]:
        told = "cookies" if self._with_cookies else "ready"
        argv = [sys.executable, str(Path(__file__).resolve()), "--worker", str(number), str(connections), told]
        # A session of its own: an interrupt from the keyboard is this process's business.
        return subprocess.Popen(
            command_in(self.ns, argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def _await_workers(self) -> None:
        deadline = time.monotonic() + self._timeout
        found: list[int] = []
        for number, worker in enumerate(self.workers, start=1):
            assert worker.stdout is not None
            if not select.select([worker.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"worker {number} of the socket farm was not ready in {self._timeout:g} s")
            line = worker.stdout.readline().split()
            if line[:1] != [b"ready"]:
                raise RuntimeError(f"worker {number} of the socket farm failed; its traceback is on standard error")
            found += map(int, line[1:])
        self.cookies = frozenset(found)

    def _end_workers(self) -> None:
        for worker in self.workers:
            assert worker.stdin is not None
            worker.stdin.close()
            worker.terminate()  # it may still be opening connections, and does not look at its standard input
        for worker in self.workers:
            try:
                worker.wait(timeout=60)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
            assert worker.stdout is not None
            worker.stdout.close()
        self.workers.clear()


def shares(connections: int) -> list[int]:
    """How many connections each worker opens: at most ``CONNECTIONS_EACH`` and what descriptors allow."""
    most = min(CONNECTIONS_EACH, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - _SPARE_DESCRIPTORS) // 2)
    workers = math.ceil(connections / most)
    return [connections // workers + (i < connections % workers) for i in range(workers)]


def raise_descriptor_limit() -> None:
    """The soft limit of descriptors up to the hard one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def open_connections(worker: int, connections: int) -> list[socket.socket]:
    """Two listeners, then both ends of each connection; every worker calls from an IPv4 address of its own."""
    listeners = []
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        listener = socket.socket(family)
        listener.bind((address, 0))
        listener.listen(16)
        listeners.append(listener)
    held = list(listeners)
    for i in range(connections):
        listener = listeners[i % 10 == 9]
        caller = socket.socket(listener.family)
        if caller.family == socket.AF_INET:
            caller.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            caller.bind((f"127.0.{worker >> 8}.{worker & 255}", 0))
        caller.connect(listener.getsockname())
        accepted, _ = listener.accept()
        caller.send(b"x" * 100)
        accepted.recv(1000)
        accepted.send(b"y" * 2000)
        caller.recv(4000)
        held += (caller, accepted)
    return held


def cookie_of(of: socket.socket) -> int:
    """SO_COOKIE, the number that ``idiag_cookie`` shows."""
    return int(struct.unpack("=Q", of.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8))[0])


def _work(worker: int, connections: int, told: str) -> None:
    raise_descriptor_limit()
    held = open_connections(worker, connections)
    cookies = map(cookie_of, held[2:]) if told == "cookies" else ()
    print("ready", *cookies, flush=True)
    sys.stdin.read()


def main(argv: Sequence[str] | None = None) -> None:
    """Opens the farm; ``--hold`` keeps it until the end of standard input or an interrupt."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--sockets", type=int, default=118_800, help="established sockets (118800)")
    parser.add_argument("--hold", action="store_true", help="keep them until Ctrl-C or the end of standard input")
    parser.add_argument("--worker", nargs=3, metavar=("NUMBER", "CONNECTIONS", "TOLD"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.worker:
        number, connections, told = arguments.worker
        _work(int(number), int(connections), told)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    with Farm(arguments.sockets) as farm:
        seconds = time.monotonic() - started
        print(
            f"{farm.ns}: {2 * farm.connections} sockets and {farm.listeners} listeners in {seconds:.1f} s", flush=True
        )
        if arguments.hold:
            with contextlib.suppress(KeyboardInterrupt):
                sys.stdin.read()


if __name__ == "__main__":
    main()
