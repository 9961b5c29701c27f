"""The fields of a block of rows that have the same columns: a layout's table and the columns, to parts of a record.

A part is what stands in every row at its place: a `Piece` of up to 8 bytes, `Exact` bytes that are the same in all
rows, `Blocks` of as many bytes in each, or `Blobs`, bytes of any length a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import Batch
from xtcp.encode.cells import AF_INET, clean_text
from xtcp.records import varints
from xtcp.records.model import LONGEST_TEXT, Derivation, Message, Nested, Presence, RecordField
from xtcp.records.varints import WORD_BYTES, Piece

# With more distinct texts than this in a block, sorting them is cheaper than looking for one after the other.
_FEW_TEXTS: Final = 16
# Bytes of at most so many values, each at most so long, are handled as texts are.
_FEW_BLOBS: Final = 256
_SHORT_BLOB: Final = 64
_NS: Final = 1_000_000_000


@dataclass(frozen=True)
class Exact:
    """The same bytes in every row, more than a word of them."""

    data: bytes

    @property
    def length(self) -> int:
        """In every row."""
        return len(self.data)

    def first_word(self) -> np.uint64:
        """Its first 8 bytes."""
        return np.uint64(int.from_bytes(self.data[:WORD_BYTES], "little"))

    def write(self, data: NDArray[np.uint8], offset: NDArray[np.int64]) -> None:
        """At `offset` (n,)."""
        wide = np.dtype(f"V{len(self.data)}")
        places = np.ndarray((len(data) - len(self.data) + 1,), wide, data, strides=(1,))
        places[offset] = np.frombuffer(self.data, wide)


@dataclass(frozen=True)
class Blocks:
    """As many bytes in every row: `values` u8 (n, k), k at least a word."""

    values: NDArray[np.uint8]

    @property
    def length(self) -> int:
        """In every row."""
        return int(self.values.shape[1])

    def first_word(self) -> NDArray[np.uint64]:
        """The first 8 bytes of each."""
        words = np.ascontiguousarray(self.values[:, :WORD_BYTES]).view("<u8")[:, 0]
        return words.astype(np.uint64, copy=False)

    def write(self, data: NDArray[np.uint8], offset: NDArray[np.int64]) -> None:
        """At `offset` (n,)."""
        wide = np.dtype(f"V{self.length}")
        places = np.ndarray((len(data) - self.length + 1,), wide, data, strides=(1,))
        places[offset] = np.ascontiguousarray(self.values).view(wide)[:, 0]


@dataclass(frozen=True)
class Blobs:
    """Bytes of any length, one or none a row."""

    values: list[bytes]
    length: NDArray[np.int64]

    def first_word(self) -> NDArray[np.uint64]:
        """The first 8 bytes of each."""
        return np.array([int.from_bytes(value[:WORD_BYTES], "little") for value in self.values], np.uint64)

    def write(self, data: NDArray[np.uint8], offset: NDArray[np.int64]) -> None:
        """At `offset` (n,)."""
        for value, at in zip(self.values, offset.tolist(), strict=True):
            data[at : at + len(value)] = np.frombuffer(value, np.uint8)


Part: TypeAlias = Piece | Exact | Blocks | Blobs


class Bits:
    """Which bits occur in a column of a batch, looked for once: 0 where all of it is, as long as the largest number."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._known: dict[str, int] = {}

    def of(self, name: str) -> int:
        """Of a column of numbers; -1 of any other, and of one that is not there."""
        known = self._known.get(name)
        if known is None:
            column: NDArray[Any] | None = self._batch.columns.get(name)
            known = -1
            if column is not None and column.ndim == 1 and column.dtype.kind in "iu":
                known = int(np.bitwise_or.reduce(column.view(np.uint64) if column.dtype == np.int64 else column))
            self._known[name] = known
        return known


