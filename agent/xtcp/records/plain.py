"""One message at a time, in plain Python: headers and trailers, of which a poll has few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xtcp.records import varints
from xtcp.records.fields import text_bytes
from xtcp.records.model import Message, Nested, Presence, RecordField


def encoded(message: Message, values: Mapping[str, Any]) -> bytes:
    """`message` with `values` by field name; a repeated field's is a sequence, a nested one's again a mapping."""
    return b"".join(_field(field, values[field.name]) for field in message.fields if field.name in values)


def _field(field: RecordField | Nested, value: Any) -> bytes:
    each: Sequence[Any] = value if field.repeated else [value]
    if isinstance(field, Nested):
        return b"".join(delimited(field.number, encoded(field.message, one)) for one in each)
    always = field.repeated or field.presence is Presence.GIVEN
    return b"".join(_scalar(field, one) for one in each if one or always)


def _scalar(field: RecordField, value: Any) -> bytes:
    if field.type == "string":
        return delimited(field.number, text_bytes(value))
    if field.type == "bytes":
        return delimited(field.number, value)
    return varints.tag(field.number, varints.VARINT) + varints.varint(int(value) & 0xFFFF_FFFF_FFFF_FFFF)


def delimited(number: int, data: bytes) -> bytes:
    """A field of bytes."""
    return varints.tag(number, varints.LENGTH) + varints.varint(len(data)) + data
