"""LiveDump: one dump of this network namespace's sockets, chunk by chunk.

1. The socket is opened, the clock read, the request sent; arenas are filled until the kernel says DONE or ERROR.
2. Where there is a second core, a thread fills the next arena while the last is decoded: the kernel's work runs
   without the interpreter's lock. Memory does not grow with the number of sockets.
3. Nothing is decoded here. What only the reader can see goes to `report`: datagrams cut or forged, a deadline or
   limit reached, an errno of a receive.
"""

from __future__ import annotations

import errno
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.chunk import Chunk, Context
from xtcp.netlink.arena import ARENA, SLOT, Arena, Received
from xtcp.netlink.numbers import NLMSG_DONE, NLMSG_ERROR
from xtcp.netlink.request import Request
from xtcp.netlink.socket import DiagSocket
from xtcp.sources import Tap

ARENAS: Final = 3
DONE_LEN: Final = 20
LARGEST_SLOT: Final = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Where a dump that does not end is ended: seconds waited for the kernel, bytes received."""

    deadline_s: float = 30.0
    max_bytes: int = 4 << 30


@dataclass
class Report:
    """What the reader saw of one dump; `errno` is that of a receive that failed, 0 for none."""

    datagrams: int = 0
    bytes: int = 0
    truncated: int = 0
    forged: int = 0
    deadline: bool = False
    limit: bool = False
    errno: int = 0
    started_ns: int = 0
    waited_s: float = 0.0
    ended: bool = False


class LiveDump:
    """A `Source` of one dump. `chunks` may be called once; `context` gains the time of the request.

    `stop`, asked before every receive, breaks the dump off.
    """

    def __init__(
        self,
        request: Request,
        context: Context,
        *,
        limits: Limits = Limits(),
        slot: int = SLOT,
        overlap: bool | None = None,
        one_call: bool = True,
        tap: Tap | None = None,
        seq: int | None = None,
        open_socket: Callable[[], DiagSocket] = DiagSocket,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.request = request
        self.report = Report()
        self.damage: list[str] = []
        self.context = context
        self._limits = limits
        self._slot = slot
        self._overlap = len(os.sched_getaffinity(0)) > 1 if overlap is None else overlap
        self._one_call = one_call
        self._tap = tap
        # Random, so that its four bytes hardly occur elsewhere: decode finds the messages by them.
        self.seq = secrets.randbits(31) | 1 << 24 if seq is None else seq
        self._open = open_socket
        self._stop = stop

    def chunks(self) -> Iterator[Chunk]:
        """The dump; raises `KernelRefused` where the socket cannot be had or the request not be sent."""
        diag = self._open()
        try:
            self.report.started_ns = time.time_ns()
            message = self.request.message(self.seq)
            if self._tap is not None:
                self._tap.write(message, self.report.started_ns)
            diag.send(message)
            context = replace(self.context, timestamp_ns=self.report.started_ns)
            received = self._overlapped(diag) if self._overlap else self._serial(diag)
            # Closed before the socket: else the reader could receive from whatever gets the descriptor's number next.
            with closing(received):
                for arena, datagrams in received:
                    if self._tap is not None:
                        now = time.time_ns()
                        for start, end in zip(datagrams.starts.tolist(), datagrams.ends.tolist(), strict=True):
                            self._tap.write(arena.data[start:end].data, now)
                    yield Chunk(arena.data, datagrams.starts, datagrams.ends, context, self.seq, diag.port)
        finally:
            diag.close()

    def _fill(self, diag: DiagSocket, arena: Arena, stop: Callable[[], bool]) -> Received | None:
        """The next datagrams, None when the dump ends without more."""
        begin, waited_before = time.monotonic(), self.report.waited_s
        report = self.report
        while not (stop() or self._stop()):
            # Only the kernel's time counts: whoever reads the rows may stop for long, a pager does.
            report.waited_s = waited_before + time.monotonic() - begin
            if report.waited_s > self._limits.deadline_s:
                report.deadline = True
                return None
            if report.bytes > self._limits.max_bytes:
                report.limit = True
                return None
            try:
                received = arena.fill(diag.socket, one_call=self._one_call)
            except (InterruptedError, BlockingIOError):
                continue
            except OSError as error:
                report.errno = error.errno or errno.EIO
                return None
            report.datagrams += len(received.starts)
            report.bytes += int((received.ends - received.starts).sum())
            report.truncated += received.truncated
            report.forged += received.forged
            report.waited_s = waited_before + time.monotonic() - begin
            if len(received.starts):
                report.ended = _ends_dump(arena.data, received, self.seq)
                return received
        return None

    def _serial(self, diag: DiagSocket) -> Generator[tuple[Arena, Received], None, None]:
        with _arenas(self._slot, 1) as (arena,):
            while not self.report.ended:
                received = self._fill(diag, arena, lambda: False)
                if received is None:
                    return
                yield arena, received

    def _overlapped(self, diag: DiagSocket) -> Generator[tuple[Arena, Received], None, None]:
        free: queue.SimpleQueue[Arena | None] = queue.SimpleQueue()
        full: queue.SimpleQueue[tuple[Arena, Received] | BaseException | None] = queue.SimpleQueue()
        stopped = threading.Event()

        def read() -> None:
            try:
                while not self.report.ended and (arena := free.get()) is not None:
                    received = self._fill(diag, arena, stopped.is_set)
                    if received is None:
                        break
                    full.put((arena, received))
                full.put(None)
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
                full.put(error)

        with _arenas(self._slot, ARENAS) as arenas:
            for arena in arenas:
                free.put(arena)
            reader = threading.Thread(target=read, name="xtcp-reader", daemon=True)
            try:
                try:
                    reader.start()
                except RuntimeError:  # no thread is to be had: a limit of the user or the control group
                    yield from self._serial(diag)
                    return
                while (item := full.get()) is not None:
                    if isinstance(item, BaseException):
                        raise item
                    yield item
                    free.put(item[0])
            finally:
                stopped.set()
                free.put(None)
                if reader.ident is not None:
                    reader.join()


def _ends_dump(data: NDArray[np.uint8], received: Received, seq: int) -> bool:
    """Whether a datagram begins with our DONE or ERROR, or ends with a DONE behind rows; an ERROR of 0 is no end."""
    halves, words = data.view(np.uint16), data.view(np.uint32)
    starts, ends = received.starts, received.ends
    whole = ends - starts >= DONE_LEN
    starts, ends = starts[whole], ends[whole]
    kind = halves[(starts >> 1) + 2]
    failed = (kind == NLMSG_ERROR) & (words[(starts >> 2) + 4] != 0)
    first = ((kind == NLMSG_DONE) | failed) & (words[(starts >> 2) + 2] == seq)
    last = ends - DONE_LEN
    behind = (words[last >> 2] == DONE_LEN) & (halves[(last >> 1) + 2] == NLMSG_DONE) & (words[(last >> 2) + 2] == seq)
    return bool((first | (behind & (ends & 3 == 0))).any())


_pool: dict[int, list[Arena]] = {}
_pool_lock = threading.Lock()


@contextmanager
def _arenas(slot: int, count: int) -> Iterator[list[Arena]]:
    """Arenas from the process's pool, made where there are too few, given back afterwards."""
    size = max(ARENA, slot)
    with _pool_lock:
        kept = _pool.setdefault(slot, [])
        taken = [kept.pop() if kept else Arena(size, slot) for _ in range(count)]
    try:
        yield taken
    finally:
        with _pool_lock:
            _pool[slot].extend(taken)
