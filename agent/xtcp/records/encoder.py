"""RecordEncoder: a batch to protobuf records of a layout, whole columns at a time.

Rows are taken by presence pattern: in a group all rows have the same columns, so which fields there can be is decided
once a group, and a column that holds one value throughout becomes part of the constant bytes beside it. The group's
rows are encoded in blocks that stay in the cache: every field becomes one or two words a row (`varints`), neighbours
that fit one word are joined, their lengths summed up to offsets, and each word is scattered to its place.

The bytes are those of google.protobuf's deterministic serialisation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import Batch
from xtcp.records import varints
from xtcp.records.fields import Bits, Part, Source, fields_of
from xtcp.records.model import Derivation, Layout
from xtcp.records.varints import WORD_BYTES, Piece

# Rows a block: a field's words are 16 KiB, all of a row's about a megabyte.
BLOCK_ROWS: Final = 4096
_USUAL_BYTES: Final = 512
# Words and constant bytes are written through windows that may reach so far past the last record.
_SLACK: Final = 4096


@dataclass(frozen=True)
class Encoded:
    """Records one behind the other: record i is `data[starts[i]:ends[i]]`, of row `rows[i]` of the batch.

    They stand in the encoder's own buffer, until it encodes the next batch. `data` u8; all others int64 (n,). `begins`
    are where records begin with what frames them, equal to `starts` where nothing does; so `data[begins[i]:ends[j]]`
    are records i to j as they stand in an envelope.
    """

    data: NDArray[np.uint8]
    begins: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    rows: NDArray[np.int64]


class RecordEncoder:
    """Records of `layout`; `constants` by field name stand above those of the layout.

    `frame` is the number of the repeated field of an envelope: each record then has its tag and length before it;
    `delimited`: its length alone, as protobuf's streams of messages have it.
    """

    def __init__(
        self,
        layout: Layout,
        constants: Mapping[str, int | str] | None = None,
        *,
        frame: int | None = None,
        delimited: bool = False,
    ) -> None:
        self._layout = layout
        self._constants = {**dict(layout.constants), **(constants or {})}
        self._frame = b"" if delimited else None if frame is None else varints.tag(frame, varints.LENGTH)
        self._columns = frozenset(field.column for field in layout.record.scalars()) | {"idiag_family"}
        self._by_family = any(f.derivation is Derivation.ADDRESS for f in layout.record.scalars())
        self._count = 0
        self._buffer = _Buffer()

    def encode(self, batch: Batch) -> Encoded:
        """All rows, those of a presence pattern together, otherwise in the batch's order."""
        batch = batch.select(self._columns)
        buffer = self._buffer
        buffer.clear(batch.rows)
        bits = Bits(batch)
        rows: list[NDArray[np.int64]] = []
        for group in _groups(batch, by_family=self._by_family):
            for start in range(0, len(group), BLOCK_ROWS):
                block = group[start : start + BLOCK_ROWS]
                rows.append(block)
                source = Source(batch, block, bits, self._constants, self._count)
                buffer.write(fields_of(self._layout.record, source), len(block), self._frame)
                self._count += len(block)
        return buffer.encoded(np.concatenate(rows) if rows else np.zeros(0, np.int64))


def _groups(batch: Batch, *, by_family: bool) -> Iterator[NDArray[np.int64]]:
    """Rows by presence pattern and, where an address is as long as its family says, by family."""
    masks = list({id(mask): mask for mask in batch.valid.values()}.values())
    if by_family and "idiag_family" in batch.columns:
        masks.append(batch.columns["idiag_family"] == 2)
    left = np.arange(batch.rows, dtype=np.int64)
    # A pattern a turn: there are few, and their rows mostly stand together.
    if masks:
        packed = np.packbits(np.stack(masks), axis=0, bitorder="little")
        pattern = _folded(packed)
        while len(left):
            same = pattern[left] == pattern[left[0]]
            yield left[same]
            left = left[~same]
    elif len(left):
        yield left


