"""The walk through many protobuf messages in lockstep: bytes to an index of fields.

Wire format: https://protobuf.dev/programming-guides/encoding. A field is a tag (a varint: number << 3 | wire type) and
a value: a varint (0), 8 bytes (1), a length and as many bytes (2), or 4 bytes (5).

All varints are read at once, as if there were nothing else (`varints`). Fields of wire type 0 then need no
walk: from a message's cursor on, every other varint is a tag, up to the first that says something else. One step takes
every live message over such a run and over the field that ended it; a message takes as many steps as it has strings,
bytes and nested messages. With few live messages a plain loop takes over: one message with 30,000 empty strings costs
30,000 steps either way, but not 30,000 times twenty array operations.

A nested message is a chain like any other: walk it by `Pieces.offset` and `Pieces.length`, with the same varints.

Malformed bytes never raise. A message is read up to its first fault, and named in `Faulty` with one of `REASONS`. What
is a fault is what google.protobuf takes for one; groups (wire types 3 and 4) too, which nobody here sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.records.reading.varints import LARGEST_LENGTH, LARGEST_TAG, LONGEST_TAG, Ints, Varints

CUT: Final = "cut"
BEYOND: Final = "length beyond"
TOO_LONG: Final = "varint too long"
BAD_TAG: Final = "no field number"
GROUP: Final = "group"
WIRE_TYPE: Final = "unknown wire type"
REASONS: Final = (CUT, BEYOND, TOO_LONG, BAD_TAG, GROUP, WIRE_TYPE)

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5

# Below this many live chains a plain loop is faster (measured: one step costs about 60 us, one plain field 1.5 us).
FEW_CHAINS: Final = 24


@dataclass(frozen=True)
class Scalars:
    """Fields of wire types 0, 1 and 5: chain and number int64, wire type u8, value u64; a chain's own in their order
    but for those of types 1 and 5, which stand behind all others.
    """

    chain: Ints
    number: Ints
    wire: NDArray[np.uint8]
    value: NDArray[np.uint64]


@dataclass(frozen=True)
class Pieces:
    """Fields of wire type 2: chain, number, offset of the payload in the buffer and its length; a chain's in order."""

    chain: Ints
    number: Ints
    offset: Ints
    length: Ints


@dataclass(frozen=True)
class Faulty:
    """Chains that do not end well: which, where the first fault is, and its place in `REASONS`; each chain once."""

    chain: Ints
    offset: Ints
    reason: Ints


@dataclass(frozen=True)
class Fields:
    """What a walk found."""

    scalars: Scalars
    pieces: Pieces
    faulty: Faulty


def walk(varints: Varints, starts: Ints, ends: Ints, *, few: int = FEW_CHAINS) -> Fields:
    """The fields of the messages `data[start:end]`, which do not overlap, each a chain; an empty one has none."""
    found = _Found()
    chain = np.flatnonzero(ends > starts)
    at, end = starts[chain], ends[chain]
    while len(chain):
        if len(chain) < few:
            for one, begin, until in zip(chain.tolist(), at.tolist(), end.tolist(), strict=True):
                _plainly(varints, one, begin, until, found)
            break
        first, last = varints.at(at), varints.at(end)
        varints.begin(first, at, last)
        stop = np.minimum(varints.stop[first], last)
        stop = np.maximum(stop, first).astype(np.int64)
        found.run(chain, first, (stop - first) >> 1)
        live = stop < last
        over = ~live
        if over.any():
            bad = over & (((stop - first) & 1 != 0) | (varints.end[last - 1] != end - 1) | (last == first))
            found.fault(chain[bad], at[bad], CUT)
            chain, at, end, stop, last = chain[live], at[live], end[live], stop[live], last[live]
        chain, at, end = _step(varints, chain, at, end, stop, last, found)
    return found.fields(varints)


