"""AgentState to samples; every name stands in `table.AGENT`."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Final

import numpy as np

from xtcp.health.health import INCOMPLETE
from xtcp.metrics.agent_state import AgentState, WebState
from xtcp.metrics.label import bounded, label
from xtcp.metrics.samples import Buckets, Sample, plain, summed
from xtcp.poll.trailer import Trailer

DURATIONS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60)
_S: Final = 1e-9


class Durations:
    """A histogram of how long polls took; a poll is told by its number, and counts once."""

    def __init__(self) -> None:
        self._counts = [0] * (len(DURATIONS_S) + 1)
        self._sum = 0.0
        self._last: int | None = None

    def observe(self, trailer: Trailer | None) -> None:
        """Counts a poll that was not counted yet."""
        if trailer is None or trailer.poll_id == self._last:
            return
        self._last = trailer.poll_id
        self._counts[sum(bound < trailer.seconds for bound in DURATIONS_S)] += 1
        self._sum += trailer.seconds

    def sample(self) -> Sample:
        """What came so far."""
        return Sample("xtcp_poll_duration_seconds", Buckets.of(DURATIONS_S, self._counts, self._sum))


def agent_samples(state: AgentState) -> Iterator[Sample]:
    """What the agent knows of itself; what it does not know yet is left out."""
    yield Sample("xtcp_build_info", 1, (label(state.version), platform.python_version(), np.__version__))
    yield from plain(
        {
            "xtcp_up": float(state.trailer is not None and not INCOMPLETE & set(state.trailer.flags)),
            "xtcp_healthy": state.verdict.healthy,
            "xtcp_ready": state.verdict.ready,
            "xtcp_poll_interval_seconds": state.interval_s,
            "xtcp_polls_total": state.polls,
            "xtcp_poll_overruns_total": state.overruns,
            "xtcp_poller_long_poll_total": state.long_polls,
            "xtcp_messages_total": state.messages,
            "xtcp_rows_duplicate_total": state.duplicates,
            "xtcp_rows_damaged_total": state.damaged,
            "xtcp_messages_quarantined_total": state.quarantined,
            "xtcp_messages_forged_total": state.forged,
            "xtcp_attributes_unknown_total": state.unknown,
            "xtcp_sampling_modulus": state.sampling_modulus,
            "xtcp_report_modulus": state.report_modulus,
            "xtcp_config_last_reload_successful": state.reload.successful,
            "xtcp_config_last_reload_success_timestamp_seconds": state.reload.success_wall_ns * _S,
            "xtcp_log_lines_suppressed_total": state.suppressed_log_lines,
            "xtcp_memory_limit_bytes": state.memory_limit_bytes,
        }
    )
    if state.trailer is not None:
        yield from plain(
            {
                "xtcp_last_poll_duration_seconds": state.trailer.seconds,
                "xtcp_last_poll_timestamp_seconds": state.trailer.wall_end_ns * _S,
                "xtcp_last_poll_sockets": state.trailer.delivered,
            }
        )
    for name, counts in (("xtcp_polls_failed_total", state.failed), ("xtcp_rows_shed_total", state.shed)):
        known = bounded(counts)
        yield from summed(name, (((known[reason],), count) for reason, count in counts.items()))
    known = bounded(netns for netns, _ in state.rows)
    yield from summed("xtcp_rows_total", (((known[n], label(f)), count) for (n, f), count in state.rows.items()))
    features = bounded(state.features)
    yield from summed("xtcp_feature", (((features[name],), there) for name, there in state.features.items()))
    yield from _sinks(state)
    yield from _process(state)


def _sinks(state: AgentState) -> Iterator[Sample]:
    for sink in state.sinks:
        balance, name = sink.balance, (label(sink.balance.name),)
        yield Sample("xtcp_sink_rows_offered_total", balance.offered, name)
        yield Sample("xtcp_sink_rows_accepted_total", balance.accepted, name)
        yield Sample("xtcp_sink_rows_in_flight", balance.in_flight, name)
        yield Sample("xtcp_sink_rows_missing", balance.missing, name)
        yield Sample("xtcp_sink_bytes_total", balance.bytes, name)
        yield Sample("xtcp_sink_up", sink.up, name)
        if sink.queue_limit_bytes:
            yield Sample("xtcp_sink_queue_bytes", sink.queue_bytes, name)
            yield Sample("xtcp_sink_queue_limit_bytes", sink.queue_limit_bytes, name)
        reasons = bounded(balance.dropped)
        dropped = (((*name, reasons[reason]), count) for reason, count in balance.dropped.items())
        yield from summed("xtcp_sink_rows_dropped_total", dropped)


def _process(state: AgentState) -> Iterator[Sample]:
    used = state.resources
    yield from plain(
        {
            "xtcp_threads": used.threads,
            "process_cpu_seconds_total": used.cpu_seconds,
            "process_resident_memory_bytes": used.rss_bytes,
            "process_virtual_memory_bytes": used.virtual_bytes,
            "process_open_fds": used.open_fds,
            "process_max_fds": used.max_fds,
            "process_start_time_seconds": used.start_time_s,
        }
    )


def web_samples(web: WebState) -> Iterator[Sample]:
    """What the web server counted."""
    yield Sample("xtcp_web_connections", web.connections)
    yield from (Sample("xtcp_web_requests_total", count, (str(code),)) for code, count in sorted(web.answers.items()))
    for reason, count in sorted(web.refused.items()):
        yield Sample("xtcp_web_connections_refused_total", count, (reason,))
