"""Results of SQL as text: a table for people, JSON lines, CSV. Rows stream, whatever their number.

In: the columns' names and DuckDB types, and the rows in pieces, as Python objects. Times are written as ISO 8601 has
them, bytes in hexadecimal, lists and structures as JSON.

The table takes its widths from the first piece; a longer cell that comes later pushes what is right of it. NULL is
blank there and in CSV, null in JSON. Nothing in a table can move the terminal's cursor.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias

from xtcp.encode.cells import clean_text
from xtcp.spelling import visible

GAP: Final = "  "

_NUMBERS: Final = ("INT", "FLOAT", "DOUBLE", "DECIMAL", "HUGE", "BIGNUM")

Row: TypeAlias = tuple[Any, ...]
Pieces: TypeAlias = Iterable[Sequence[Row]]


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return plain(float(value))
        case str():
            return clean_text(value)
        case datetime():
            return value.isoformat(" ")
        case date():
            return value.isoformat()
        case bytes():
            return value.hex()
        case dict():
            return {str(plain(name)): plain(each) for name, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
        case _:
            return str(value)


def _text(value: Any) -> str:
    """A value as CSV and the table have it."""
    made = plain(value)
    if made is None:
        return "" if value is None else str(value)
    if isinstance(made, str):
        return made
    return str(made) if isinstance(made, int | float) and not isinstance(made, bool) else json.dumps(made)


def json_lines(names: Sequence[str], _types: Sequence[str], pieces: Pieces) -> Iterator[str]:
    """An object a row."""
    for rows in pieces:
        yield "".join(json.dumps(dict(zip(names, map(plain, row), strict=True))) + "\n" for row in rows)


def csv_lines(names: Sequence[str], _types: Sequence[str], pieces: Pieces) -> Iterator[str]:
    """RFC 4180 with line feeds; a header first."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for rows in pieces:
        writer.writerows([_text(value) for value in row] for row in rows)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def table(names: Sequence[str], types: Sequence[str], pieces: Pieces) -> Iterator[str]:
    """Aligned columns, numbers to the right."""
    right = [any(word in kind.upper() for word in _NUMBERS) and "[" not in kind for kind in types]
    heads = list(map(visible, names))
    widths: list[int] = []
    for rows in pieces:
        cells = [[visible(_text(value)) for value in row] for row in rows]
        if not widths:
            widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
            yield _line(heads, widths, right)
        yield "".join(_line(row, widths, right) for row in cells)
    if not widths:
        yield _line(heads, list(map(len, heads)), right)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    aligned = [
        text.rjust(width) if to_right else text.ljust(width)
        for text, width, to_right in zip(cells, widths, right, strict=True)
    ]
    return GAP.join(aligned).rstrip() + "\n"


Writer: TypeAlias = Callable[[Sequence[str], Sequence[str], Pieces], Iterator[str]]
WRITERS: Final[Mapping[str, Writer]] = {"table": table, "json": json_lines, "csv": csv_lines}