class Source:
    """The columns of a block: `rows` of `batch`, all of one presence pattern and, where it is known, one family.

    `constants` by field name; `count` records went before.
    """

    def __init__(
        self, batch: Batch, rows: NDArray[np.int64], bits: Bits, constants: Mapping[str, int | str], count: int
    ) -> None:
        self._columns, self._valid = batch.columns, batch.valid
        self._rows: slice | NDArray[np.int64] = rows
        if int(rows[-1]) - int(rows[0]) + 1 == len(rows):
            self._rows = slice(int(rows[0]), int(rows[-1]) + 1)
        self._first = int(rows[0])
        self._context = batch.context.constants()
        self._constants = constants
        self._bits = bits
        self.whole = len(rows) == batch.rows
        self.count = count
        self.size = len(rows)

    def value(self, field: RecordField) -> int | str | NDArray[Any] | None:
        """What the field is made of: one value for all rows, a column (n,) or (n, 16), None where none is sent."""
        name = field.column
        if name in self._context:
            return self._context[name]
        column: NDArray[Any] | None = self._columns.get(name)
        if column is not None:
            mask = self._valid.get(name)
            if mask is not None and not mask[self._first]:
                return None
            if self._bits.of(name):
                return column[self._rows]
            # Most columns of most hosts are 0 throughout.
            return 0 if field.presence is Presence.GIVEN else None
        if field.derivation is Derivation.CONSTANT:
            return self._constants.get(field.name)
        if field.derivation is Derivation.COUNTER:
            return np.arange(self.count + 1, self.count + self.size + 1, dtype=np.uint64)
        return None

    def bits(self, field: RecordField) -> int:
        """Which bits may occur in the field's column."""
        return self._bits.of(field.column)

    @property
    def ipv4(self) -> bool:
        """Whether the rows are of IPv4 sockets."""
        family: NDArray[Any] | None = self._columns.get("idiag_family")
        return family is not None and int(family[self._first]) == AF_INET


def fields_of(message: Message, source: Source) -> list[Part]:
    """The parts of a message, in order."""
    parts: list[Part] = []
    for field in message.fields:
        if isinstance(field, Nested):
            parts += _nested(field, source)
            continue
        value = source.value(field)
        if value is not None:
            parts += _field(field, value, source)
    return parts


def _nested(field: Nested, source: Source) -> list[Part]:
    inner = fields_of(field.message, source)
    if not inner:
        return inner
    prefix = varints.tag(field.number, varints.LENGTH)
    constant = sum(part.length for part in inner if isinstance(part.length, int))
    varying = [part.length for part in inner if not isinstance(part.length, int)]
    if not varying:
        return [*_constant(prefix + varints.varint(constant)), *inner]
    lengths = np.full(source.size, constant, np.int64)
    for length in varying:
        lengths += length
    return [*varints.numbers(prefix, lengths, int(lengths.max()), zeros=True), *inner]


def _constant(data: bytes) -> Sequence[Part]:
    return (varints.constant(data) if len(data) <= WORD_BYTES else Exact(data),)


def _field(field: RecordField, value: int | str | NDArray[Any], source: Source) -> Sequence[Part]:
    if isinstance(value, int | str):
        return _same(field, value)
    if field.type == "bytes" and value.ndim == 2:
        return _addresses(field, value, source)
    if value.dtype == object:
        return _blobs(field, value)
    if value.dtype.kind == "S":
        return _texts(field, value)
    return _numbers(field, value, source)


def _same(field: RecordField, value: int | str) -> Sequence[Part]:
    """One value for all rows."""
    if isinstance(value, int):
        return _same_number(field, _derived(field, value) & 0xFFFF_FFFF_FFFF_FFFF)
    data = text_bytes(value)
    return _constant(_delimited(field, data)) if data or field.presence is Presence.GIVEN else ()


def _derived(field: RecordField, value: Any) -> Any:
    """A number, or a column of them, as the field has it."""
    match field.derivation:
        case Derivation.SECONDS:
            return value // _NS
        case Derivation.NANOSECONDS:
            return value % _NS
        case Derivation.LOW_WORD:
            return value & type(value)(0xFFFF_FFFF) if isinstance(value, int) else value & np.uint64(0xFFFF_FFFF)
        case Derivation.HIGH_WORD:
            return value >> 32 if isinstance(value, int) else value >> np.uint64(32)
        case _:
            return value


