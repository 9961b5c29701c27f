"""HealthSnapshot: the figures of a host's TCP health; and the tables of what is counted and distributed.

Nothing in it is of one socket, address or ephemeral port: labels are states, directions, port groups from the
configuration, and a fixed list of congestion controls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Counted:
    """A counter of `struct tcp_info`, which for one connection only grows; `scale` turns it into a base unit.

    `wide` keeps all 64 bits between polls; the others are kept, and wrap, at 32.
    """

    name: str
    column: str
    scale: float = 1.0
    wide: bool = False


@dataclass(frozen=True)
class Distributed:
    """A distribution over connections: upper `bounds` (inclusive) of its buckets, and `absent`, the value that says
    "none yet", in the column's unit; `scale` turns that unit into a base unit. `column` empty: computed, not read.
    """

    name: str
    column: str
    bounds: tuple[float, ...]
    scale: float = 1.0
    absent: int | None = None


# `tcpi_bytes_sent` and `tcpi_bytes_received` can pass 2**32 in one interval; nothing else can, times (us) within half
# an hour, and longer intervals are not counted over.
COUNTED: Final = (
    Counted("sent_bytes", "tcpi_bytes_sent", wide=True),
    Counted("received_bytes", "tcpi_bytes_received", wide=True),
    Counted("retransmitted_bytes", "tcpi_bytes_retrans"),
    Counted("sent_segments", "tcpi_segs_out"),
    Counted("received_segments", "tcpi_segs_in"),
    Counted("retransmitted_segments", "tcpi_total_retrans"),
    Counted("ecn_marked_segments", "tcpi_delivered_ce"),
    Counted("duplicate_segments", "tcpi_dsack_dups"),
    Counted("reordering_events", "tcpi_reord_seen"),
    Counted("busy_seconds", "tcpi_busy_time", 1e-6),
    Counted("receiver_limited_seconds", "tcpi_rwnd_limited", 1e-6),
    Counted("send_buffer_limited_seconds", "tcpi_sndbuf_limited", 1e-6),
)

_TIMES_US: Final = (
    *(100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000),
    *(250_000, 500_000, 1_000_000, 2_500_000, 10_000_000),
)
_RATES: Final = (1e3, 1e4, 1e5, 2.5e5, 1e6, 2.5e6, 1e7, 2.5e7, 1e8, 2.5e8, 1e9, 2.5e9, 1.25e10)

RATIO: Final = "retransmit_ratio"
DISTRIBUTED: Final = (
    Distributed("rtt", "tcpi_rtt", _TIMES_US, 1e-6, absent=0),
    Distributed("min_rtt", "tcpi_min_rtt", _TIMES_US, 1e-6, absent=2**32 - 1),
    Distributed(RATIO, "", (0, 1e-4, 1e-3, 2.5e-3, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)),
    Distributed("cwnd", "tcpi_snd_cwnd", (1, 2, 4, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240)),
    Distributed("delivery_rate", "tcpi_delivery_rate", _RATES, absent=0),
    Distributed("pacing_rate", "tcpi_pacing_rate", _RATES, absent=2**64 - 1),
)


@dataclass(frozen=True, order=True)
class Class:
    """What a connection counts in: `inbound` or `outbound`, its port group, its congestion control."""

    direction: str
    group: str
    cc: str


@dataclass(frozen=True)
class Histogram:
    """Of one class: observations by bucket, not cumulative, the last one above all bounds; their sum in base units."""

    counts: tuple[int, ...]
    sum: float


@dataclass(frozen=True)
class HealthSnapshot:
    """A host's TCP health after a poll.

    `sockets` by state, `listeners`, queues and `lost_segments` are those of the last poll that was complete;
    `histograms` (by name, then class) and `counters` (likewise, base units) add up over all polls since the start, and
    never go back. `connections` are those whose counters are remembered, `untracked` those there was no room for.
    Where a weight stands for sockets that were left out, everything is an estimate by it.
    """

    sockets: Mapping[str, int] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, Mapping[Class, Histogram]] = field(default_factory=dict)
    counters: Mapping[str, Mapping[Class, float]] = field(default_factory=dict)
    connections: int = 0
    untracked: int = 0
