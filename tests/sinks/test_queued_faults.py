"""A sink that fails behind its queue: what it costs, and when it is given up."""

# ruff: noqa: D102 - the Protocol says what they do
from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.sinks.planned import LONG, Plan, behind, settled
from tests.sinks.receivers import until
from tests.sinks.standins import TRAILER, blank, cookies
from xtcp.batch import Batch
from xtcp.errors import Temporary
from xtcp.ledger import Account, Ledger
from xtcp.poll.trailer import Trailer
from xtcp.sinks import queued
from xtcp.sinks.null import Null
from xtcp.sinks.queued import MOST_FAULTS, Queued


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses after faults that a test can wait for."""
    monkeypatch.setattr(queued, "FIRST_PAUSE_S", 0.005)


@pytest.mark.usefixtures("quick")
def test_the_trailer_says_that_rows_were_lost_by_a_fault() -> None:
    """Though it was in the queue already."""
    plan = Plan(iter([True]))
    plan.hold.clear()
    with behind(plan) as (sink, ledger):
        sink.accept(cookies(1, hostname="a"))
        sink.end_poll(replace(TRAILER, hostname="a"))
        sink.accept(cookies(2, hostname="a"))
        sink.end_poll(replace(TRAILER, hostname="a"))
        plan.hold.set()
        sink.close(LONG)
    assert settled(ledger) == {"accepted": 1, "fault": 1}
    assert [event.flags for event in plan.events if isinstance(event, Trailer)] == [("dropped",), ()]


@pytest.mark.usefixtures("quick")
def test_fault_82_a_sink_that_fails_is_made_again() -> None:
    """What it held is dropped, what waits goes to the next one; the first error is kept, the fault counted."""
    plan = Plan(iter([False, True, False, True]))
    with behind(plan) as (sink, ledger):
        for number in range(6):
            sink.accept(cookies(number))
        sink.flush(LONG)
        assert settled(ledger) == {"accepted": 4, "fault": 2}
        assert (sink.faults, plan.made, plan.closed, sink.gone) == (2, 3, 2, False)
        assert isinstance(sink.error and sink.error.__cause__, ZeroDivisionError)


@pytest.mark.usefixtures("quick")
def test_fault_82_more_than_five_faults_in_a_minute_are_enough() -> None:
    """The sink is given up; what comes later is dropped as `fault`, and nobody waits for it."""
    plan = Plan(iter([True] * 100))
    with behind(plan, wait=True, limit_bytes=1) as (sink, ledger):
        for number in range(20):
            sink.accept(cookies(number))
        assert until(lambda: sink.gone)
        assert sink.faults == MOST_FAULTS + 1
        sink.flush(LONG)
        assert settled(ledger) == {"accepted": 0, "fault": 20}
        sink._thread.join(LONG)
    assert not sink._thread.is_alive()


def test_fault_82_five_faults_in_more_than_a_minute_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The faults of the last minute count, by a clock of the test's."""
    now = [0.0]
    monkeypatch.setattr(queued, "FIRST_PAUSE_S", 0.0)
    plan = Plan(iter([True] * 20))
    with behind(plan, clock=lambda: now[0]) as (sink, ledger):
        for number in range(20):
            sink.accept(cookies(number))
            assert until(lambda number=number: ledger.snapshot()[0].dropped == {"fault": number + 1})  # type: ignore[misc]
            now[0] += 13
        assert not sink.gone
        assert settled(ledger) == {"accepted": 0, "fault": 20}


def test_a_pause_is_not_cut_short_by_what_comes() -> None:
    """Else a sink that fails would be given up the quicker the more rows there are."""
    plan = Plan(iter([True]))
    with behind(plan) as (sink, _):
        started = time.monotonic()
        sink.accept(blank(1))
        while plan.made == 1 and time.monotonic() - started < LONG:
            sink.accept(blank(1))
            time.sleep(0.005)
        assert plan.made > 1 and time.monotonic() - started > 0.9


@pytest.mark.usefixtures("quick")
def test_a_fault_while_closing_costs_only_what_it_held() -> None:
    """There is time left: the sink is made again for the rest."""
    plan = Plan(iter([True]))
    plan.hold.clear()
    with behind(plan) as (sink, ledger):
        for _ in range(3):
            sink.accept(blank(1))
        assert plan.entered.wait(LONG)
        sink.begin_close(LONG)
        plan.hold.set()
        sink.close(LONG)
        assert settled(ledger) == {"accepted": 2, "fault": 1}


class Broken(Null):
    """A sink that cannot be made a second time."""

    made = 0

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        Broken.made += 1
        if Broken.made > 1:
            raise Temporary("no more", "", "")

    def accept(self, batch: Batch) -> None:
        raise SystemExit("a library's")


@pytest.mark.usefixtures("quick")
def test_one_that_cannot_be_made_again_is_given_up() -> None:
    """And no exception, of whatever kind, ends the thread with rows in the queue."""
    ledger = Ledger()
    sink = Queued(Broken, ledger.open("far"))
    for _ in range(3):
        sink.accept(blank(2))
    assert until(lambda: sink.gone)
    sink.close(1)
    assert settled(ledger) == {"accepted": 0, "fault": 6}
