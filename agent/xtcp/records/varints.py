"""Whole columns to protobuf's bytes: pieces of a record, as one word of up to 8 bytes a row.

Wire format: https://protobuf.dev/programming-guides/encoding. A word holds its first byte in its low bits, on every
host; what lies above its length is 0, so that short neighbours are joined by a shift and an or. A piece is written by
one scatter of words at any offset: what a word writes beyond its length is written over by the piece behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

VARINT: Final = 0
LENGTH: Final = 2
WORD_BYTES: Final = 8

Words: TypeAlias = NDArray[np.uint64] | np.uint64
Lengths: TypeAlias = NDArray[np.uint8] | int

_MASKS: Final = {4: 0xFFFF_FFFF, 8: 0xFFFF_FFFF_FFFF_FFFF}


def varint(number: int) -> bytes:
    """One number, 0 to 2**64 - 1."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def size(number: int) -> int:
    """How many bytes its varint has."""
    return max(1, -(-number.bit_length() // 7))


@lru_cache(maxsize=4096)
def tag(number: int, wire: int) -> bytes:
    """What stands before a field's value."""
    return varint(number << 3 | wire)


@dataclass(frozen=True)
class Piece:
    """Up to 8 bytes a row: `word` and `length`, each (n,) or the same for all rows; `longest` of the lengths."""

    word: Words
    length: Lengths
    longest: int

    def first_word(self) -> Words:
        """Its only one."""
        return self.word


def constant(data: bytes) -> Piece:
    """The same bytes, 8 at most, in every row."""
    return Piece(np.uint64(int.from_bytes(data, "little")), len(data), len(data))


def joined(first: Piece, second: Piece) -> Piece:
    """One piece of two that together are never longer than a word."""
    shift: Any = 8 * first.length if isinstance(first.length, int) else first.length.astype(np.uint64) << np.uint64(3)
    # A shift by 64 happens only where the second is empty; NumPy makes it 0.
    word = first.word | (second.word << np.uint64(shift) if isinstance(shift, int) else second.word << shift)
    length: Any = first.length + second.length
    return Piece(word, length, first.longest + second.longest)


def numbers(prefix: bytes, values: NDArray[Any], bits: int, *, zeros: bool) -> list[Piece]:
    """A field of varints, `prefix` its tag: `values` (n,), unsigned or int64; `bits` is as long as the longest of them.

    An int64 below 0 counts as its two's complement, of ten bytes. Where not `zeros`, a row whose value is 0 has
    nothing. One piece where tag and varint fit a word, else two.
    """
    if values.dtype == np.int64:
        values = values.view(np.uint64)
    most = size(bits)
    # How many bytes a row's varint has; 0: the row has no field.
    count = np.full(len(values), 1, np.uint8) if zeros else (values != 0).view(np.uint8)
    for groups in range(1, most):
        count += (values >= values.dtype.type(1 << 7 * groups)).view(np.uint8)
    alike = bool((count == count[0]).all())
    # No count is out of bounds; "clip" only tells `take` that it need not look first.
    forms, lengths = _forms(prefix, most)
    if most <= 4 and values.dtype.itemsize <= 4:
        low = _spread(values.astype(np.uint32, copy=False), most).astype(np.uint64)
    else:
        low = _spread(values.astype(np.uint64, copy=False), most)
    before = np.uint64(8 * len(prefix))
    word = low << before
    word |= forms[0][count[0]] if alike else forms[0].take(count, mode="clip")
    if len(forms) == 1:
        return [
            Piece(word, int(lengths[0][count[0]]) if alike else lengths[0].take(count, mode="clip"), len(prefix) + most)
        ]
    behind = low >> np.uint64(8 * WORD_BYTES) - before
    if most > WORD_BYTES:
        high = values >> np.uint64(63) << np.uint64(8)
        high |= values >> np.uint64(56) & np.uint64(0x7F)
        behind |= high << before
    behind |= forms[1].take(count, mode="clip")
    return [
        Piece(word, lengths[0].take(count, mode="clip"), WORD_BYTES),
        Piece(behind, lengths[1].take(count, mode="clip"), len(prefix) + most - WORD_BYTES),
    ]


@lru_cache(maxsize=4096)
def _forms(prefix: bytes, most: int) -> tuple[list[NDArray[np.uint64]], list[NDArray[np.uint8]]]:
    """By the bytes of a varint, 0 to `most`: the one or two words of its field without the value's bits, and how many
    bytes of each word count. 0: no field.
    """
    whole = [b"", *(prefix + b"\x80" * (count - 1) + b"\x00" for count in range(1, most + 1))]
    words, lengths = [], []
    for start in range(0, len(whole[-1]), WORD_BYTES):
        parts = [data[start : start + WORD_BYTES] for data in whole]
        words.append(np.array([int.from_bytes(part, "little") for part in parts], np.uint64))
        lengths.append(np.array([len(part) for part in parts], np.uint8))
    return words, lengths


def texts(encoded: list[bytes], which: NDArray[np.intp]) -> list[Piece]:
    """Fields of few distinct values: `encoded`, each whole with its tag, and for every row `which` of them it has."""
    longest = max(map(len, encoded), default=0)
    out = []
    for start in range(0, longest, WORD_BYTES):
        parts = [data[start : start + WORD_BYTES] for data in encoded]
        word = np.array([int.from_bytes(part, "little") for part in parts], np.uint64)
        length = np.array([len(part) for part in parts], np.uint8)
        out.append(Piece(word[which], length[which], int(length.max())))
    return out


def _spread(values: NDArray[Any], groups: int) -> NDArray[Any]:
    """Groups of 7 bits to bytes, the first eight of u64, four of u32: halves, quarters and eighths apart."""
    number = values.dtype.type
    if groups == 1:
        return values
    if groups > 4:
        upper = values & number(0x00FF_FFFF_F000_0000)
        upper <<= number(4)
        values = values & number(0x0FFF_FFFF)
        values |= upper
    if groups > 2:
        upper = values & number(0x0FFF_C000_0FFF_C000 & _MASKS[values.dtype.itemsize])
        upper <<= number(2)
        values = values & number(0x0000_3FFF_0000_3FFF & _MASKS[values.dtype.itemsize])
        values |= upper
    upper = values & number(0x3F80_3F80_3F80_3F80 & _MASKS[values.dtype.itemsize])
    upper <<= number(1)
    values = values & number(0x007F_007F_007F_007F & _MASKS[values.dtype.itemsize])
    values |= upper
    return values
