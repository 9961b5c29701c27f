"""A queue that is waited for: by flush and close, by a replay, by a poll with patience."""

from __future__ import annotations

import threading
import time

import pytest

from tests.patience import patient
from tests.sinks.planned import Plan, Planned, Slow, Stalled, behind, settled
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
            sink.begin_close(0.2)
            plan.away = not back
            started = time.monotonic()
            sink.close(0.2)
            assert time.monotonic() - started < patient(1)
            assert settled(ledger) == ({"accepted": 3} if back else {"accepted": 0, "closed": 3})
            assert plan.closed == 1


def test_close_stops_in_the_midst_of_the_queue() -> None:
    """A sink that takes its time for each batch: no further one is begun when time is up."""
    plan = Plan()
    plan.hold.clear()
    with behind(plan) as (sink, ledger):
        for _ in range(3):
            sink.accept(blank(1))
        assert plan.entered.wait(patient(5))
        sink.begin_close(0.05)
        time.sleep(0.06)
        plan.hold.set()
        sink._thread.join(patient(5))
        sink.close(0)
        assert settled(ledger) == {"accepted": 1, "closed": 2}


def test_several_close_at_the_same_time() -> None:
    """One that is away does not use up the time that another has for its far side."""
    away, there = Plan(), Plan()
    away.away = True
    fan = FanOut()
    for name, plan in (("away", away), ("there", there)):
        fan.add(name, lambda account, plan=plan: Queued(lambda inner: Planned(inner, plan), account))  # type: ignore[misc]
    fan.accept(blank(1))
    fan.close(0.3)
    assert away.closed == there.closed == 1
    assert there.closing_s > 0.2
    assert [dict(balance.dropped) for balance in fan.ledger.snapshot()] == [{"closed": 1}, {}]


def test_flush_waits_for_the_last_trailer_too() -> None:
    """It is not in flight, but it belongs to what was given."""
    plan = Plan()
    plan.hold.clear()
    with behind(plan) as (sink, _):
        sink.end_poll(TRAILER)
        assert plan.entered.wait(patient(5))
        started = time.monotonic()
        sink.flush(0.05)
        assert time.monotonic() - started >= 0.05 and plan.events == []
        plan.hold.set()
        sink.flush(5)
        assert plan.events == [TRAILER] and plan.flushed == 1


def test_flushes_of_several_run_side_by_side() -> None:
    """One that is away does not use up the time of the others."""
    away, there = Plan(), Plan()
    away.away = True
    fan = FanOut()
    for name, plan in (("away", away), ("there", there)):
        fan.add(name, lambda account, plan=plan: Queued(lambda inner: Planned(inner, plan), account))  # type: ignore[misc]
    fan.accept(blank(1))
    fan.flush(0.1)
    assert there.flushed and not away.flushed
    fan.close(0)


def test_nobody_waits_for_a_standstill_without_end() -> None:
    """With `wait`: room is waited for as long as the sink takes anything; a minute of nothing ends that."""
    now = [0.0]
    plan = Plan()
    plan.away = True
    with behind(plan, wait=True, limit_bytes=1, clock=lambda: now[0]) as (sink, ledger):
        sink.accept(blank(1))

        def wait(seconds: float) -> bool:
            thread = threading.Thread(target=sink.accept, args=(blank(2),), daemon=True)
            thread.start()
            thread.join(0.05)
            waits = thread.is_alive()
            with sink._changed:
                now[0] += seconds
                sink._changed.notify_all()
            thread.join(patient(5))
            return waits

        assert wait(61)
        assert not wait(0)
        assert ledger.snapshot()[0].dropped == {"queue": 4}
        plan.away = False
        assert until(lambda: ledger.snapshot()[0].accepted == 1)
        sink.accept(blank(8))
        sink.flush(5)
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
        thread.join(patient(5))
        assert not thread.is_alive()
        assert settled(ledger) == {"accepted": 0, "closed": 3}


def test_a_poll_has_patience_with_a_sink_that_works() -> None:
    """Slower than the poll, a queue of two batches: it is waited for, and nothing is dropped."""
    ledger = Ledger()
    one = cookies(*range(10))
    sink = Queued(Slow, ledger.open("slow"), limit_bytes=2 * one.nbytes, patience=Patience(10.0))
    for _ in range(30):
        sink.accept(one)
    sink.close(10)
    balance = ledger.snapshot()[0]
    assert (balance.accepted, dict(balance.dropped)) == (300, {})


def test_patience_ends_and_is_there_again_in_the_next_poll() -> None:
    """All waits of a poll together are bounded; what then finds no room is dropped, and the trailer says so."""
    ledger = Ledger()
    made: list[Slow] = []
    one = cookies(*range(10), hostname=TRAILER.hostname)

    def make(account: Account) -> Slow:
        made.append(Slow(account))
        return made[-1]

    sink = Queued(make, ledger.open("slow"), limit_bytes=2 * one.nbytes, patience=Patience(0.03))
    for _ in range(2):
        began = time.monotonic()
        for _ in range(100):
            sink.accept(one)
        assert time.monotonic() - began < patient(0.5)
        sink.end_poll(TRAILER)
        sink.flush(10)
    sink.close(10)
    assert ledger.snapshot()[0].dropped["queue"] > 1000
    assert [trailer.flags for trailer in made[0].trailers] == [("dropped",)] * 2
    first = made[0].events.index(made[0].trailers[0])
    assert 4 <= first < 20 and 4 <= len(made[0].events) - first - 2 < 20


def test_there_is_no_patience_with_a_standstill(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that takes nothing is waited for once, for `HALT_S`; then polls go on as if it were not there."""
    monkeypatch.setattr(queued, "HALT_S", 0.1)
    ledger, go = Ledger(), threading.Event()
    one = cookies(*range(100))
    sink = Queued(
        lambda account: Stalled(account, go), ledger.open("far"), limit_bytes=one.nbytes, patience=Patience(60.0)
    )
    began = time.monotonic()
    for _ in range(50):
        sink.accept(one)
    assert time.monotonic() - began < patient(1)
    go.set()
    sink.close(5)
    assert ledger.snapshot()[0].balanced


def test_sinks_share_the_patience_of_a_poll() -> None:
    """One that needs all of it leaves none for the next one; the poll after has it again."""
    ledger, patience = Ledger(), Patience(0.05)
    one = cookies(*range(10), hostname=TRAILER.hostname)
    sinks = [Queued(Slow, ledger.open(name), limit_bytes=2 * one.nbytes, patience=patience) for name in ("a", "b")]
    for _ in range(50):
        sinks[0].accept(one)
    assert patience.left <= 0
    began = time.monotonic()
    for _ in range(50):
        sinks[1].accept(one)
    assert time.monotonic() - began < patient(0.04)
    sinks[0].end_poll(TRAILER)
    assert patience.left == 0.05
    for sink in sinks:
        sink.close(5)