def _numbers(field: RecordField, column: NDArray[Any], source: Source) -> Sequence[Part]:
    bits = source.bits(field)
    if field.derivation is not Derivation.SAME:
        column = _derived(field, column)
        bits = int(np.bitwise_or.reduce(column))
    unsigned = column.view(np.uint64) if column.dtype == np.int64 else column
    # One value throughout has all bits that occur, unless others occur in rows that are not looked at.
    first = int(unsigned[0])
    if (bits == first or not source.whole) and (unsigned == unsigned[0]).all():
        return _same_number(field, first)
    prefix = varints.tag(field.number, varints.VARINT)
    return varints.numbers(prefix, unsigned, bits, zeros=field.presence is Presence.GIVEN)


def _same_number(field: RecordField, number: int) -> Sequence[Part]:
    if not number and field.presence is Presence.NONZERO:
        return ()
    return _constant(varints.tag(field.number, varints.VARINT) + varints.varint(number))


def _addresses(field: RecordField, column: NDArray[np.uint8], source: Source) -> Sequence[Part]:
    tag = varints.tag(field.number, varints.LENGTH)
    if field.derivation is Derivation.ADDRESS and source.ipv4:
        word = np.ascontiguousarray(column[:, :4]).view("<u4")[:, 0].astype(np.uint64)
        return varints.constant(tag + varints.varint(4)), Piece(word, 4, 4)
    return varints.constant(tag + varints.varint(column.shape[1])), Blocks(column)


def _blobs(field: RecordField, column: NDArray[Any]) -> Sequence[Part]:
    """Bytes of any length; the few that many rows share (what a newer kernel appends) as texts are."""
    values = column.tolist()
    fields = dict.fromkeys(values, b"")
    for value in fields:
        data = text_bytes(value) if field.type == "string" else bytes(value)
        if data or field.presence is Presence.GIVEN:
            fields[value] = _delimited(field, data)
    encoded = list(fields.values())
    if len(fields) <= _FEW_BLOBS and max(map(len, encoded)) <= _SHORT_BLOB:
        number = {value: index for index, value in enumerate(fields)}
        return _few(encoded, np.array([number[value] for value in values], np.intp))
    blobs = [fields[value] for value in values]
    return (Blobs(blobs, np.array([len(blob) for blob in blobs], np.int64)),)


def _texts(field: RecordField, column: NDArray[Any]) -> Sequence[Part]:
    values, which = _distinct(column)
    return _few([_text_field(field, value) for value in values], which)


def _few(encoded: list[bytes], which: NDArray[np.intp]) -> Sequence[Part]:
    """Few distinct fields, and which of them each row has."""
    if len(encoded) > 1:
        return varints.texts(encoded, which)
    return _constant(encoded[0]) if encoded[0] else ()


def _text_field(field: RecordField, value: bytes) -> bytes:
    if field.enum is not None:
        number = dict(field.enum.congestion).get(clean_text(value), 0)
        data = varints.tag(field.number, varints.VARINT) + varints.varint(number)
        return data if number or field.presence is Presence.GIVEN else b""
    text = text_bytes(value)
    return _delimited(field, text) if text or field.presence is Presence.GIVEN else b""


def _delimited(field: RecordField, data: bytes) -> bytes:
    return varints.tag(field.number, varints.LENGTH) + varints.varint(len(data)) + data


def text_bytes(value: bytes | str) -> bytes:
    """A text as UTF-8 that every reader takes, at most `LONGEST_TEXT` bytes, cut at a character's end."""
    data = clean_text(value).encode()
    return data if len(data) <= LONGEST_TEXT else data[:LONGEST_TEXT].decode("utf-8", "ignore").encode()


def _distinct(column: NDArray[Any]) -> tuple[list[bytes], NDArray[np.intp]]:
    """The distinct texts of a column (n,) of `S16`, and which of them each row has."""
    halves = np.ascontiguousarray(column).view(np.uint64).reshape(-1, 2)
    which = np.zeros(len(column), np.intp)
    left = np.ones(len(column), np.bool_)
    values: list[bytes] = []
    while True:
        at = int(left.argmax())
        if not left[at]:
            return values, which
        if len(values) == _FEW_TEXTS:
            found, which = np.unique(column, return_inverse=True)
            return found.tolist(), which.reshape(-1)
        same = (halves[:, 0] == halves[at, 0]) & (halves[:, 1] == halves[at, 1])
        which[same] = len(values)
        values.append(bytes(column[at]))
        left &= ~same
