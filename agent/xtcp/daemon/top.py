"""Top: the connections of a poll that matter most, for a terminal.

What makes a connection worth a look is what hurts it, each part from 0 to 1 and of equal weight:

    retransmits   share of its segments that were sent again, whole at 10 %
    lost          segments that are thought lost now, whole at 10
    limited       share of its busy time that the receiver or the send buffer held it up
    queues        bytes that wait: unread by the program here, unacknowledged by the peer; whole at 1 MiB
    delay         round trip above the least one, whole at ten times it and 100 ms more

Among those that nothing hurts, the one with more traffic comes first. Columns that a kernel does not give, and rows
without `tcp_info`, count 0. Only the best rows of each batch are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import Batch

if TYPE_CHECKING:
    from xtcp.chunk import Context

Score = NDArray[np.float64]

_NO_MIN_RTT: Final = 0xFFFF_FFFF
_LISTEN: Final = 10
# Less than anything that can be felt: a thousandth of the segments sent again weighs ten times as much.
_TRAFFIC: Final = 1e-3


class Top:
    """The `most` best rows of the batches observed so far."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[tuple[float, Batch]] = []

    def observe(self, batch: Batch) -> None:
        """Keeps what is better than the worst that is kept."""
        if not batch.rows:
            return
        marks = score(batch)
        least = self._kept[-1][0] if len(self._kept) == self._most else 0.0
        better = np.flatnonzero(marks > least)
        best = better[np.argsort(-marks[better], kind="stable")[: self._most]]
        self._kept += [(float(marks[row]), batch.take(np.array([row]))) for row in best.tolist()]
        self._kept = sorted(self._kept, key=lambda pair: -pair[0])[: self._most]

    def rows(self) -> Batch | None:
        """The rows, best first, as one batch; None where nothing has a score."""
        return joined([batch for _, batch in self._kept]) if self._kept else None


def score(batch: Batch) -> Score:
    """How much each row is worth a look, (rows,), 0 to 5; 0 is not at all."""
    sent = _numbers(batch, "tcpi_segs_out")
    retransmits = _share(10 * _numbers(batch, "tcpi_total_retrans"), sent)
    lost = np.minimum(_numbers(batch, "tcpi_lost") / 10, 1)
    busy = _numbers(batch, "tcpi_busy_time")
    limited = _share(_numbers(batch, "tcpi_rwnd_limited") + _numbers(batch, "tcpi_sndbuf_limited"), busy)
    waiting = (_numbers(batch, "idiag_rqueue") + _numbers(batch, "idiag_wqueue")) / (1 << 20)
    queues = np.where(_numbers(batch, "idiag_state") == _LISTEN, 0, np.minimum(waiting, 1))
    least = _numbers(batch, "tcpi_min_rtt")
    measured = (least > 0) & (least != _NO_MIN_RTT)
    above = np.maximum(_numbers(batch, "tcpi_rtt") - least, 0)
    delay = np.where(measured, np.minimum(above / (9 * least + 100_000), 1), 0)
    traffic = np.log2(1 + _numbers(batch, "tcpi_bytes_sent") + _numbers(batch, "tcpi_bytes_received")) / 64
    total: Score = retransmits + lost + limited + queues + delay + _TRAFFIC * traffic
    return total


def joined(batches: list[Batch]) -> Batch:
    """One batch of the rows of several, in their order; a cell is absent where it was, or where its column was."""
    first: Context = batches[0].context
    rows = sum(batch.rows for batch in batches)
    columns: dict[str, NDArray[np.generic]] = {}
    valid: dict[str, NDArray[np.bool_]] = {}
    for name in dict.fromkeys(name for batch in batches for name in batch.columns):
        like = next(batch.columns[name] for batch in batches if name in batch.columns)
        column = np.zeros((rows, *like.shape[1:]), like.dtype)
        if column.dtype == object:
            column.fill(b"")
        there = np.zeros(rows, np.bool_)
        start = 0
        for batch in batches:
            here = slice(start, start + batch.rows)
            if name in batch.columns:
                column[here] = batch.columns[name]
                there[here] = batch.valid.get(name, True)
            start += batch.rows
        columns[name] = column
        if not there.all():
            valid[name] = there
    return Batch(first, rows, columns, valid, np.arange(rows, dtype=np.int64) * 4, batches[0].tally)


def _numbers(batch: Batch, name: str) -> Score:
    """A column as f64, 0 where absent."""
    column = batch.columns.get(name)
    return np.zeros(batch.rows) if column is None else column.astype(np.float64)


def _share(part: Score, whole: Score) -> Score:
    share: Score = np.minimum(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0), 1)
    return share