def _step(
    varints: Varints, chain: Ints, at: Ints, end: Ints, stop: Ints, last: Ints, found: _Found
) -> tuple[Ints, Ints, Ints]:
    """Takes the field whose tag is the varint `stop`, behind a run that begins at `at`; the chains that go on, their
    cursors and ends.
    """
    tag = varints.value[stop]
    wire = (tag & np.uint64(7)).astype(np.int64)
    number = (tag >> np.uint64(3)).astype(np.int64)
    if _all_whole(varints, tag, wire, stop, last, end):
        body = varints.end[stop + 1] + 1
        size = varints.value[stop + 1].astype(np.int64)
        found.pieces.append((chain, number, body, size))
        at = body + size
        more = at < end
        return (chain, at, end) if more.all() else (chain[more], at[more], end[more])
    body = varints.end[stop] + 1
    longer = varints.end[stop] - varints.start[stop]
    size = np.zeros(len(stop), np.int64)
    size[wire == FIXED64], size[wire == FIXED32] = 8, 4
    fault = np.full(len(stop), -1, np.int64)
    long = wire == BYTES
    told = stop[long] + 1
    reach = told < last[long]
    told = np.minimum(told, last[long] - 1)
    size[long] = np.minimum(varints.value[told], np.uint64(LARGEST_LENGTH + 1)).astype(np.int64)
    too_long = varints.end[told] - varints.start[told] >= LONGEST_TAG
    body[long] = varints.end[told] + 1
    fault[size > end - body] = REASONS.index(CUT)
    fault[np.flatnonzero(long)[(size[long] > end[long] - body[long])]] = REASONS.index(BEYOND)
    fault[np.flatnonzero(long)[too_long]] = REASONS.index(TOO_LONG)
    fault[np.flatnonzero(long)[~reach]] = REASONS.index(CUT)
    fault[wire == VARINT] = REASONS.index(TOO_LONG)
    open_end = (wire == VARINT) & (stop + 1 >= last)
    fault[open_end] = REASONS.index(CUT)
    fault[(wire == 3) | (wire == 4)] = REASONS.index(GROUP)
    fault[wire > FIXED32] = REASONS.index(WIRE_TYPE)
    fault[(number == 0) | (tag > LARGEST_TAG)] = REASONS.index(BAD_TAG)
    fault[longer >= LONGEST_TAG] = REASONS.index(TOO_LONG)
    good = fault < 0
    if not good.all():
        bad = ~good
        where = np.where(open_end & (fault == REASONS.index(CUT)), at, varints.start[stop])
        found.faults.append((chain[bad], where[bad], fault[bad]))
        chain, number, body, size, wire, end = (a[good] for a in (chain, number, body, size, wire, end))
    long = wire == BYTES
    if long.all():
        found.pieces.append((chain, number, body, size))
    else:
        found.pieces.append((chain[long], number[long], body[long], size[long]))
        fixed = ~long
        found.fixed.append((chain[fixed], number[fixed], body[fixed], wire[fixed]))
    at = body + size
    more = at < end
    return chain[more], at[more], end[more]


def _all_whole(varints: Varints, tag: NDArray[np.uint64], wire: Ints, stop: Ints, last: Ints, end: Ints) -> bool:
    """Whether every chain has a good field of wire type 2 next, as nearly always."""
    if not (wire == BYTES).all():
        return False
    told = stop + 1
    room = end - varints.end[told] - 1
    good = (told < last) & (room >= 0) & (varints.value[told] <= room.astype(np.uint64))
    good &= (tag >= 8) & (tag <= LARGEST_TAG)
    good &= varints.end[stop] - varints.start[stop] < LONGEST_TAG
    good &= varints.end[told] - varints.start[told] < LONGEST_TAG
    return bool(good.all())


def _plainly(varints: Varints, chain: int, at: int, end: int, found: _Found) -> None:
    """Walks what is left of one chain, a run and a field at a time."""
    first_of, last_of = varints.start.data, varints.end.data
    value_of, stop_of = varints.value.data, varints.stop.data
    bits, before = varints.bits.data, varints.before.data
    last = before[end >> 3] + (bits[end >> 3] & ((1 << (end & 7)) - 1)).bit_count()
    runs: list[int] = []
    pieces: list[int] = []
    fixed: list[int] = []
    while at < end:
        first = before[at >> 3] + (bits[at >> 3] & ((1 << (at & 7)) - 1)).bit_count()
        if first >= last:
            found.fault_one(chain, at, CUT)
            break
        if first_of[first] != at:
            varints.begin(np.array([first]), np.array([at]), np.array([last]))
        stop = min(stop_of[first], last)
        if stop > first + 1:
            runs += (first, (stop - first) >> 1)
        if stop >= last:
            if (stop - first) & 1 or last_of[last - 1] != end - 1:
                found.fault_one(chain, at, CUT)
            break
        tag = value_of[stop]
        wire, body = tag & 7, last_of[stop] + 1
        if last_of[stop] - first_of[stop] >= LONGEST_TAG:
            found.fault_one(chain, first_of[stop], TOO_LONG)
            break
        if tag < 8 or tag > LARGEST_TAG:
            found.fault_one(chain, first_of[stop], BAD_TAG)
            break
        if wire == VARINT:
            reach = stop + 1 < last
            found.fault_one(chain, first_of[stop] if reach else at, TOO_LONG if reach else CUT)
            break
        if wire == BYTES:
            if stop + 1 >= last:
                found.fault_one(chain, first_of[stop], CUT)
                break
            size, body = value_of[stop + 1], last_of[stop + 1] + 1
            if last_of[stop + 1] - first_of[stop + 1] >= LONGEST_TAG:
                found.fault_one(chain, first_of[stop], TOO_LONG)
                break
            if size > end - body:
                found.fault_one(chain, first_of[stop], BEYOND)
                break
            pieces += (tag >> 3, body, size)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
            if size > end - body:
                found.fault_one(chain, first_of[stop], CUT)
                break
            fixed += (tag >> 3, body, wire)
        else:
            found.fault_one(chain, first_of[stop], GROUP if wire < FIXED32 else WIRE_TYPE)
            break
        at = body + size
    found.add_plain(chain, runs, pieces, fixed)


