"""Every metric: name, kind, meaning, labels. HELP texts and the list in docs/operations.md are made from it.

Names begin with `xtcp_` or, for what every program has, `process_`; units are base units. A counter counts since the
agent started. Nothing has a label for a socket, an address or an ephemeral port.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from xtcp.health.snapshot import COUNTED, DISTRIBUTED
from xtcp.schema.columns import BY_NAME

Kind: TypeAlias = Literal["counter", "gauge", "histogram", "info", "unknown"]


@dataclass(frozen=True)
class Metric:
    """`name` as it is scraped, a counter's with `_total`. `figure` names what of a `HealthSnapshot` it shows."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    figure: str = ""


_CLASS: Final = ("direction", "group", "cc")
_COLUMN: Final = {counted.name: counted.column for counted in COUNTED} | {d.name: d.column for d in DISTRIBUTED}


def _counted(name: str, figure: str, meaning: str) -> Metric:
    column = _COLUMN[figure]
    since = BY_NAME[column].since
    return Metric(name, "counter", f"{meaning} ({column}, Linux {since})", _CLASS, figure)


def _distributed(name: str, figure: str, meaning: str) -> Metric:
    column = _COLUMN[figure]
    source = f" ({column}, Linux {BY_NAME[column].since})" if column else ""
    return Metric(name, "histogram", f"{meaning}{source}; every poll adds its connections", _CLASS, figure)


AGENT: Final = (
    Metric("xtcp_build_info", "info", "This agent", ("version", "python", "numpy")),
    Metric("xtcp_up", "gauge", "1 if the last poll got a complete answer from the kernel"),
    Metric("xtcp_healthy", "gauge", "1 if /-/healthy says so: the agent works, a restart would not help"),
    Metric("xtcp_ready", "gauge", "1 if /-/ready says so: a poll ended well, not long ago"),
    Metric("xtcp_poll_interval_seconds", "gauge", "Seconds from one poll to the next, as configured"),
    Metric("xtcp_polls_total", "counter", "Polls, failed ones among them"),
    Metric("xtcp_polls_failed_total", "counter", "Polls without a complete answer", ("reason",)),
    Metric("xtcp_poll_overruns_total", "counter", "Polls left out because the one before had not ended"),
    Metric("xtcp_poller_long_poll_total", "counter", "Polls that took more than 80 % of the interval"),
    Metric("xtcp_poll_duration_seconds", "histogram", "How long polls took, by the monotonic clock"),
    Metric("xtcp_last_poll_duration_seconds", "gauge", "How long the last poll took"),
    Metric("xtcp_last_poll_timestamp_seconds", "gauge", "When the last poll ended; everything here is as it was then"),
    Metric("xtcp_last_poll_sockets", "gauge", "Sockets in the last poll, each once"),
    Metric("xtcp_messages_total", "counter", "Messages from the kernel: rows, quarantined and control messages"),
    Metric("xtcp_rows_total", "counter", "Sockets read, by network namespace and family", ("netns", "family")),
    Metric("xtcp_rows_duplicate_total", "counter", "Rows of a socket that the same poll had already, removed"),
    Metric("xtcp_rows_damaged_total", "counter", "Rows whose attributes end in bytes that make none"),
    Metric("xtcp_messages_quarantined_total", "counter", "Messages that could not be read and gave no row"),
    Metric("xtcp_messages_forged_total", "counter", "Datagrams that another process than the kernel sent, dropped"),
    Metric("xtcp_attributes_unknown_total", "counter", "Attributes that this version does not know, kept raw"),
    Metric("xtcp_rows_shed_total", "counter", "Rows left out for want of memory, by what was shed", ("what",)),
    Metric("xtcp_sampling_modulus", "gauge", "Of the rows for udp:, one connection in so many is taken (1: all)"),
    Metric("xtcp_report_modulus", "gauge", "Of those, one in so many is sent (1: all)"),
    Metric("xtcp_sink_rows_offered_total", "counter", "Rows offered to a destination", ("sink",)),
    Metric("xtcp_sink_rows_accepted_total", "counter", "Rows that arrived, as the destination defines it", ("sink",)),
    Metric("xtcp_sink_rows_dropped_total", "counter", "Rows lost on the way to a destination", ("sink", "reason")),
    Metric("xtcp_sink_rows_in_flight", "gauge", "Rows on their way: queued, or sent and not confirmed", ("sink",)),
    Metric(
        "xtcp_sink_rows_missing",
        "gauge",
        "Rows unaccounted for: offered - accepted - dropped - in flight; anything but 0 is a fault of this program",
        ("sink",),
    ),
    Metric("xtcp_sink_bytes_total", "counter", "Bytes of accepted rows, as they were encoded", ("sink",)),
    Metric("xtcp_sink_queue_bytes", "gauge", "Bytes in the queue before a destination", ("sink",)),
    Metric("xtcp_sink_queue_limit_bytes", "gauge", "Bytes that the queue may hold", ("sink",)),
    Metric("xtcp_sink_up", "gauge", "0 while the far side is away, or the destination was given up", ("sink",)),
    Metric("xtcp_feature", "gauge", "1 if kernel and privileges give it", ("feature",)),
    Metric("xtcp_config_last_reload_successful", "gauge", "1 if the configuration was taken when it was last read"),
    Metric(
        "xtcp_config_last_reload_success_timestamp_seconds", "gauge", "When the configuration was last read and taken"
    ),
    Metric("xtcp_log_lines_suppressed_total", "counter", "Log lines left out because there were too many alike"),
    Metric("xtcp_memory_limit_bytes", "gauge", "Memory above which rows are shed; 0: none"),
    Metric("xtcp_threads", "gauge", "Threads of this process"),
    Metric("xtcp_web_requests_total", "counter", "Answers of this web server, by status", ("code",)),
    Metric("xtcp_web_connections", "gauge", "Connections to this web server"),
    Metric("xtcp_web_connections_refused_total", "counter", "Connections closed without a proper request", ("reason",)),
    Metric("process_cpu_seconds_total", "counter", "CPU time in user and system mode"),
    Metric("process_resident_memory_bytes", "gauge", "Memory in use"),
    Metric("process_virtual_memory_bytes", "gauge", "Address space in use"),
    Metric("process_open_fds", "gauge", "Open file descriptors"),
    Metric("process_max_fds", "gauge", "Limit of open file descriptors"),
    Metric("process_start_time_seconds", "gauge", "When the process started"),
)

