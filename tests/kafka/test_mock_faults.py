"""Faults that mock brokers have: stalled, killed, refusing, led by another; every row is accounted for."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from tests.kafka.mock_brokers import PRODUCE, MockBrokers
from tests.kafka.reading import read
from tests.kafka.standins import Cookies, cookies_of, of_poll, queued, sink, trailer
from tests.patience import patient
from tests.sinks.standins import cookies
from xtcp.ledger import Ledger

# Messages that librdkafka keeps.
ROOM = "2000"

pytestmark = pytest.mark.timeout(60)


def wait_until_sent(ledger: Ledger, seconds: float = 20) -> None:
    """Until nothing is in flight."""
    end = time.monotonic() + patient(seconds)
    while ledger.snapshot()[0].in_flight:
        assert time.monotonic() < end, ledger.lines()
        time.sleep(0.02)


def test_fault_62_stalled_brokers_cost_what_finds_no_room_and_nothing_else() -> None:
    """Handing over takes no time, what has no room is dropped (`queue`) and its poll says so, the rest arrives once."""
    ledger = Ledger()
    with MockBrokers() as brokers:
        topic = brokers.topic("stalled")
        one = cookies(*range(1000))
        queue, _ = queued(ledger, brokers.address, topic, limit_bytes=2 * one.nbytes, queue_buffering_max_messages=ROOM)
        queue.accept(cookies(10_000_000))
        wait_until_sent(ledger)
        brokers.stall()
        spent = []
        for batch in [cookies(*range(start, start + 1000)) for start in range(0, 8000, 1000)]:
            started = time.perf_counter()
            queue.accept(batch)
            spent.append(time.perf_counter() - started)
        time.sleep(0.4)
        stalled = ledger.snapshot()[0]
        assert stalled.balanced and stalled.in_flight + stalled.dropped["queue"] == 8000
        assert stalled.dropped["queue"] >= 2000
        brokers.go_on()
        queue.close(patient(15))
        balance = ledger.snapshot()[0]
        found = Counter(cookies_of(message.value() for message in read(brokers.address, topic)))
    assert sorted(spent)[4] < patient(0.010)
    assert balance.balanced and dict(balance.dropped) == dict(stalled.dropped)
    assert len(found) == balance.accepted == 8001 - balance.dropped["queue"]
    assert set(found.values()) == {1}


def test_fault_62_the_trailer_of_a_poll_that_lost_rows_says_so() -> None:
    """`dropped` stands in the trailer that this sink gets."""
    seen = []

    class Told(Cookies):
        def end_poll(self, trailer):  # type: ignore[no-untyped-def]
            seen.append(trailer.flags)
            return []

    ledger = Ledger()
    with MockBrokers() as brokers:
        topic = brokers.topic("stalled")
        one = of_poll(cookies(*range(1000)), "h", 7)
        queue, _ = queued(
            ledger, brokers.address, topic, Told(), limit_bytes=one.nbytes, queue_buffering_max_messages="1000"
        )
        brokers.stall()
        for _ in range(6):
            queue.accept(one)
        queue.end_poll(trailer("h", 7))
        brokers.go_on()
        queue.close(patient(15))
    assert ledger.snapshot()[0].dropped["queue"] and ledger.balanced()
    assert seen == [("dropped",)]


def test_a_thousand_messages_are_handed_over_in_ten_milliseconds() -> None:
    """With brokers that answer nothing."""
    with MockBrokers() as brokers:
        topic = brokers.topic("t")
        ledger = Ledger()
        kafka = sink(ledger, brokers.address, topic)
        kafka.accept(cookies(1))
        kafka.flush(patient(10))
        brokers.stall()
        batch = cookies(*range(1000))
        spent = []
        for _ in range(5):
            started = time.perf_counter()
            kafka.accept(batch)
            spent.append(time.perf_counter() - started)
        assert kafka.ready
        started = time.monotonic()
        kafka.close(0.1)
        assert time.monotonic() - started < patient(1)
    assert min(spent) < patient(0.010)
    assert ledger.balanced() and dict(ledger.snapshot()[0].dropped) == {"closed": 5000}


def test_fault_63_dead_brokers_are_told_row_by_row_in_time() -> None:
    """Killed: each row is dropped as `_MSG_TIMED_OUT` when its time is over, and the error says what to look at."""
    ledger = Ledger()
    with MockBrokers() as brokers:
        kafka = sink(ledger, brokers.address, brokers.topic("t"), message_timeout_ms=f"{patient(1500):.0f}")
        kafka.accept(cookies(1))
        kafka.flush(patient(10))
        brokers.kill()
    kafka.accept(cookies(*range(1000)))
    assert ledger.snapshot()[0].in_flight == 1000 and ledger.balanced()
    started = time.monotonic()
    while ledger.snapshot()[0].in_flight:
        assert time.monotonic() - started < patient(10) and ledger.balanced()
        time.sleep(min(kafka.tick(), 0.1))
    assert dict(ledger.snapshot()[0].dropped) == {"_MSG_TIMED_OUT": 1000}
    assert "is up and can be reached" in str(kafka.error)
    kafka.close(1)


def test_fault_63_a_producer_that_fails_for_good_is_replaced() -> None:
    """A fatal error of idempotence: one new producer, counted; every row arrives."""
    ledger = Ledger()
    with MockBrokers() as brokers:
        topic = brokers.topic("t")
        kafka = sink(ledger, brokers.address, topic)
        kafka.accept(cookies(0))
        kafka.flush(patient(10))
        brokers.errors(PRODUCE, 45)  # OUT_OF_ORDER_SEQUENCE_NUMBER
        for number in range(1, 200):
            kafka.accept(cookies(number))
            kafka.tick()
        kafka.flush(patient(10))
        found = cookies_of(message.value() for message in read(brokers.address, topic))
        assert kafka.renewed == 1
        kafka.close(1)
    balance = ledger.snapshot()[0]
    assert balance.balanced and balance.accepted == 200 and not balance.dropped
    assert set(found) == set(range(200))


def test_fault_63_another_leader() -> None:
    """Refused by the old leader, sent to the new one, once."""
    ledger = Ledger()
    with MockBrokers() as brokers:
        topic = brokers.topic("t")
        brokers.leader(topic, 1)
        kafka = sink(ledger, brokers.address, topic)
        kafka.accept(cookies(0))
        kafka.flush(patient(10))
        brokers.leader(topic, 2)
        kafka.accept(cookies(*range(1, 100)))
        kafka.flush(patient(20))
        kafka.close(1)
        found = cookies_of(message.value() for message in read(brokers.address, topic))
    assert sorted(found) == list(range(100))
    assert ledger.snapshot()[0].accepted == 100 and ledger.balanced()


def test_fault_64_too_large_is_sent_again_in_halves_once() -> None:
    """The first message is refused once, the second and its halves too: those are dropped, by the error's name."""
    ledger = Ledger()
    with MockBrokers() as brokers:
        topic = brokers.topic("t")
        kafka = sink(ledger, brokers.address, topic, Cookies(10), max_in_flight_requests_per_connection="1")
        brokers.errors(PRODUCE, 10)  # MSG_SIZE_TOO_LARGE
        kafka.accept(cookies(*range(10)))
        kafka.flush(patient(10))
        assert ledger.snapshot()[0].accepted == 10 and kafka.error is None
        brokers.errors(PRODUCE, 10, 10, 10)
        kafka.accept(cookies(*range(10, 20)))
        kafka.flush(patient(10))
        kafka.close(1)
        messages = [cookies_of([message.value()]) for message in read(brokers.address, topic)]
    assert messages == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    balance = ledger.snapshot()[0]
    assert balance.balanced and dict(balance.dropped) == {"MSG_SIZE_TOO_LARGE": 10}
    assert "Raise max.message.bytes" in str(kafka.error)


def test_reports_that_come_after_the_end_count_nothing() -> None:
    """Dropped as `closed` is dropped; what a stalled broker takes later is nobody's."""
    ledger = Ledger()
    with MockBrokers() as brokers:
        topic = brokers.topic("t")
        kafka = sink(ledger, brokers.address, topic)
        kafka.accept(cookies(1))
        kafka.flush(patient(10))
        brokers.stall()
        kafka.accept(cookies(*range(100)))
        kafka.tick()
        kafka.close(0.2)
        before = ledger.snapshot()[0]
        brokers.go_on()
        time.sleep(0.2)
        kafka.close(1)
        kafka.tick()
    assert ledger.snapshot()[0] == before
    assert before.balanced and (before.accepted, dict(before.dropped)) == (1, {"closed": 100})
