"""CSV by RFC 4180, with line feeds: a header of column names, then a line a row.

The header is the same whatever comes: the columns chosen, or all of the schema. A field is empty where the
row has no such column; a text that is empty is `""`. Lists (`md5sig`, `locals`, `peers`) are JSON inside the field.
Forms of the values: `cells`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from xtcp.batch import Batch
from xtcp.encode.cells import Value, with_family
from xtcp.encode.lines import chosen_columns, row_lines

_PLAIN = re.compile(r"[^\",\r\n]+")


class _Csv:
    """RFC 4180."""

    plain = "%s"

    def quoted(self, text: str) -> str:
        return text if _PLAIN.fullmatch(text) else '"' + text.replace('"', '""') + '"'

    def value(self, value: Value) -> str:
        return self.quoted(value if isinstance(value, str) else json.dumps(value, separators=(",", ":")))

    def line(self, cells: Sequence[tuple[str, str | None]]) -> str:
        # A line with nothing on it is no record to most readers, so an only field that is empty is quoted.
        return (",".join(text or "" for _, text in cells) or '""') + "\n"


class CsvLines:
    """Encoder of CSV; `columns` None: all of the schema. Raises KeyError for an unknown one."""

    def __init__(self, columns: Sequence[str] | None = None) -> None:
        self._columns = chosen_columns(columns)
        self.reads = None if columns is None else with_family(self._columns)

    def begin(self) -> str:
        """The header."""
        return ",".join(self._columns) + "\n"

    def encode(self, batch: Batch) -> Iterator[str]:
        """A line a row."""
        return row_lines(batch, self._columns, _Csv())

    def end(self) -> str:
        """Nothing."""
        return ""
