"""The header and the trailer of our envelopes, read back."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xtcp.poll.trailer import FLAGS, Trailer
from xtcp.records.envelope_messages import COUNT, HEADER, TRAILER
from xtcp.records.model import Message, Nested, RecordField
from xtcp.records.reading.plain import PlainField, read_fields
from xtcp.records.reading.slots import Slot, SlotReader
from xtcp.records.reading.varints import Ints, Varints
from xtcp.records.reading.walk import BYTES, VARINT
from xtcp.spelling import cleaned

# A kernel has a few dozen attributes.
MOST_COUNTS: Final = 256

_HEADER: Final = SlotReader([
    Slot(field.name, (field.number,), BYTES if field.type == "string" else VARINT)
    for field in HEADER.fields
    if isinstance(field, RecordField)
])  # fmt: skip
_NUMBERS: Final = {field.name: field.number for field in COUNT.fields}
_SIGNED: Final = frozenset(f.name for f in TRAILER.fields if isinstance(f, RecordField) and f.type == "int64")
_TEXTS: Final = frozenset(f.name for f in TRAILER.fields if isinstance(f, RecordField) and f.type == "string")
_KNOWN: Final = frozenset(field.name for field in fields(Trailer))


@dataclass(frozen=True)
class Headers:
    """Of n envelopes: stream and sequence u64 (n,); `fault` int64 (n,), -1: none."""

    stream: NDArray[np.uint64]
    sequence: NDArray[np.uint64]
    fault: Ints


def read_headers(varints: Varints, starts: Ints, ends: Ints) -> Headers:
    """The headers `data[start:end]`."""
    found = _HEADER.read(varints, starts, ends)
    return Headers(found.scalars["stream"], found.scalars["sequence"], found.fault)


def read_trailer(data: bytes) -> Trailer | None:
    """The trailer that a message's bytes are, None where they are none."""
    found, fault = read_fields(data, 0, len(data))
    if fault is not None:
        return None
    values: dict[str, Any] = {name: "" if name in _TEXTS else 0 for name in _KNOWN}
    counts: dict[str, dict[str, int]] = {"unknown": {}, "surplus": {}}
    flags: set[str] = set()
    names = {field.number: field for field in TRAILER.fields}
    for one in found:
        field = names.get(one.number)
        if field is None:
            continue
        if (one.wire == BYTES) != (isinstance(field, Nested) or field.type == "string") or one.wire not in (
            BYTES,
            VARINT,
        ):
            return None
        if isinstance(field, Nested):
            _count(data, one, counts[field.name])
        elif field.name == "flags":
            flags.add(_text(data, one))
        elif field.name in _TEXTS:
            values[field.name] = _text(data, one)
        elif field.name in _SIGNED:
            values[field.name] = one.value - (one.value >> 63 << 64)
        elif one.value >> 63 and field.name != "poll_id":
            return None  # no count is so large, and whoever adds it up has 63 bits
        else:
            values[field.name] = one.value
    values |= counts
    values["flags"] = tuple(flag for flag in FLAGS if flag in flags)
    return Trailer(**{name: value for name, value in values.items() if name in _KNOWN})


def _count(data: bytes, where: PlainField, into: dict[str, int]) -> None:
    found, fault = read_fields(data, where.value, where.value + where.length)
    if fault is not None or len(into) >= MOST_COUNTS:
        return
    name, count = "", 0
    for one in found:
        if one.number == _NUMBERS["name"] and one.wire == BYTES:
            name = _text(data, one)
        elif one.number == _NUMBERS["count"] and one.wire == VARINT:
            count = one.value
    into[name] = count


def _text(data: bytes, where: PlainField) -> str:
    return cleaned(data[where.value : where.value + where.length].decode("utf-8", "replace"))


def _check(message: Message) -> None:
    """The table and the class say the same."""
    missing = {field.name for field in message.fields} - _KNOWN
    if missing:
        raise TypeError(f"a trailer has no {', '.join(sorted(missing))}")


_check(TRAILER)
