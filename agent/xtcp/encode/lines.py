"""Many rows to text, by one format a presence pattern.

In: a batch, the columns chosen, and the syntax of a format. Out: one line a row, in the kernel's order.

A column whose values are all the same becomes part of the format; of the rest, `format % row` writes a whole row at
once, about 50 ns a value. A presence pattern is which of the columns a row has: each pattern has its own format, and
picks from the row what that format takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import Batch
from xtcp.encode.cells import STATE_NAMES, Value, address_texts, bytes_value, clean_text, is_address
from xtcp.schema.columns import BY_NAME, CONTEXT_NAMES
from xtcp.schema.model import BLOB, Order

# About 1 MB of JSON: as one text a batch of 4,000 rows would take 8 MB, and 8 more as bytes. Larger is not faster.
PIECE_ROWS: Final = 512

Array: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[np.bool_]
Row: TypeAlias = tuple[Any, ...]


class Syntax(Protocol):
    """How a format writes a line. What `quoted` and `value` return is text as it stands in the line."""

    plain: str
    """The `%` format of a text that never needs escaping (addresses, states)."""

    def quoted(self, text: str) -> str:
        """Any text, escaped."""
        ...

    def value(self, value: Value) -> str:
        """What a column of bytes became."""
        ...

    def line(self, cells: Sequence[tuple[str, str | None]]) -> str:
        """A line, its end included, of (column, text) pairs in order; None where the row has no such column."""
        ...


@dataclass(frozen=True)
class _Cells:
    """One column of a batch: its `%` format, what that takes of rows `[start, stop)`, and which rows have it.

    `values` None: `form` is the text of all rows that have it. `mask` None: all rows have it.
    """

    form: str
    values: Callable[[slice], list[Any]] | None = None
    mask: Mask | None = None


def chosen_columns(names: Sequence[str] | None) -> tuple[str, ...]:
    """`names`, each once, or the whole schema for None. Raises KeyError for an unknown one."""
    return tuple(dict.fromkeys(BY_NAME[name].name for name in (BY_NAME if names is None else names)))


def row_lines(batch: Batch, names: Sequence[str], syntax: Syntax) -> Iterator[str]:
    """One line a row of the columns `names`, in their order; in pieces of `PIECE_ROWS` rows."""
    batch = batch.select(frozenset(names) | {"idiag_family"}).in_order()
    constants = batch.context.constants()
    cells: dict[str, _Cells] = {}
    for name in names:
        if name in constants:
            cells[name] = _Cells(_literal(_constant(constants[name], syntax)))
        elif name in batch.columns and name not in CONTEXT_NAMES and batch.rows:
            cells[name] = _cells(batch, name, syntax)
    codes, patterns = _patterns([c.mask for c in cells.values()], batch.rows)
    formats = [_format(names, cells, pattern, syntax) for pattern in patterns]
    varying = [c.values for c in cells.values() if c.values is not None]
    for start in range(0, batch.rows, PIECE_ROWS):
        piece = slice(start, min(start + PIECE_ROWS, batch.rows))
        rows: Iterator[Row] = zip(*[values(piece) for values in varying], strict=True)
        if not varying:
            rows = iter([()] * (piece.stop - start))
        if len(formats) == 1 and formats[0][1] is None:
            form = formats[0][0]
            yield "".join([form % row for row in rows])
        else:
            chosen = map(formats.__getitem__, codes[piece].tolist())
            yield "".join(
                [form % (row if pick is None else pick(row)) for (form, pick), row in zip(chosen, rows, strict=True)]
            )


def _constant(value: int | str, syntax: Syntax) -> str:
    return str(value) if isinstance(value, int) else syntax.quoted(clean_text(value))


def _literal(text: str) -> str:
    """`text` as part of a `%` format."""
    return text.replace("%", "%%")


def _cells(batch: Batch, name: str, syntax: Syntax) -> _Cells:
    column: Array = batch.columns[name]
    family: Array = batch.columns.get("idiag_family", np.zeros(batch.rows, np.uint8))
    mask = batch.valid.get(name)
    order = batch.context.order
    first = 0 if mask is None else int(mask.argmax())
    form = _form(name, column, syntax)
    if _all_same(column, first, mask) and not (is_address(name) and not _all_same(family, first, mask)):
        one = slice(first, first + 1)
        return _Cells(_literal(form % _values(name, column[one], family[one], order, syntax)[0]), mask=mask)
    return _Cells(form, lambda rows: _values(name, column[rows], family[rows], order, syntax), mask)


def _all_same(column: Array, first: int, mask: Mask | None) -> bool:
    """Whether the rows of `mask`, of which `first` is one, are equal."""
    if len(column) == 1:
        return True
    differs = column != column[first]
    return not bool((differs if mask is None else differs[mask]).any())


def _form(name: str, column: Array, syntax: Syntax) -> str:
    if is_address(name) or name == "idiag_state":
        return syntax.plain
    return "%d" if column.dtype.kind in "iu" else "%s"


def _values(name: str, column: Array, family: Array, order: Order, syntax: Syntax) -> list[Any]:
    """What a column's format takes, a value a row."""
    if is_address(name):
        return address_texts(family.tolist(), column.tobytes())
    values: list[Any] = column.tolist()
    if name == "idiag_state":
        return [STATE_NAMES[state] for state in values]
    if column.dtype.kind in "iu":
        return values
    if BY_NAME[name].kind is BLOB:
        texts = {raw: syntax.value(bytes_value(name, raw, order)) for raw in set(values)}
    else:
        texts = {raw: syntax.quoted(clean_text(raw)) for raw in set(values)}
    return [texts[raw] for raw in values]


def _patterns(masks: Sequence[Mask | None], rows: int) -> tuple[NDArray[np.intp], list[tuple[bool, ...]]]:
    """The number of each row's presence pattern, and the patterns: a bool for each of `masks`."""
    distinct: dict[bytes, int] = {}
    kept: list[Mask] = []
    which: list[int | None] = []
    for mask in masks:
        number = None if mask is None else distinct.setdefault(mask.tobytes(), len(kept))
        which.append(number)
        if mask is not None and number == len(kept):
            kept.append(mask)
    if not kept:
        return np.zeros(rows, np.intp), [(True,) * len(masks)]
    packed = np.packbits(np.stack(kept), axis=0).T
    found, codes = np.unique(packed, axis=0, return_inverse=True)
    unpacked = np.unpackbits(found, axis=1).astype(np.bool_).tolist()
    return codes.reshape(-1), [tuple(n is None or has[n] for n in which) for has in unpacked]


def _format(
    names: Sequence[str], cells: Mapping[str, _Cells], pattern: Sequence[bool], syntax: Syntax
) -> tuple[str, Callable[[Row], Any] | None]:
    """The format of a pattern, and what it takes of a row's values (None: all of them)."""
    has = dict(zip(cells, pattern, strict=True))
    form = syntax.line([(name, cells[name].form if has.get(name) else None) for name in names])
    varying = [has[name] for name, c in cells.items() if c.values is not None]
    index = [i for i, present in enumerate(varying) if present]
    if len(index) == len(varying):
        return form, None
    return form, itemgetter(*index) if index else lambda _row: ()
