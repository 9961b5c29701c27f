"""The list of columns, derived from the table: names, kinds, order, and which request bit brings each.

`COLUMNS` is the order of every output. A struct member gives one column of its own name, a bit field likewise, an
attribute that is one value its INET_DIAG name in lower case (DESIGN: the kernel's names, so that they can be looked
up). A name that occurs in two layouts of a tail is one column, of the wider kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from xtcp.schema.inet_diag import ATTRIBUTES, INET_DIAG_MSG, IPPROTO_MPTCP, info_struct
from xtcp.schema.metadata import CONTEXT_COLUMNS, NOTE_COLUMNS, REMAINDER_COLUMNS
from xtcp.schema.model import U8, U16, U32, Attribute, Column, Field, Kind, Nest, Struct


def _bits_kind(width: int) -> Kind:
    """The narrowest column that holds `width` bits."""
    return U8 if width <= 8 else U16 if width <= 16 else U32


def _field_columns(field: Field, source: str, path: tuple[int, ...]) -> Iterator[Column]:
    for bits in field.bits:
        if not bits.name.startswith("_"):
            yield Column(bits.name, _bits_kind(bits.width), bits.unit, bits.since, bits.meaning, source, path)
    if not field.name.startswith("_"):
        yield Column(field.name, field.kind, field.unit, field.since, field.meaning, source, path)


def _struct_columns(struct: Struct, path: tuple[int, ...]) -> Iterator[Column]:
    for members in (struct.fields, *(tail.fields for tail in struct.tails)):
        for member in members:
            yield from _field_columns(member, struct.source, path)


def _attribute_columns(attribute: Attribute, parents: tuple[int, ...]) -> Iterator[Column]:
    path = (*parents, attribute.number)
    match attribute.body:
        case Struct():
            yield from _struct_columns(attribute.body, path)
            if path == (2,):
                yield from _struct_columns(info_struct(IPPROTO_MPTCP), path)
        case Nest():
            for inner in attribute.body.attributes:
                yield from _attribute_columns(inner, path)
        case Field():
            yield from _field_columns(attribute.body, attribute.source, path)
        case None:
            pass


def _all_columns() -> tuple[Column, ...]:
    found: dict[str, Column] = {}
    columns: list[Column] = [*CONTEXT_COLUMNS, *_struct_columns(INET_DIAG_MSG, ()), *NOTE_COLUMNS]
    for attribute in ATTRIBUTES:
        columns.extend(_attribute_columns(attribute, ()))
    columns.extend(REMAINDER_COLUMNS)
    for column in columns:
        known = found.get(column.name)
        if known is None or known.kind.size < column.kind.size:
            found[column.name] = column
    return tuple(found.values())


COLUMNS: Final[tuple[Column, ...]] = _all_columns()
BY_NAME: Final[dict[str, Column]] = {column.name: column for column in COLUMNS}
CONTEXT_NAMES: Final[frozenset[str]] = frozenset(column.name for column in CONTEXT_COLUMNS)
ALL_EXT: Final[int] = 0xFF


def attribute_names() -> dict[str, int]:
    """The attributes by the short name people type: `info`, `cong`, `skmeminfo` … to its number."""
    return {a.name.removeprefix("INET_DIAG_").lower(): a.number for a in ATTRIBUTES}


def columns_of(attributes: Iterable[int]) -> frozenset[str]:
    """Names of the columns that the attributes with these numbers fill."""
    wanted = set(attributes)
    return frozenset(c.name for c in COLUMNS if c.attribute and c.attribute[0] in wanted)


def ext_of(columns: Iterable[str]) -> int:
    """The `idiag_ext` mask (one byte, bit n - 1 for extension n) that brings all of `columns`."""
    bit = {a.number: a.ext for a in ATTRIBUTES}
    mask = 0
    for name in columns:
        path = BY_NAME[name].attribute
        ext = bit[path[0]] if path else None
        if ext is not None:
            mask |= 1 << (ext - 1)
    return mask


def _needs(attributes: Iterable[Attribute], parents: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], str]]:
    for attribute in attributes:
        path = (*parents, attribute.number)
        yield path, attribute.needs
        if isinstance(attribute.body, Nest):
            yield from _needs(attribute.body.attributes, path)


def columns_needing(capability: str, release: tuple[int, int] | None) -> tuple[str, ...]:
    """Names of the columns that kernel `release` (major, minor; None: the latest) leaves out for a reader without
    `capability`, those of a nest that needs it among them.
    """
    paths = set()
    for path, needs in _needs(ATTRIBUTES):
        name, _, before = needs.partition(" before ")
        older = bool(before) and release is not None and release < tuple(map(int, before.split(".")))
        if name == capability and (older or not before):
            paths.add(path)
    return tuple(c.name for c in COLUMNS if c.attribute and any(c.attribute[:n] in paths for n in range(1, 4)))
