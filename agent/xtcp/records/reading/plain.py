"""Reading one message plainly, byte after byte: for what comes seldom, and as the oracle of tests and fuzzing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from xtcp.records.reading import varints
from xtcp.records.reading import walk as wire_format
from xtcp.records.reading.slots import WRONG_WIRE_TYPE


@dataclass(frozen=True)
class PlainField:
    """A field: number, wire type; the value, or of wire type 2 the offset of its payload and its length."""

    number: int
    wire: int
    value: int
    length: int = 0


class _Fault(Exception):
    def __init__(self, at: int, reason: str) -> None:
        self.at, self.reason = at, reason


def read_fields(data: bytes, start: int, end: int) -> tuple[list[PlainField], tuple[int, str] | None]:
    """The fields of the message `data[start:end]` up to its end or its first fault; where and what that is, or None.

    A fault in a run of varint fields that the end cuts is said of the run's begin, as the walk does.
    """
    fields: list[PlainField] = []
    at = run = start
    try:
        while at < end:
            begin = at
            tag, at = _varint(data, at, end, run)
            if at - begin > varints.LONGEST_TAG:
                raise _Fault(begin, wire_format.TOO_LONG)
            number, wire = tag >> 3, tag & 7
            if number == 0 or tag > varints.LARGEST_TAG:
                raise _Fault(begin, wire_format.BAD_TAG)
            match wire:
                case wire_format.VARINT:
                    value_at = at
                    value, at = _varint(data, at, end, run)
                    if at - value_at > varints.LONGEST:
                        raise _Fault(begin, wire_format.TOO_LONG)
                    fields.append(PlainField(number, wire, value))
                    continue
                case wire_format.FIXED64 | wire_format.FIXED32:
                    size = 8 if wire == wire_format.FIXED64 else 4
                    if end - at < size:
                        raise _Fault(begin, wire_format.CUT)
                    fields.append(PlainField(number, wire, int.from_bytes(data[at : at + size], "little")))
                    at += size
                case wire_format.BYTES:
                    length_at = at
                    length, at = _varint(data, at, end, begin)
                    if at - length_at > varints.LONGEST_TAG:
                        raise _Fault(begin, wire_format.TOO_LONG)
                    if length > end - at:
                        raise _Fault(begin, wire_format.BEYOND)
                    fields.append(PlainField(number, wire, at, length))
                    at += length
                case 3 | 4:
                    raise _Fault(begin, wire_format.GROUP)
                case _:
                    raise _Fault(begin, wire_format.WIRE_TYPE)
            run = at
    except _Fault as fault:
        return fields, (fault.at, fault.reason)
    return fields, None


def _varint(data: bytes, at: int, end: int, run: int) -> tuple[int, int]:
    """A varint and where it ends; of a longer one what its first 10 bytes say, in 64 bits."""
    value = 0
    for byte in range(end - at):
        if byte < varints.LONGEST:
            value |= (data[at + byte] & 0x7F) << 7 * byte
        if data[at + byte] < 0x80:
            return value & (1 << 64) - 1, at + byte + 1
    raise _Fault(run, wire_format.CUT)


def read_slots(
    data: bytes,
    start: int,
    end: int,
    slots: Mapping[tuple[int, ...], Collection[int]],
    nests: Collection[tuple[int, ...]],
) -> tuple[dict[tuple[tuple[int, ...], int], int | bytes], str | None]:
    """What the message `data[start:end]` has in `slots`, paths of field numbers with their wire types: by path and wire
    type the last value, or the payload. And why it is set aside, None where it is not: its first fault, level by level,
    what is malformed before what has a wrong wire type.
    """
    values: dict[tuple[tuple[int, ...], int], int | bytes] = {}
    reasons: list[str] = []
    level: list[tuple[tuple[int, ...], int, int]] = [((), start, end)]
    while level:
        inner, wrong = [], []
        for path, begin, until in level:
            fields, fault = read_fields(data, begin, until)
            if fault is not None:
                reasons.append(fault[1])
            for field in fields:
                here = (*path, field.number)
                if here in nests and field.wire == wire_format.BYTES:
                    inner.append((here, field.value, field.value + field.length))
                elif field.wire in slots.get(here, ()):
                    payload = data[field.value : field.value + field.length]
                    values[here, field.wire] = payload if field.wire == wire_format.BYTES else field.value
                elif here in slots or here in nests:
                    wrong.append(WRONG_WIRE_TYPE)
        reasons += wrong
        level = inner
    return values, reasons[0] if reasons else None
