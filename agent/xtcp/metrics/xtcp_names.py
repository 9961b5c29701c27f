"""The metrics of xTCP that can be filled, under its names (`--xtcp-names`): dashboards go on working.

Its counters have no `_total` and are exposed as `unknown`, so that their names stay. `af` is `v4` and `v6`: one pass
of ours serves both. Those that are not here count what only its inside knows: netlinkers by number, blocked channels,
pollers that wait for each other, datagrams of its statsd.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from typing import Final

from xtcp.metrics.agent_state import AgentState
from xtcp.metrics.samples import Sample
from xtcp.metrics.table import Metric

_PAGE: Final = resource.getpagesize()
_FAMILIES: Final = {"v4": "inet", "v6": "inet6"}

XTCP_NAMES: Final = (
    Metric("xtcp_poller_frequency", "gauge", "xTCP's name of xtcp_poll_interval_seconds"),
    Metric("xtcp_poller_max_loops", "gauge", "Polls after which the agent ends; 0: never"),
    Metric("xtcp_poller_duration", "gauge", "xTCP's name of xtcp_last_poll_duration_seconds", ("af", "type")),
    Metric("xtcp_poller_loops", "unknown", "xTCP's name of xtcp_polls_total", ("af",)),
    Metric("xtcp_poller_long_poll", "unknown", "xTCP's name of xtcp_poller_long_poll_total", ("af",)),
    Metric("xtcp_netlinker_packet_size", "gauge", "Bytes of a receive buffer"),
    Metric("xtcp_netlinker_sampling_modulus", "gauge", "xTCP's name of xtcp_sampling_modulus"),
    Metric("xtcp_inetdiager_report_modulus", "gauge", "xTCP's name of xtcp_report_modulus"),
    Metric("xtcp_inetdiager_msgs_total", "counter", "xTCP's name of xtcp_rows_total, all namespaces together", ("af",)),
    Metric("xtcp_xtcp_pcpu", "gauge", "Per cent of one CPU since the start, as ps has it"),
    Metric("xtcp_xtcp_rss", "gauge", "Memory in use, KiB, as ps has it"),
    Metric("xtcp_xtcp_sz", "gauge", "Address space, pages, as ps has it"),
)


def xtcp_samples(state: AgentState) -> Iterator[Sample]:
    """Their values."""
    used = state.resources
    yield Sample("xtcp_poller_frequency", state.interval_s)
    yield Sample("xtcp_poller_max_loops", state.max_loops)
    yield Sample("xtcp_netlinker_packet_size", state.packet_bytes)
    yield Sample("xtcp_netlinker_sampling_modulus", state.sampling_modulus)
    yield Sample("xtcp_inetdiager_report_modulus", state.report_modulus)
    for af, family in _FAMILIES.items():
        yield Sample("xtcp_poller_loops", state.polls, (af,))
        yield Sample("xtcp_poller_long_poll", state.long_polls, (af,))
        rows = sum(count for (_, found), count in state.rows.items() if found == family)
        yield Sample("xtcp_inetdiager_msgs_total", rows, (af,))
        if state.trailer is not None:
            for kind in ("done", "poll"):
                yield Sample("xtcp_poller_duration", state.trailer.seconds, (af, kind))
    if state.trailer is not None and used.start_time_s:
        seconds = max(state.trailer.wall_end_ns / 1e9 - used.start_time_s, 1.0)
        yield Sample("xtcp_xtcp_pcpu", 100 * used.cpu_seconds / seconds)
    yield Sample("xtcp_xtcp_rss", used.rss_bytes // 1024)
    yield Sample("xtcp_xtcp_sz", used.virtual_bytes // _PAGE)
