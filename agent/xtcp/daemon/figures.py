"""Figures: what the agent counts since it started, and the AgentState made of them."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import TYPE_CHECKING, Final

from xtcp import __version__
from xtcp.daemon.clocks import NS
from xtcp.metrics.agent_state import LONG_POLL_SHARE, AgentState, Reload, SinkState, Verdict
from xtcp.metrics.resources import resources
from xtcp.netlink.arena import SLOT
from xtcp.poll.capabilities import has_net_admin

if TYPE_CHECKING:
    from xtcp.daemon.poller import Polled
    from xtcp.poll.trailer import Trailer
    from xtcp.settings.effective import Settings

# Flags of a trailer that make a poll's answer incomplete, as reasons of failure.
INCOMPLETE: Final = ("error", "deadline", "limit", "overrun", "truncated", "interrupted", "shed", "shutdown")
FAULT: Final = "fault"

# How many intervals may pass without a good poll before the agent is not ready, and not healthy.
READY_WITHIN: Final = 3
HEALTHY_WITHIN: Final = 10


class Figures:
    """Counts; a new `run_id` tells this run's sequence numbers and counters from those of any other."""

    def __init__(self, started_wall_ns: int) -> None:
        self.run_id = secrets.token_hex(8)
        self.started_wall_ns = started_wall_ns
        self.polls = 0
        self.slot = SLOT
        self.failed: Counter[str] = Counter()
        self.overruns = 0
        self.long_polls = 0
        self.trailer: Trailer | None = None
        self.rows: Counter[tuple[str, str]] = Counter()
        self.shed: Counter[str] = Counter()
        self.messages = self.duplicates = self.quarantined = self.damaged = self.forged = self.unknown = 0
        self.reload = Reload(successful=True, success_wall_ns=started_wall_ns)
        self.features: dict[str, bool] = {"mark": has_net_admin()}
        self.good_at: int | None = None
        self.begun_at: int | None = None

    def polled(self, polled: Polled, interval_ns: int, now: int) -> bool:
        """Counts a poll that ended at `now` (monotonic ns); returns whether it was a long one."""
        trailer = polled.trailer
        self.polls += 1
        self.trailer = trailer
        self.slot = polled.slot
        self.rows += polled.rows
        self.shed += polled.shed
        self.messages += trailer.messages
        self.duplicates += trailer.duplicates
        self.quarantined += trailer.quarantined
        self.damaged += trailer.damaged
        self.forged += trailer.forged
        self.unknown += sum(trailer.unknown.values())
        reason = next((flag for flag in INCOMPLETE if flag in trailer.flags), None)
        if reason is not None:
            self.failed[reason] += 1
        if reason is None or reason in {"interrupted", "shed"}:
            self.good_at = now
        took = trailer.monotonic_end_ns - trailer.monotonic_start_ns
        long = took > LONG_POLL_SHARE * interval_ns
        self.long_polls += long
        return long

    def faulted(self) -> None:
        """Counts a poll that was lost by a fault of this program."""
        self.polls += 1
        self.failed[FAULT] += 1

    def begin_anew(self, now: int) -> None:
        """From here on polls are expected, or are not any more: what was before counts for nothing."""
        self.begun_at, self.good_at = now, None

    def verdict(self, now: int, interval_ns: int, deadline_s: float, *, disabled: bool) -> Verdict:
        """Whether the agent works, at `now`."""
        if disabled:
            return Verdict(healthy=True, ready=False, reasons=("polls are switched off by the disable file",))
        within = interval_ns + round(deadline_s * NS)
        since = self.good_at if self.good_at is not None else self.begun_at
        age = 0 if since is None else now - since
        reasons = []
        if self.good_at is None:
            reasons.append("no poll has ended well yet")
        elif age > READY_WITHIN * within:
            reasons.append(f"the last good poll ended {age / NS:.0f} s ago")
        return Verdict(healthy=age <= HEALTHY_WITHIN * within, ready=not reasons, reasons=tuple(reasons))

    def state(
        self, settings: Settings, sinks: tuple[SinkState, ...], *, memory_limit: int, suppressed: int, verdict: Verdict
    ) -> AgentState:
        """All of it at this moment."""
        return AgentState(
            version=__version__,
            started_wall_ns=self.started_wall_ns,
            run_id=self.run_id,
            interval_s=settings.frequency,
            max_loops=settings.max_loops,
            packet_bytes=self.slot,
            sampling_modulus=settings.sampling_modulus,
            report_modulus=settings.report_modulus,
            polls=self.polls,
            failed=dict(self.failed),
            overruns=self.overruns,
            long_polls=self.long_polls,
            trailer=self.trailer,
            rows=dict(self.rows),
            messages=self.messages,
            duplicates=self.duplicates,
            quarantined=self.quarantined,
            damaged=self.damaged,
            forged=self.forged,
            unknown=self.unknown,
            shed=dict(self.shed),
            sinks=sinks,
            resources=resources(),
            memory_limit_bytes=memory_limit,
            suppressed_log_lines=suppressed,
            reload=self.reload,
            features=dict(self.features),
            verdict=verdict,
        )
