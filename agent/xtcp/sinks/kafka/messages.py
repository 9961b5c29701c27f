"""What stands in the messages of a topic: envelopes of records, or bare xtcp records, one a message.

The key is the host's name, so that a host's rows stay in their order. An envelope that a topic finds too large is cut
in two between its records; from then on envelopes are made no larger than its halves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from xtcp.records import varints
from xtcp.records.layouts import LAYOUTS

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer
    from xtcp.sinks.record_choice import RecordChoice

OVERSIZE: Final = "oversize"

# Brokers take 1 MiB by default, with what they put around a message.
LIMIT_BYTES: Final = 900_000
LEAST_LIMIT_BYTES: Final = 1_000

Headers: TypeAlias = "list[tuple[str, str | bytes | None]] | None"


class Message(NamedTuple):
    """A message of `rows` rows; `again`: it is sent a second time. A row that fits no message has an empty `value`."""

    value: bytes
    rows: int
    key: str | bytes | None = None
    headers: Headers = None
    again: bool = False


class Messages(Protocol):
    """Batches and trailers to messages."""

    def of(self, batch: Batch) -> list[Message]:
        """All rows of `batch`."""
        ...

    def end_poll(self, trailer: Trailer) -> list[Message]:
        """The trailer, where it has a place."""
        ...

    def halves(self, message: Message) -> list[Message]:
        """`message`, which is too large for its topic, as two smaller ones; none where it cannot be cut."""
        ...


class Enveloped:
    """Envelopes of records of a layout (`xtcp.records`)."""

    def __init__(self, records: RecordChoice) -> None:
        self._chosen = records
        self._limit = LIMIT_BYTES
        form = LAYOUTS[records.layout].envelope
        self._record_tag = 0 if form is None else form.record << 3 | varints.LENGTH
        self._begin()

    def _begin(self) -> None:
        """A stream of envelopes; its number stands in them too, and counts from 0."""
        self._envelopes = self._chosen.envelopes(self._limit)
        self._headers: Headers = [
            ("xtcp-record", self._chosen.layout),
            ("xtcp-stream", f"{self._envelopes.stream:016x}"),
        ]

    def of(self, batch: Batch) -> list[Message]:
        """An envelope a message."""
        key = batch.context.hostname
        return [Message(packet.data, packet.rows, key, self._headers) for packet in self._envelopes.cut(batch)]

    def end_poll(self, trailer: Trailer) -> list[Message]:
        """In an envelope of its own."""
        packet = self._envelopes.end_poll(trailer)
        if packet is None or packet.oversize:
            return []
        return [Message(packet.data, 0, trailer.hostname, self._headers)]

    def halves(self, message: Message) -> list[Message]:
        """Cut between records. The second half has no header: it is no envelope of the stream that another counts."""
        smaller = max(len(message.value) // 2, LEAST_LIMIT_BYTES)
        if smaller < self._limit:
            self._limit = smaller
            self._begin()
        records, others = _parted(message.value, self._record_tag)
        if len(records) < 2:
            return []
        cut = len(records) // 2
        return [
            message._replace(value=_delimited([*records[:cut], *others]), rows=cut, again=True),
            message._replace(value=_delimited(records[cut:]), rows=len(records) - cut, again=True),
        ]


class Bare:
    """xtcp records, each a message by itself, as xTCP's forwarder has them."""

    def __init__(self, records: RecordChoice) -> None:
        self._encoder = records.encoder()

    def of(self, batch: Batch) -> list[Message]:
        """A record a message."""
        encoded = self._encoder.encode(batch)
        data, key = encoded.data.tobytes(), batch.context.hostname
        places = zip(encoded.starts.tolist(), encoded.ends.tolist(), strict=True)
        return [Message(data[start:end], 1, key) for start, end in places]

    def end_poll(self, trailer: Trailer) -> list[Message]:  # noqa: ARG002 - a bare record has no place for it
        """None."""
        return []

    def halves(self, message: Message) -> list[Message]:  # noqa: ARG002 - a row is not cut
        """None."""
        return []


def messages(records: RecordChoice) -> Messages:
    """For what a destination asks for."""
    return Bare(records) if records.bare else Enveloped(records)


def _parted(envelope: bytes, record_tag: int) -> tuple[list[bytes], list[bytes]]:
    """The fields of an envelope of our own making, all of bytes: its records, and the others."""
    records: list[bytes] = []
    others: list[bytes] = []
    at = _varint(envelope, 0)[1]
    while at < len(envelope):
        tag, behind = _varint(envelope, at)
        length, begin = _varint(envelope, behind)
        (records if tag == record_tag else others).append(envelope[at : begin + length])
        at = begin + length
    return records, others


def _delimited(fields: Iterable[bytes]) -> bytes:
    body = b"".join(fields)
    return varints.varint(len(body)) + body


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    value = shift = 0
    while data[at] > 127:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
    return value | data[at] << shift, at + 1
