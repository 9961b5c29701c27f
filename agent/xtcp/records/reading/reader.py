"""Reading records back: messages of a layout to batches, many at a time.

In: a buffer, where each message begins and ends in it, and where it came from. Out: rows as columns with presence, one
batch a context (host, namespace, poll, time), because that is what a batch is; what of every message became of it.

A message is a row, or it is set aside with one of `REASONS`; reading never raises for what is in it. Unknown fields
are skipped and counted. Which columns a row has: `presence`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import Batch, Tally
from xtcp.chunk import Context
from xtcp.records.model import Derivation, EnumType, Layout, Message, Nested, RecordField
from xtcp.records.reading.contexts import Texts, contexts, texts
from xtcp.records.reading.presence import by_attributes, by_value, notes
from xtcp.records.reading.slots import SLOT_REASONS, Slot, SlotReader, Slots
from xtcp.records.reading.texts import addresses, payloads, short_texts
from xtcp.records.reading.varints import Ints, Varints
from xtcp.records.reading.walk import BYTES, FIXED64, VARINT
from xtcp.schema.columns import BY_NAME, COLUMNS, CONTEXT_NAMES
from xtcp.schema.inet_diag import INET_DIAG_SOCKOPT
from xtcp.schema.layout import column_dtype, members
from xtcp.schema.model import ADDRESS, STRING, TEXT

OUT_OF_RANGE: Final = "value out of range"
BAD_ADDRESS: Final = "address of a wrong length"
REASONS: Final = (*SLOT_REASONS, OUT_OF_RANGE, BAD_ADDRESS)

# Seconds whose nanoseconds 64 bits hold: the years 1684 to 2255.
_FARTHEST_S: Final = 9 * 10**9
_SECONDS: Final = "seconds"
# xtcp2 has the two bytes of INET_DIAG_SOCKOPT in one number, the first of them and its first bit lowest.
_SOCKOPT_NAMES: Final = frozenset({"inet_diag_sockopt", "sock_opt"})
_SOCKOPT: Final = tuple(m.column for m in members(INET_DIAG_SOCKOPT, "<", None))
_CONTEXT_TEXTS: Final = frozenset(name for name in CONTEXT_NAMES if BY_NAME[name].kind is STRING)
_ORDER: Final = {column.name: number for number, column in enumerate(COLUMNS)}


@dataclass(frozen=True)
class Rows:
    """What n messages gave. `batches` have all rows, `position` is the offset of each row's message; `fault` int64 (n,)
    is -1 for a row, else the place of the reason in `REASONS`; `unknown` counts fields that are not in the layout.
    """

    batches: list[Batch]
    fault: Ints
    unknown: Counter[tuple[int, ...]]


class RecordReader:
    """Reads records of `layout`; may be used again and again.

    `seconds` is the number of a field that may also come as a double of seconds, and is `timestamp_ns` then.
    """

    def __init__(self, layout: Layout, *, seconds: int | None = None) -> None:
        self._layout = layout
        self._fields: dict[str, list[tuple[str, RecordField]]] = {}
        slots: list[Slot] = []
        nests: list[tuple[str, tuple[int, ...]]] = []
        for path, field in _fields(layout.record, ()):
            name = ".".join(map(str, path))
            if isinstance(field, Nested):
                nests.append((name, path))
                continue
            slots.append(Slot(name, path, BYTES if field.type in ("string", "bytes") else VARINT))
            if field.column:
                self._fields.setdefault(field.column, []).append((name, field))
            elif field.name in _SOCKOPT_NAMES:
                self._fields |= {column: [(name, field)] for column in _SOCKOPT}
        if seconds is not None:
            slots.append(Slot(_SECONDS, (seconds,), FIXED64))
        self._seconds = seconds is not None
        self._slots = SlotReader(slots, nests)
        self._names = [name for name in _ORDER if name in self._fields and name not in CONTEXT_NAMES]

    def read(
        self, varints: Varints, starts: Ints, ends: Ints, sources: Sequence[str] = ("",), source: Ints | None = None
    ) -> Rows:
        """Messages `data[start:end]`, which do not overlap, offsets ascending; message i came from
        `sources[source[i]]`, all from the first where `source` is None.
        """
        found = self._slots.read(varints, starts, ends)
        block = _Block(varints.data, found)
        columns: dict[str, NDArray[np.generic]] = {}
        context: dict[str, NDArray[np.generic] | Texts] = {}
        for name in self._fields:
            if name in _CONTEXT_TEXTS:
                slot = self._fields[name][0][0]
                if block.has(slot):
                    context[name] = texts(block.data, *block.pieces(slot))
                continue
            column = self._column(name, block)
            if column is not None:
                (context if name in CONTEXT_NAMES else columns)[name] = column
        kept = np.flatnonzero(block.fault < 0)
        whose = np.zeros(len(starts), np.int64) if source is None else source
        if len(kept) < len(starts):
            columns = {name: column[kept] for name, column in columns.items()}
            context = {n: c.at(kept) if isinstance(c, Texts) else c[kept] for n, c in context.items()}
            whose = whose[kept]
        masks = self._presence(columns, block, kept)
        batches = [_batch(columns, masks, starts[kept], one, rows) for one, rows in contexts(context, sources, whose)]
        return Rows(batches, block.fault, found.unknown)

    def _column(self, name: str, block: _Block) -> NDArray[np.generic] | None:
        """One column of all messages, zero or empty where absent; None where no message has it."""
        made: NDArray[np.generic] | None = None
        for slot, field in self._fields[name]:
            if not block.has(slot):
                continue
            part = self._part(name, slot, field, block)
            if part is None:
                continue
            if made is None:
                made = part
            elif field.derivation is Derivation.CONGESTION:
                made = np.where(made == b"", part, made)
            else:
                made = (made + part).astype(made.dtype)  # type: ignore[operator]
        if name == "timestamp_ns" and self._seconds and block.has(_SECONDS):
            times = _nanoseconds(block)
            made = times if made is None else np.where(block.came(_SECONDS), times, made)
        return made

    def _part(self, name: str, slot: str, field: RecordField, block: _Block) -> NDArray[np.generic] | None:
        """What a field says of its column."""
        kind = BY_NAME[name].kind
        if field.type in ("string", "bytes"):
            offset, length = block.pieces(slot)
            if kind is ADDRESS:
                block.blame((length != 0) & (length != 4) & (length != 16), BAD_ADDRESS)
                return addresses(block.data, offset, length)
            if kind is TEXT:
                return short_texts(block.data, offset, length, column_dtype(name).itemsize)
            return payloads(block.data, offset, length)
        value = block.scalars(slot)
        match field.derivation:
            case Derivation.SECONDS:
                seconds = value.view(np.int64)
                block.blame((seconds > _FARTHEST_S) | (seconds < -_FARTHEST_S), OUT_OF_RANGE)
                return seconds * 10**9
            case Derivation.NANOSECONDS:
                block.insist(slot, 10**9 - 1)
                return value.astype(np.int64)
            case Derivation.LOW_WORD | Derivation.HIGH_WORD:
                block.insist(slot, 0xFFFF_FFFF)
                return value << np.uint64(32) if field.derivation is Derivation.HIGH_WORD else value
            case Derivation.CONGESTION:
                assert field.enum is not None
                return _congestion(value, field.enum)
            case _:
                dtype = column_dtype(name)
                if not field.column:
                    return (value >> np.uint64(_SOCKOPT.index(name)) & np.uint64(1)).astype(dtype)
                if dtype.kind == "u" and dtype.itemsize < 8:
                    block.insist(slot, (1 << 8 * dtype.itemsize) - 1)
                return value.astype(dtype)

    def _presence(
        self, columns: dict[str, NDArray[np.generic]], block: _Block, kept: Ints
    ) -> dict[str, NDArray[np.bool_]]:
        """Presence of every column that any row has; fills in columns of zeros, and what the layout does not carry."""
        rows = len(kept)
        if self._layout.syntax == "proto2":
            masks = self._came(block, kept)
            if "cong" in masks:
                masks["cong"] = masks["cong"] & (columns["cong"] != b"")  # an enum that says UNKNOWN
        elif "attributes" in self._fields:
            masks = by_attributes(columns, self._names, rows)
        else:
            masks = by_value(columns, self._names, rows)
        if "attributes" not in self._fields:
            columns |= notes(masks, rows)
            masks |= {"attributes": np.ones(rows, np.bool_), "tcp_info_len": columns["tcp_info_len"] != 0}
        nobody = {id(mask): not mask.any() for mask in masks.values()}
        for name, mask in list(masks.items()):
            if nobody[id(mask)]:
                del masks[name]
                columns.pop(name, None)
            elif name not in columns:
                columns[name] = np.zeros(rows, column_dtype(name))
        return masks

    def _came(self, block: _Block, kept: Ints) -> dict[str, NDArray[np.bool_]]:
        """Presence by field; columns that come together, as members of a struct do, share an array."""
        masks: dict[str, NDArray[np.bool_]] = {}
        last = np.zeros(0, np.bool_)
        for name in self._names:
            came = [block.came(slot) for slot, _ in self._fields[name] if block.has(slot)]
            if not came:
                continue
            mask = came[0] if len(came) == 1 else np.logical_or.reduce(came)
            mask = mask if len(kept) == len(mask) else mask[kept]
            last = masks[name] = last if np.array_equal(mask, last) else mask
        return masks


class _Block:
    """The slots of a reading, and its faults."""

    def __init__(self, data: NDArray[np.uint8], slots: Slots) -> None:
        self.data = data
        self.fault = slots.fault
        self._slots = slots

    def has(self, slot: str) -> bool:
        """Whether any message has it."""
        return self._slots.has[slot]

    def came(self, slot: str) -> NDArray[np.bool_]:
        """Which messages have it."""
        return self._slots.present[slot]

    def scalars(self, slot: str) -> NDArray[np.uint64]:
        """Its values."""
        return self._slots.scalars[slot]

    def insist(self, slot: str, most: int) -> None:
        """Sets aside messages whose value is more than `most`."""
        if self._slots.largest[slot] > most:
            self.blame(self.scalars(slot) > np.uint64(most), OUT_OF_RANGE)

    def pieces(self, slot: str) -> tuple[Ints, Ints]:
        """Offsets and lengths."""
        return self._slots.pieces[slot]

    def blame(self, bad: NDArray[np.bool_], reason: str) -> None:
        """Messages that are set aside."""
        if bad.any():
            self.fault[bad & (self.fault < 0)] = REASONS.index(reason)


def _fields(message: Message, path: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], RecordField | Nested]]:
    """All fields of a message type and of those nested in it, each with the numbers that lead to it."""
    for field in message.fields:
        here = (*path, field.number)
        yield here, field
        if isinstance(field, Nested):
            yield from _fields(field.message, here)


def _nanoseconds(block: _Block) -> NDArray[np.int64]:
    """Doubles of seconds since 1970 as ns, to the microsecond that a double of today tells apart."""
    seconds = block.scalars(_SECONDS).view(np.float64)
    good = np.abs(seconds) < _FARTHEST_S
    block.blame(~good, OUT_OF_RANGE)
    return np.round(np.where(good, seconds, 0) * 1e6).astype(np.int64) * 1000


def _congestion(value: NDArray[np.uint64], enum: EnumType) -> NDArray[np.generic]:
    """The names of congestion controls by their numbers, empty for others."""
    out = np.zeros(len(value), column_dtype("cong"))
    for name, number in reversed(enum.congestion):  # of several names the first
        out[value == np.uint64(number)] = name.encode()
    return out


def _batch(
    columns: dict[str, NDArray[np.generic]],
    masks: dict[str, NDArray[np.bool_]],
    position: Ints,
    context: Context,
    rows: Ints | None,
) -> Batch:
    """The rows of one context."""
    count = len(position) if rows is None else len(rows)
    made: dict[str, NDArray[np.generic]] = {}
    valid: dict[str, NDArray[np.bool_]] = {}
    picked: dict[int, tuple[NDArray[np.bool_], int]] = {}
    for name in sorted(masks, key=_ORDER.__getitem__):
        if id(masks[name]) not in picked:
            mask = masks[name] if rows is None else masks[name][rows]
            picked[id(masks[name])] = mask, int(np.count_nonzero(mask))
        mask, there = picked[id(masks[name])]
        if not there:
            continue
        column = columns[name] if rows is None else columns[name][rows]
        if there < count:
            column = column if rows is not None else column.copy()
            column[~mask] = b"" if column.dtype.kind in "SO" else 0
            valid[name] = mask
        made[name] = np.ascontiguousarray(column)
    tally = Tally(messages=count, rows=count)
    return Batch(context, count, made, valid, position if rows is None else position[rows], tally)
