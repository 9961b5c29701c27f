"""Rows written as dictionaries to a Batch, for tests of what comes behind decode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import Batch, Tally
from xtcp.chunk import Context
from xtcp.schema.columns import COLUMNS
from xtcp.schema.layout import column_dtype
from xtcp.schema.model import ADDRESS

Row = Mapping[str, int | bytes]


def batch_of(rows: Sequence[Row], context: Context | None = None, positions: Sequence[int] | None = None) -> Batch:
    """A batch of `rows`, column name to value, absent ones left out; addresses are 16 bytes. `positions` are the
    messages' offsets, ascending where not given.
    """
    columns: dict[str, NDArray[np.generic]] = {}
    valid: dict[str, NDArray[np.bool_]] = {}
    for column in COLUMNS:
        having = [i for i, row in enumerate(rows) if column.name in row]
        if not having:
            continue
        array = np.zeros(len(rows), column_dtype(column.name))
        if array.dtype == object:
            array.fill(b"")
        for i in having:
            value = rows[i][column.name]
            array[i] = np.frombuffer(value, np.uint8) if column.kind is ADDRESS and isinstance(value, bytes) else value
        columns[column.name] = array
        if len(having) < len(rows):
            valid[column.name] = np.isin(np.arange(len(rows)), having)
    position = np.array(range(0, 4 * len(rows), 4) if positions is None else positions, np.int64)
    return Batch(context or Context(), len(rows), columns, valid, position, Tally())
