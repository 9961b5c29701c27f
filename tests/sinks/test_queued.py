"""A queue before a sink: the ledger's equation at every moment, order and bounds."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from statistics import median

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.patience import fewer
from tests.sinks.planned import LONG, Plan, Stalled, behind, settled
from tests.sinks.receivers import until
from tests.sinks.standins import TRAILER, Collected, Unconfirmed, blank, cookies
from tests.sinks.test_ledger import FATES, Watcher
from xtcp.batch import Batch
from xtcp.ledger import Account, Ledger
from xtcp.poll.trailer import Trailer
from xtcp.sinks import queued
from xtcp.sinks.fan_out import FanOut
from xtcp.sinks.null import Null
from xtcp.sinks.queued import MOST_TRAILERS, Queued


def test_a_stalled_sink_waits_in_its_queue_and_the_rest_is_dropped() -> None:
    """`accept` comes back at once; bytes are bounded; nothing is unaccounted for before and after."""
    ledger, go = Ledger(), threading.Event()
    one = cookies(*range(100))
    sink = Queued(lambda account: Stalled(account, go), ledger.open("far"), limit_bytes=3 * one.nbytes)
    started = time.monotonic()
    for _ in range(10):
        sink.accept(one)
    assert time.monotonic() - started < LONG
    balance = ledger.snapshot()[0]
    assert balance.balanced and sink.queued_bytes <= 3 * one.nbytes
    assert balance.dropped["queue"] == 1000 - balance.in_flight >= 600
    go.set()
    sink.close(LONG)
    balance = ledger.snapshot()[0]
    assert balance.balanced and not balance.in_flight
    assert balance.accepted + balance.dropped["queue"] == 1000


def test_a_sink_that_never_returns_does_not_hold_up_the_end() -> None:
    """What it holds is dropped as `closed`, and stays so when it does return in the end."""
    ledger, go = Ledger(), threading.Event()
    sink = Queued(lambda account: Stalled(account, go), ledger.open("far"))
    for _ in range(3):
        sink.accept(blank(7))
    started = time.monotonic()
    sink.close(0.1)
    assert time.monotonic() - started < LONG
    assert settled(ledger) == {"accepted": 0, "closed": 21}
    go.set()
    sink._thread.join(LONG)
    assert not sink._thread.is_alive()
    assert settled(ledger) == {"accepted": 0, "closed": 21}


def test_fault_70_a_sink_that_sleeps_a_minute_is_nobody_elses_business() -> None:
    """Another sink has every row at once, polls take no longer, and the end comes in its time."""
    ledger_rows = 0
    go = threading.Event()
    collected: list[Collected] = []

    def make(account: Account) -> Collected:
        collected.append(Collected(account))
        return collected[-1]

    fan = FanOut()
    fan.add("slow", lambda account: Queued(lambda inner: Stalled(inner, go), account, limit_bytes=5000))
    fan.add("quick", lambda account: Queued(make, account))
    taken = []
    for poll in range(50):
        started = time.monotonic()
        fan.accept(cookies(*range(poll * 20, poll * 20 + 20)))
        fan.end_poll(replace(TRAILER, poll_id=poll))
        taken.append(time.monotonic() - started)
        ledger_rows += 20
    assert median(taken) < 0.25 and sum(taken) < LONG
    assert until(lambda: len(collected[0].trailers) == 50)
    assert [row["idiag_cookie"] for row in collected[0].rows] == list(range(1000))
    assert fan.queued_bytes()["slow"] <= 5000
    started = time.monotonic()
    fan.close(0.2)
    assert time.monotonic() - started < LONG
    slow, quick = fan.ledger.snapshot()
    assert slow.balanced and not slow.in_flight and slow.offered == ledger_rows
    assert (quick.accepted, quick.dropped) == (1000, {})
    go.set()


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
    sink.close(LONG)
    assert [row["idiag_cookie"] for row in made[0].rows] == list(range(200))
    assert ledger.snapshot()[0].accepted == 200


@settings(max_examples=fewer(20), deadline=None)
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


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("rows"), st.integers(0, 60)),
        st.tuples(st.sampled_from(["end", "away", "back", "flush", "nap"]), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=fewer(40), deadline=None)
@given(
    steps=STEPS,
    faults=st.lists(st.booleans(), max_size=5),
    limit=st.integers(1, 4000),
    seconds=st.sampled_from([0, LONG]),
)
def test_any_order_of_things(steps: list[tuple[str, int]], faults: list[bool], limit: int, seconds: float) -> None:
    """Rows, ends, far sides that go and come, faults: every snapshot adds up; what arrives is what was accepted, whole,
    in order, and each poll that lost a row says so.
    """
    plan = Plan(iter(faults))
    before = queued.FIRST_PAUSE_S, queued.GRACE_S
    # With so much of it no thread goes on behind its end, in the midst of a batch.
    queued.FIRST_PAUSE_S, queued.GRACE_S = 0.001, LONG  # type: ignore[misc]
    given_rows: dict[int, int] = {}
    poll, number, ended = 0, 0, []
    try:
        with behind(plan, limit_bytes=limit) as (sink, ledger):
            watcher = Watcher(ledger)
            watcher.start()
            for what, count in steps:
                if what == "rows":
                    sink.accept(cookies(*range(number, number + count), hostname=str(poll)))
                    number += count
                    given_rows[poll] = given_rows.get(poll, 0) + count
                elif what == "end":
                    sink.end_poll(replace(TRAILER, hostname=str(poll)))
                    ended.append(poll)
                    poll += 1
                elif what == "nap":
                    time.sleep(0.002)
                elif what == "flush":
                    sink.flush(0.01)
                else:
                    plan.away = what == "away"
            if seconds:
                plan.away = False
            sink.close(seconds)
            watcher.stop()
            assert watcher.wrong == []
            accepted = settled(ledger)["accepted"]
    finally:
        queued.FIRST_PAUSE_S, queued.GRACE_S = before  # type: ignore[misc]
    batches = [event for event in plan.events if isinstance(event, Batch)]
    seen = [int(cookie) for batch in batches for cookie in batch.columns.get("idiag_cookie", ())]
    assert seen == sorted(set(seen)) and len(seen) == accepted
    trailers = [event for event in plan.events if isinstance(event, Trailer)]
    assert [int(trailer.hostname) for trailer in trailers] == ended[: len(trailers)]
    if seconds:
        assert len(trailers) == len(ended)
    for trailer in trailers:
        own = [batch for batch in batches if batch.context.hostname == trailer.hostname]
        lost = given_rows.get(int(trailer.hostname), 0) - sum(batch.rows for batch in own)
        assert ("dropped" in trailer.flags) == bool(lost)
        if own:
            assert place_of(plan.events, trailer) > max(place_of(plan.events, batch) for batch in own)


def place_of(events: list[Batch | Trailer], wanted: object) -> int:
    """Where in `events` it stands, by identity."""
    return next(index for index, event in enumerate(events) if event is wanted)


def test_the_trailer_says_that_rows_found_no_room_whatever_the_poll_is_called() -> None:
    """A replay's rows have no poll id, its trailer has one: the host is what they share."""
    plan = Plan()
    plan.away = True
    with behind(plan, limit_bytes=1) as (sink, _):
        for host in ("a", "b"):
            sink.accept(cookies(1, hostname=host))
        for host in ("a", "b"):
            sink.end_poll(replace(TRAILER, hostname=host, poll_id=99))
        sink.end_poll(replace(TRAILER, hostname="b", poll_id=100))
        plan.away = False
        sink.close(LONG)
    flags = [event.flags for event in plan.events if isinstance(event, Trailer)]
    assert flags == [(), ("dropped",), ()]


