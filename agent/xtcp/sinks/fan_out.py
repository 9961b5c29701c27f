"""FanOut: the sinks of a run, all offered the same rows; none of them can hurt another.

What a sink does wrong by itself is its `error`. An exception out of a sink is a fault of this program: it costs that
sink its life, is kept with its traceback, and every row that the sink held or is offered later is dropped (`fault`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Self

from xtcp.errors import XtcpError
from xtcp.ledger import FAULT, Account, Ledger
from xtcp.sinks.queued import Queued
from xtcp.sinks.sampled import queue_of
from xtcp.sinks.sink import PATIENCE_S, AtOnce, Sink

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer
    from xtcp.sinks.destination import Destination


class FanOut(AtOnce):
    """A `Sink` of sinks, and a context manager that closes them; `ledger` has an account of each."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._sinks: list[tuple[Sink, Account]] = []
        self._faults: dict[str, XtcpError] = {}
        self._left: dict[str, Account] = {}

    @classmethod
    def of(cls, destinations: Iterable[Destination], *, own_threads: bool = False, wait: bool = True) -> Self:
        """Opens all of `destinations`; raises the first `XtcpError`, with those before it closed again.

        `own_threads` and `wait` as `Destination.open` has them.
        """
        fan = cls()
        try:
            for destination in destinations:
                fan.add(destination.name, partial(destination.open, own_thread=own_threads, wait=wait))
        except BaseException:
            fan.close(0)
            raise
        return fan

    def add(self, name: str, make: Callable[[Account], Sink]) -> str:
        """One more sink, made with its account, that of a removed one of this name where there is one; its name."""
        account = self._left.pop(name, None) or self.ledger.open(name)
        try:
            self._sinks.append((make(account), account))
        except BaseException:
            self._left[account.name] = account
            raise
        return account.name

    def remove(self, name: str, timeout_s: float = PATIENCE_S) -> None:
        """Closes the sink of the account `name`; the account stays in the ledger."""
        sink, account = next(pair for pair in self._sinks if pair[1].name == name)
        self._tell(lambda other: other.close(timeout_s) if other is sink else None)
        self._sinks.remove((sink, account))
        if self._faults.pop(name, None) is None:
            self._left[name] = account

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def gone(self) -> bool:
        """Whether no sink is left that may take a row."""
        return all(account.name in self._faults or sink.gone for sink, account in self._sinks)

    @property
    def error(self) -> XtcpError | None:
        """The first of `errors`."""
        return next(iter(self.errors().values()), None)

    def errors(self) -> dict[str, XtcpError]:
        """What went wrong, by the account's name; faults of this program have their exception as `__cause__`."""
        own = {account.name: sink.error for sink, account in self._sinks if sink.error is not None}
        return own | self._faults

    def queued_bytes(self) -> dict[str, int]:
        """What waits in the queues, by the account's name; sinks without a queue are not in it."""
        return {name: queue.queued_bytes for name, queue in self.queues().items()}

    def queues(self) -> dict[str, Queued]:
        """The queues, by the account's name; sinks without one are not in it."""
        pairs = ((account.name, queue_of(sink)) for sink, account in self._sinks)
        return {name: queue for name, queue in pairs if queue is not None}

    def faults(self) -> dict[str, int]:
        """How often each sink failed by a fault of this program, by the account's name; those that never did are not
        in it.
        """
        found = {name: queue.faults for name, queue in self.queues().items() if queue.faults}
        return dict.fromkeys(self._faults, 1) | found

    def accept(self, batch: Batch) -> None:
        """Offers the rows to all."""
        for sink, account in self._sinks:
            if account.name in self._faults:
                account.refuse(batch.rows, FAULT)
                continue
            before = account.offered
            try:
                sink.accept(batch)
            except Exception as error:  # noqa: BLE001 - one sink's fault is not the others'
                self._give_up(sink, account, error)
                account.refuse(before + batch.rows - account.offered, FAULT)

    def refuse(self, rows: int, reason: str) -> None:
        """Counts `rows` that none of the sinks is given."""
        for _, account in self._sinks:
            account.refuse(rows, reason)

    def end_poll(self, trailer: Trailer) -> None:
        """Tells all."""
        self._tell(lambda sink: sink.end_poll(trailer))

    def flush(self, timeout_s: float = PATIENCE_S) -> None:
        """All together have `timeout_s`, those with a thread of their own at the same time."""
        end = time.monotonic() + timeout_s
        for queue in self.queues().values():
            queue.begin_flush(timeout_s)
        self._tell(lambda sink: sink.flush(max(0.0, end - time.monotonic())))

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        """All together have `timeout_s`, those with a thread of their own at the same time."""
        end = time.monotonic() + timeout_s
        for queue in self.queues().values():
            queue.begin_close(timeout_s)
        self._tell(lambda sink: sink.close(max(0.0, end - time.monotonic())))

    def _tell(self, what: Callable[[Sink], None]) -> None:
        for sink, account in self._sinks:
            if account.name in self._faults:
                continue
            try:
                what(sink)
            except Exception as error:  # noqa: BLE001 - one sink's fault is not the others'
                self._give_up(sink, account, error)

    def _give_up(self, sink: Sink, account: Account, error: Exception) -> None:
        fault = XtcpError(f"{account.name} failed: {type(error).__name__}: {error}.", "This is a fault of xtcp.")
        fault.__cause__ = error
        self._faults[account.name] = fault
        account.abandon(FAULT)
        try:
            sink.close(0)
        except Exception as worse:  # noqa: BLE001 - it has failed already
            worse.__context__ = None
