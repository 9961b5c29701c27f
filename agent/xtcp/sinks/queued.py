"""Queued: a sink behind a queue bounded in bytes, with a thread of its own, so that it cannot hold up anybody.

`accept` never waits for the far side: it appends the batch, or, where the queue has no room, drops it (`queue`) and the
trailer of that poll tells this sink so (`dropped`). It has patience with a sink that works and is only slower than the
poll for a moment: it waits for room as long as the sink takes rows, and as its `Patience` allows. With `wait` it
always waits for room, which a replay wants; not for a sink that has taken nothing for `STANDSTILL_S`, whose rows are
dropped until it takes some again. A batch larger than the whole queue is taken when the queue is empty, so memory is
bounded by the limit or one batch, whichever is more, and the one in the sink's hand.

Held are the rows in the queue, those moving to the sink behind, and what that sink holds; every move is one
(`xtcp.ledger`). Batches and trailers come to the sink in the order in which they were given.

An exception out of the sink behind is a fault of this program: the rows in its hand are dropped (`fault`), and it is
made anew after a pause. After more than `MOST_FAULTS` in a minute it is given up.
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
FAULTS_WITHIN_S: Final = 60.0
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
STANDSTILL_S: Final = 60.0
# A sink that has taken nothing for so long does not work, and no poll has patience with it.
HALT_S: Final = 0.5
# How much longer than its time a sink may take to close, before it is left to itself.
GRACE_S: Final = 0.5

# A turn of the thread waits no less, whatever a sink's `tick` asks for, and no longer, whatever it does not.
_LEAST_TURN_S: Final = 0.001
_LONGEST_TURN_S: Final = 60.0
# How often a sink that is away is asked again whether it is ready: with rows for it, and while time runs out.
_ASKING_S: Final = 1.0
_CLOSING_S: Final = 0.02


class Patience:
    """How long a poll waits for sinks: `seconds`, for all together that share it; seconds may change at any time."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = self.left = seconds

    def renew(self) -> None:
        """Another poll."""
        self.left = self.seconds

    def end(self) -> None:
        """None from here on: the poll is broken off. Takes no lock, so a signal handler may call it."""
        self.seconds = self.left = 0.0


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
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._account = account
        self._limit = limit_bytes
        self._wait = wait
        self._patience = patience or Patience()
        self._clock = clock
        self._changed = account.condition()
        self._queue: deque[Batch | Trailer] = deque()
        self._queued_rows = self._queued_bytes = self._trailers = 0
        self._in_hand: Batch | Trailer | None = None
        self._moved_at = clock()
        # Hosts with rows dropped since their last trailer: before they came into the queue, and behind it.
        self._dropped: set[str] = set()
        self._lost: set[str] = set()
        self._deadline = math.inf
        self._flush_until: float | None = None
        self._flushing = False
        self._closed = self._ended = self._given_up = False
        self._faults: deque[float] = deque()
        self._error: XtcpError | None = None
        self.faults = 0
        self._inner = account.behind()
        self._sink: Sink | None = make(self._inner)
        account.ask(lambda: self._queued_rows + self._inner.held)
        self._thread = threading.Thread(target=self._run, name=f"sink {account.name}", daemon=True)
        self._thread.start()

    @property
    def error(self) -> XtcpError | None:
        """The first thing that went wrong, in any of the sinks that were made, or the fault of one."""
        sink = self._sink
        return self._error or (None if sink is None else sink.error)

    @property
    def gone(self) -> bool:
        """Whether the sink behind will take nothing any more."""
        sink = self._sink
        return self._given_up or (sink is not None and sink.gone)

    @property
    def ready(self) -> bool:
        """Always: what cannot be sent is queued or dropped."""
        return True

    @property
    def up(self) -> bool:
        """Whether the far side takes rows now, as far as the sink behind knows; closed, it is not asked any more."""
        sink = self._sink
        return not self._given_up and (self._ended or (sink is not None and sink.ready and not sink.gone))

    @property
    def limit_bytes(self) -> int:
        """What the queue may hold."""
        return self._limit

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
            self._await(lambda: self._takes(size))
            self._account.offer(batch.rows)
            if self._closed or self.gone:
                self._account.drop(batch.rows, FAULT if self._given_up else CLOSED)
            elif not self._takes(size):
                self._account.drop(batch.rows, QUEUE)
                if batch.rows:
                    self._dropped.add(batch.context.hostname or "")
            else:
                self._append(batch)
                self._queued_rows += batch.rows
                self._queued_bytes += size

    def end_poll(self, trailer: Trailer) -> None:
        """Behind the poll's batches; where some of them were dropped, it says so."""
        with self._changed:
            self._await(lambda: self._trailers < MOST_TRAILERS)
            self._patience.renew()
            if trailer.hostname in self._dropped:
                self._dropped.discard(trailer.hostname)
                trailer = trailer.flagged("dropped")
            if self._closed or self.gone:
                return
            if self._trailers >= MOST_TRAILERS:
                self._queue.remove(next(item for item in self._queue if not isinstance(item, Batch)))
                self._trailers -= 1
            self._append(trailer)
            self._trailers += 1

    def begin_flush(self, timeout_s: float = PATIENCE_S) -> None:
        """Has the sink flush when the queue is empty, without waiting for it; `flush` does that."""
        with self._changed:
            self._flush_until = self._clock() + timeout_s
            self._changed.notify_all()

    def flush(self, timeout_s: float = PATIENCE_S) -> None:
        """Waits until nothing is in flight, and the last trailer has been taken."""
        self.begin_flush(timeout_s)
        end = self._clock() + timeout_s
        with self._changed:
            while self._thread.is_alive() and not self._settled and (left := end - self._clock()) > 0:
                self._changed.wait(min(left, 0.05))
            self._flush_until = None

    @property
    def _settled(self) -> bool:
        return not (self._queue or self._flush_until is not None or self._flushing or self._inner.held)

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
        # Several that do not come to their end have the grace together.
        self._thread.join(max(0.0, self._deadline + GRACE_S - self._clock()))
        with self._changed:
            self._inner.abandon(CLOSED)
            self._clear(CLOSED)

    def _takes(self, size: int) -> bool:
        return not self._queued_bytes or self._queued_bytes + size <= self._limit

    def _await(self, room: Callable[[], bool]) -> None:
        """Until there is room, none will be, the sink has stood still for too long, or patience is at its end."""
        while not (room() or self._closed or self.gone):
            began = self._clock()
            left = self._moved_at + (STANDSTILL_S if self._wait else HALT_S) - began
            if not self._wait:
                left = min(left, self._patience.left)
            if left <= 0:
                return
            self._changed.wait(min(left, 1.0))
            self._patience.left -= self._clock() - began

    def _append(self, item: Batch | Trailer) -> None:
        if not self._queue and self._in_hand is None:
            self._moved_at = self._clock()
        self._queue.append(item)
        self._changed.notify_all()

    def _clear(self, reason: str) -> None:
        self._account.drop(self._queued_rows, reason)
        self._queue.clear()
        self._queued_rows = self._queued_bytes = self._trailers = 0

    # --- the thread ---

    def _run(self) -> None:
        while not self._ended:
            try:
                self._work()
            except BaseException as error:  # noqa: BLE001 - a fault of one sink is nobody else's
                self._recover(error)

    def _work(self) -> None:
        """One turn: a batch or a trailer to the sink, what it has to do by time, or a wait for either."""
        sink = self._sink
        if sink is None:
            sink = self._sink = self._make(self._inner)
        item = self._next(sink, sink.tick())
        if isinstance(item, Batch):
            sink.accept(item)
        elif item is not None:
            sink.end_poll(item)
        elif self._flushing:
            sink.flush(max(0.0, (self._flush_until or 0.0) - self._clock()))
        elif self._closed and (not self._queue or self._clock() >= self._deadline):
            sink.close(max(0.0, self._deadline - self._clock()))
            self._ended = True
        with self._changed:
            if self._flushing:
                self._flush_until = None
            self._in_hand, self._flushing = None, False
            self._changed.notify_all()

    def _next(self, sink: Sink, pause: float) -> Batch | Trailer | None:
        """The next item, its rows moving now; None where there is none, or the sink is not ready, or time is up."""
        with self._changed:
            if not self._may_take(sink) and not (self._flush_until is not None and not self._queue):
                if not self._closed:
                    longest = _ASKING_S if self._queue else _LONGEST_TURN_S
                    self._changed.wait(min(max(pause, _LEAST_TURN_S), longest))
                elif self._queue and self._clock() < self._deadline:
                    self._changed.wait(min(max(pause, _LEAST_TURN_S), _CLOSING_S))
            if not self._may_take(sink):
                self._flushing = not self._queue and self._flush_until is not None
                return None
            item = self._in_hand = self._queue.popleft()
            if isinstance(item, Batch):
                self._queued_rows -= item.rows
                self._queued_bytes -= item.nbytes
                self._inner.moving += item.rows
            else:
                self._trailers -= 1
                if item.hostname in self._lost:
                    self._lost.discard(item.hostname)
                    item = item.flagged("dropped")
            self._moved_at = self._clock()
            self._changed.notify_all()
            return item

    def _may_take(self, sink: Sink) -> bool:
        """Whether there is something for the sink, and it takes it; one that is gone drops it by its own reason."""
        return bool(self._queue) and self._clock() < self._deadline and (sink.ready or sink.gone)

    def _recover(self, error: BaseException) -> None:
        """Drops what the sink held, closes it, and pauses; gives it up where it fails too often."""
        now = self._clock()
        broken, self._sink = self._sink, None
        fault = XtcpError(f"{self._account.name} failed: {type(error).__name__}: {error}.", "This is a fault of xtcp.")
        fault.__cause__ = error
        self.faults += 1
        self._faults.append(now)
        while self._faults[0] < now - FAULTS_WITHIN_S:
            self._faults.popleft()
        with self._changed:
            self._error = self._error or (broken.error if broken is not None else None) or fault
            if isinstance(self._in_hand, Batch) and self._in_hand.rows:
                self._lost.add(self._in_hand.context.hostname or "")
            self._in_hand, self._flushing = None, False
            self._inner.abandon(FAULT)
            self._inner = self._account.behind()
            self._given_up = len(self._faults) > MOST_FAULTS
            if self._given_up:
                self._clear(FAULT)
            self._ended = self._given_up or (self._closed and (not self._queue or now >= self._deadline))
            self._changed.notify_all()
        if broken is not None:
            try:
                broken.close(0)
            except Exception as worse:  # noqa: BLE001 - it has failed already
                worse.__context__ = None
        self._pause(min(FIRST_PAUSE_S * 2 ** len(self._faults), LONGEST_PAUSE_S))

    def _pause(self, seconds: float) -> None:
        """Waits, whatever comes into the queue meanwhile; once it is closed, no longer than its deadline."""
        end = self._clock() + seconds
        with self._changed:
            while not self._ended and (left := min(end, self._deadline) - self._clock()) > 0:
                self._changed.wait(left)
