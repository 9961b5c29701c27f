"""Batch to Arrow: every column of the schema, always, in its order; numbers without a copy.

Numbers    as in the schema, u8 to u64; the arrays of the batch are used as they are
texts      `string`, and `dictionary` where few values repeat (states by ss's name, `cong`, `hostname`)
addresses  `string`: what people type into a query. As 16 bytes they would take less room in memory, but none in
           Parquet, whose dictionary holds each address once, and no one could read or write one in SQL
bytes      `string`, hexadecimal; lists (`md5sig`, `locals`, `peers`) as JSON. As in CSV
absent     null; a column that no row has is null throughout

So each value is the one that JSON has (`cells`), and rows stand in the kernel's order. A field's metadata says unit,
since which kernel, meaning and source. Polls have a schema too, made of the trailer's fields.

Where pyarrow is not installed, importing this module raises `ConfigurationError`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from typing import Any, Final, get_type_hints

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import Batch
from xtcp.encode.arrow_library import pa
from xtcp.encode.cells import AF_INET, AF_INET6, STATE_NAMES, address_text, bytes_value, clean_text, is_address
from xtcp.poll.trailer import Trailer
from xtcp.schema.columns import COLUMNS, CONTEXT_NAMES
from xtcp.schema.layout import column_dtype
from xtcp.schema.model import ADDRESS, BLOB, STRING, TEXT, Column
from xtcp.schema.names import STATES

_WORDS: Final = pa.dictionary(pa.int32(), pa.string())
_TYPES: Final = {ADDRESS: pa.string(), BLOB: pa.string(), STRING: _WORDS, TEXT: _WORDS}
_POLL_TYPES: Final = {int: pa.int64(), str: pa.string(), tuple[str, ...]: pa.list_(pa.string())}
_COUNTS: Final = pa.map_(pa.string(), pa.int64())

# States that have a name: the dictionary of all batches but those with a state that no kernel has.
_NAMED_STATES: Final = max(STATES) + 1
# Texts that repeat are found one by one as long as they are few, by sorting then.
_FEW: Final = 8

# Texts of addresses are built of words of 4 bytes, whose NULs are left out in the end: an octet with its dot is one,
# `::ffff:` are two, the longest that inet_ntop writes (INET6_ADDRSTRLEN, 46) takes twelve.
_MAPPED: Final = np.frombuffer(b"\0::ffff:", np.uint32)
_OCTETS: Final = np.array([f"{n}.".encode() for n in range(256)], "S4").view(np.uint32)
_LAST_OCTETS: Final = np.array([f"{n}".encode() for n in range(256)], "S4").view(np.uint32)
_V4_WORDS: Final = 4
_MOST_WORDS: Final = 12


def arrow_type(column: Column) -> Any:
    """The Arrow type of a column."""
    if column.name == "idiag_state":
        return _WORDS
    return _TYPES.get(column.kind) or pa.from_numpy_dtype(column_dtype(column.name))


_TYPED: Final = tuple((column, arrow_type(column)) for column in COLUMNS)


@cache
def schema() -> Any:
    """The `pyarrow.Schema` of sockets, with metadata."""
    return pa.schema([pa.field(column.name, kind, metadata=_metadata(column)) for column, kind in _TYPED])


@cache
def plain_schema() -> Any:
    """The same without metadata, which in a small Parquet file would take more room than the rows."""
    return pa.schema([field.remove_metadata() for field in schema()])


@cache
def poll_schema() -> Any:
    """The schema of polls: the fields of `Trailer`; counts by name are a map."""
    hints = get_type_hints(Trailer)
    return pa.schema([pa.field(f.name, _POLL_TYPES.get(hints[f.name], _COUNTS)) for f in fields(Trailer)])


def _metadata(column: Column) -> dict[str, str]:
    known = {"unit": column.unit, "since": column.since, "meaning": column.meaning, "source": column.source}
    return {name: text for name, text in known.items() if text}


def record_batch(batch: Batch, like: Any = None) -> Any:
    """A `pyarrow.RecordBatch` of all rows, of `schema()` or of one `like` it. It shares the batch's memory."""
    batch = batch.in_order()
    constants = batch.context.constants()
    bitmaps = _Bitmaps(batch)
    arrays = []
    for column, kind in _TYPED:
        if column.name in constants:
            arrays.append(_constant(column, kind, constants[column.name], batch.rows))
        elif column.name not in batch.columns or column.name in CONTEXT_NAMES:
            arrays.append(pa.nulls(batch.rows, kind))
        else:
            arrays.append(_array(column, kind, batch, bitmaps))
    return pa.RecordBatch.from_arrays(arrays, schema=like or schema())


