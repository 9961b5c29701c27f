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

    `start`, `end` (its last byte) and `value` by number, with four more that are out of reach at the end; `at[i]` is
    the number of the first that ends at byte i or behind it, (len(data) + 1,).
    """

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self.data = data
        ends = data < 0x80
        at = np.zeros(len(data) + 1, np.int32)
        np.cumsum(ends, dtype=np.int32, out=at[1:])
        self.at = at
        where = np.flatnonzero(ends)
        count = self.count = len(where)
        beyond = len(data) + 1
        self.end = np.full(count + 4, beyond, np.int64)
        self.end[:count] = where
        self.start = np.full(count + 4, beyond, np.int64)
        self.start[:1] = 0
        self.start[1 : count + 1] = where + 1
        self.value = np.zeros(count + 4, np.uint64)
        self.value[:count] = values_of(data, self.start[:count], self.end[:count])
        stops = self._stops(self.value, self.end - self.start)
        too_long = self.end - self.start >= LONGEST
        too_long[count:] = False
        if too_long.any():
            stops[:-1] |= too_long[1:]
        # For each varint taken for a tag: the first tag of its run that is not one of a good varint field.
        number = np.arange(count + 4, dtype=np.int32)
        number[~stops] = count + 4
        paired = number[: len(number) & ~1].reshape(-1, 2)[::-1]
        self.stop = np.full(count + 4, count + 4, np.int32)
        self.stop[: 2 * len(paired)] = np.minimum.accumulate(paired, axis=0)[::-1].reshape(-1)

    @staticmethod
    def _stops(value: NDArray[np.uint64], longer: Ints) -> NDArray[np.bool_]:
        """Which are no good tags of varint fields; `longer` is by how many bytes they are longer than one."""
        low = value & np.uint64(7)
        stops: NDArray[np.bool_] = (low != 0) | (value < 8) | (value > LARGEST_TAG) | (longer >= LONGEST_TAG)
        return stops

    def begin(self, first: Ints, at: Ints, last: Ints) -> None:
        """Corrects the varints `first` to begin at `at`, where they seemed to begin in the payload before; not those
        from `last` on, which end in another message.
        """
        crooked = (self.start[first] != at) & (first < last)
        if not crooked.any():
            return
        first, at = first[crooked], at[crooked]
        self.start[first] = at
        self.value[first] = values_of(self.data, at, self.end[first])
        longer = self.end[first] - at
        next_too_long = self.end[first + 1] - self.start[first + 1] >= LONGEST
        next_too_long &= first + 1 < self.count
        stops = self._stops(self.value[first], longer) | next_too_long
        self.stop[first] = np.where(stops, first, self.stop[np.minimum(first + 2, len(self.stop) - 1)])


def values_of(data: NDArray[np.uint8], start: Ints, end: Ints) -> NDArray[np.uint64]:
    """The values of varints whose first and last bytes these are, u64; of a longer one what its first 10 bytes say."""
    value = (data[start] & 0x7F).astype(np.uint64)
    more = np.flatnonzero(end > start)
    byte = 1
    while len(more) and byte < LONGEST:
        value[more] |= (data[start[more] + byte] & 0x7F).astype(np.uint64) << np.uint64(7 * byte)
        byte += 1
        more = more[end[more] - start[more] >= byte]
    return value


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
        first = varints.at[at].astype(np.int64)
        last = varints.at[end].astype(np.int64)
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


def _plainly(varints: Varints, chain: int, at: int, end: int, found: _Found) -> None:
    """Walks what is left of one chain, a run and a field at a time."""
    index, first_of, last_of = varints.at.data, varints.start.data, varints.end.data
    value_of, stop_of = varints.value.data, varints.stop.data
    last = index[end]
    runs: list[int] = []
    pieces: list[int] = []
    fixed: list[int] = []
    while at < end:
        first = index[at]
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
