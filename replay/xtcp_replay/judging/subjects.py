"""Rows with the messages they were made of: what other programs are asked about."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from xtcp.batch import Batch
from xtcp.chunk import Chunk
from xtcp.encode.cells import AF_INET, AF_INET6, STATE_NAMES, address_text, clean_text
from xtcp.netlink.numbers import NLA_TYPE_MASK, NLMSG_HDRLEN, aligned
from xtcp.schema.columns import BY_NAME
from xtcp.schema.inet_diag import ATTRIBUTES, INET_DIAG_MSG
from xtcp.schema.layout import size_of
from xtcp.schema.model import ADDRESS, TEXT, Nest, Order
from xtcp_replay.judging.known_faults import DAMAGED, FAMILY, REPEATED
from xtcp_replay.judging.witnesses.testimony import Subject

RawRow = dict[str, int | bytes]

_ATTRIBUTES_AT: Final = NLMSG_HDRLEN + size_of(INET_DIAG_MSG)
_FAMILIES: Final = frozenset({AF_INET, AF_INET6})
_NESTS: Final = frozenset(a.number for a in ATTRIBUTES if isinstance(a.body, Nest))
_TEXTS: Final = frozenset(name for name, column in BY_NAME.items() if column.kind in {ADDRESS, TEXT})


def raw_rows(batch: Batch) -> list[RawRow]:
    """The rows in the kernel's order, each with the columns that it has, as the reference decoder gives them."""
    ordered = batch.in_order()
    rows: list[RawRow] = [{} for _ in range(ordered.rows)]
    for name, column in ordered.columns.items():
        cells = [cell.tobytes() for cell in column] if column.ndim == 2 else column.tolist()
        having = ordered.valid.get(name)
        for row in range(ordered.rows) if having is None else np.flatnonzero(having).tolist():
            rows[row][name] = cells[row]
    return rows


def subjects_of(chunk: Chunk, batch: Batch, which: slice = slice(None)) -> list[Subject]:
    """The rows `which` of `batch`, which was made of `chunk`, in the kernel's order."""
    ordered = batch.in_order()
    ordered = ordered.take(np.arange(ordered.rows, dtype=np.int64)[which])
    context = chunk.context
    repeats = batch.tally.repeated > 0
    subjects = []
    for raw, at in zip(raw_rows(ordered), ordered.position.tolist(), strict=True):
        length = int.from_bytes(chunk.data[at : at + 4].tobytes(), "little" if context.order == "<" else "big")
        message = chunk.data[at : at + length].tobytes()
        subjects.append(
            Subject(
                message,
                told_row(raw),
                context.dump,
                context.order,
                context.kernel,
                context.protocol,
                _unasked(raw, message, context.order, repeats),
            )
        )
    return subjects


def _unasked(raw: RawRow, message: bytes, order: Order, repeats: bool) -> str:
    if raw.get("damaged"):
        return DAMAGED
    if raw["idiag_family"] not in _FAMILIES:
        return FAMILY
    return REPEATED if repeats and _repeats(message, order) else ""


def _repeats(message: bytes, order: Order) -> bool:
    """Whether an attribute of an undamaged message comes twice, or one of its nests may hold such."""
    read = struct.Struct(order + "HH").unpack_from
    seen = set()
    at = _ATTRIBUTES_AT
    while at < len(message):
        length, number = read(message, at)
        if number & NLA_TYPE_MASK in seen or number & NLA_TYPE_MASK in _NESTS:
            return True
        seen.add(number & NLA_TYPE_MASK)
        at += aligned(length)
    return False


def told_row(raw: RawRow) -> dict[str, object]:
    """The row as people read it: addresses, state and texts as text."""
    row: dict[str, object] = dict(raw)
    family = raw["idiag_family"]
    assert isinstance(family, int)
    for name, value in raw.items():
        if isinstance(value, bytes) and name in _TEXTS:
            row[name] = address_text(family, value) if BY_NAME[name].kind is ADDRESS else clean_text(value)
    state = raw["idiag_state"]
    assert isinstance(state, int)
    row["idiag_state"] = STATE_NAMES[state]
    return row
