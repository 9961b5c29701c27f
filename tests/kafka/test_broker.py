"""The sink and a real broker: it dies and comes back, refuses what is too large, a topic that is missing, a login."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kafka.broker import PASSWORD, USER, Broker
from tests.kafka.reading import read
from tests.kafka.standins import Cookies, cookies_of, queued, sink
from tests.patience import patient
from tests.sinks.standins import cookies
from xtcp.errors import ConfigurationError, PermissionMissing, Unavailable
from xtcp.ledger import Ledger

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


@pytest.mark.parametrize("end", [Broker.kill, Broker.stop], ids=["killed", "stopped"])
def test_fault_63_a_broker_that_dies_and_comes_back_has_every_row_once(
    broker: Broker, end: Callable[[Broker], None]
) -> None:
    """Inside the time of a message nothing is lost, and nothing stands in the topic twice."""
    topic = broker.create(f"restart-{end.__name__}", 3)
    ledger = Ledger()
    queue, made = queued(ledger, broker.address, topic, Cookies(5, 400), limit_bytes=64 << 20)
    total, stopped = 0, False
    for number in range(60):
        queue.accept(cookies(*range(total, total + 500), hostname=f"host-{number % 7}"))
        total += 500
        time.sleep(0.01)
        if number == 20:
            end(broker)
            stopped = True
        assert ledger.balanced()
    assert stopped and ledger.snapshot()[0].in_flight
    broker.start()
    queue.flush(60)
    queue.close(5)
    balance = ledger.snapshot()[0]
    assert balance.balanced and balance.accepted == total == 30_000 and not balance.dropped
    found = Counter(cookies_of(message.value() for message in read(broker.address, topic)))
    assert set(found) == set(range(total)) and set(found.values()) == {1}
    assert made[0].renewed == 0 and made[0].error is None


def test_fault_64_a_topic_with_a_lower_limit_gets_halves(broker: Broker) -> None:
    """What the broker refuses as too large arrives in two messages; `error` stays empty, for nothing was lost."""
    topic = broker.create("small")
    ledger = Ledger()
    kafka = sink(ledger, broker.address, topic, Cookies(10, 40_000), compression_type="none")
    kafka.accept(cookies(*range(10)))
    kafka.flush(20)
    broker.alter(topic, "max.message.bytes", "30000")
    kafka.accept(cookies(*range(10, 30)))
    kafka.flush(20)
    kafka.close(5)
    messages = [cookies_of([message.value()]) for message in read(broker.address, topic)]
    assert [len(message) for message in messages] == [10, 5, 5, 5, 5]
    assert sorted(cookie for message in messages for cookie in message) == list(range(30))
    balance = ledger.snapshot()[0]
    assert balance.balanced and balance.accepted == 30 and kafka.error is None


def test_fault_64_a_row_that_no_topic_takes_is_dropped_by_name(broker: Broker) -> None:
    """A half that is still too large; what to raise is said."""
    topic = broker.create("smallest", max_message_bytes="1000")
    ledger = Ledger()
    kafka = sink(ledger, broker.address, topic, Cookies(2, 40_000), compression_type="none")
    kafka.accept(cookies(1, 2))
    kafka.flush(20)
    kafka.close(5)
    balance = ledger.snapshot()[0]
    assert balance.balanced and dict(balance.dropped) == {"MSG_SIZE_TOO_LARGE": 2}
    assert isinstance(kafka.error, ConfigurationError) and topic in str(kafka.error)


def test_fault_63_a_topic_that_is_missing(broker: Broker) -> None:
    """Its rows are dropped by the error's name, and how to make it is said."""
    ledger = Ledger()
    kafka = sink(ledger, broker.address, "missing", topic_metadata_propagation_max_ms="500")
    for number in range(3):
        kafka.accept(cookies(number))
        kafka.flush(20)
    kafka.close(1)
    balance = ledger.snapshot()[0]
    assert balance.balanced and sum(balance.dropped.values()) == 3
    assert set(balance.dropped) <= {"_UNKNOWN_TOPIC", "UNKNOWN_TOPIC_OR_PART"}
    assert isinstance(kafka.error, Unavailable) and "kafka-topics.sh" in str(kafka.error)


def test_fault_63_a_login_that_is_refused(
    broker: Broker, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The error says it long before a row times out; no password is logged, and no line goes raw to standard error."""
    ledger = Ledger()
    topic = broker.create("login")
    with caplog.at_level(logging.DEBUG):
        kafka = sink(
            ledger,
            broker.sasl,
            topic,
            security_protocol="sasl_plaintext",
            sasl_mechanism="PLAIN",
            sasl_username=USER,
            sasl_password="hunter2",
            message_timeout_ms="3000",
        )
        kafka.accept(cookies(1))
        end = time.monotonic() + patient(10)
        while kafka.error is None and time.monotonic() < end:
            time.sleep(min(kafka.tick(), 0.1))
        assert isinstance(kafka.error, PermissionMissing) and "sasl.password.file" in str(kafka.error)
        assert ledger.snapshot()[0].in_flight == 1
        kafka.flush(10)
        kafka.close(1)
    assert dict(ledger.snapshot()[0].dropped) == {"_MSG_TIMED_OUT": 1} and ledger.balanced()
    said = capfd.readouterr()
    assert said.err == "" and "SASL" in caplog.text
    assert "hunter2" not in caplog.text + str(kafka.error)


def test_a_login_with_a_password_from_a_file_over_a_listener_that_asks_for_it(broker: Broker, tmp_path: Path) -> None:
    """The first line of the file, whatever characters it has."""
    (tmp_path / "password").write_text(PASSWORD + "\n")
    topic = broker.create("welcome")
    ledger = Ledger()
    kafka = sink(
        ledger,
        broker.sasl,
        topic,
        security_protocol="sasl_plaintext",
        sasl_mechanism="PLAIN",
        sasl_username=USER,
        sasl_password_file=str(tmp_path / "password"),
    )
    kafka.accept(cookies(1))
    kafka.close(20)
    assert ledger.snapshot()[0].accepted == 1
    assert cookies_of(message.value() for message in read(broker.address, topic)) == [1]


def test_tls(broker: Broker) -> None:
    """librdkafka's own options: with the broker's certificate rows arrive, without it none does."""
    topic = broker.create("tls")
    ledger = Ledger()
    trusting = sink(ledger, broker.tls, topic, security_protocol="ssl", ssl_ca_location=str(broker.certificate))
    trusting.accept(cookies(1))
    trusting.close(20)
    doubting = sink(ledger, broker.tls, topic, security_protocol="ssl", message_timeout_ms="1500")
    doubting.accept(cookies(2))
    doubting.close(10)
    assert [balance.accepted for balance in ledger.snapshot()] == [1, 0] and ledger.balanced()
    assert "certificate verify failed" in str(doubting.error)
    assert cookies_of(message.value() for message in read(broker.address, topic)) == [1]
