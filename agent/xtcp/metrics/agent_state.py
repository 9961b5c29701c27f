"""AgentState: what the agent knows of itself at one moment.

The daemon fills it after every poll, and whenever something else changes (a reload, its end); the exposition is a
function of it and of a `HealthSnapshot`. Everything that counts does so since the agent started and never goes back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from xtcp.schema.names import FAMILIES

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.ledger import Balance
    from xtcp.poll.trailer import Trailer

# A poll that takes longer than this share of the interval is a long one; xTCP's own rule.
LONG_POLL_SHARE: Final = 0.8


@dataclass(frozen=True)
class SinkState:
    """A destination: its account, and the queue before it (bytes; a limit of 0: there is none).

    `up` is False while its far side is away or it has been given up.
    """

    balance: Balance
    queue_bytes: int = 0
    queue_limit_bytes: int = 0
    up: bool = True


@dataclass(frozen=True)
class Resources:
    """What the process uses: bytes, seconds of CPU in user and system mode, counts (`xtcp.metrics.resources`)."""

    rss_bytes: int = 0
    virtual_bytes: int = 0
    cpu_seconds: float = 0.0
    open_fds: int = 0
    max_fds: int = 0
    threads: int = 0
    start_time_s: float = 0.0


@dataclass(frozen=True)
class Reload:
    """The last reading of the configuration: whether it was taken, and when one was taken last (wall clock, ns)."""

    successful: bool = True
    success_wall_ns: int = 0


@dataclass(frozen=True)
class Verdict:
    """What `/-/healthy` and `/-/ready` answer, with a sentence for each reason why not.

    Healthy: the agent does its work, restarting would not help. Ready: a poll has ended well, and not long ago.
    """

    healthy: bool = True
    ready: bool = False
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class WebState:
    """What the web server counted: answers by status, connections closed without one by reason; open connections."""

    connections: int = 0
    answers: Mapping[int, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class AgentState:
    """The agent at a moment.

    `failed` counts polls without a complete answer by reason, one word each (`error`, `deadline`, `limit`, `fault` …);
    they are among `polls`. `overruns` counts ticks of the schedule that were skipped because a poll was still running,
    `long_polls` those above `LONG_POLL_SHARE`. `rows` counts by (namespace, family) as `rows_by_family` does;
    `messages` to `unknown` are sums over all trailers. `shed` counts rows left out for want of memory, by what was
    shed. `trailer` is that of the last poll, None before it. `features` says what the kernel and our privileges give.
    """

    version: str
    started_wall_ns: int
    run_id: str
    interval_s: float
    max_loops: int = 0
    sampling_modulus: int = 1
    report_modulus: int = 1
    packet_bytes: int = 0
    polls: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    overruns: int = 0
    long_polls: int = 0
    trailer: Trailer | None = None
    rows: Mapping[tuple[str, str], int] = field(default_factory=dict)
    messages: int = 0
    duplicates: int = 0
    quarantined: int = 0
    damaged: int = 0
    forged: int = 0
    unknown: int = 0
    shed: Mapping[str, int] = field(default_factory=dict)
    sinks: tuple[SinkState, ...] = ()
    resources: Resources = Resources()
    memory_limit_bytes: int = 0
    suppressed_log_lines: int = 0
    reload: Reload = Reload()
    features: Mapping[str, bool] = field(default_factory=dict)
    verdict: Verdict = Verdict()


def rows_by_family(batch: Batch) -> Counter[tuple[str, str]]:
    """How many rows a batch has by (namespace, family: `inet`, `inet6`, `other`)."""
    netns = batch.context.netns or ""
    families = batch.columns.get("idiag_family")
    if families is None:
        return Counter({(netns, "other"): batch.rows} if batch.rows else {})
    counts = {name: int(np.count_nonzero(families == number)) for number, name in FAMILIES.items()}
    counts["other"] = batch.rows - sum(counts.values())
    return Counter({(netns, name): count for name, count in counts.items() if count})
