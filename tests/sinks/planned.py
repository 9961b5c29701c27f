"""Sinks behind a queue that follow a plan, and those whose far side stands still or is slow."""

# ruff: noqa: D102 - the Protocol says what they do
from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.patience import patient
from tests.sinks.standins import Collected
from xtcp.batch import Batch
from xtcp.ledger import Account, Ledger
from xtcp.poll.trailer import Trailer
from xtcp.sinks.null import Null
from xtcp.sinks.queued import Queued

# For what comes at once, whatever else the machine does; and less than what stands still stays so.
LONG: Final = patient(30)


class Stalled(Null):
    """A sink whose far side takes nothing before `go`."""

    def __init__(self, account: Account, go: threading.Event) -> None:
        super().__init__(account)
        self._go = go

    def accept(self, batch: Batch) -> None:
        self._go.wait(3 * LONG)
        super().accept(batch)


class Plan:
    """What a far side does: `away`, and the numbers of the batches at which the sink fails; what it got, and when."""

    def __init__(self, faults: Iterator[bool] | None = None) -> None:
        self.away = False
        self.faults = iter(()) if faults is None else faults
        self.events: list[Batch | Trailer] = []
        self.made = 0
        self.flushed = 0
        self.closed = 0
        self.closing_s = 0.0
        self.entered = threading.Event()
        self.hold = threading.Event()
        self.hold.set()


class Planned:
    """A sink that follows a plan; an attempt at a batch comes into `events` only where it succeeds."""

    error = None
    gone = False

    def __init__(self, account: Account, plan: Plan) -> None:
        self._account = account
        self._plan = plan
        plan.made += 1

    @property
    def ready(self) -> bool:
        return not self._plan.away

    def tick(self) -> float:
        return 0.005

    def accept(self, batch: Batch) -> None:
        self._plan.entered.set()
        self._plan.hold.wait(3 * LONG)
        if next(self._plan.faults, False):
            raise ZeroDivisionError("a fault")
        with self._account as account:
            account.offer(batch.rows)
            account.accept(batch.rows)
        self._plan.events.append(batch)

    def end_poll(self, trailer: Trailer) -> None:
        self._plan.entered.set()
        self._plan.hold.wait(3 * LONG)
        self._plan.events.append(trailer)

    def flush(self, timeout_s: float = 0) -> None:
        self._plan.flushed += 1

    def close(self, timeout_s: float = 0) -> None:
        self._plan.closed += 1
        self._plan.closing_s = timeout_s


@contextmanager
def behind(plan: Plan, **options: object) -> Iterator[tuple[Queued, Ledger]]:
    """A queue before a sink that follows `plan`."""
    ledger = Ledger()
    sink = Queued(lambda account: Planned(account, plan), ledger.open("far"), **options)  # type: ignore[arg-type]
    try:
        yield sink, ledger
    finally:
        plan.hold.set()
        sink.close(0)


def settled(ledger: Ledger) -> dict[str, int]:
    """The one account after its end: what was accepted, and drops by reason."""
    balance = ledger.snapshot()[0]
    assert balance.balanced and not balance.in_flight
    return {"accepted": balance.accepted, **balance.dropped}


class Slow(Collected):
    """A sink that works, and takes some milliseconds for each batch, by `now`, a clock of the test's, too."""

    def __init__(self, account: Account, now: list[float] | None = None) -> None:
        super().__init__(account)
        self._now = now or [0.0]

    def accept(self, batch: Batch) -> None:
        time.sleep(0.01)
        self._now[0] += 0.01
        super().accept(batch)
