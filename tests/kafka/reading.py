"""Topics read back, to the end, and what stands in their messages."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, Message, TopicPartition

from tests.patience import patient


def read(servers: str, topic: str, **options: str) -> list[Message]:
    """All messages of a topic, partition by partition."""
    settings = {name.replace("_", "."): value for name, value in options.items()}
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "tests", "enable.auto.commit": False, "log_level": 0, **settings}
    )
    try:
        partitions = consumer.list_topics(topic, timeout=patient(20)).topics[topic].partitions
        found: list[Message] = []
        for number in sorted(partitions):
            found += _partition(consumer, topic, number)
        return found
    finally:
        consumer.close()


def _partition(consumer: Consumer, topic: str, number: int) -> list[Message]:
    place = TopicPartition(topic, number, 0)
    first, end = consumer.get_watermark_offsets(place, timeout=patient(20))
    place.offset = first
    consumer.assign([place])
    found: list[Message] = []
    until = time.monotonic() + patient(30)
    while first < end and consumer.position([place])[0].offset < end:
        assert time.monotonic() < until, f"{topic}/{number}: {len(found)} messages, the end is {end}"
        found += [message for message in consumer.consume(1000, 0.2) if message.error() is None]
    consumer.unassign()
    return found


def unframed(message: bytes) -> bytes:
    """What stands behind the varint that a message begins with, which is its length."""
    length = shift = at = 0
    while message[at] > 127:
        length |= (message[at] & 127) << shift
        shift, at = shift + 7, at + 1
    assert length | message[at] << shift == len(message) - at - 1
    return message[at + 1 :]
