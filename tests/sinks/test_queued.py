"""A queue before a sink: the ledger's equation at every moment, bounds, and an end in time."""

# ruff: noqa: D102 - the Protocol says what they do
from __future__ import annotations

import threading
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sinks.standins import Collected, Unconfirmed, blank, cookies
from tests.sinks.test_ledger import FATES, Watcher
from xtcp.batch import Batch
from xtcp.ledger import Account, Ledger
from xtcp.sinks.null import Null
from xtcp.sinks.queued import Queued


class Stalled(Null):
    """A sink whose far side takes nothing before `go`."""

    def __init__(self, account: Account, go: threading.Event) -> None:
        super().__init__(account)
        self._go = go

    def accept(self, batch: Batch) -> None:
        self._go.wait(60)
        super().accept(batch)


def test_a_stalled_sink_waits_in_its_queue_and_the_rest_is_dropped() -> None:
    """`accept` comes back at once; bytes are bounded; nothing is unaccounted for before and after."""
    ledger, go = Ledger(), threading.Event()
    one = cookies(*range(100))
    sink = Queued(lambda account: Stalled(account, go), ledger.open("far"), limit_bytes=3 * one.nbytes)
    started = time.monotonic()
    for _ in range(10):
        sink.accept(one)
    assert time.monotonic() - started < 1
    balance = ledger.snapshot()[0]
    assert balance.balanced and sink.queued_bytes <= 3 * one.nbytes
    assert balance.dropped["queue"] == 1000 - balance.in_flight >= 600
    go.set()
    sink.close(5)
    balance = ledger.snapshot()[0]
    assert balance.balanced and not balance.in_flight
    assert balance.accepted + balance.dropped["queue"] == 1000


def test_a_sink_that_never_returns_does_not_hold_up_the_end() -> None:
    """What it holds is dropped as `closed`."""
    ledger = Ledger()
    sink = Queued(lambda account: Stalled(account, threading.Event()), ledger.open("far"))
    for _ in range(3):
        sink.accept(blank(7))
    started = time.monotonic()
    sink.close(0.1)
    assert time.monotonic() - started < 2
    balance = ledger.snapshot()[0]
    assert balance.balanced and (balance.in_flight, dict(balance.dropped)) == (0, {"closed": 21})


def test_rows_and_order_are_those_that_were_given() -> None:
    """All that had room comes through, in order."""
    ledger = Ledger()
    made: list[Collected] = []

    def make(account: Account) -> Collected:
        made.append(Collected(account))
        return made[-1]

    sink = Queued(make, ledger.open("far"), wait=True, limit_bytes=2000)
    for number in range(200):
        sink.accept(cookies(number))
    sink.close(10)
    assert [row["idiag_cookie"] for row in made[0].rows] == list(range(200))
    assert ledger.snapshot()[0].accepted == 200


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(0, 50), max_size=30), fates=st.lists(FATES, max_size=40))
def test_every_snapshot_adds_up_with_reports_that_come_later(sizes: list[int], fates: list[str]) -> None:
    """A queue before a sink that has a thread and unconfirmed messages of its own."""
    ledger = Ledger()
    sink = Queued(lambda account: Unconfirmed(account, 200, iter(fates)), ledger.open("far"), limit_bytes=2000)
    watcher = Watcher(ledger)
    watcher.start()
    for size in sizes:
        sink.accept(blank(size))
    sink.close(0.01)
    watcher.stop()
    assert watcher.wrong == []
    balance = ledger.snapshot()[0]
    assert balance.balanced and not balance.in_flight and balance.offered == sum(sizes)
