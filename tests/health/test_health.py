"""Figures of a poll: states, queues, distributions by class; and real polls."""

from __future__ import annotations

import bisect
import socket

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.batches import batch_of
from tests.health.made import Clock, Row, connection, hostile, poll, trailer
from tests.patience import fewer
from xtcp.chunk import Context
from xtcp.decode.decoder import Decoder
from xtcp.errors import ConfigurationError
from xtcp.health.classes import CONTROLS, Classifier, PortGroups
from xtcp.health.health import NEEDED_COLUMNS, Health
from xtcp.health.histograms import Distribution
from xtcp.health.snapshot import DISTRIBUTED, Class, Distributed, HealthSnapshot
from xtcp.poll.live import LivePoll, Wanted
from xtcp.schema.columns import BY_NAME


def test_columns_exist() -> None:
    """What is looked at stands in the schema."""
    assert not NEEDED_COLUMNS - set(BY_NAME)


@pytest.mark.parametrize("what", DISTRIBUTED, ids=lambda what: what.name)
@given(data=st.data())
def test_buckets_are_exact(what: Distributed, data: st.DataObject) -> None:
    """A value is in the first bucket whose bound is not below it, at the bounds too, as bisect says."""
    near = [n for b in what.bounds for n in (b, b + 1, max(b - 1, 0))]
    if what.column:
        numbers = st.one_of(st.sampled_from([int(n) for n in near]), st.integers(0, 2**32 - 2))
        array = np.array(data.draw(st.lists(numbers, min_size=1)), np.uint64)
    else:
        ratios = st.one_of(st.sampled_from(what.bounds), st.floats(0, 1))
        array = np.array(data.draw(st.lists(ratios, min_size=1)), np.float64)
    distribution = Distribution(what, 2)
    distribution.observe(array, np.ones(len(array), np.intp), 3)
    there = [value for value in array.tolist() if value != what.absent]
    counts = [0] * (len(what.bounds) + 1)
    for value in there:
        counts[bisect.bisect_left(what.bounds, value)] += 3
    histogram = distribution.histogram(1)
    assert (list(histogram.counts) if histogram else [0] * len(counts)) == counts
    assert histogram is None or histogram.sum == pytest.approx(3 * sum(there) * what.scale)
    assert distribution.histogram(0) is None


def test_classes() -> None:
    """Inbound is who has a listener at its local port; the service's port says the group; unknown names are other."""
    health = Health({"web": [80, 443], "mail": [25]}, clock=Clock())
    listener: Row = {"idiag_cookie": 1, "idiag_state": 10, "idiag_sport": 443}
    snapshot = poll(
        health,
        [
            listener,
            connection(2, idiag_sport=443, idiag_dport=50000, tcpi_rtt=1000, cong=b"bbr"),
            connection(3, idiag_sport=50001, idiag_dport=443, tcpi_rtt=1000),
            connection(4, idiag_sport=50002, idiag_dport=25, tcpi_rtt=1000, cong=b"cubic2"),
            connection(5, idiag_sport=443, idiag_dport=9999, tcpi_rtt=1000, cong=b"cubic\0\0\0x"),
            connection(6, idiag_sport=50003, idiag_dport=5432, tcpi_rtt=1000, cong=b"0123456789abcdef"),
        ],
    )
    assert {name: sum(h.counts) for name, h in snapshot.histograms["rtt"].items()} == {
        Class("inbound", "web", "bbr"): 1,
        Class("outbound", "web", "cubic"): 1,
        Class("outbound", "mail", "other"): 1,
        Class("inbound", "web", "other"): 1,
        Class("outbound", "other", "other"): 1,
    }


