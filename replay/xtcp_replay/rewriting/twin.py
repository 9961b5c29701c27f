"""Twin: a datagram as a host of the other byte order would have sent it.

Members in host order are turned round, bit fields move within their holder (they fill from the low end on
little-endian hosts, from the high end on big-endian ones), pairs are turned round word by word, what is network order
everywhere stays. Bytes that are not understood stay as they are: nobody knows where a number begins in them. So does
the end of a `tcp_info` whose kernel is not known; both are counted where they are not zero.

The twin of a twin is the datagram, whatever the bytes, because damage is turned round as well (see `anatomy`).
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from xtcp.schema.model import PAIR64, U8, U16, U32, U64, Field, Order
from xtcp_replay.rewriting.anatomy import NOT_UNDERSTOOD, Kernel, Layout, parts

# How a value is read and written, without alignment; all other kinds are bytes that stay as they are.
_LETTERS: Final = {U8: "B", U16: "H", U32: "I", U64: "Q", PAIR64: "II"}


def other(order: Order) -> Order:
    """The order of the twin."""
    return ">" if order == "<" else "<"


def twin(netlink: bytes, order: Order, kernel: Kernel, protocol: int | None, kept: Counter[str] | None = None) -> bytes:
    """The twin of a datagram whose host has `order`, of the same length. Never raises, whatever the bytes.

    `kernel` and `protocol` as for `anatomy.parts`. `kept` counts, by what they are, the parts that were not
    understood and are not only zeros.
    """
    out = bytearray(netlink)
    for part in parts(netlink, order, kernel, protocol):
        if part.layout is not None:
            swap = _SWAPS.get((part.layout, order)) or _swap_of(part.layout, order)
            values = list(swap.read(netlink, part.offset))
            for holder in swap.holders:
                values[holder.number] = _moved(values[holder.number], holder.moves)
            swap.write(out, part.offset, *values)
        elif kept is not None and part.what in NOT_UNDERSTOOD and any(netlink[part.offset : part.offset + part.size]):
            kept[part.why] += 1
    return bytes(out)


class _Swap(NamedTuple):
    """Reads a layout in one order and writes it in the other. `holders`: which of its values hold bit fields."""

    read: Callable[[bytes, int], tuple[Any, ...]]
    write: Callable[..., None]
    holders: tuple[_Holder, ...]


class _Holder(NamedTuple):
    """A value that holds bit fields: its number among the values; (width, shift before, shift after) of each."""

    number: int
    moves: tuple[tuple[int, int, int], ...]


# Layouts are the same object for the same struct, size and kernel.
_SWAPS: Final[dict[tuple[Layout, Order], _Swap]] = {}


def _swap_of(layout: Layout, order: Order) -> _Swap:
    letters = ""
    number = 0
    holders = []
    for _, size, field in layout.members:
        letter = None if field is None else _LETTERS.get(field.kind)
        if field is not None and field.bits:
            holders.append(_Holder(number, _moves(field, order)))
        letters += letter or f"{size}s"
        number += len(letter or "s")
    swap = _Swap(
        struct.Struct(order + letters).unpack_from, struct.Struct(other(order) + letters).pack_into, tuple(holders)
    )
    return _SWAPS.setdefault((layout, order), swap)


def _moves(field: Field, order: Order) -> tuple[tuple[int, int, int], ...]:
    """Each bit field's width, and its shift on a host of `order` and on one of the other."""
    moves = []
    declared = 0
    for bits in field.bits:
        low, high = declared, 8 * field.kind.size - declared - bits.width
        declared += bits.width
        moves.append((bits.width, low, high) if order == "<" else (bits.width, high, low))
    return tuple(moves)


def _moved(held: int, moves: tuple[tuple[int, int, int], ...]) -> int:
    return sum((held >> before & (1 << width) - 1) << after for width, before, after in moves)