HEALTH: Final = (
    Metric("xtcp_sockets", "gauge", "Sockets in the last complete poll, by state as ss names it", ("state",)),
    Metric("xtcp_receive_queue_bytes", "gauge", "Received and not read, all sockets", (), "receive_queue_bytes"),
    Metric("xtcp_send_queue_bytes", "gauge", "Written and not acknowledged, all sockets", (), "send_queue_bytes"),
    Metric(
        "xtcp_accept_queue_connections", "gauge", "Connections to accept, all listeners", (), "accept_queue_connections"
    ),
    Metric("xtcp_accept_queue_limit_connections", "gauge", "Room for them", (), "accept_queue_limit"),
    Metric("xtcp_lost_segments", "gauge", "Assumed lost at the moment, all sockets (tcpi_lost)", (), "lost_segments"),
    Metric("xtcp_connections_tracked", "gauge", "Connections whose counters are compared from poll to poll"),
    Metric("xtcp_connections_untracked", "gauge", "Connections that there was no room to compare"),
    _distributed("xtcp_rtt_seconds", "rtt", "Smoothed round trip time"),
    _distributed("xtcp_min_rtt_seconds", "min_rtt", "Smallest round trip time lately"),
    _distributed(
        "xtcp_retransmit_ratio",
        "retransmit_ratio",
        "Of the bytes that a connection sent since the poll before, the share that was sent again",
    ),
    _distributed("xtcp_cwnd_segments", "cwnd", "Congestion window"),
    _distributed("xtcp_delivery_rate_bytes_per_second", "delivery_rate", "Goodput of the latest delivery"),
    _distributed("xtcp_pacing_rate_bytes_per_second", "pacing_rate", "Pacing rate, where there is one"),
    _counted("xtcp_sent_bytes_total", "sent_bytes", "Payload sent, retransmissions included"),
    _counted("xtcp_received_bytes_total", "received_bytes", "Payload received in order"),
    _counted("xtcp_retransmitted_bytes_total", "retransmitted_bytes", "Payload sent again"),
    _counted("xtcp_sent_segments_total", "sent_segments", "Segments sent, retransmissions included"),
    _counted("xtcp_received_segments_total", "received_segments", "Segments received"),
    _counted("xtcp_retransmitted_segments_total", "retransmitted_segments", "Segments sent again"),
    _counted("xtcp_ecn_marked_segments_total", "ecn_marked_segments", "Segments delivered with an ECN mark"),
    _counted("xtcp_duplicate_segments_total", "duplicate_segments", "Duplicates that peers reported by DSACK"),
    _counted("xtcp_reordering_events_total", "reordering_events", "Reordering that was seen"),
    _counted("xtcp_busy_seconds_total", "busy_seconds", "Connection seconds with data to send or unacknowledged"),
    _counted(
        "xtcp_receiver_limited_seconds_total",
        "receiver_limited_seconds",
        "Of the busy ones, limited by the peer's receive window",
    ),
    _counted(
        "xtcp_send_buffer_limited_seconds_total",
        "send_buffer_limited_seconds",
        "Of the busy ones, limited by our send buffer",
    ),
)

METRICS: Final = (*AGENT, *HEALTH)


def render_markdown(metrics: Iterable[Metric] = METRICS) -> str:
    """The table for docs/operations.md."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for metric in metrics:
        labels = ", ".join(metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |")
    return "\n".join(lines) + "\n"