def _folded(packed: NDArray[np.uint8]) -> NDArray[np.int64]:
    """A number for each distinct column of `packed` (k, n)."""
    if len(packed) <= 8:
        number = np.zeros(packed.shape[1], np.int64)
        for row in packed:
            number = number << 8 | row
        return number
    return np.unique(packed, axis=1, return_inverse=True)[1].reshape(-1).astype(np.int64)


class _Buffer:
    """Where records are written, one batch after the other: fresh memory would cost more than the writing."""

    def __init__(self) -> None:
        self._data = np.zeros(0, np.uint8)
        self._used = 0
        self._begins: list[NDArray[np.int64]] = []
        self._starts: list[NDArray[np.int64]] = []
        self._ends: list[NDArray[np.int64]] = []

    def clear(self, rows: int) -> None:
        """Forgets what is in it, and has room for `rows` of a usual length."""
        self._used = 0
        self._begins, self._starts, self._ends = [], [], []
        if len(self._data) < _USUAL_BYTES * rows + _SLACK:
            self._data = np.zeros(_USUAL_BYTES * rows + _SLACK, np.uint8)

    def write(self, parts: Sequence[Part], rows: int, frame: bytes | None) -> None:
        """A block of records of these fields."""
        lengths = _lengths(parts, rows)
        framing: list[Part] = []
        if frame is not None:
            framing = list(varints.numbers(frame, lengths, int(lengths.max()), zeros=True))
        before = _lengths(framing, rows)
        ends = self._used + np.cumsum(before + lengths)
        starts = ends - lengths
        begins = starts - before
        end = int(ends[-1])
        if end + _SLACK > len(self._data):
            self._data = np.concatenate([self._data[: self._used], np.zeros(2 * end + _SLACK, np.uint8)])
        _scatter(self._data, begins, _together([*framing, *parts]))
        self._used = end
        self._begins.append(begins)
        self._starts.append(starts)
        self._ends.append(ends)

    def encoded(self, rows: NDArray[np.int64]) -> Encoded:
        """All that was written."""
        if not self._ends:
            none = np.zeros(0, np.int64)
            return Encoded(self._data[:0], none, none, none, rows)
        begins, starts, ends = (np.concatenate(each) for each in (self._begins, self._starts, self._ends))
        return Encoded(self._data[: self._used], begins, starts, ends, rows)


def _lengths(parts: Sequence[Part], rows: int) -> NDArray[np.int64]:
    total = np.zeros(rows, np.int64)
    constant = 0
    for part in parts:
        if isinstance(part.length, int):
            constant += part.length
        else:
            total += part.length
    return total + constant


def _together(parts: Sequence[Part]) -> list[Part]:
    """The same bytes in fewer parts: neighbours that fit one word are joined."""
    out: list[Part] = []
    for part in parts:
        last = out[-1] if out else None
        if isinstance(part, Piece) and isinstance(last, Piece) and last.longest + part.longest <= WORD_BYTES:
            out[-1] = varints.joined(last, part)
        else:
            out.append(part)
    return out


def _scatter(data: NDArray[np.uint8], begins: NDArray[np.int64], parts: Sequence[Part]) -> None:
    """Writes each part of every row behind the one before it.

    What the last words of a row write beyond its end lies in the first bytes of the next one, which were written
    before: those are written once more at the end.
    """
    words = np.ndarray((len(data) - WORD_BYTES + 1,), "<u8", data, strides=(1,))
    offset = begins.copy()
    heads = np.zeros(len(begins), np.uint64)
    least = 0
    for part in parts:
        if least < WORD_BYTES:
            heads |= part.first_word() << ((offset - begins).astype(np.uint64) << np.uint64(3))
            least += part.length if isinstance(part.length, int) else int(part.length.min())
        if isinstance(part, Piece):
            words[offset] = part.word
        else:
            part.write(data, offset)
        offset += part.length
    words[begins] = heads
