"""Where each column lies in a struct, for a byte order and a kernel release: offsets, wire dtypes, shifts.

The one place where byte order is applied. A dtype is built for an order and never flipped: `newbyteorder` on a
structured dtype would flip the members that are network order on every host as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xtcp.schema.columns import BY_NAME
from xtcp.schema.model import ADDRESS, BE16, PAIR64, Order, Struct


@dataclass(frozen=True)
class Member:
    """One column's place in a struct.

    `offset` and `end` are bytes from the struct's start; `wire` is the dtype to read there; `shift` and `mask` cut a
    bit field out of its holder (`mask` None: the whole value); `swap` exchanges the halves of a u64 sent as two u32,
    low word first, by a big-endian host.
    """

    column: str
    offset: int
    end: int
    wire: np.dtype[np.generic]
    shift: int = 0
    mask: int | None = None
    swap: bool = False

    def value(self, read: NDArray[np.generic]) -> NDArray[np.generic]:
        """The column's values of what `wire` read, any shape; the same array where nothing is to be done."""
        if self.mask is not None:
            read = (read >> np.uint8(self.shift)) & read.dtype.type(self.mask)  # type: ignore[operator]
        if self.swap:
            read = (read << np.uint64(32)) | (read >> np.uint64(32))  # type: ignore[operator]
        return read


def kernel_release(text: str) -> tuple[int, int] | None:
    """(major, minor) of a release string as `uname -r` gives it (`6.18.44-x86_64`), None if there is none in it."""
    found = re.search(r"(?<![\d.])(\d{1,3})\.(\d{1,4})(?!\d)", text)
    return (int(found[1]), int(found[2])) if found else None


def size_of(struct: Struct, release: tuple[int, int] | None = None) -> int:
    """`sizeof` of the members that `release` has, without padding at the end."""
    end = 0
    for field in struct.members(release):
        end = -(-end // field.kind.align) * field.kind.align + field.kind.size
    return end


@lru_cache(maxsize=256)
def members(struct: Struct, order: Order, release: tuple[int, int] | None) -> tuple[Member, ...]:
    """Every column of `struct` on a host of `order` with kernel `release` (major, minor; None: unknown).

    Offsets follow the C ABI of x86-64, s390x and ppc64, which agree: each member at a multiple of its alignment.
    A bit field's shift is the bits declared before it on a little-endian host, the bits declared after it on a
    big-endian one.
    """
    out: list[Member] = []
    end = 0
    for field in struct.members(release):
        kind = field.kind
        offset = -(-end // kind.align) * kind.align
        end = offset + kind.size
        wire: np.dtype[Any]
        if kind is ADDRESS:
            wire = np.dtype((np.uint8, (16,)))
        elif kind is BE16:
            wire = np.dtype(">u2")
        else:
            wire = np.dtype(order + kind.column)
        below = 0
        for bits in field.bits:
            shift = below if order == "<" else 8 * kind.size - below - bits.width
            below += bits.width
            if not bits.name.startswith("_"):
                out.append(Member(bits.name, offset, end, wire, shift, (1 << bits.width) - 1))
        if not field.name.startswith("_"):
            out.append(Member(field.name, offset, end, wire, swap=kind is PAIR64 and order == ">"))
    return tuple(out)


@lru_cache(maxsize=1024)
def column_dtype(name: str) -> np.dtype[np.generic]:
    """The dtype of a column in a batch: native order; `object` holds `bytes` or `str`, `(16,)u1` an address."""
    return np.dtype(BY_NAME[name].kind.column)
