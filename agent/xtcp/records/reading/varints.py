"""All varints of a buffer at once, as if there were nothing else in it.

The bytes that end one are found first; values are read by a word of 8 bytes each, whose groups of 7 bits are moved
together. What the walk (`walk`) needs beside: which varint ends behind a place, and how far a run of fields of
wire type 0 goes, were it to begin at any of them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

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