def poll_batch(trailers: Sequence[Trailer]) -> Any:
    """A `pyarrow.RecordBatch` of a row a trailer."""
    arrays = [_field_array(field.type, [getattr(t, field.name) for t in trailers]) for field in poll_schema()]
    return pa.RecordBatch.from_arrays(arrays, schema=poll_schema())


def _field_array(kind: Any, values: Sequence[Any]) -> Any:
    """The values of one field of trailers."""
    if kind == pa.string():
        return _string_array([clean_text(value) for value in values])
    if kind == pa.int64():
        return _number_array(kind, np.array(values, np.int64))
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(value) for value in values], out=offsets[1:])
    ends = _number_array(pa.int32(), offsets)
    names = _string_array([clean_text(name) for value in values for name in value])
    if kind != _COUNTS:
        return pa.ListArray.from_arrays(ends, names)
    counts = np.array([count for value in values for count in value.values()], np.int64)
    return pa.MapArray.from_arrays(ends, names, _number_array(pa.int64(), counts))


class _Bitmaps:
    """Arrow's validity bitmaps of a batch; columns that come and go together share one."""

    def __init__(self, batch: Batch) -> None:
        self._valid = batch.valid
        self._made: dict[int, tuple[Any, int]] = {}

    def of(self, name: str) -> tuple[Any, int]:
        """The buffer, None where all rows have the column, and how many have not."""
        mask = self._valid.get(name)
        if mask is None:
            return None, 0
        if id(mask) not in self._made:
            packed = np.packbits(mask, bitorder="little")
            self._made[id(mask)] = pa.py_buffer(packed), len(mask) - int(np.count_nonzero(mask))
        return self._made[id(mask)]


def _constant(column: Column, kind: Any, value: int | str, rows: int) -> Any:
    """An array of the same value in all rows."""
    if isinstance(value, str):
        return _dictionary(np.zeros(rows, np.int32), [clean_text(value)], (None, 0))
    limits = np.iinfo(column.kind.column)
    if not limits.min <= value <= limits.max:  # a time beyond the year 2262, which only a damaged capture has
        return pa.nulls(rows, kind)
    return _number_array(kind, np.full(rows, value, limits.dtype))


def _array(column: Column, kind: Any, batch: Batch, bitmaps: _Bitmaps) -> Any:
    values: NDArray[Any] = batch.columns[column.name]
    valid = bitmaps.of(column.name)
    if column.name == "idiag_state":
        named = not batch.rows or int(values.max()) < _NAMED_STATES
        return _dictionary(values.astype(np.int32), STATE_NAMES[: _NAMED_STATES if named else None], valid)
    if is_address(column.name):
        family = batch.columns.get("idiag_family", np.zeros(batch.rows, np.uint8))
        return _strings(address_cells(family, values), valid)
    mask = batch.valid.get(column.name)
    if column.kind is TEXT:
        codes, words = _words(values, mask)
        return _dictionary(codes, [clean_text(word) for word in words], valid)
    if column.kind is BLOB:
        return _string_array(_blobs(column.name, values, mask, batch), valid)
    return _number_array(kind, values, valid)


