"""Rows to bytes: the decoder's inverse, from the same table and from nothing of `xtcp.decode`.

A `Layout` says what a message looks like (which attributes, in which order, how long, with which flags, padding and
nesting); a row says what the columns are. `present` tells which columns a layout carries, `values` draws them,
`encode` writes the message.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from xtcp.schema.inet_diag import ATTRIBUTES, INET_DIAG_MSG, IPPROTO_TCP, info_struct
from xtcp.schema.model import ADDRESS, BE16, BLOB, FLAG, PAIR64, TEXT, Attribute, Bits, Field, Nest, Order, Struct

Row: TypeAlias = dict[str, int | bytes]
Release: TypeAlias = tuple[int, int] | None

NLM_F_MULTI = 2
NLA_F_NESTED = 0x8000
NLA_F_NET_BYTEORDER = 0x4000
LETTERS = {1: "B", 2: "H", 4: "I", 8: "Q"}
TEXT_LENGTH = 16


@dataclass(frozen=True)
class Item:
    """One attribute of a layout: its number, the length of its payload (a nest's is that of `inner`) and its flags.

    `text` is what a text says, cut to `size` and to the column's 16 bytes: all rows of a layout have the same.
    """

    number: int
    size: int = 0
    inner: tuple[Item, ...] = ()
    flags: int = 0
    text: bytes = b"cubic"


@dataclass(frozen=True)
class Layout:
    """A message's attributes in their order, and what its release and protocol make of them.

    `tight`: the length of the message does not count the last attribute's padding.
    """

    items: tuple[Item, ...] = ()
    release: Release = None
    protocol: int = IPPROTO_TCP
    padding: bytes = b"\0"
    tight: bool = False


@dataclass
class Writer:
    """Where the bytes that no column carries come from: holders' unused bits, reserved members, padding."""

    order: Order
    noise: Random = field(default_factory=lambda: Random(0))


def places(table: Struct, release: Release) -> tuple[list[tuple[Field, int]], int]:
    """Each member with its offset as a C compiler would place it, and the end of the last."""
    out, at = [], 0
    for member in table.members(release):
        while at % member.kind.align:
            at += 1
        out.append((member, at))
        at += member.kind.size
    return out, at


def body_of(number: int, path: tuple[int, ...], protocol: int) -> tuple[bool, Struct | Nest | Field | None]:
    """Whether the table has attribute `number` below `path`, and its payload."""
    table: Sequence[Attribute] = ATTRIBUTES
    for step in path:
        inner = next(a.body for a in table if a.number == step)
        assert isinstance(inner, Nest)
        table = inner.attributes
    if not path and number == 2:
        return True, info_struct(protocol)
    known = [a.body for a in table if a.number == number]
    return bool(known), known[0] if known else None


def struct_columns(table: Struct, release: Release, size: int) -> Iterator[Field | Bits]:
    """The columns of the members that end within `size`."""
    for member, at in places(table, release)[0]:
        if at + member.kind.size <= size:
            yield from (bits for bits in member.bits if not bits.name.startswith("_"))
            if not member.name.startswith("_"):
                yield member


def present(layout: Layout) -> dict[str, Field | Bits]:
    """The columns of the table that a message of `layout` carries, besides those that decoding notes itself."""
    found: dict[str, Field | Bits] = {c.name: c for c in struct_columns(INET_DIAG_MSG, None, 72)}

    def level(items: tuple[Item, ...], path: tuple[int, ...]) -> None:
        for item in items:
            _, body = body_of(item.number, path, layout.protocol)
            if isinstance(body, Struct):
                found.update((c.name, c) for c in struct_columns(body, layout.release, item.size))
            elif isinstance(body, Nest):
                level(item.inner, (*path, item.number))
            elif isinstance(body, Field):
                found[body.name] = body

    level(layout.items, ())
    return found


def value(column: Field | Bits, item: Item, random: Random) -> int | bytes:
    """A value for one column: often an extreme one."""
    if isinstance(column, Bits):
        return random.getrandbits(column.width)
    if column.name == "idiag_family":
        return random.choice((2, 2, 10, 10, random.getrandbits(8)))
    if column.kind is ADDRESS:
        return random.choice((random.randbytes(16), bytes(10) + b"\xff\xff\x7f\0\0\1", random.randbytes(4) + bytes(12)))
    if column.kind is TEXT:
        return item.text[: min(item.size, TEXT_LENGTH)]
    if column.kind is FLAG:
        return 1
    if column.kind is BLOB:
        return random.randbytes(item.size)
    bits = 8 * column.kind.size
    return random.choice((0, 1, 2**bits - 1, 2 ** (bits - 1), random.getrandbits(bits), random.getrandbits(bits)))


def values(layout: Layout, random: Random) -> Row:
    """A row of `layout`: every column that decoding the message must give, except bytes kept because unknown."""
    by_column: dict[str, Item] = {}

    def level(items: tuple[Item, ...], path: tuple[int, ...]) -> None:
        for item in items:
            body = body_of(item.number, path, layout.protocol)[1]
            if isinstance(body, Field):
                by_column[body.name] = item
            level(item.inner, (*path, item.number))

    level(layout.items, ())
    row = {name: value(column, by_column.get(name, Item(0)), random) for name, column in present(layout).items()}
    row["attributes"] = sum(1 << n for n in {item.number for item in layout.items} if n < 64)
    for item in layout.items:
        if item.number == 2:
            row["tcp_info_len"] = item.size
            known = places(info_struct(layout.protocol), layout.release)[1]
            if item.size > known:
                row["tcp_info_surplus"] = random.randbytes(item.size - known)
    return row


def pack(table: Struct, row: Mapping[str, int | bytes], size: int, release: Release, writer: Writer) -> bytes:
    """The first `size` bytes of the struct; noise where the row says nothing, and beyond its end."""
    members, end = places(table, release)
    out = bytearray(writer.noise.randbytes(max(size, end)))
    for member, at in members:
        kind = member.kind
        if member.bits:
            number = 0
            # A big-endian compiler gives the first declared bit field the highest bits.
            for bits in member.bits if writer.order == ">" else reversed(member.bits):
                part = row.get(bits.name)
                number = number << bits.width | (writer.noise.getrandbits(bits.width) if part is None else int(part))
            out[at : at + kind.size] = struct.pack(writer.order + LETTERS[kind.size], number)
        elif member.name in row:
            what = row[member.name]
            if isinstance(what, bytes):
                out[at : at + 16] = what
            elif kind is BE16:
                out[at : at + 2] = struct.pack("!H", what)
            elif kind is PAIR64:
                out[at : at + 8] = struct.pack(writer.order + "II", what & 0xFFFFFFFF, what >> 32)
            else:
                out[at : at + kind.size] = struct.pack(writer.order + LETTERS[kind.size], what)
    return bytes(out[:size])


def attribute(order: Order, number: int, payload: bytes = b"", *, padding: bytes = b"\0") -> bytes:
    """One attribute, header and padding included; `number` with its flags."""
    return struct.pack(order + "HH", 4 + len(payload), number) + payload + padding * (-len(payload) % 4)


def message(
    order: Order, payload: bytes = b"", kind: int = 20, flags: int = NLM_F_MULTI, seq: int = 0, port: int = 0
) -> bytes:
    """One netlink message, padded to 4."""
    header = struct.pack(order + "IHHII", 16 + len(payload), kind, flags, seq, port)
    return header + payload + bytes(-len(payload) % 4)


def encode(row: Row, layout: Layout, writer: Writer) -> tuple[bytes, Row]:
    """The payload of a row's message (from `inet_diag_msg` on) and the row with the bytes that were kept unknown."""
    kept: list[bytes] = []
    out = pack(INET_DIAG_MSG, row, 72, layout.release, writer)
    out += b"".join(_attributes(row, layout, layout.items, (), writer, kept))
    if layout.tight and layout.items:
        out = out[: len(out) - -_length(layout.items[-1]) % 4]
    return out, {**row, "unknown_attributes": b"".join(kept)} if kept else dict(row)


def _length(item: Item) -> int:
    """The payload's length; a nest's is that of whole attributes, a multiple of 4."""
    return 0 if item.inner else item.size


def _attributes(
    row: Row, layout: Layout, items: tuple[Item, ...], path: tuple[int, ...], writer: Writer, kept: list[bytes]
) -> Iterator[bytes]:
    for item in items:
        known, body = body_of(item.number, path, layout.protocol)
        keep = not known
        inner: list[bytes] = []
        if isinstance(body, Nest):
            payload = b"".join(_attributes(row, layout, item.inner, (*path, item.number), writer, inner))
        elif isinstance(body, Struct):
            payload = pack(body, row, item.size, layout.release, writer)
            end = places(body, layout.release)[1]
            if item.number == 2 and not path:
                payload = payload[:end] + _octets(row.get("tcp_info_surplus", b""))
            else:
                keep = item.size > end
        elif isinstance(body, Field) and body.kind is TEXT:
            text = _octets(row[body.name])
            payload = (text + b"\0" + layout.padding * item.size)[: item.size]
            keep = item.size > TEXT_LENGTH
        elif isinstance(body, Field) and body.kind is BLOB:
            payload = _octets(row[body.name])
        else:
            payload = writer.noise.randbytes(item.size)
        whole = attribute(writer.order, item.number | item.flags, payload, padding=layout.padding)
        if keep:
            kept.append(whole[: 4 + len(payload)])
        kept.extend(inner)
        yield whole


def _octets(cell: int | bytes) -> bytes:
    assert isinstance(cell, bytes)
    return cell