def test_listeners_of_the_last_poll() -> None:
    """A connection listed before its listener is inbound from the second poll on, and only in its own namespace."""
    health = Health(clock=Clock())
    mine = connection(2, idiag_sport=8080, tcpi_rtt=1)
    listener: Row = {"idiag_cookie": 1, "idiag_state": 10, "idiag_sport": 8080}
    assert _directions(poll(health, [mine, listener], size=1)) == ["outbound"]
    assert _directions(poll(health, [mine, listener], size=1)) == ["inbound", "outbound"]
    elsewhere = poll(health, [connection(3, idiag_sport=8080, tcpi_rtt=1)], netns="other")
    assert sum(sum(h.counts) for c, h in elsewhere.histograms["rtt"].items() if c.direction == "outbound") == 2


def _directions(snapshot: HealthSnapshot) -> list[str]:
    return sorted(found.direction for found in snapshot.histograms["rtt"])


def test_what_is_no_connection() -> None:
    """Listeners, sockets in TIME-WAIT and on their way are counted by state, and have no round trip time."""
    health = Health(clock=Clock())
    listener: Row = {"idiag_cookie": 1, "idiag_state": 10, "tcp_info_len": 280, "tcpi_rtt": 5}
    rows: list[Row] = [
        {**listener, "idiag_rqueue": 3, "idiag_wqueue": 128},
        {"idiag_cookie": 2, "idiag_state": 6},
        {"idiag_cookie": 3, "idiag_state": 2, "tcp_info_len": 280, "tcpi_rtt": 5},
        {"idiag_cookie": 4, "idiag_state": 77},
        connection(5, tcpi_rtt=2000, idiag_rqueue=10, idiag_wqueue=20, tcpi_lost=4),
    ]
    snapshot = poll(health, rows)
    assert {name: count for name, count in snapshot.sockets.items() if count} == {
        "LISTEN": 1,
        "TIME-WAIT": 1,
        "SYN-SENT": 1,
        "ESTAB": 1,
        "UNKNOWN": 1,
    }
    (histogram,) = snapshot.histograms["rtt"].values()
    assert sum(histogram.counts) == 1
    assert histogram.sum == pytest.approx(0.002)
    assert snapshot.gauges == {
        "receive_queue_bytes": 10,
        "send_queue_bytes": 20,
        "accept_queue_connections": 3,
        "accept_queue_limit": 128,
        "lost_segments": 4,
    }


def test_no_value_yet_is_no_observation() -> None:
    """A round trip time of 0, a smallest one of all ones, a pacing rate without limit: none of them is one."""
    health = Health(clock=Clock())
    row = connection(1, tcpi_rtt=0, tcpi_min_rtt=2**32 - 1, tcpi_pacing_rate=2**64 - 1, tcpi_delivery_rate=0)
    snapshot = poll(health, [row])
    assert not any(snapshot.histograms[name] for name in ("rtt", "min_rtt", "pacing_rate", "delivery_rate"))


def test_the_share_of_retransmissions_is_the_intervals() -> None:
    """5 of 100 bytes since the last poll, whatever was before; who sent nothing has no share."""
    health = Health(clock=Clock())
    poll(health, [connection(1, tcpi_bytes_sent=10**6, tcpi_bytes_retrans=5), connection(2)])
    row = connection(1, tcpi_bytes_sent=10**6 + 100, tcpi_bytes_retrans=10)
    (histogram,) = poll(health, [row, connection(2)]).histograms["retransmit_ratio"].values()
    assert sum(histogram.counts) == 1
    assert histogram.sum == pytest.approx(0.05)


