"""Parquet: rows as columns, in files below `parquet:DIR`; the layout is that of `partitions`, its rules `partitioned`.

zstd at level 1: higher levels take several times as long for a few per cent. Bytes of a number are split
(BYTE_STREAM_SPLIT) where it is wider than a byte and differs from row to row, because the high ones are alike; what
repeats (bytes, texts, what is the same in all rows of a poll) goes through a dictionary. Rows are kept as Arrow
batches up to `GROUP_ROWS`, the row groups that readers skip by.

`read_parquet('DIR/sockets/**/*.parquet')` is all that a reader needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from xtcp.encode.arrow import plain_schema, poll_batch, record_batch
from xtcp.encode.arrow_library import pa, pq
from xtcp.schema.columns import COLUMNS, CONTEXT_NAMES

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer

GROUP_ROWS: Final = 16_384
# A row group has half a kilobyte a column in the footer, which is kept until the end: 6 MB of these.
MOST_GROUPS: Final = 64
LEVEL: Final = 1

_SPLIT: Final = tuple(
    c.name for c in COLUMNS if c.kind.column in {"u2", "u4", "u8", "i8"} and c.name not in CONTEXT_NAMES
)
_DICTIONARY: Final = [c.name for c in COLUMNS if c.name not in _SPLIT]


class ParquetRows:
    """A `RowWriter`."""

    def __init__(self, file: BinaryIO, level: int) -> None:
        self._kept: list[Any] = []
        self._rows = self._groups = 0
        self.buffered = 0
        self._writer = pq.ParquetWriter(
            pa.PythonFile(file, mode="w"),
            plain_schema(),
            compression="zstd",
            compression_level=level,
            store_schema=False,  # 15 kB a file, to tell Arrow what Parquet's own types say
            use_dictionary=_DICTIONARY,
            column_encoding=dict.fromkeys(_SPLIT, "BYTE_STREAM_SPLIT"),
        )

    @property
    def full(self) -> bool:
        """Whether there are `MOST_GROUPS` row groups."""
        return self._groups >= MOST_GROUPS

    def write(self, batch: Batch) -> None:
        """Keeps the rows; writes a row group when there are enough."""
        made = record_batch(batch, plain_schema())
        self._kept.append(made)
        self._rows += made.num_rows
        self.buffered += made.nbytes
        if self._rows >= GROUP_ROWS:
            self.spill()

    def spill(self) -> None:
        """A row group of what is kept."""
        if self._rows:
            kept, self._kept, self._rows, self.buffered = self._kept, [], 0, 0
            table = pa.Table.from_batches(kept).unify_dictionaries()
            self._groups += 1
            self._writer.write_table(table, row_group_size=table.num_rows)

    def end(self) -> None:
        """The last row group and the footer."""
        self.spill()
        self._writer.close()


class Parquet:
    """A `Format`; `level` is zstd's."""

    ending: Final = "parquet"

    def __init__(self, level: int = LEVEL) -> None:
        self._level = level

    def rows(self, file: BinaryIO) -> ParquetRows:
        """A writer of row groups."""
        return ParquetRows(file, self._level)

    def polls(self, file: BinaryIO, trailers: Sequence[Trailer]) -> None:
        """One row group."""
        pq.write_table(
            pa.Table.from_batches([poll_batch(trailers)]),
            pa.PythonFile(file, mode="w"),
            compression="zstd",
            compression_level=self._level,
            store_schema=False,
        )
