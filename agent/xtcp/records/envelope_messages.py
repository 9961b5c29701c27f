"""The messages around the records: the envelope of a layout, and our own header and trailer in it.

The header says who sends, and which envelope of its stream this is, so that a receiver can tell what was lost.
The trailer is `poll.trailer.Trailer`, field by field; it comes with the last envelope of a poll, or alone in one.

Numbers are permanent, as those of `schema.tags`. ClickHouse's `ProtobufList` takes every field of an envelope for a
record, whatever its number (seen with 26.9), so what a header or a trailer has in common with a record has the number
and type that it has there, and all else numbers that no record has: so read, each is a row without a family, which the
DDL leaves out, and never an error.
"""

from __future__ import annotations

from typing import Final

from xtcp.records.model import Layout, Message, Nested, RecordField, Scalar


def _fields(scalar: Scalar, rows: str, *, repeated: bool = False) -> tuple[RecordField, ...]:
    """Fields of one type, `number name` each."""
    pairs = (row.split() for row in rows.split(";"))
    return tuple(RecordField(int(number), name, scalar, repeated=repeated) for number, name in pairs)


HEADER: Final = Message(
    "Header",
    (
        RecordField(2, "hostname", "string", comment="the host that sends"),
        RecordField(1801, "stream", "uint64", comment="drawn at random whenever a sender begins"),
        RecordField(1802, "sequence", "uint64", comment="number of the envelope in its stream, from 0"),
    ),
    "Who sends, and which envelope of its stream this is.",
)

COUNT: Final = Message(
    "Count",
    (RecordField(1, "name", "string"), RecordField(2, "count", "uint64")),
    "How often something occurred.",
)

TRAILER: Final = Message(
    "Trailer",
    (
        *_fields("string", "2 hostname; 3 netns"),
        *_fields("uint64", "4 poll_id"),
        *_fields("string", "1901 boot_id; 1902 release; 1903 byte_order"),
        *_fields("int64", "1904 wall_start_ns; 1905 wall_end_ns; 1906 monotonic_start_ns; 1907 monotonic_end_ns"),
        *_fields("uint64", "1908 dumps; 1909 messages; 1910 rows; 1911 duplicates; 1912 quarantined; 1913 damaged"),
        *_fields("uint64", "1914 control; 1915 forged"),
        Nested(1916, "unknown", COUNT, "attributes that the agent does not know, by path", repeated=True),
        Nested(1917, "surplus", COUNT, "payloads longer than the struct known, by path", repeated=True),
        *_fields("string", "1918 flags", repeated=True),
        *_fields("int64", "1919 suspended_ns"),
    ),
    "The end of a poll: what the kernel sent and what became of it. No flag: complete as far as the kernel tells.",
)


def envelope_of(layout: Layout) -> Message | None:
    """The message that holds many records of `layout`; None where there is none."""
    form = layout.envelope
    if form is None:
        return None
    fields = [Nested(form.record, form.record_name, layout.record, repeated=True)]
    if form.header is not None:
        fields.append(Nested(form.header, "header", HEADER))
    if form.trailer is not None:
        fields.append(Nested(form.trailer, "trailer", TRAILER))
    comment = "Many records. On the wire and in files its length stands before it, as a varint."
    return Message(form.name, tuple(sorted(fields, key=lambda field: field.number)), comment)


def messages_of(layout: Layout) -> tuple[Message, ...]:
    """All message types of `layout`, each before those that hold it: the record or the envelope is the last."""
    found: dict[str, Message] = {}

    def gather(message: Message) -> None:
        for field in message.fields:
            if isinstance(field, Nested):
                gather(field.message)
        found.setdefault(message.name, message)

    gather(layout.record)
    envelope = envelope_of(layout)
    if envelope is not None:
        gather(envelope)
    return tuple(found.values())
