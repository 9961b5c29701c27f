"""Runs of rows to the columns of a batch.

The two ways through attributes write into arrays that the assembly hands out, run after run: a run is `[start, stop)`
with the names of the columns its rows have, and (where not all of them have it) a bool a row. At the end it blanks
what was not written, leaves out what no row has, and shares one presence array among columns that come and go
together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xtcp.schema.columns import COLUMNS
from xtcp.schema.layout import column_dtype

_DTYPES = {column.name: column_dtype(column.name) for column in COLUMNS}
_ALL: Mapping[str, NDArray[np.bool_]] = {}


@dataclass(frozen=True)
class Run:
    """Rows `[start, stop)` have the columns `names`; `present[name]` is bool (rows,), missing where all have it."""

    start: int
    stop: int
    names: Collection[str]
    present: Mapping[str, NDArray[np.bool_]]


class Assembly:
    """The columns of a batch of `rows` rows in the making; `position` is each row's offset in the chunk."""

    def __init__(self, rows: int) -> None:
        self.position = np.empty(rows, np.int64)
        self._rows = rows
        self._at = 0
        self._columns: dict[str, NDArray[np.generic]] = {}
        self._blocks: dict[tuple[str, ...], NDArray[np.generic]] = {}
        self._runs: list[Run] = []

    def column(self, name: str) -> NDArray[np.generic]:
        """The array of column `name`, not yet blank where nothing was written: (rows,), an address (rows, 16)."""
        found = self._columns.get(name)
        if found is None:
            found = self._columns[name] = np.empty(self._rows, _DTYPES[name])
        return found

    def put(self, run: slice, name: str, values: NDArray[np.generic]) -> None:
        """Writes `values`, of the column's dtype, into column `name`; where they are all of it, takes them for it."""
        if len(values) == self._rows and name not in self._columns:
            self._columns[name] = values
        else:
            self.column(name)[run] = values

    def block(self, names: tuple[str, ...]) -> NDArray[np.generic] | None:
        """The columns `names`, of one dtype, as the rows of one array (len(names), rows): what lies together in a
        message is written together. None where one of them already has an array of its own.
        """
        found = self._blocks.get(names)
        if found is None and self._columns.keys().isdisjoint(names):
            found = self._blocks[names] = np.empty((len(names), self._rows), _DTYPES[names[0]])
            self._columns.update(zip(names, found, strict=True))
        return found

    def run(
        self,
        position: NDArray[np.int64],
        names: Collection[str],
        present: Mapping[str, NDArray[np.bool_]] = _ALL,
    ) -> slice:
        """Claims the next rows, those at `position`, for the caller to write `names` at."""
        start, stop = self._at, self._at + len(position)
        self.position[start:stop] = position
        self._runs.append(Run(start, stop, names, present))
        self._at = stop
        return slice(start, stop)

    def finish(self) -> tuple[dict[str, NDArray[np.generic]], dict[str, NDArray[np.bool_]]]:
        """Columns in the order of the schema, and the presence of those that not all rows have."""
        made, runs = self._columns, self._runs
        partial = {name for run in runs for name in run.present}
        partial.update(made.keys() - frozenset(made).intersection(*(run.names for run in runs)))
        valid: dict[str, NDArray[np.bool_]] = {}
        shared: dict[tuple[int, ...], NDArray[np.bool_]] = {}
        for name in partial:
            key = tuple([id(run.present.get(name)) if name in run.names else 0 for run in runs])
            if key not in shared:
                shared[key] = self._presence(name)
            mask = shared[key]
            if not mask.any():
                del made[name]
            elif not mask.all():
                valid[name] = mask
                made[name][~mask] = b"" if made[name].dtype.kind in "SO" else 0
        return {name: made[name] for name in _DTYPES if name in made}, valid

    def _presence(self, name: str) -> NDArray[np.bool_]:
        mask = np.zeros(self._rows, np.bool_)
        for run in self._runs:
            if name in run.names:
                mask[run.start : run.stop] = run.present.get(name, True)
        return mask