def _number_array(kind: Any, values: NDArray[Any], valid: tuple[Any, int] = (None, 0)) -> Any:
    """`values` as they are. From buffers, here and below: pyarrow's own conversions import pandas where it is there."""
    return pa.Array.from_buffers(kind, len(values), [valid[0], pa.py_buffer(values)], valid[1])


def _string_array(texts: Sequence[str], valid: tuple[Any, int] = (None, 0)) -> Any:
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(texts) + 1, np.int32)
    np.cumsum(list(map(len, encoded)), out=offsets[1:])
    buffers = [valid[0], pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers, valid[1])


def _dictionary(codes: NDArray[np.int32], words: Sequence[str], valid: tuple[Any, int]) -> Any:
    return pa.DictionaryArray.from_arrays(_number_array(pa.int32(), codes, valid), _string_array(words), safe=False)


def _words(values: NDArray[Any], mask: NDArray[np.bool_] | None) -> tuple[NDArray[np.int32], list[bytes]]:
    """The number of each row's text, (rows,), and the texts; 0 where `mask` says that there is none."""
    codes = np.zeros(len(values), np.int32)
    words: list[bytes] = []
    left = np.arange(len(values)) if mask is None else np.flatnonzero(mask)
    while len(left) and len(words) < _FEW:
        same = values[left] == values[left[0]]
        codes[left[same]] = len(words)
        words.append(bytes(values[left[0]]))
        left = left[~same]
    if len(left):
        found, numbers = np.unique(values[left], return_inverse=True)
        codes[left] = numbers + len(words)
        words += map(bytes, found.tolist())
    return codes, words


def _blobs(name: str, values: NDArray[Any], mask: NDArray[np.bool_] | None, batch: Batch) -> list[str]:
    """The text of each row's bytes, empty where `mask` says that there are none."""
    texts = [""] * batch.rows
    for row in range(batch.rows) if mask is None else np.flatnonzero(mask).tolist():
        value = bytes_value(name, values[row], batch.context.order)
        texts[row] = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return texts


def address_cells(family: NDArray[Any], addresses: NDArray[Any]) -> NDArray[np.uint8]:
    """The text of each address in a row of its own, (rows, width) ASCII: the bytes that are not 0, in their order.

    `family` (rows,), `addresses` (rows, 16). IPv4 and v4-mapped ones by tables, the others one by one.
    """
    quarters = np.ascontiguousarray(addresses).view(np.uint32)
    inet = family == AF_INET
    mapped = (family == AF_INET6) & (quarters[:, 0] == 0) & (quarters[:, 1] == 0)
    mapped &= quarters[:, 2] == int.from_bytes(b"\0\0\xff\xff", sys.byteorder)
    others = np.flatnonzero(~(inet | mapped))
    before = len(_MAPPED) if len(others) or mapped.any() else 0
    words = np.zeros((len(family), _MOST_WORDS if len(others) else before + _V4_WORDS), np.uint32)
    octets = addresses[:, :4]
    if before:
        words[mapped, :before] = _MAPPED
        octets = np.where(mapped[:, None], addresses[:, 12:], octets)
    for n in range(4):
        words[:, before + n] = (_OCTETS if n < 3 else _LAST_OCTETS)[octets[:, n]]
    cells = words.view(np.uint8)
    if len(others):
        raw = addresses[others].tobytes()
        texts = map(address_text, family[others].tolist(), [raw[i : i + 16] for i in range(0, len(raw), 16)])
        width = cells.shape[1]
        cells[others] = np.array([text.encode() for text in texts], f"S{width}").view(np.uint8).reshape(-1, width)
    return cells


def _strings(cells: NDArray[np.uint8], valid: tuple[Any, int]) -> Any:
    """A string a row of `cells`: its bytes that are not 0."""
    there = cells != 0
    offsets = np.zeros(len(cells) + 1, np.int32)
    np.cumsum(np.count_nonzero(there, axis=1), out=offsets[1:])
    buffers = [valid[0], pa.py_buffer(offsets), pa.py_buffer(cells[there])]
    return pa.Array.from_buffers(pa.string(), len(cells), buffers, valid[1])
