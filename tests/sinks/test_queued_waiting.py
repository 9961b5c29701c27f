"""A queue that is waited for: by flush and close, by a replay, by a poll with patience."""

from __future__ import annotations

import threading
import time

import pytest

from tests.sinks.planned import LONG, Plan, Planned, Slow, Stalled, behind, settled
from tests.sinks.receivers import until
from tests.sinks.standins import TRAILER, blank, cookies
from xtcp.ledger import Account, Ledger
from xtcp.sinks import queued
from xtcp.sinks.fan_out import FanOut
from xtcp.sinks.queued import Patience, Queued


def test_close_waits_for_a_far_side_until_its_time_is_up() -> None:
    """In its pause, with rows in the queue: one that comes back in time gets them, the other loses them as `closed`."""
    for back in (True, False):
        plan = Plan()
        plan.away = True
        with behind(plan) as (sink, ledger):
            sink.accept(blank(3))
            sink.begin_close(2 * LONG if back else 0.2)
            plan.away = not back
            started = time.monotonic()
            sink.close()
            assert time.monotonic() - started < LONG
            assert settled(ledger) == ({"accepted": 3} if back else {"accepted": 0, "closed": 3})
            assert until(lambda plan=plan: plan.closed == 1)  # type: ignore[misc]


def test_close_stops_in_the_midst_of_the_queue() -> None:
    """A sink that takes its time for each batch: no further one is begun when time is up."""
    plan = Plan()
    plan.hold.clear()
    with behind(plan) as (sink, ledger):
        for _ in range(3):
            sink.accept(blank(1))
        assert plan.entered.wait(LONG)
        sink.begin_close(0.05)
        time.sleep(0.06)
        plan.hold.set()
        sink._thread.join(LONG)
        sink.close(0)
        assert settled(ledger) == {"accepted": 1, "closed": 2}


class Waiting(Planned):
    """A sink whose far side is away until that of another has been flushed, or closed."""

    def __init__(self, account: Account, plan: Plan, other: Plan) -> None:
        super().__init__(account, plan)
        self._other = other

    @property
    def ready(self) -> bool:
        """Whether it has."""
        return bool(self._other.flushed or self._other.closed)


def test_several_close_at_the_same_time() -> None:
    """One that is away does not use up the time that another has for its far side."""
    away, there = Plan(), Plan()
    fan = FanOut()
    fan.add("away", lambda account: Queued(lambda inner: Waiting(inner, away, there), account))
    fan.add("there", lambda account: Queued(lambda inner: Planned(inner, there), account))
    fan.accept(blank(1))
    fan.close(LONG)
    assert away.closed == there.closed == 1
    assert there.closing_s > 0.2
    assert [balance.accepted for balance in fan.ledger.snapshot()] == [1, 1]


def test_flush_waits_for_the_last_trailer_too() -> None:
    """It is not in flight, but it belongs to what was given."""
    plan = Plan()
    plan.hold.clear()
    with behind(plan) as (sink, _):
        sink.end_poll(TRAILER)
        assert plan.entered.wait(LONG)
        started = time.monotonic()
        sink.flush(0.05)
        assert time.monotonic() - started >= 0.05 and plan.events == []
        plan.hold.set()
        sink.flush(LONG)
        assert plan.events == [TRAILER] and plan.flushed == 1


def test_flushes_of_several_run_side_by_side() -> None:
    """One that is away does not use up the time of the others."""
    away, there = Plan(), Plan()
    fan = FanOut()
    fan.add("away", lambda account: Queued(lambda inner: Waiting(inner, away, there), account))
    fan.add("there", lambda account: Queued(lambda inner: Planned(inner, there), account))
    fan.accept(blank(1))
    fan.flush(LONG)
    assert there.flushed and away.flushed
    fan.close(0)


