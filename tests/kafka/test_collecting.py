"""A Kafka topic as an input: nothing is committed that has not arrived, and what comes again is known."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import xtcp
from tests.collect.sending import Kept, messages, sockets
from tests.kafka.broker import Broker
from tests.libraries import library
from tests.patience import patient
from xtcp.collect.checkpoints import EVERY_S, Checkpoints
from xtcp.collect.collector import Collector
from xtcp.collect.kafka_topic import GROUP, KafkaTopic, parsed
from xtcp.errors import ConfigurationError, ExitCode, Unavailable, UsageError
from xtcp.ledger import Ledger

confluent_kafka: Any = library("confluent_kafka")


def produce(servers: str, topic: str, values: list[bytes]) -> None:
    """Messages to a topic."""
    producer = confluent_kafka.Producer({"bootstrap.servers": servers})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(20) == 0


def committed(servers: str, topic: str, group: str = GROUP) -> int:
    """The offset that a group has committed."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": servers, "group.id": group})
    try:
        (place,) = consumer.committed([confluent_kafka.TopicPartition(topic, 0)], timeout=patient(20))
        return int(place.offset)
    finally:
        consumer.close()


@pytest.mark.kafka
def test_a_topic_to_a_file(broker: Broker, tmp_path: Path) -> None:
    """Envelopes, bare records and rubbish; ends when nothing comes; what arrived is committed and comes no more."""
    topic = broker.create("collected")
    values = [*messages("flat", sockets(range(300))), *messages("xtcp", sockets([300])), b"\xff" * 9, b""]
    produce(broker.address, topic, values)
    arguments = (
        "--from",
        f"kafka:{broker.address}/{topic}",
        "--max-idle",
        "3s",
        "--dest",
        f"file:{tmp_path}/rows.json",
    )
    done = xtcp("collect", *arguments)
    assert done.returncode == ExitCode.DAMAGED, done.stderr
    assert "2 messages set aside" in done.stderr.decode()
    assert len((tmp_path / "rows.json").read_text().splitlines()) == 301
    assert committed(broker.address, topic) == len(values)
    produce(broker.address, topic, messages("flat", sockets([400])))
    done = xtcp("collect", *arguments)
    assert done.returncode == ExitCode.OK, done.stderr
    assert len((tmp_path / "rows.json").read_text().splitlines()) == 1


@pytest.mark.kafka
def test_what_was_not_accepted_comes_again(broker: Broker) -> None:
    """A collector that dies before its rows arrived commits nothing; the next one gets all of them, and tells those
    that it has twice.
    """
    topic = broker.create("again")
    values = messages("flat", sockets(range(50)), limit=400)
    produce(broker.address, topic, values)
    wanted = parsed(f"{broker.address}/{topic}", {"group.id": "again"})
    for settle in (False, True):
        source = KafkaTopic(wanted)
        sink = Kept()
        collector = Collector(sink)
        deadline = time.monotonic() + patient(30)
        while len(sink.cookies()) < 50 and time.monotonic() < deadline:
            arrivals = source.take(0.2)
            assert arrivals is not None
            collector.take(arrivals)
        assert sorted(sink.cookies()) == list(range(50))
        if settle:
            source.settle(source.mark())
        source.close()
    assert committed(broker.address, topic, "again") == len(values)


@pytest.mark.kafka
def test_topics_and_options_that_are_not_there(broker: Broker) -> None:
    """A missing topic is said at once; so is an option that librdkafka has not."""
    with pytest.raises(Unavailable, match="no such topic"):
        KafkaTopic(parsed(f"{broker.address}/missing", {}))
    with pytest.raises(ConfigurationError, match="No such configuration property"):
        KafkaTopic(parsed(f"{broker.address}/missing", {"no.such": "1"}))


def test_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said after its patience, with what librdkafka heard."""
    monkeypatch.setattr("xtcp.collect.kafka_topic.PATIENCE_S", 0.5)
    with pytest.raises(Unavailable, match="can be reached"):
        KafkaTopic(parsed("127.0.0.1:1/topic", {}))
    with pytest.raises(UsageError):
        parsed("127.0.0.1:1", {})


class Marked:
    """An input that only counts."""

    def __init__(self) -> None:
        self.taken, self.settled = 0, 0

    def mark(self) -> object:
        """How far."""
        return self.taken

    def settle(self, mark: object) -> None:
        """So far."""
        assert isinstance(mark, int)
        self.settled = mark


def test_a_checkpoint_is_reached_when_every_sink_has_accepted() -> None:
    """Not before, not for a sink that lags, and never once a row was dropped."""
    now, source, ledger = [0.0], Marked(), Ledger()
    quick, slow = ledger.open("quick"), ledger.open("slow")
    held = [0]
    slow.ask(lambda: held[0])
    points = Checkpoints(source, ledger, clock=lambda: now[0])  # type: ignore[arg-type]

    def step(rows: int) -> None:
        source.taken += rows
        quick.offer(rows)
        quick.accept(rows)
        with slow:
            slow.offer(rows)
            held[0] += rows
        now[0] += EVERY_S
        points.tick()

    step(5)
    step(5)
    assert source.settled == 0
    with slow:
        held[0] -= 5
        slow.accept(5)
    points.tick()
    assert source.settled == 5
    step(5)
    with slow:
        held[0] -= 10
        slow.accept(10)
    points.tick()
    assert source.settled == 10
    assert points.end()
    assert source.settled == 15
    step(5)
    with slow:
        held[0] -= 5
        slow.drop(5, "ENOSPC")
    for _ in range(3):  # as many more are accepted as were dropped
        step(5)
        with slow:
            held[0] -= 5
            slow.accept(5)
    points.tick()
    assert not points.end()
    assert source.settled == 15
