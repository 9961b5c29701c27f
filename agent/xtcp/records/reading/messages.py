"""What a message is that came from outside: a bare record, or an envelope of many, of which layout.

A message is what a datagram, a Kafka value or a frame of a file holds. Nothing in it says what it is, so it is told by
what can only be there:

1. Its first varint is the length of all that follows: that is an envelope, or a record with its length before it;
   else it is a record by itself. (xTCP's records begin with tag 10 and are longer than 11 bytes.)
2. A field 10 of wire type 2 is a row of an xtcp2 envelope, one of wire type 0 or 1 the time of an xtcp2 record; fields
   of number 100 and above are those of an xtcp record; all else is our envelope.

The records of an envelope are found, and counted against the limit, before a byte of them is read. An envelope that is
damaged itself is set aside whole, for there is no telling which of its rows are; a damaged record in a good one costs
nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.records.layouts import LAYOUTS
from xtcp.records.reading.slots import WRONG_WIRE_TYPE
from xtcp.records.reading.varints import Ints, Varints
from xtcp.records.reading.walk import FIXED64, REASONS, VARINT, Fields, walk

EMPTY: Final = "empty"
TOO_MANY_ROWS: Final = "too many rows"
MESSAGE_REASONS: Final = (*REASONS, WRONG_WIRE_TYPE, EMPTY, TOO_MANY_ROWS)

_XTCP_FIELDS: Final = 100
_XTCP2_TIME: Final = 10


class Form(IntEnum):
    """What a message is."""

    XTCP = 0
    FLAT = 1
    XTCP2 = 2
    XTCP2_RECORD = 3


def _numbers() -> tuple[tuple[int, int, int], Ints]:
    """Row, header and trailer of our envelope; the row's number by form, -1 for what has no rows inside."""
    ours, xtcp2 = LAYOUTS["flat"].envelope, LAYOUTS["xtcp2-2"].envelope
    assert ours is not None and ours.header is not None and ours.trailer is not None and xtcp2 is not None
    rows = np.full(len(Form), -1, np.int64)
    rows[Form.FLAT], rows[Form.XTCP2] = ours.record, xtcp2.record
    return (ours.record, ours.header, ours.trailer), rows


_OURS, _ROW = _numbers()


@dataclass(frozen=True)
class Messages:
    """n messages. `form` int64 (n,) are `Form`s; `fault` int64 (n,): -1, or the place of the reason in
    `MESSAGE_REASONS`.

    Record i is `data[start[i]:end[i]]`, of message `message[i]`; offsets ascend. `header` and `trailer` are where the
    payload of a message's header and trailer is, int64 (n, 2), both 0 where there is none.
    """

    form: Ints
    fault: Ints
    message: Ints
    start: Ints
    end: Ints
    header: Ints
    trailer: Ints


def read_messages(varints: Varints, starts: Ints, ends: Ints, most_rows: int) -> Messages:
    """The messages `data[start:end]` of the buffer that `varints` are of; an envelope has at most `most_rows` rows."""
    body = _bodies(varints, starts, ends)
    fields = walk(varints, body, ends)
    form = _forms(fields, len(starts), body != starts)
    fault = np.full(len(starts), -1, np.int64)
    enveloped = (form == Form.FLAT) | (form == Form.XTCP2)
    # A bare record's faults are found where it is read.
    bad = fields.faulty.chain[enveloped[fields.faulty.chain]]
    fault[bad] = fields.faulty.reason[enveloped[fields.faulty.chain]]
    # Of the fields of envelopes only our own may be mistaken for something: in xtcp2's a 10 is always a row.
    wrong = (fields.scalars.number <= max(_OURS)) & (form[fields.scalars.chain] == Form.FLAT)
    wrong &= fault[fields.scalars.chain] < 0
    fault[fields.scalars.chain[wrong]] = MESSAGE_REASONS.index(WRONG_WIRE_TYPE)
    pieces = fields.pieces
    row = enveloped[pieces.chain] & (pieces.number == _ROW[form[pieces.chain]])
    count = np.bincount(pieces.chain[row], minlength=len(starts))
    fault[count > most_rows] = MESSAGE_REASONS.index(TOO_MANY_ROWS)
    fault[ends == body] = MESSAGE_REASONS.index(EMPTY)
    row &= fault[pieces.chain] < 0
    alone = np.flatnonzero(~enveloped & (fault < 0))
    message = np.concatenate([pieces.chain[row], alone])
    start = np.concatenate([pieces.offset[row], body[alone]])
    end = np.concatenate([pieces.offset[row] + pieces.length[row], ends[alone]])
    order = np.argsort(start, kind="stable")
    return Messages(
        form,
        fault,
        message[order],
        start[order],
        end[order],
        _last_piece(fields, form, _OURS[1], len(starts)),
        _last_piece(fields, form, _OURS[2], len(starts)),
    )


def _bodies(varints: Varints, starts: Ints, ends: Ints) -> Ints:
    """Where each message's fields begin: behind its length, if that is what it begins with."""
    first, last = varints.at(starts), varints.at(ends)
    varints.begin(first, starts, last)
    behind = varints.end[first] + 1
    remains = np.maximum(ends - behind, 0).astype(np.uint64)
    framed = (first < last) & (varints.value[first] == remains)
    return np.where(framed, behind, starts)


def _forms(fields: Fields, count: int, framed: NDArray[np.bool_]) -> Ints:
    """What each message is, by the fields that it has."""
    scalars, pieces = fields.scalars, fields.pieces
    form = np.where(framed, int(Form.FLAT), int(Form.XTCP))
    large = np.zeros(count, np.bool_)
    large[scalars.chain[scalars.number >= _XTCP_FIELDS]] = True
    large[pieces.chain[pieces.number >= _XTCP_FIELDS]] = True
    form[large] = Form.XTCP
    ten = np.zeros(count, np.bool_)
    ten[pieces.chain[pieces.number == _XTCP2_TIME]] = True
    form[ten & framed & ~large] = Form.XTCP2
    timed = (scalars.number == _XTCP2_TIME) & ((scalars.wire == VARINT) | (scalars.wire == FIXED64))
    form[scalars.chain[timed]] = Form.XTCP2_RECORD
    return form.astype(np.int64)


def _last_piece(fields: Fields, form: Ints, number: int, count: int) -> Ints:
    """Start and end of the last field `number` of each of our envelopes."""
    out = np.zeros((count, 2), np.int64)
    pieces = fields.pieces
    mine = (pieces.number == number) & (form[pieces.chain] == Form.FLAT)
    out[pieces.chain[mine], 0] = pieces.offset[mine]
    out[pieces.chain[mine], 1] = pieces.offset[mine] + pieces.length[mine]
    return out