def test_nobody_waits_for_a_standstill_without_end() -> None:
    """With `wait`: room is waited for as long as the sink takes anything; a minute of nothing ends that."""
    now = [0.0]
    plan = Plan()
    plan.away = True
    with behind(plan, wait=True, limit_bytes=1, clock=lambda: now[0]) as (sink, ledger):
        sink.accept(blank(1))

        def accepting() -> threading.Thread:
            thread = threading.Thread(target=sink.accept, args=(blank(2),), daemon=True)
            thread.start()
            return thread

        waits = accepting()
        waits.join(0.05)
        assert waits.is_alive()
        with sink._changed:
            now[0] += 61
            sink._changed.notify_all()
        for thread in (waits, accepting()):
            thread.join(LONG)
            assert not thread.is_alive()
        assert ledger.snapshot()[0].dropped == {"queue": 4}
        plan.away = False
        assert until(lambda: ledger.snapshot()[0].accepted == 1)
        sink.accept(blank(8))
        sink.flush(LONG)
        assert settled(ledger) == {"accepted": 9, "queue": 4}


def test_waiting_ends_with_the_sink() -> None:
    """Closed from another thread while `accept` waits for room."""
    plan = Plan()
    plan.away = True
    with behind(plan, wait=True, limit_bytes=1) as (sink, ledger):
        sink.accept(blank(1))
        thread = threading.Thread(target=sink.accept, args=(blank(2),), daemon=True)
        thread.start()
        sink.close(0)
        thread.join(LONG)
        assert not thread.is_alive()
        assert settled(ledger) == {"accepted": 0, "closed": 3}


def test_a_poll_has_patience_with_a_sink_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slower than the poll, a queue of two batches: it is waited for, and nothing is dropped."""
    monkeypatch.setattr(queued, "HALT_S", LONG)
    ledger = Ledger()
    one = cookies(*range(10))
    sink = Queued(Slow, ledger.open("slow"), limit_bytes=2 * one.nbytes, patience=Patience(LONG))
    for _ in range(30):
        sink.accept(one)
    sink.close(LONG)
    balance = ledger.snapshot()[0]
    assert (balance.accepted, dict(balance.dropped)) == (300, {})


def test_patience_ends_and_is_there_again_in_the_next_poll() -> None:
    """All waits of a poll together are bounded; what then finds no room is dropped, and the trailer says so."""
    ledger = Ledger()
    made: list[Slow] = []
    now = [0.0]
    one = cookies(*range(10), hostname=TRAILER.hostname)

    def make(account: Account) -> Slow:
        made.append(Slow(account, now))
        return made[-1]

    patience = Patience(0.03)
    sink = Queued(make, ledger.open("slow"), limit_bytes=2 * one.nbytes, patience=patience, clock=lambda: now[0])
    for _ in range(2):
        began = now[0]
        for _ in range(100):
            sink.accept(one)
        assert now[0] - began < 0.5
        sink.end_poll(TRAILER)
        sink.flush(LONG)
    sink.close(LONG)
    assert ledger.snapshot()[0].dropped["queue"] > 1000
    assert [trailer.flags for trailer in made[0].trailers] == [("dropped",)] * 2
    first = made[0].events.index(made[0].trailers[0])
    assert 4 <= first < 50 and 4 <= len(made[0].events) - first - 2 < 50


def test_there_is_no_patience_with_a_standstill(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that takes nothing is waited for once, for `HALT_S`; then polls go on as if it were not there."""
    monkeypatch.setattr(queued, "HALT_S", 0.2)
    ledger, go, patience = Ledger(), threading.Event(), Patience(60.0)
    one = cookies(*range(100))
    sink = Queued(lambda account: Stalled(account, go), ledger.open("far"), limit_bytes=one.nbytes, patience=patience)
    for _ in range(50):
        sink.accept(one)
    assert 55 < patience.left < 60
    go.set()
    sink.close(LONG)
    assert ledger.snapshot()[0].balanced


def test_sinks_share_the_patience_of_a_poll() -> None:
    """One that needs all of it leaves none for the next one; the poll after has it again."""
    ledger, patience = Ledger(), Patience(0.05)
    one = cookies(*range(10), hostname=TRAILER.hostname)
    sinks = [Queued(Slow, ledger.open(name), limit_bytes=2 * one.nbytes, patience=patience) for name in ("a", "b")]
    for _ in range(50):
        sinks[0].accept(one)
    left = patience.left
    assert left <= 0
    for _ in range(50):
        sinks[1].accept(one)
    assert patience.left == left
    sinks[0].end_poll(TRAILER)
    assert patience.left == 0.05
    for sink in sinks:
        sink.close(LONG)
