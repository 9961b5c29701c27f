"""A queue before a sink: the ledger's equation at every moment, order, bounds, faults, and an end in time."""

# ruff: noqa: D102 - the Protocol says what they do
from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sinks.receivers import until
from tests.sinks.standins import TRAILER, Collected, Unconfirmed, blank, cookies
from tests.sinks.test_ledger import FATES, Watcher
from xtcp.batch import Batch
from xtcp.errors import Temporary
from xtcp.ledger import Account, Ledger
from xtcp.poll.trailer import Trailer
from xtcp.sinks import queued
from xtcp.sinks.fan_out import FanOut
from xtcp.sinks.null import Null
from xtcp.sinks.queued import MOST_FAULTS, MOST_TRAILERS, Patience, Queued


class Stalled(Null):
    """A sink whose far side takes nothing before `go`."""

    def __init__(self, account: Account, go: threading.Event) -> None:
        super().__init__(account)
        self._go = go

    def accept(self, batch: Batch) -> None:
        self._go.wait(60)
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
        self._plan.hold.wait(10)
        if next(self._plan.faults, False):
            raise ZeroDivisionError("a fault")
        with self._account as account:
            account.offer(batch.rows)
            account.accept(batch.rows)
        self._plan.events.append(batch)

    def end_poll(self, trailer: Trailer) -> None:
        self._plan.entered.set()
        self._plan.hold.wait(10)
        self._plan.events.append(trailer)

    def flush(self, timeout_s: float = 0) -> None:
        self._plan.flushed += 1

    def close(self, timeout_s: float = 0) -> None:
        self._plan.closed += 1
        self._plan.closing_s = timeout_s


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses after faults that a test can wait for."""
    monkeypatch.setattr(queued, "FIRST_PAUSE_S", 0.005)


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
    """What it holds is dropped as `closed`, and stays so when it does return in the end."""
    ledger, go = Ledger(), threading.Event()
    sink = Queued(lambda account: Stalled(account, go), ledger.open("far"))
    for _ in range(3):
        sink.accept(blank(7))
    started = time.monotonic()
    sink.close(0.1)
    assert time.monotonic() - started < 2
    assert settled(ledger) == {"accepted": 0, "closed": 21}
    go.set()
    sink._thread.join(5)
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
    slowest = 0.0
    for poll in range(50):
        started = time.monotonic()
        fan.accept(cookies(*range(poll * 20, poll * 20 + 20)))
        fan.end_poll(replace(TRAILER, poll_id=poll))
        slowest = max(slowest, time.monotonic() - started)
        ledger_rows += 20
    assert slowest < 0.25
    assert until(lambda: len(collected[0].trailers) == 50, 2)
    assert [row["idiag_cookie"] for row in collected[0].rows] == list(range(1000))
    assert fan.queued_bytes()["slow"] <= 5000
    started = time.monotonic()
    fan.close(0.2)
    assert time.monotonic() - started < 2
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


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("rows"), st.integers(0, 60)),
        st.tuples(st.sampled_from(["end", "away", "back", "flush", "nap"]), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=40, deadline=None)
@given(
    steps=STEPS, faults=st.lists(st.booleans(), max_size=5), limit=st.integers(1, 4000), seconds=st.sampled_from([0, 2])
)
def test_any_order_of_things(steps: list[tuple[str, int]], faults: list[bool], limit: int, seconds: float) -> None:
    """Rows, ends, far sides that go and come, faults: every snapshot adds up; what arrives is what was accepted, whole,
    in order, and each poll that lost a row says so.
    """
    plan = Plan(iter(faults))
    queued.FIRST_PAUSE_S, before = 0.001, queued.FIRST_PAUSE_S  # type: ignore[misc]
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
        queued.FIRST_PAUSE_S = before  # type: ignore[misc]
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
        sink.close(2)
    flags = [event.flags for event in plan.events if isinstance(event, Trailer)]
    assert flags == [(), ("dropped",), ()]


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
        sink.close(2)
    assert settled(ledger) == {"accepted": 1, "fault": 1}
    assert [event.flags for event in plan.events if isinstance(event, Trailer)] == [("dropped",), ()]


@pytest.mark.usefixtures("quick")
def test_fault_82_a_sink_that_fails_is_made_again() -> None:
    """What it held is dropped, what waits goes to the next one; the first error is kept, the fault counted."""
    plan = Plan(iter([False, True, False, True]))
    with behind(plan) as (sink, ledger):
        for number in range(6):
            sink.accept(cookies(number))
        sink.flush(5)
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
        sink.flush(5)
        assert settled(ledger) == {"accepted": 0, "fault": 20}
    assert not sink._thread.is_alive()


def test_fault_82_five_faults_in_more_than_a_minute_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The faults of the last minute count, by a clock of the test's."""
    now = [0.0]
    monkeypatch.setattr(queued, "FIRST_PAUSE_S", 0.0)
    plan = Plan(iter([True] * 20))
    with behind(plan, clock=lambda: now[0]) as (sink, ledger):
        for number in range(20):
            sink.accept(cookies(number))
            assert until(lambda number=number: sink.faults == number + 1)  # type: ignore[misc]
            now[0] += 13
        assert not sink.gone
        assert settled(ledger) == {"accepted": 0, "fault": 20}


