"""Batch to text: an encoder a format; and to Arrow. No I/O; the same batches give the same text.

cells       one value to text: addresses, states, texts, bytes
lines       many rows to text, by one format a presence pattern
json_lines  one JSON object a row
csv_lines   RFC 4180
units       numbers for people
table       aligned columns for people
arrow       the same values as columns, for Arrow and Parquet; arrow_library is pyarrow, or how to get it

This module itself imports no NumPy, so that the names of the formats are to be had without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from xtcp.batch import Batch


class Encoder(Protocol):
    """Text of a stream of batches: `begin`, `encode` of each batch, `end`, one after the other.

    `reads` names the batch columns the text is made of, None for all: what to ask the kernel and the decoder for.
    """

    @property
    def reads(self) -> frozenset[str] | None:
        """Columns of a batch that `encode` looks at; more than the chosen ones (an address needs its family)."""
        ...

    def begin(self) -> str:
        """What stands before all rows."""
        ...

    def encode(self, batch: Batch) -> Iterator[str]:
        """The batch's rows in the order in which the kernel sent them, in pieces to be written one by one."""
        ...

    def end(self) -> str:
        """What stands after all rows."""
        ...


# From the columns chosen (None: all, of the table its default view) and the terminal's width (None: no terminal).
Factory: TypeAlias = Callable[[Sequence[str] | None, int | None], Encoder]


def _json(columns: Sequence[str] | None, _width: int | None) -> Encoder:
    from xtcp.encode.json_lines import JsonLines

    return JsonLines(columns)


def _csv(columns: Sequence[str] | None, _width: int | None) -> Encoder:
    from xtcp.encode.csv_lines import CsvLines

    return CsvLines(columns)


def _table(columns: Sequence[str] | None, width: int | None) -> Encoder:
    from xtcp.encode.table import Table

    return Table(columns, width)


FORMATS: Final[dict[str, Factory]] = {"table": _table, "json": _json, "csv": _csv}


def make_encoder(name: str, columns: Sequence[str] | None = None, width: int | None = None) -> Encoder:
    """The encoder of the format `name`. Raises KeyError for an unknown format or column."""
    return FORMATS[name](columns, width)
