"""Messages that a test can read without a decoder, and sinks that send them."""

# ruff: noqa: D102 - the Protocol says what they do
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from xtcp.batch import Batch
from xtcp.ledger import Account, Ledger
from xtcp.poll.trailer import Trailer
from xtcp.sinks.destination import Destination
from xtcp.sinks.kafka.messages import Message
from xtcp.sinks.kafka.producer import Kafka
from xtcp.sinks.kafka.target import target
from xtcp.sinks.queued import Queued


class Cookies:
    """Cookies in decimal, `rows` a message, padded to `size` bytes."""

    def __init__(self, rows: int = 1, size: int = 0) -> None:
        self._rows = rows
        self._size = size

    def of(self, batch: Batch) -> list[Message]:
        numbers = np.asarray(batch.columns["idiag_cookie"]).tolist()
        parts = [numbers[i : i + self._rows] for i in range(0, len(numbers), self._rows)]
        return [Message(self._value(part), len(part), batch.context.hostname) for part in parts]

    def end_poll(self, trailer: Trailer) -> list[Message]:
        return []

    def halves(self, message: Message) -> list[Message]:
        numbers = cookies_of([message.value])
        if len(numbers) < 2:
            return []
        cut = len(numbers) // 2
        size = self._size * cut // len(numbers)
        parts = (numbers[:cut], numbers[cut:])
        return [Message(" ".join(map(str, p)).encode().ljust(size), len(p), message.key, None, True) for p in parts]

    def _value(self, numbers: list[int]) -> bytes:
        return " ".join(map(str, numbers)).encode().ljust(self._size)


def cookies_of(values: Iterable[bytes | None]) -> list[int]:
    """The cookies in messages, in their order."""
    return [int(word) for value in values for word in (value or b"").split()]


def sink(ledger: Ledger, servers: str, topic: str, form: Cookies | None = None, **options: str) -> Kafka:
    """The sink alone; `_` in the names of options stand for dots."""
    return _made(ledger.open("kafka"), servers, topic, form, options)


def queued(
    ledger: Ledger, servers: str, topic: str, form: Cookies | None = None, limit_bytes: int = 1 << 20, **options: str
) -> tuple[Queued, list[Kafka]]:
    """The sink behind its queue, and the sinks that were made there."""
    made: list[Kafka] = []

    def make(account: Account) -> Kafka:
        made.append(_made(account, servers, topic, form, options))
        return made[-1]

    return Queued(make, ledger.open("kafka"), limit_bytes=limit_bytes), made


def _made(account: Account, servers: str, topic: str, form: Cookies | None, options: dict[str, str]) -> Kafka:
    named = {name.replace("_", "."): value for name, value in options.items()}
    meant = target(Destination("kafka", f"{servers}/{topic}", {"batch.num.messages": "1", **named}))
    return Kafka(meant, account, form or Cookies())


def of_poll(batch: Batch, hostname: str, poll_id: int) -> Batch:
    """The rows as those of a poll."""
    return replace(batch, context=replace(batch.context, hostname=hostname, poll_id=poll_id))


def trailer(hostname: str, poll_id: int, rows: int = 0) -> Trailer:
    """The end of a poll in which nothing happened."""
    return Trailer(hostname, "boot", poll_id, "", "6.1", "<", 0, 0, 0, 0, 1, rows, rows, 0, 0, 0, 0, 0)
