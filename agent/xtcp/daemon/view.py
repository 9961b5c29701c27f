"""View: what a terminal shows of the polls. The first poll with the connections that matter most, then a line each.

    12:38:31  118,812 sockets: 118,782 ESTAB, 30 LISTEN  +12 -10  retrans 0.12%  poll 0.31s  cpu 1.2%  sinks up

`+` and `-` count cookies that were not in the poll before, and those that are gone; `retrans` is the share of all
segments sent since the poll before that were sent again, over connections that are in both. A line that is too wide for
the terminal names fewer states.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, TextIO

import numpy as np
from numpy.typing import NDArray

from xtcp.daemon.log import unbuffered
from xtcp.daemon.top import Top
from xtcp.encode.table import Table
from xtcp.encode.units import digits, size
from xtcp.schema.names import STATES, name_of
from xtcp.spelling import visible

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.metrics.agent_state import SinkState
    from xtcp.poll.trailer import Trailer

TOP_ROWS: Final = 10
_SHOWN_STATES: Final = 4
# Columns of the table, what a narrow terminal leaves out last: what a row is there for comes first.
_USE: Final = (
    "State", "retrans", "rtt/var ms", "Send-Q", "lost", "rwnd-lim", "minrtt", "Recv-Q", "sndbuf-lim", "delivery",
    "cwnd", "cong", "sent", "received",
)  # fmt: skip

Numbers = NDArray[np.uint64]


class View:
    """Writes to `stream`, a terminal: standard output. An observer of the polls; `end_poll` and `say` write."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or unbuffered(sys.stdout)
        self._top: Top | None = Top(TOP_ROWS)
        self._states = np.zeros(256, np.int64)
        self._cookies: list[Numbers] = []
        self._sent: list[Numbers] = []
        self._again: list[Numbers] = []
        self._before: tuple[Numbers, Numbers, Numbers] | None = None
        self._cpu: tuple[float, int] | None = None
        self._dropped: dict[str, int] = {}

    def observe(self, batch: Batch) -> None:
        """Counts states; keeps what the next line is made of."""
        if not batch.rows:
            return
        if self._top is not None:
            self._top.observe(batch)
        self._states += np.bincount(batch.columns["idiag_state"].astype(np.uint8), minlength=256)
        self._cookies.append(batch.columns["idiag_cookie"].astype(np.uint64))
        for kept, name in ((self._sent, "tcpi_segs_out"), (self._again, "tcpi_total_retrans")):
            column = batch.columns.get(name)
            kept.append(np.zeros(batch.rows, np.uint64) if column is None else column.astype(np.uint64))

    def say(self, line: str) -> None:
        """A line of its own."""
        self._write(visible(line))

    def end_poll(self, trailer: Trailer, cpu_s: float, sinks: Sequence[SinkState]) -> None:
        """The line of a poll, after the first the table; `cpu_s` is what the process has used so far."""
        if self._top is not None:
            self._show_top(self._top, trailer)
            self._top = None
        parts = self._parts(trailer, cpu_s, sinks)
        width = shutil.get_terminal_size().columns
        line = ""
        for named in range(_SHOWN_STATES, 0, -1):
            parts[1] = self._sockets(trailer, named)
            line = "  ".join(part for part in parts if part)
            if len(line) <= width:
                break
        self._write(line)
        self._states[:] = 0

    def forget(self) -> None:
        """A poll broke in its middle: what was seen of it counts for nothing."""
        self._states[:] = 0
        self._cookies, self._sent, self._again = [], [], []

    def _show_top(self, top: Top, trailer: Trailer) -> None:
        best = top.rows()
        if best is None:
            return
        self._write(
            f"the {best.rows} of {trailer.delivered:,} sockets that matter most:"
            " retransmits, losses, limits, queues, delay; then the busiest"
        )
        table = Table(None, shutil.get_terminal_size().columns, _USE)
        for text in table.encode(best):
            self._write(text.rstrip("\n"))
        self._write("")

    def _parts(self, trailer: Trailer, cpu_s: float, sinks: Sequence[SinkState]) -> list[str]:
        """The pieces of a line, empty where there is nothing to say; the second is for `_sockets`."""
        came, went, again = self._changes()
        at = datetime.fromtimestamp(trailer.wall_start_ns / 1e9).astimezone()
        parts = [f"{at:%H:%M:%S}", ""]
        parts += [f"+{came:,} -{went:,}" if came is not None else "", again]
        parts += [f"poll {digits(trailer.seconds)}s", self._share_of_cpu(trailer, cpu_s)]
        parts.append(" ".join(trailer.flags).upper())
        parts.append(self._sinks(sinks))
        return parts

    def _sockets(self, trailer: Trailer, most: int) -> str:
        """How many there are, and of which states: the `most` frequent by name."""
        states = sorted(((int(n), name_of(STATES, i)) for i, n in enumerate(self._states) if n), reverse=True)
        named = [f"{number:,} {name}" for number, name in states[:most]]
        rest = sum(number for number, _ in states[most:])
        named += [f"{rest:,} others"] * bool(rest)
        sockets = f"{trailer.delivered:,} socket{'' if trailer.delivered == 1 else 's'}"
        return f"{sockets}: {', '.join(named)}" if named else sockets

    def _changes(self) -> tuple[int | None, int | None, str]:
        """How many cookies came and went since the poll before, and the share of segments sent again meanwhile."""
        cookies = np.concatenate(self._cookies) if self._cookies else np.zeros(0, np.uint64)
        order = np.argsort(cookies)
        sent = np.concatenate(self._sent)[order] if self._sent else cookies
        again = np.concatenate(self._again)[order] if self._again else cookies
        cookies = cookies[order]
        before, self._before = self._before, (cookies, sent, again)
        self._cookies, self._sent, self._again = [], [], []
        if before is None:
            return None, None, ""
        both, now, then = np.intersect1d(cookies, before[0], assume_unique=True, return_indices=True)
        all_sent = int((sent[now] - np.minimum(before[1][then], sent[now])).sum())
        sent_again = int((again[now] - np.minimum(before[2][then], again[now])).sum())
        text = f"retrans {min(sent_again / all_sent, 1):.2%}" if all_sent else ""
        return len(cookies) - len(both), len(before[0]) - len(both), text

    def _share_of_cpu(self, trailer: Trailer, cpu_s: float) -> str:
        """Of one processor, since the line before."""
        before, self._cpu = self._cpu, (cpu_s, trailer.monotonic_end_ns)
        if before is None:
            return ""
        return f"cpu {(cpu_s - before[0]) / max((trailer.monotonic_end_ns - before[1]) / 1e9, 1e-9):.1%}"

    def _sinks(self, sinks: Sequence[SinkState]) -> str:
        """What sinks lost since the line before, who is away, and how much waits for it."""
        parts = []
        # One without a queue was closed by a reload.
        open_ones = [sink for sink in sinks if sink.queue_limit_bytes]
        for sink in open_ones:
            balance = sink.balance
            dropped = sum(balance.dropped.values())
            lost, self._dropped[balance.name] = dropped - self._dropped.get(balance.name, 0), dropped
            if not sink.up:
                parts.append(f"{visible(balance.name)} is away, {size(sink.queue_bytes)} wait")
            if lost > 0:
                parts.append(f"{visible(balance.name)} LOST {lost:,} rows")
        return "; ".join(parts) or ("sinks up" if open_ones else "")

    def _write(self, line: str) -> None:
        """Nothing where the terminal has gone away: SIGHUP says so."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return
