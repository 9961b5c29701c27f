"""Health: the batches of a poll in, a `HealthSnapshot` at its end.

A row is looked at where it stands, nothing of it is kept but what `connections` says, so memory does not grow with the
number of polls, and the number of figures not with the number of sockets.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import Batch
from xtcp.health.classes import Classifier, PortGroups
from xtcp.health.connections import LONGEST_NS, MOST_CONNECTIONS, Connections
from xtcp.health.histograms import Distribution
from xtcp.health.snapshot import COUNTED, DISTRIBUTED, RATIO, Class, HealthSnapshot, Histogram
from xtcp.poll.trailer import Trailer
from xtcp.schema.names import STATES

# What proves that a connection is older than the last poll: it was busy for longer, or has been quiet for longer
# (column, how many ns its unit has). The kernel counts these in ticks, of 10 ms at most.
_AGES: Final = (
    ("tcpi_busy_time", 10**3),
    ("tcpi_last_data_sent", 10**6),
    ("tcpi_last_data_recv", 10**6),
    ("tcpi_last_ack_recv", 10**6),
)
_TICK_NS: Final = 20 * 10**6

# States whose counters mean a connection: all that have been established and are not TIME-WAIT, which has none.
_CONNECTED: Final = np.isin(np.arange(256), (1, 4, 5, 8, 9, 11))
_LISTEN: Final = 10
_UNKNOWN: Final = "UNKNOWN"

# Flags of a trailer after which rows may be missing; with the first of them all came, if in two turns.
_SEVERAL_TURNS: Final = "interrupted"
INCOMPLETE: Final = frozenset(
    {"truncated", "overrun", "error", "deadline", "limit", "incomplete", "filtered", "shed", "shutdown"}
)

# What is looked at, whoever else wants it.
NEEDED_COLUMNS: Final = frozenset(
    {
        *("idiag_cookie", "idiag_state", "idiag_sport", "idiag_dport", "idiag_rqueue", "idiag_wqueue"),
        *("cong", "tcp_info_len", "tcpi_lost"),
        *(counted.column for counted in COUNTED),
        *(distributed.column for distributed in DISTRIBUTED if distributed.column),
        *(column for column, _ in _AGES),
    }
)


class Health:
    """Call `observe` for every batch of a poll and `end_poll` at its end, from one thread.

    `groups` are the port groups of the configuration; raises `ConfigurationError` for what cannot be. `clock` is
    monotonic, ns. `most` bounds how many connections are remembered.
    """

    def __init__(
        self,
        groups: Mapping[str, Sequence[int]] | None = None,
        *,
        most: int = MOST_CONNECTIONS,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._clock = clock
        self._classifier = Classifier(PortGroups(groups or {}))
        self._connections = Connections([counted.wide for counted in COUNTED], most)
        classes = self._classifier.classes
        self._distributions = {what.name: Distribution(what, classes) for what in DISTRIBUTED}
        self._totals = np.zeros((len(COUNTED), classes))
        self._seen = np.zeros(classes, np.bool_)
        self._columns: set[str] = set()
        self._salts: dict[str | None, np.uint64] = {}
        self._before_ns: int | None = None
        self._begun_ns: int | None = None
        # By namespace, the weight of its rows: in this poll, and in the last one if that was complete.
        self._weights: dict[str | None, int] = {}
        self._complete: dict[str | None, int] = {}
        self._states = np.zeros(256, np.int64)
        self._sums: dict[str, int] = {}
        self._snapshot = HealthSnapshot()

    @property
    def nbytes(self) -> int:
        """What the remembered connections take."""
        return self._connections.nbytes

    def observe(self, batch: Batch) -> None:
        """Looks at a batch of unique rows; leaves it as it is."""
        if self._begun_ns is None:
            self._begin()
        if not batch.rows or "idiag_state" not in batch.columns:
            return
        weight = batch.context.weight or 1
        self._weights[batch.context.netns] = weight
        states = batch.columns["idiag_state"].astype(np.uint8, copy=False)
        self._states += weight * np.bincount(states, minlength=256)
        self._classifier.listen(batch, states)
        self._queues(batch, states == _LISTEN, weight)
        chosen = _CONNECTED[states] & _present(batch, "tcp_info_len")
        if not chosen.all():
            if not chosen.any():
                return
            batch = batch.select(NEEDED_COLUMNS).take(chosen)
        self._connected(batch, weight)

    def end_poll(self, trailer: Trailer) -> HealthSnapshot:
        """The figures after this poll; those that are of one poll only are kept from the last complete one."""
        if self._begun_ns is None:
            self._begin()
        untracked = self._connections.untracked
        self._connections.end_poll()
        self._classifier.end_poll()
        whole = not INCOMPLETE & set(trailer.flags)
        if whole:
            self._snapshot = HealthSnapshot(self._sockets(), {name: float(n) for name, n in self._sums.items()})
        self._snapshot = HealthSnapshot(
            self._snapshot.sockets,
            self._snapshot.gauges,
            {name: self._histograms(distribution) for name, distribution in self._distributions.items()},
            self._counters(),
            len(self._connections),
            untracked,
        )
        self._complete = self._weights if whole and _SEVERAL_TURNS not in trailer.flags else {}
        self._weights, self._before_ns, self._begun_ns = {}, self._begun_ns, None
        self._states[:] = 0
        self._sums = {}
        return self._snapshot

    def _begin(self) -> None:
        self._begun_ns = self._clock()
        if self._before_ns is not None and self._begun_ns - self._before_ns > LONGEST_NS:
            self._connections.forget()
            self._complete = {}

    def _queues(self, batch: Batch, listening: NDArray[np.bool_], weight: int) -> None:
        """Queues of this poll: of listeners they count connections, of all others bytes."""
        sums = self._sums
        for column, name, of_listeners in (
            ("idiag_rqueue", "receive_queue_bytes", "accept_queue_connections"),
            ("idiag_wqueue", "send_queue_bytes", "accept_queue_limit"),
        ):
            values = batch.columns.get(column)
            if values is not None:
                total = int(values.sum(dtype=np.uint64))
                accepting = int(values[listening].sum(dtype=np.uint64)) if listening.any() else 0
                sums[name] = sums.get(name, 0) + weight * (total - accepting)
                sums[of_listeners] = sums.get(of_listeners, 0) + weight * accepting

    def _connected(self, batch: Batch, weight: int) -> None:
        """Rows (n,) of connections with `tcp_info`."""
        number = self._classifier.classify(batch)
        self._seen[number] = True
        lost = batch.columns.get("tcpi_lost")
        if lost is not None:
            self._sums["lost_segments"] = self._sums.get("lost_segments", 0) + weight * int(lost.sum(dtype=np.uint64))
        for distribution in self._distributions.values():
            what = distribution.what
            if what.column in batch.columns:
                values = batch.columns[what.column]
                there = batch.valid.get(what.column)
                if there is None:
                    distribution.observe(values, number, weight)
                else:
                    distribution.observe(values[there], number[there], weight)
        if "idiag_cookie" in batch.columns:
            self._count(batch, number, weight)

    def _count(self, batch: Batch, number: NDArray[np.intp], weight: int) -> None:
        """Adds what the connections' counters grew by to the totals of their classes."""
        keys = batch.columns["idiag_cookie"].astype(np.uint64, copy=False) ^ self._salt(batch.context.netns)
        values = [batch.columns.get(counted.column) for counted in COUNTED]
        growths = self._connections.grow(keys, values, self._new(batch, weight))
        grown = {c.column: growth for c, growth in zip(COUNTED, growths, strict=True) if growth is not None}
        self._columns |= set(grown)
        for total, growth in zip(self._totals, growths, strict=True):
            if growth is not None and growth.max(initial=0):
                total += weight * np.bincount(number, growth, len(total))
        for part, whole in (("tcpi_bytes_retrans", "tcpi_bytes_sent"), ("tcpi_total_retrans", "tcpi_segs_out")):
            if part in grown and whole in grown:
                sent = grown[whole] > 0
                ratio = grown[part][sent] / grown[whole][sent]
                self._distributions[RATIO].observe(ratio, number[sent], weight)
                break

    def _new(self, batch: Batch, weight: int) -> NDArray[np.bool_]:
        """Which rows (n,) must be new where they were not in the last poll."""
        if self._before_ns is None or self._complete.get(batch.context.netns) != weight:
            return np.zeros(batch.rows, np.bool_)
        new = np.ones(batch.rows, np.bool_)
        since = self._clock() - self._before_ns + _TICK_NS
        for column, unit in _AGES:
            if column in batch.columns:
                new &= np.less_equal(batch.columns[column], since // unit)
        return new

    def _salt(self, netns: str | None) -> np.uint64:
        """Older kernels count cookies a namespace; equal ones of two namespaces must not meet."""
        salt = self._salts.get(netns)
        if salt is None:
            if len(self._salts) > len(self._complete) + len(self._weights) + 64:
                self._salts.clear()
            digest = hashlib.blake2b((netns or "").encode(errors="surrogatepass"), digest_size=8).digest()
            salt = self._salts[netns] = np.frombuffer(digest, np.uint64)[0]
        return salt

    def _sockets(self) -> dict[str, int]:
        """Sockets of this poll by state, all states named."""
        found = {name: int(self._states[number]) for number, name in STATES.items()}
        return found | {_UNKNOWN: int(self._states.sum()) - sum(found.values())}

    def _classes(self) -> list[tuple[int, Class]]:
        return [(number, self._classifier.meaning(number)) for number in np.flatnonzero(self._seen).tolist()]

    def _histograms(self, distribution: Distribution) -> dict[Class, Histogram]:
        found = {meaning: distribution.histogram(number) for number, meaning in self._classes()}
        return {meaning: histogram for meaning, histogram in found.items() if histogram is not None}

    def _counters(self) -> dict[str, dict[Class, float]]:
        """Counters that this kernel has, of every class that was seen."""
        return {
            counted.name: {m: float(self._totals[place, n]) * counted.scale for n, m in self._classes()}
            for place, counted in enumerate(COUNTED)
            if counted.column in self._columns
        }


def _present(batch: Batch, name: str) -> NDArray[np.bool_] | np.bool_:
    """Which rows have the column."""
    if name not in batch.columns:
        return np.bool_(False)
    return batch.valid.get(name, np.bool_(True))
