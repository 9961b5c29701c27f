"""The walk through many protobuf messages in lockstep: bytes to an index of fields.

Wire format: https://protobuf.dev/programming-guides/encoding. A field is a tag (a varint: number << 3 | wire type) and
a value: a varint (0), 8 bytes (1), a length and as many bytes (2), or 4 bytes (5).

All bytes that end a varint are found at once, so all varints are read at once, as if there were nothing else. Fields
of wire type 0 then need no walk: from a message's cursor on, every other varint is a tag, up to the first that says
something else. One step takes every live message over such a run and over the field that ended it; a message takes as
many steps as it has strings, bytes and nested messages. With few live messages a plain loop takes over: one message
with 30,000 empty strings costs 30,000 steps either way, but not 30,000 times twenty array operations.

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
# The encoding document: a varint has at most 10 bytes; google.protobuf takes no more than 5 for a tag or a length.
LONGEST: Final = 10
LONGEST_TAG: Final = 5
LARGEST_TAG: Final = (1 << 32) - 1
LARGEST_LENGTH: Final = (1 << 31) - 1

_WORD: Final = 8
_ONES: Final = np.array([number.bit_count() for number in range(256)], np.uint8)
_MASKS: Final = np.array([(1 << 8 * (byte + 1)) - 1 for byte in range(_WORD)], np.uint64)
# Pairs of 7 bits to 14, of those to 28, of those to 56: what stays, what moves, how far.
_STEPS: Final = (
    (np.uint64(0x007F007F007F007F), np.uint64(0x7F007F007F007F00), np.uint64(1)),
    (np.uint64(0x00003FFF00003FFF), np.uint64(0x3FFF00003FFF0000), np.uint64(2)),
    (np.uint64(0x000000000FFFFFFF), np.uint64(0x0FFFFFFF00000000), np.uint64(4)),
)

Ints = NDArray[np.int64]


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


class Varints:
    """Every varint of `data`, u8, were it nothing else; a payload that ends in the midst of one corrects the next.

    `start`, `end` (its last byte), int64, and `value`, u64, by number, with four more that are out of reach. `bits`
    tell of each byte whether it ends one, `before` how many end before each eighth.
    """

    def __init__(self, data: NDArray[np.uint8]) -> None:
        # Words are read at any byte, the last of them beyond the end.
        self.data = np.zeros(len(data) + _WORD, np.uint8)
        self.data[: len(data)] = data
        self._words = np.ndarray((len(data) + 1,), f"V{_WORD}", self.data, strides=(1,))
        ends = data < 0x80
        self.bits = np.packbits(np.append(ends, False), bitorder="little")
        self.before = np.zeros(len(self.bits), np.int32)
        np.cumsum(_ONES.take(self.bits[:-1]), dtype=np.int32, out=self.before[1:])
        where = np.flatnonzero(ends)
        count = self.count = len(where)
        beyond = len(data) + 1
        self.end = np.empty(count + 4, np.int64)
        self.end[:count], self.end[count:] = where, beyond
        self.start = np.empty(count + 4, np.int64)
        self.start[0] = 0
        np.add(where, 1, out=self.start[1 : count + 1])
        self.start[count + 1 :] = beyond
        self.value = np.zeros(count + 4, np.uint64)
        stops = np.zeros(count + 4, np.bool_)
        self.value[:count], stops[:count], longest = self._read(self.start[:count], where)
        if longest >= LONGEST:
            stops[: count - 1] |= (self.end - self.start)[1:count] >= LONGEST
        # For each varint taken for a tag: the first tag of its run that is not one of a good varint field.
        number = np.where(stops, np.arange(count + 4, dtype=np.int32), np.int32(count + 4))
        paired = number[: len(number) & ~1].reshape(-1, 2)
        self.stop = np.full(count + 4, count + 4, np.int32)
        np.minimum.accumulate(paired[::-1], axis=0, out=self.stop[: paired.size].reshape(-1, 2)[::-1])

    def at(self, place: Ints) -> Ints:
        """The number of the first varint that ends at `place` or behind it."""
        byte, bit = place >> 3, (place & 7).astype(np.uint8)
        below = self.bits.take(byte) & ((np.uint8(1) << bit) - np.uint8(1))
        return self.before.take(byte).astype(np.int64) + _ONES.take(below)

    def _read(self, start: Ints, end: Ints) -> tuple[NDArray[np.uint64], NDArray[np.bool_], int]:
        """The values of varints whose first and last bytes these are, of a longer one what its first 10 bytes say;
        which are no good tags of varint fields; by how many bytes the longest is longer than one.
        """
        head = self.data.take(start)
        longer = end - start
        longest = int(longer.max(initial=0))
        stops = (head & 7 != 0) | (head == 0)
        value = (head & 0x7F).astype(np.uint64)
        if not longest:
            return value, stops, longest
        many = np.flatnonzero(longer > 0)
        begin, longer = start[many], longer[many]
        word = self._words.take(begin).view("<u8") & _MASKS.take(np.minimum(longer, _WORD - 1))
        large = _compact(word)
        for byte in (8, 9):
            if longest >= byte:
                more = np.flatnonzero(longer >= byte)
                large[more] |= (self.data[begin[more] + byte] & 0x7F).astype(np.uint64) << np.uint64(7 * byte)
        value[many] = large
        stops[many] |= (large < 8) | (large > LARGEST_TAG) | (longer >= LONGEST_TAG)
        return value, stops, longest

    def begin(self, first: Ints, at: Ints, last: Ints) -> None:
        """Corrects the varints `first` to begin at `at`, where they seemed to begin in the payload before; not those
        from `last` on, which end in another message.
        """
        crooked = (self.start[first] != at) & (first < last)
        if not crooked.any():
            return
        first, at = first[crooked], at[crooked]
        self.start[first] = at
        self.value[first], stops, _ = self._read(at, self.end[first])
        next_too_long = self.end[first + 1] - self.start[first + 1] >= LONGEST
        next_too_long &= first + 1 < self.count
        self.stop[first] = np.where(stops | next_too_long, first, self.stop[np.minimum(first + 2, len(self.stop) - 1)])


def _compact(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The low 7 bits of 8 bytes each as one number of 56 bits."""
    for keep, move, by in _STEPS:
        moved = word & move
        moved >>= by
        word = word & keep
        word |= moved
    return word


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
