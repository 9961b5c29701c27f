"""statsd: a real receiver reads xTCP's gauges, whatever names and hosts there are."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from dataclasses import replace

import pytest

from tests.batches import batch_of
from tests.conftest import require_program
from tests.sinks.receivers import Listener, nobody
from tests.sinks.standins import TRAILER
from xtcp.batch import Batch
from xtcp.chunk import Context
from xtcp.errors import UsageError
from xtcp.ledger import Account
from xtcp.sinks.destination import parse
from xtcp.sinks.network.statsd import LIMIT_BYTES, ProcessStatistics, packed
from xtcp.sinks.sink import Sink

# What the reference server takes: https://github.com/statsd/statsd/blob/master/docs/metric_types.md
LINE = re.compile(r"([A-Za-z0-9_.-]+):(-?[0-9]+(?:\.[0-9]+)?)\|(g|c)")


def gauges(datagram: bytes) -> dict[str, str]:
    """Name to value and kind, as written, of the lines of a datagram, all of which must be such."""
    found = {}
    for line in datagram.decode("ascii").split("\n"):
        match = LINE.fullmatch(line)
        assert match, line
        found[match[1]] = f"{match[2]}|{match[3]}"
    return found


def rows(*families: int, hostname: str = "one") -> Batch:
    """A row of each family."""
    return batch_of([{"idiag_family": family} for family in families], Context(hostname=hostname))


def opened(text: str) -> tuple[Sink, Account]:
    """The sink behind a destination, without a queue."""
    account = Account("statsd")
    return parse(text).maker()(account), account


def test_gauges_of_polls() -> None:
    """Families apart, totals over polls, a long poll, the process; rows are accepted at the poll's end."""
    with Listener() as there:
        sink, account = opened(f"statsd:{there.address}?frequency=1")
        sink.accept(rows(2, 2, 10))
        sink.accept(rows(2, 17))
        assert account.balance().in_flight == 5
        sink.end_poll(replace(TRAILER, hostname="one", monotonic_start_ns=0, monotonic_end_ns=500_000_000))
        sink.accept(rows(10))
        sink.end_poll(replace(TRAILER, hostname="one", monotonic_start_ns=0, monotonic_end_ns=900_000_000))
        first, second = (gauges(datagram) for datagram in there.wait_for(2))
        sink.close()
    assert first["xtcp_v4_netlinker_0_msgs"] == "3|g" and first["xtcp_v6_netlinker_0_msgs"] == "1|g"
    assert {first[f"xtcp_{name}"] for name in ("v4_poll_duration", "v6_done_duration")} == {"0.500000|g"}
    assert first["xtcp_v4_poller_loops"] == "1|g" and second["xtcp_v4_poller_loops"] == "2|g"
    assert second["xtcp_v4_netlinker_0_msgs"] == "0|g" and second["xtcp_v4_inetdiager_total_msgs"] == "3|g"
    assert second["xtcp_v6_inetdiager_total_msgs"] == "2|g"
    assert "xtcp_v4_poller_long" not in first and second["xtcp_v4_poller_long"] == "1|c"
    balance = account.balance()
    assert (balance.accepted, balance.dropped, balance.in_flight, balance.balanced) == (6, {}, 0, True)


@pytest.mark.live  # ps of procps, and /proc as a kernel has it
def test_the_process_as_ps_has_it() -> None:
    """rss and sz within what moves between two looks; pcpu by the same division."""
    ours = ProcessStatistics()()
    theirs = subprocess.run(
        [require_program("ps", "procps", whole=True), "-o", "rss=,sz=,pcpu=", "-p", str(os.getpid())],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert abs(ours["rss"] - int(theirs[0])) < 20_000
    assert abs(ours["sz"] - int(theirs[1])) < 20_000
    assert abs(ours["pcpu"] - float(theirs[2])) < 25
    assert 0 < ours["heapAlloc"] <= 1024 * ours["rss"]


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("web-1.example", "web-1.example."),
        ("a:b|c@d\ne", "a_b_c_d_e."),
        ("\x1b[31mred\x00\ud800\u202e", "__31mred___."),
        ("x" * 10_000, "x" * 255),
    ],
)
def test_fault_69_names_that_statsd_would_misread(name: str, clean: str) -> None:
    """They are cleaned and cut; every line is one that the server takes."""
    with Listener() as there:
        sink, account = opened(f"statsd:{there.address}?prefix={{hostname}}.")
        sink.accept(rows(2, hostname=name))
        sink.end_poll(replace(TRAILER, hostname=name))
        datagrams = there.wait_for(1)
        sink.close()
    assert f"{clean}xtcp_v4_netlinker_0_msgs" in gauges(datagrams[0])
    assert account.balance().accepted == 1


def test_fault_69_no_datagram_is_longer_than_an_ethernet_frame_takes() -> None:
    """Lines are never cut; as many stand together as fit."""
    lines = [f"name_{'x' * (number % 300)}:{number}|g" for number in range(300)]
    mail = packed(iter(lines), LIMIT_BYTES)
    pieces = [mail.data[start:end].tobytes() for start, end in zip(mail.starts, mail.ends, strict=True)]
    assert "\n".join(piece.decode() for piece in pieces).split("\n") == lines
    assert max(map(len, pieces)) <= LIMIT_BYTES
    assert all(len(a) + 1 + len(b.split(b"\n")[0]) > LIMIT_BYTES for a, b in itertools.pairwise(pieces))


def test_fault_69_refused_gauges_are_counted() -> None:
    """Nobody listens: the rows of the poll are dropped by the errno's name."""
    with nobody() as port:
        sink, account = opened(f"statsd:127.0.0.1:{port}")
        sink.accept(rows(2, 2))
        sink.end_poll(replace(TRAILER, hostname="one"))
        sink.accept(rows(2))
        sink.close()
    assert account.balance().dropped == {"ECONNREFUSED": 2, "closed": 1}
    assert account.balance().balanced and sink.error is not None


def test_hosts_apart() -> None:
    """A thousand hosts of a replay: each has its own totals, where the prefix tells them apart."""
    with Listener() as there:
        sink, account = opened(f"statsd:{there.address}?prefix={{hostname}}.")
        for host in ("a", "b"):
            sink.accept(rows(2, hostname=host))
        for host in ("a", "b"):
            sink.end_poll(replace(TRAILER, hostname=host))
        found = [gauges(datagram) for datagram in there.wait_for(2)]
        sink.close()
    assert found[0]["a.xtcp_v4_inetdiager_total_msgs"] == "1|g"
    assert found[1]["b.xtcp_v4_inetdiager_total_msgs"] == "1|g"
    assert account.balance().accepted == 2


def test_a_replay_has_no_duration() -> None:
    """No gauge of what is not known."""
    with Listener() as there:
        sink, _ = opened(f"statsd:{there.address}")
        sink.end_poll(replace(TRAILER, monotonic_start_ns=0, monotonic_end_ns=0))
        found = gauges(there.wait_for(1)[0])
        sink.close()
    assert not [name for name in found if "duration" in name]


@pytest.mark.parametrize(
    "text", ["statsd:a:b", "statsd:::1:8125", "statsd:h:0", "statsd:?frequency=x", "statsd:h:99999"]
)
def test_refused(text: str) -> None:
    """An address or an option that cannot be."""
    with pytest.raises(UsageError):
        parse(text)
