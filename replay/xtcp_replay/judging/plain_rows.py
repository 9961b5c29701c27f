"""What the reference decoder makes of a chunk, as a batch: the same encoder then writes both decoders' rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import Batch
from xtcp.chunk import Chunk
from xtcp.decode.reference import Row, decode
from xtcp.schema.columns import COLUMNS
from xtcp.schema.layout import column_dtype


def decode_plainly(chunk: Chunk) -> Batch:
    """All rows of `chunk` by the reference decoder, in their order; md5 keys are zeroed."""
    rows, tally = decode(chunk)
    columns: dict[str, NDArray[np.generic]] = {}
    valid: dict[str, NDArray[np.bool_]] = {}
    for name in (column.name for column in COLUMNS):
        having = np.array([name in row for row in rows], np.bool_)
        if not having.any():
            continue
        columns[name] = _column(name, rows, having)
        if not having.all():
            valid[name] = having
    return Batch(chunk.context, len(rows), columns, valid, np.arange(len(rows), dtype=np.int64), tally)


def _column(name: str, rows: Sequence[Row], having: NDArray[np.bool_]) -> NDArray[np.generic]:
    array: NDArray[np.generic] = np.zeros(len(rows), column_dtype(name))
    if array.dtype == object:
        array.fill(b"")
    for i in np.flatnonzero(having).tolist():
        value = rows[i][name]
        array[i] = np.frombuffer(value, np.uint8) if array.ndim == 2 and isinstance(value, bytes) else value
    return array
