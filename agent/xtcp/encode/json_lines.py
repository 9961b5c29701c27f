"""JSON lines: one object a row, its keys the schema's column names.

What a row does not have is left out; keys stand in the order chosen, else in the schema's. Numbers are written whole
(u64 too; a reader that holds numbers as doubles must be told). Output is ASCII: everything else in texts is escaped,
so that neither a terminal nor a line reader is misled. Forms of the values: `cells`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from xtcp.batch import Batch
from xtcp.encode.cells import Value, with_family
from xtcp.encode.lines import chosen_columns, row_lines


class _Json:
    """RFC 8259."""

    plain = '"%s"'

    def quoted(self, text: str) -> str:
        return json.dumps(text)

    def value(self, value: Value) -> str:
        return json.dumps(value, separators=(",", ":"))

    def line(self, cells: Sequence[tuple[str, str | None]]) -> str:
        return "{" + ",".join(f'"{name}":{text}' for name, text in cells if text is not None) + "}\n"


class JsonLines:
    """Encoder of JSON lines; `columns` None: every column that comes. Raises KeyError for an unknown one."""

    def __init__(self, columns: Sequence[str] | None = None) -> None:
        self._columns = chosen_columns(columns)
        self.reads = None if columns is None else with_family(self._columns)

    def begin(self) -> str:
        """Nothing."""
        return ""

    def encode(self, batch: Batch) -> Iterator[str]:
        """A line a row."""
        return row_lines(batch, self._columns, _Json())

    def end(self) -> str:
        """Nothing."""
        return ""
