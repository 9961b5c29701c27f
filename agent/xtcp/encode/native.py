"""Batches to a block of ClickHouse's Native format: names, types, then each column's values one behind the other.

A column of a batch is what the format wants, so encoding is copying. Absent values are the batch's 0 or empty; the
columns `attributes` and `tcp_info_len` tell them. Everything is little-endian, on every host.
Source: https://clickhouse.com/docs/interfaces/formats/Native, ClickHouse's src/Formats/NativeWriter.cpp (revision 0).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xtcp.schema.clickhouse import column_type
from xtcp.schema.columns import COLUMNS
from xtcp.schema.layout import column_dtype
from xtcp.schema.model import Column

if TYPE_CHECKING:
    from xtcp.batch import Batch


def native_type(column: Column) -> str:
    """The type that a block gives a column: the table's own, without what is the table's way to store it."""
    kind = column_type(column)
    return "String" if kind == "LowCardinality(String)" else kind


def columns_of(batches: Iterable[Batch]) -> list[Column]:
    """The columns that any of `batches` has, in the order of every output."""
    names: set[str] = set()
    for batch in batches:
        names.update(batch.columns, batch.context.constants())
    return [column for column in COLUMNS if column.name in names]


def block_of(batches: Sequence[Batch]) -> bytes:
    """The rows of all `batches` as one block of the columns `columns_of(batches)`."""
    rows = sum(batch.rows for batch in batches)
    columns = columns_of(batches)
    parts: list[bytes | memoryview] = [varint(len(columns)), varint(rows)]
    constants = [batch.context.constants() for batch in batches]
    for column in columns:
        parts += [text(column.name), text(native_type(column))]
        for batch, constant in zip(batches, constants, strict=True):
            parts.append(_values(column, batch, constant.get(column.name)))
    return b"".join(parts)


def _values(column: Column, batch: Batch, constant: int | str | None) -> bytes | memoryview:
    """The values of `column` in `batch`; of a constant of its context, or of none, as often as it has rows."""
    if not batch.rows:  # a dump that failed; no view of an empty array can be cast
        return b""
    found = batch.columns.get(column.name)
    dtype = column_dtype(column.name)
    if found is None and dtype.kind in "OS":
        return text(str(constant or "")) * batch.rows
    if found is None:
        shape = (batch.rows, *dtype.shape)
        found = np.full(shape, constant or 0, dtype.base)
    if found.dtype.kind in "OS":
        return _texts(found.tolist())
    return memoryview(np.ascontiguousarray(found, found.dtype.newbyteorder("<"))).cast("B")


def _texts(values: list[Any]) -> bytes:
    """Each value with its length before it; the same few values occur again and again."""
    known = {value: text(value) for value in set(values)}
    return b"".join(map(known.__getitem__, values))


def text(value: str | bytes) -> bytes:
    """A `String`: its length as a varint, its bytes."""
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    return varint(len(data)) + data


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
