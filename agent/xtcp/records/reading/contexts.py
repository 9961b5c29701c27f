"""Rows by context: which of them are of one host, namespace, poll and time, and so of one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.chunk import Context
from xtcp.records.reading.varints import Ints
from xtcp.spelling import cleaned

FROM: Final = "received_from"


@dataclass(frozen=True)
class Texts:
    """A text a row: `values[which[i]]`; `which` int64 (n,)."""

    which: Ints
    values: Sequence[str]

    def at(self, rows: Ints) -> Texts:
        """Those of some rows."""
        return Texts(self.which[rows], self.values)


def texts(data: NDArray[np.uint8], offset: Ints, length: Ints) -> Texts:
    """Payloads as texts, replacement characters for what is not UTF-8; the same ones once."""
    if len(offset) and bool((length == length[0]).all()):
        # Mostly all are the same: a host's name.
        same = data[int(offset[0]) : int(offset[0]) + int(length[0])]
        if bool((data[offset[:, np.newaxis] + np.arange(len(same))] == same).all()):
            return Texts(np.zeros(len(offset), np.int64), [_text(same.tobytes())])
    known: dict[bytes, int] = {}
    view = memoryview(data)
    which = [
        known.setdefault(bytes(view[at : at + size]), len(known))
        for at, size in zip(offset.tolist(), length.tolist(), strict=True)
    ]
    return Texts(np.array(which, np.int64), [_text(raw) for raw in known])


def contexts(
    columns: Mapping[str, NDArray[np.generic] | Texts], sources: Sequence[str], source: Ints
) -> Iterator[tuple[Context, Ints | None]]:
    """Each context among the rows, and its rows in their order; None: all.

    Row i came from `sources[source[i]]`, and says so in `received_from`; where that is empty, what the row says itself
    stays.
    """
    rows = len(source)
    if not rows:
        return
    keys: list[NDArray[np.generic]] = [source]
    keys += [column.which if isinstance(column, Texts) else column for column in columns.values()]
    varying = [key for key in keys if not bool((key == key[0]).all())]
    if not varying:
        yield _context(columns, sources, source, 0), None
        return
    code = np.zeros(rows, np.int64)
    for key in varying:
        values, place = np.unique(key, return_inverse=True)
        _, code = np.unique(code * len(values) + place.reshape(-1), return_inverse=True)
        code = code.reshape(-1)
    order = np.argsort(code, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(code[order])) + 1)
    for group in sorted(groups, key=lambda group: int(group[0])):
        yield _context(columns, sources, source, int(group[0])), group


def _context(
    columns: Mapping[str, NDArray[np.generic] | Texts], sources: Sequence[str], source: Ints, row: int
) -> Context:
    given: dict[str, int | str] = {}
    for name, column in columns.items():
        value = column.values[int(column.which[row])] if isinstance(column, Texts) else int(column[row])
        if value:
            given[name] = value
    if sources[int(source[row])]:
        given[FROM] = sources[int(source[row])]
    return Context(**given)  # type: ignore[arg-type]  # names and types are those of the schema's context columns


def _text(raw: bytes) -> str:
    return cleaned(raw.decode("utf-8", "replace"))
