"""Many messages of one type to slots: for each field of a table, what every message has there.

A table of `Slot`s says which fields are wanted: the path of field numbers from the message inward, and the wire type.
Nested messages are walked level by level, all messages of a level together (`walk`), as deep as the table goes;
what is nested elsewhere is skipped like any unknown field, so nothing a sender nests costs a recursion. Of a field
that comes several times the last counts, and nested messages of one path are merged, as protobuf has it.

A message is set aside at its first fault, level by level: what the walk calls one, or a known field of another wire
type than its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.records.reading.varints import Ints, Varints
from xtcp.records.reading.walk import BYTES, REASONS, Pieces, Scalars, walk

WRONG_WIRE_TYPE: Final = "wrong wire type"
SLOT_REASONS: Final = (*REASONS, WRONG_WIRE_TYPE)

# Unknown field numbers are counted one by one up to so many in a reading; a hostile message may have millions.
MOST_UNKNOWN: Final = 256

_UNKNOWN: Final = -1
_WRONG: Final = -2
_WIRES: Final = 6


@dataclass(frozen=True)
class Slot:
    """A field that is read: its name in `Slots`, the field numbers that lead to it, its wire type. A number may have
    several slots, of different wire types.
    """

    name: str
    path: tuple[int, ...]
    wire: int


@dataclass(frozen=True)
class Slots:
    """What n messages have: `scalars` u64 (slots, n), 0 where absent; `pieces` offset and length, int64 (2, slots, n),
    of those of wire type 2; `present` bool for both, and for nested messages, by the slot's name. `has` tells whether
    any message has it, `largest` its largest value.

    `fault` is int64 (n,): -1, or the place of the reason in `SLOT_REASONS`. `unknown` counts fields by their path.
    """

    scalars: dict[str, NDArray[np.uint64]]
    pieces: dict[str, tuple[Ints, Ints]]
    present: dict[str, NDArray[np.bool_]]
    has: dict[str, bool]
    largest: dict[str, int]
    fault: Ints
    unknown: Counter[tuple[int, ...]]


class SlotReader:
    """Reads messages of the type that `slots` describe; `nests` are paths that are nested messages, by a name for
    their presence.
    """

    def __init__(self, slots: Sequence[Slot], nests: Sequence[tuple[str, tuple[int, ...]]] = ()) -> None:
        paths = {(): 0} | {path: number for number, (_, path) in enumerate(nests, 1)}
        for slot in slots:
            if slot.path[:-1] not in paths:
                raise ValueError(f"{slot.name}: no nest {slot.path[:-1]}")
        self._paths = list(paths)
        self._nest_names = [name for name, _ in nests]
        self._scalar_names = [slot.name for slot in slots if slot.wire != BYTES]
        self._piece_names = [slot.name for slot in slots if slot.wire == BYTES]
        self._depth = max(map(len, paths))
        width = 2 + max(slot.path[-1] for slot in slots)
        width = max([width, *(path[-1] + 2 for path in paths if path)])
        # (path, number, wire type) to a slot, the last number standing for all that are larger.
        table = np.full((len(paths), width, _WIRES), _UNKNOWN, np.int16)
        nested = np.full((len(paths), width), _UNKNOWN, np.int16)
        for slot in slots:
            names = self._piece_names if slot.wire == BYTES else self._scalar_names
            where = table[paths[slot.path[:-1]], slot.path[-1]]
            where[where == _UNKNOWN] = _WRONG
            where[slot.wire] = names.index(slot.name)
        for path, number in paths.items():
            if path:
                where = table[paths[path[:-1]], path[-1]]
                where[where == _UNKNOWN] = _WRONG
                where[BYTES] = _UNKNOWN
                nested[paths[path[:-1]], path[-1]] = number
        self._table, self._nested, self._width = table, nested, width

    def read(self, varints: Varints, starts: Ints, ends: Ints) -> Slots:
        """The messages `data[start:end]` of the buffer that `varints` are of; they do not overlap."""
        reading = _Reading(len(starts), len(self._scalar_names), len(self._piece_names), len(self._paths))
        owner = np.arange(len(starts), dtype=np.int64)
        path = np.zeros(len(starts), np.int64)
        for _ in range(self._depth + 1):
            fields = walk(varints, starts, ends)
            reading.blame(owner[fields.faulty.chain], fields.faulty.reason)
            self._scalars(fields.scalars, owner, path, reading)
            owner, path, starts, ends = self._pieces(fields.pieces, owner, path, reading)
            if not len(owner):
                break
        names = (*self._scalar_names, *self._piece_names, *self._nest_names)
        came = (reading.scalar_came, reading.piece_came, reading.nest_came[1:])
        has = [bool(one) for part in came for one in np.logical_or.reduce(part, axis=1)]
        largest = reading.scalars.max(axis=1, initial=0).tolist()
        return Slots(
            dict(zip(self._scalar_names, reading.scalars, strict=True)),
            dict(zip(self._piece_names, zip(reading.offset, reading.length, strict=True), strict=True)),
            dict(zip(names, (row for part in came for row in part), strict=True)),
            dict(zip(names, has, strict=True)),
            dict(zip(self._scalar_names, largest, strict=True)),
            reading.fault,
            reading.unknown,
        )

    def _scalars(self, found: Scalars, owner: Ints, path: Ints, reading: _Reading) -> None:
        slot = self._table[path[found.chain], np.minimum(found.number, self._width - 1), found.wire]
        row, value = owner[found.chain], found.value
        if slot.min(initial=0) < 0:
            self._strange(slot, found.number, path[found.chain], row, reading)
            known = slot >= 0
            slot, row, value = slot[known], row[known], value[known]
        reading.scalars[slot, row] = value
        reading.scalar_came[slot, row] = True

    def _pieces(self, found: Pieces, owner: Ints, path: Ints, reading: _Reading) -> tuple[Ints, Ints, Ints, Ints]:
        """Fills the slots of wire type 2; returns the nested messages: whose, path, start, end."""
        number = np.minimum(found.number, self._width - 1)
        whose = path[found.chain]
        slot = self._table[whose, number, BYTES]
        row = owner[found.chain]
        nest = self._nested[whose, number].astype(np.int64)
        inner = nest >= 0
        strange = (slot < 0) & ~inner
        if strange.any():
            self._strange(np.where(strange, slot, 0), found.number, whose, row, reading)
        known = slot >= 0
        reading.offset[slot[known], row[known]] = found.offset[known]
        reading.length[slot[known], row[known]] = found.length[known]
        reading.piece_came[slot[known], row[known]] = True
        reading.nest_came[nest[inner], row[inner]] = True
        begin = found.offset[inner]
        return row[inner], nest[inner], begin, begin + found.length[inner]

    def _strange(self, slot: NDArray[np.int16], number: Ints, path: Ints, row: Ints, reading: _Reading) -> None:
        """Fields of another wire type than theirs, and unknown ones."""
        wrong = slot == _WRONG
        reading.blame(row[wrong], np.full(int(wrong.sum()), SLOT_REASONS.index(WRONG_WIRE_TYPE)))
        unknown = slot == _UNKNOWN
        keys, counts = np.unique(path[unknown] << 32 | number[unknown], return_counts=True)
        for key, count in zip(keys[:MOST_UNKNOWN].tolist(), counts[:MOST_UNKNOWN].tolist(), strict=True):
            reading.unknown[*self._paths[key >> 32], key & 0xFFFFFFFF] += count


class _Reading:
    """The slots in the making."""

    def __init__(self, rows: int, scalars: int, pieces: int, nests: int) -> None:
        self.scalars = np.zeros((scalars, rows), np.uint64)
        self.scalar_came = np.zeros((scalars, rows), np.bool_)
        self.offset = np.zeros((pieces, rows), np.int64)
        self.length = np.zeros((pieces, rows), np.int64)
        self.piece_came = np.zeros((pieces, rows), np.bool_)
        self.nest_came = np.zeros((nests, rows), np.bool_)
        self.fault = np.full(rows, -1, np.int64)
        self.unknown: Counter[tuple[int, ...]] = Counter()

    def blame(self, row: Ints, reason: Ints) -> None:
        """The first fault of each message stays."""
        first = self.fault[row] < 0
        # Of several at once that of the first piece: written last.
        self.fault[row[first][::-1]] = reason[first][::-1]