def test_an_older_kernel_has_segments_only() -> None:
    """Without `tcpi_bytes_sent` the share is of segments, and counters that the kernel lacks are not there."""
    health, snapshot = Health(clock=Clock()), HealthSnapshot()
    for sent in (10, 20):
        row: Row = {"idiag_cookie": 1, "idiag_state": 1, "tcp_info_len": 192}
        snapshot = poll(health, [{**row, "tcpi_segs_out": sent, "tcpi_total_retrans": sent // 10}])
    (histogram,) = snapshot.histograms["retransmit_ratio"].values()
    assert histogram.sum == pytest.approx(0.1)
    assert set(snapshot.counters) == {"sent_segments", "retransmitted_segments"}


def test_a_failed_poll_is_not_a_host_without_sockets() -> None:
    """What is of one poll stays that of the last complete one."""
    health = Health(clock=Clock())
    poll(health, [connection(1), connection(2)])
    assert poll(health, [], "error").sockets["ESTAB"] == 2
    assert poll(health, [connection(1)]).sockets["ESTAB"] == 1


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ({"Web": [80]}, "no name"),
        ({"other": [80]}, "no name"),
        ({"web": [0]}, "no port"),
        ({"web": [65536]}, "no port"),
        ({"web": [True]}, "no port"),
        ({"web": [80], "www": [80]}, "two groups"),
        ({f"g{n}": [n + 1] for n in range(9)}, "more than 8"),
    ],
)
def test_port_groups_that_cannot_be(groups: dict[str, list[int]], says: str) -> None:
    """A bad group is an error of the configuration that says which."""
    with pytest.raises(ConfigurationError, match=says):
        Health(groups)


def test_classes_have_one_meaning_each() -> None:
    """Every number is another class."""
    classifier = Classifier(PortGroups({"web": [80], "mail": [25]}))
    assert len({classifier.meaning(n) for n in range(classifier.classes)}) == classifier.classes
    assert classifier.classes == 2 * 3 * (len(CONTROLS) + 1)


def test_fault_90_the_number_of_figures_does_not_depend_on_the_host() -> None:
    """A million sockets of all ports, states, congestion controls and namespaces give as many figures as 20,000."""
    health = Health({"web": [80, 443], "mail": [25, 587]}, clock=Clock(), most=1 << 16)
    counts = []
    for turn, batches in enumerate((1, 1, fewer(50))):
        for number in range(batches):
            health.observe(hostile(20_000, seed=100 * turn + number, first_cookie=1 + 20_000 * number))
        counts.append(_figures(health.end_poll(trailer())))
    assert counts[2] == counts[1] > counts[0]


def _figures(snapshot: HealthSnapshot) -> int:
    histograms = sum(len(h.counts) + 1 for found in snapshot.histograms.values() for h in found.values())
    return histograms + sum(map(len, snapshot.counters.values())) + len(snapshot.sockets) + len(snapshot.gauges)


@pytest.mark.live
def test_a_real_poll() -> None:
    """Bytes sent between two polls of this host are counted, at the connection's class."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        health = Health({"mine": [port]})
        with socket.create_connection(("127.0.0.1", port)) as client:
            server, _ = listener.accept()
            with server:
                _live(health)
                client.sendall(b"x" * 123_456)
                while len(server.recv(1 << 16, socket.MSG_PEEK)) < 1:
                    pass
                received = 0
                while received < 123_456:
                    received += len(server.recv(1 << 16))
                snapshot = _live(health)
    mine = {found: value for found, value in snapshot.counters["received_bytes"].items() if found.group == "mine"}
    assert sum(value for found, value in mine.items() if found.direction == "inbound") == 123_456
    sent = snapshot.counters["sent_bytes"]
    assert sum(v for c, v in sent.items() if (c.direction, c.group) == ("outbound", "mine")) >= 123_456
    assert snapshot.sockets["LISTEN"] >= 1


def _live(health: Health) -> HealthSnapshot:
    live = LivePoll(Wanted(), Decoder())
    for batch in live:
        health.observe(batch)
    assert live.trailer is not None and live.error is None
    return health.end_poll(live.trailer)


def test_rows_are_left_as_they_are() -> None:
    """Other sinks read the same arrays."""
    batch = batch_of([connection(1, tcpi_bytes_sent=5), connection(2)], Context(netns="n"))
    before = {name: column.copy() for name, column in batch.columns.items()}
    for column in batch.columns.values():
        column.flags.writeable = False
    health = Health(clock=Clock())
    for _ in range(2):
        health.observe(batch)
        health.end_poll(trailer())
    assert all((batch.columns[name] == column).all() for name, column in before.items())