def test_a_pause_is_not_cut_short_by_what_comes() -> None:
    """Else a sink that fails would be given up the quicker the more rows there are."""
    plan = Plan(iter([True]))
    with behind(plan) as (sink, _):
        sink.accept(blank(1))
        assert until(lambda: sink.faults == 1)
        started = time.monotonic()
        while plan.made == 1 and time.monotonic() - started < 5:
            sink.accept(blank(1))
            time.sleep(0.005)
        assert time.monotonic() - started > 0.9


@pytest.mark.usefixtures("quick")
def test_a_fault_while_closing_costs_only_what_it_held() -> None:
    """There is time left: the sink is made again for the rest."""
    plan = Plan(iter([True]))
    plan.hold.clear()
    with behind(plan) as (sink, ledger):
        for _ in range(3):
            sink.accept(blank(1))
        assert plan.entered.wait(5)
        sink.begin_close(5)
        plan.hold.set()
        sink.close(5)
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
            assert time.monotonic() - started < 1
            assert settled(ledger) == ({"accepted": 3} if back else {"accepted": 0, "closed": 3})
            assert plan.closed == 1


def test_close_stops_in_the_midst_of_the_queue() -> None:
    """A sink that takes its time for each batch: no further one is begun when time is up."""
    plan = Plan()
    plan.hold.clear()
    with behind(plan) as (sink, ledger):
        for _ in range(3):
            sink.accept(blank(1))
        assert plan.entered.wait(5)
        sink.begin_close(0.05)
        time.sleep(0.06)
        plan.hold.set()
        sink._thread.join(5)
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
        assert plan.entered.wait(5)
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
            thread.join(5)
            return waits

        assert wait(61)
        assert not wait(0)
        assert ledger.snapshot()[0].dropped == {"queue": 4}
        plan.away = False
        assert until(lambda: ledger.snapshot()[0].accepted == 1)
        sink.accept(blank(8))
        sink.flush(5)
        assert settled(ledger) == {"accepted": 9, "queue": 4}


def test_trailers_of_a_far_side_that_is_away_are_bounded() -> None:
    """The oldest are let go; with `wait`, which a replay of many hosts has, none is."""
    plan = Plan()
    plan.away = True
    with behind(plan) as (sink, _):
        for number in range(MOST_TRAILERS + 5):
            sink.end_poll(replace(TRAILER, poll_id=number))
        plan.away = False
        sink.close(5)
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
        feeding.join(5)
        sink.close(5)
    assert len(plan.events) == 3 * MOST_TRAILERS


def test_a_batch_larger_than_the_queue_is_taken_when_it_is_empty() -> None:
    """Else such a batch would never come through."""
    plan = Plan()
    plan.hold.clear()
    with behind(plan, limit_bytes=1) as (sink, ledger):
        sink.accept(blank(1))
        assert plan.entered.wait(5)
        sink.accept(blank(2))
        sink.accept(blank(4))
        assert ledger.snapshot()[0].dropped == {"queue": 4}
        plan.hold.set()
        sink.close(5)
        assert settled(ledger) == {"accepted": 3, "queue": 4}


def test_waiting_ends_with_the_sink() -> None:
    """Closed from another thread while `accept` waits for room."""
    plan = Plan()
    plan.away = True
    with behind(plan, wait=True, limit_bytes=1) as (sink, ledger):
        sink.accept(blank(1))
        thread = threading.Thread(target=sink.accept, args=(blank(2),), daemon=True)
        thread.start()
        sink.close(0)
        thread.join(5)
        assert not thread.is_alive()
        assert settled(ledger) == {"accepted": 0, "closed": 3}


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
    sink.flush(1)
    before = turns
    time.sleep(0.2)
    assert turns == before
    sink.close(1)


class Slow(Collected):
    """A sink that works, and takes some milliseconds for each batch."""

    def accept(self, batch: Batch) -> None:
        time.sleep(0.01)
        super().accept(batch)


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
        assert time.monotonic() - began < 0.5
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
    assert time.monotonic() - began < 1
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
    assert time.monotonic() - began < 0.04
    sinks[0].end_poll(TRAILER)
    assert patience.left == 0.05
    for sink in sinks:
        sink.close(5)