def test_trailers_of_a_far_side_that_is_away_are_bounded() -> None:
    """The oldest are let go; with `wait`, which a replay of many hosts has, none is."""
    plan = Plan()
    plan.away = True
    with behind(plan) as (sink, _):
        for number in range(MOST_TRAILERS + 5):
            sink.end_poll(replace(TRAILER, poll_id=number))
        plan.away = False
        sink.close(LONG)
    assert [event.poll_id for event in plan.events if isinstance(event, Trailer)] == list(range(5, MOST_TRAILERS + 5))
    plan = Plan()
    plan.hold.clear()
    with behind(plan, wait=True) as (sink, _):

        def feed() -> None:
            for _ in range(3 * MOST_TRAILERS):
                sink.end_poll(TRAILER)

        feeding = threading.Thread(target=feed, daemon=True)
        feeding.start()
        assert until(lambda: len(sink._queue) == MOST_TRAILERS)
        plan.hold.set()
        feeding.join(LONG)
        sink.close(LONG)
    assert len(plan.events) == 3 * MOST_TRAILERS


def test_a_batch_larger_than_the_queue_is_taken_when_it_is_empty() -> None:
    """Else such a batch would never come through."""
    plan = Plan()
    plan.hold.clear()
    with behind(plan, limit_bytes=1) as (sink, ledger):
        sink.accept(blank(1))
        assert plan.entered.wait(LONG)
        sink.accept(blank(2))
        sink.accept(blank(4))
        assert ledger.snapshot()[0].dropped == {"queue": 4}
        plan.hold.set()
        sink.close(LONG)
        assert settled(ledger) == {"accepted": 3, "queue": 4}


def test_an_idle_thread_sleeps() -> None:
    """No turn is taken while there is nothing to do."""
    turns = 0

    class Idle(Null):
        def tick(self) -> float:
            nonlocal turns
            turns += 1
            return super().tick()

    sink = Queued(Idle, Ledger().open("far"))
    sink.accept(blank(1))
    sink.flush(LONG)

    def still() -> bool:
        before = turns
        time.sleep(0.2)
        return turns == before

    # The turn behind the one that took the row may still be to come.
    assert until(still)
    sink.close(1)
