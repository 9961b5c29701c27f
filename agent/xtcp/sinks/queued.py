"""Queued: a sink behind a queue bounded in bytes, with a thread of its own, so that it cannot hold up anybody.

`accept` never waits for the far side: it appends the batch, or, where the queue has no room, drops it (`queue`) and the
trailer of that poll tells this sink so (`dropped`). With `wait` it waits for room instead, which a replay wants. A
batch larger than the whole queue is taken when the queue is empty.

Held are the rows in the queue, those moving to the sink behind, and what that sink holds; every move is one
(`xtcp.ledger`). An exception out of the sink behind is a fault of this program: the rows in its hand are dropped
(`fault`), and it is made anew after a pause. After `MOST_FAULTS` in a minute it is given up.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from xtcp.batch import Batch
from xtcp.errors import XtcpError
from xtcp.ledger import CLOSED, FAULT, Account
from xtcp.sinks.schemes import DEFAULT_BYTES
from xtcp.sinks.sink import PATIENCE_S, Sink

if TYPE_CHECKING:
    from xtcp.poll.trailer import Trailer

QUEUE: Final = "queue"

# Trailers of a far side that is away for days; the oldest are let go.
MOST_TRAILERS: Final = 1024
MOST_FAULTS: Final = 5
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
# How much longer than its time a sink may take to close, before it is left to itself.
GRACE_S: Final = 0.5


class Queued:
    """A `Sink` that hands its batches to the one that `make` makes, on a thread of its own.

    `make` is called here first, so what it raises is raised here. `clock` is monotonic seconds.
    """

    def __init__(
        self,
        make: Callable[[Account], Sink],
        account: Account,
        *,
        limit_bytes: int = DEFAULT_BYTES,
        wait: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._account = account
        self._limit = limit_bytes
        self._wait = wait
        self._clock = clock
        self._changed = account.condition()
        self._queue: deque[Batch | Trailer] = deque()
        self._queued_rows = self._queued_bytes = self._trailers = 0
        self._dropped: set[tuple[str | None, int | None]] = set()
        self._deadline = math.inf
        self._flush_until: float | None = None
        self._closed = self._ended = self._given_up = False
        self._faults: deque[float] = deque()
        self._fault: XtcpError | None = None
        self._inner = account.behind()
        self._sink: Sink | None = make(self._inner)
        account.ask(lambda: self._queued_rows + self._inner.held)
        self._thread = threading.Thread(target=self._run, name=f"sink {account.name}", daemon=True)
        self._thread.start()

    @property
    def error(self) -> XtcpError | None:
        """The first thing that went wrong, or its fault."""
        return self._fault or (self._sink.error if self._sink is not None else None)

    @property
    def gone(self) -> bool:
        """Whether the sink behind will take nothing any more."""
        return self._given_up or (self._sink is not None and self._sink.gone)

    @property
    def ready(self) -> bool:
        """Always: what cannot be sent is queued or dropped."""
        return True

    @property
    def queued_bytes(self) -> int:
        """What the queue holds."""
        return self._queued_bytes

    def tick(self) -> float:
        """Nothing: the thread has its own time."""
        return math.inf

    def accept(self, batch: Batch) -> None:
        """Appends the batch, or drops it."""
        size = batch.nbytes
        with self._changed:
            while self._wait and not self._takes(size) and not (self._closed or self.gone):
                self._changed.wait(1.0)
            self._account.offer(batch.rows)
            if self._closed or self.gone:
                self._account.drop(batch.rows, FAULT if self._given_up else CLOSED)
            elif not self._takes(size):
                self._account.drop(batch.rows, QUEUE)
                self._dropped.add((batch.context.hostname, batch.context.poll_id))
            else:
                self._queue.append(batch)
                self._queued_rows += batch.rows
                self._queued_bytes += size
                self._changed.notify_all()

    def end_poll(self, trailer: Trailer) -> None:
        """Behind the poll's batches; where some of them were dropped, it says so."""
        with self._changed:
            key = (trailer.hostname, trailer.poll_id)
            if key in self._dropped:
                self._dropped.discard(key)
                trailer = trailer.flagged("dropped")
            if self._closed or self.gone:
                return
            if self._trailers >= MOST_TRAILERS:
                self._queue.remove(next(item for item in self._queue if not isinstance(item, Batch)))
                self._trailers -= 1
            self._queue.append(trailer)
            self._trailers += 1
            self._changed.notify_all()

    def flush(self, timeout_s: float = PATIENCE_S) -> None:
        """Waits until nothing is in flight."""
        end = self._clock() + timeout_s
        with self._changed:
            self._flush_until = end
            self._changed.notify_all()
            while self._thread.is_alive() and (self._queue or self._queued_rows or self._inner.held):
                left = end - self._clock()
                if left <= 0:
                    break
                self._changed.wait(min(left, 0.05))
            self._flush_until = None

    def begin_close(self, timeout_s: float = PATIENCE_S) -> None:
        """Takes no more and lets the thread come to its end, without waiting for it; `close` does that."""
        with self._changed:
            if not self._closed:
                self._closed = True
                self._deadline = self._clock() + timeout_s
                self._changed.notify_all()

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        """Sends what is queued as long as the time allows, drops the rest."""
        self.begin_close(timeout_s)
        self._thread.join(max(0.0, self._deadline - self._clock()) + GRACE_S)
        with self._changed:
            self._inner.abandon(CLOSED)
            self._account.drop(self._queued_rows, CLOSED)
            self._queue.clear()
            self._queued_rows = self._queued_bytes = 0

    def _takes(self, size: int) -> bool:
        return not self._queued_bytes or self._queued_bytes + size <= self._limit

    # --- the thread ---

    def _run(self) -> None:
        while not self._ended:
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - a fault of one sink is nobody else's
                self._recover(error)

    def _work(self) -> None:
        """One turn: a batch or a trailer to the sink, what it has to do by time, or a wait for either."""
        sink = self._sink
        if sink is None:
            sink = self._sink = self._make(self._inner)
        pause = sink.tick()
        if self._flush_until is not None:
            sink.flush(max(0.0, self._flush_until - self._clock()))
        item = self._next(sink, pause)
        if isinstance(item, Batch):
            sink.accept(item)
        elif item is not None:
            sink.end_poll(item)
        elif self._closed and (not self._queue or self._clock() >= self._deadline or sink.gone):
            sink.close(max(0.0, self._deadline - self._clock()))
            self._ended = True

    def _next(self, sink: Sink, pause: float) -> Batch | Trailer | None:
        """The next item, its rows moving now; None where there is none, or the sink is not ready, or time is up."""
        with self._changed:
            ready = bool(self._queue) and (sink.ready or sink.gone)
            if not ready and not self._closed and self._flush_until is None:
                self._changed.wait(min(pause, 1.0) if self._queue else min(pause, 60.0))
            elif not ready and self._clock() < self._deadline and self._queue:
                self._changed.wait(min(pause, 0.02))
            if not self._queue or not (sink.ready or sink.gone) or self._clock() >= self._deadline:
                return None
            item = self._queue.popleft()
            if isinstance(item, Batch):
                self._queued_rows -= item.rows
                self._queued_bytes -= item.nbytes
                self._inner.moving += item.rows
            else:
                self._trailers -= 1
            self._changed.notify_all()
            return item

    def _recover(self, error: Exception) -> None:
        """Drops what the sink held, closes it, and pauses; gives it up where it fails too often."""
        now = self._clock()
        fault = XtcpError(f"{self._account.name} failed: {type(error).__name__}: {error}.", "This is a fault of xtcp.")
        fault.__cause__ = error
        broken, self._sink = self._sink, None
        self._faults.append(now)
        while self._faults[0] < now - 60:
            self._faults.popleft()
        with self._changed:
            self._fault = fault
            self._inner.abandon(FAULT)
            self._inner = self._account.behind()
            self._given_up = len(self._faults) > MOST_FAULTS
            if self._given_up:
                self._account.drop(self._queued_rows, FAULT)
                self._queue.clear()
                self._queued_rows = self._queued_bytes = 0
                self._ended = True
            self._changed.notify_all()
        if broken is not None:
            try:
                broken.close(0)
            except Exception as worse:  # noqa: BLE001 - it has failed already
                worse.__context__ = None
        pause = min(FIRST_PAUSE_S * 2 ** len(self._faults), LONGEST_PAUSE_S)
        with self._changed:
            if not self._closed and not self._ended:
                self._changed.wait(pause)
            elif self._closed:
                self._ended = True