class _Found:
    """The pieces of an index in the making."""

    def __init__(self) -> None:
        self.runs: list[tuple[Ints, Ints, Ints]] = []
        self.pieces: list[tuple[Ints, Ints, Ints, Ints]] = []
        self.fixed: list[tuple[Ints, Ints, Ints, Ints]] = []
        self.faults: list[tuple[Ints, Ints, Ints]] = []

    def run(self, chain: Ints, first: Ints, pairs: Ints) -> None:
        """`pairs` varint fields of each chain, from varint `first` on."""
        self.runs.append((chain, first, pairs))

    def fault(self, chain: Ints, at: Ints, reason: str) -> None:
        """Chains that end here."""
        if len(chain):
            self.faults.append((chain, at, np.full(len(chain), REASONS.index(reason), np.int64)))

    def fault_one(self, chain: int, at: int, reason: str) -> None:
        """A chain that ends here."""
        self.fault(np.array([chain]), np.array([at]), reason)

    def add_plain(self, chain: int, runs: list[int], pieces: list[int], fixed: list[int]) -> None:
        """What the plain loop found of one chain, flat: first and pairs; number, offset, length; number, at, wire."""
        if runs:
            first, pairs = np.array(runs, np.int64).reshape(-1, 2).T
            self.runs.append((np.full(len(first), chain, np.int64), first, pairs))
        for flat, into in ((pieces, self.pieces), (fixed, self.fixed)):
            if flat:
                one, two, three = np.array(flat, np.int64).reshape(-1, 3).T
                into.append((np.full(len(one), chain, np.int64), one, two, three))

    def fields(self, varints: Varints) -> Fields:
        """The index."""
        chain, first, pairs = _joined(self.runs, 3)
        total = int(pairs.sum())
        begin = np.cumsum(pairs) - pairs
        tag_at = np.repeat(first - 2 * begin, pairs) + 2 * np.arange(total)
        tag = varints.value[tag_at]
        number = (tag >> np.uint64(3)).astype(np.int64)
        value = varints.value[tag_at + 1]
        chains = np.repeat(chain, pairs)
        wires = np.zeros(total, np.uint8)
        if self.fixed:
            whose, which, where, wire = _joined(self.fixed, 4)
            chains = np.concatenate([chains, whose])
            number = np.concatenate([number, which])
            wires = np.concatenate([wires, wire.astype(np.uint8)])
            value = np.concatenate([value, _fixed_values(varints.data, where, wire)])
        whose, which, offset, length = _joined(self.pieces, 4)
        return Fields(
            Scalars(chains, number, wires, value),
            Pieces(whose, which, offset, length),
            Faulty(*_joined(self.faults, 3)),
        )


def _joined(parts: Sequence[tuple[Ints, ...]], width: int) -> tuple[Ints, ...]:
    if not parts:
        return (np.empty(0, np.int64),) * width
    if len(parts) == 1:
        return parts[0]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _fixed_values(data: NDArray[np.uint8], at: Ints, wire: Ints) -> NDArray[np.uint64]:
    """Little-endian values of 8 or 4 bytes."""
    value = np.zeros(len(at), np.uint64)
    for byte in range(8):
        has = np.flatnonzero((wire == FIXED64) | (byte < 4))
        value[has] |= data[at[has] + byte].astype(np.uint64) << np.uint64(8 * byte)
    return value
