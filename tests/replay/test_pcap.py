"""Classic pcap: what is left out is told, every other file is refused by name. Rows 34 to 41: test_file_faults.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.encoder import message
from tests.patience import fewer
from tests.replay.made import MULTI, cooked, done, dump, pcap, pcap_header, record, request, row, saved, sockets
from xtcp.batch import Tally
from xtcp.errors import DamagedInput, ExitCode, UsageError
from xtcp_replay.reading.opening import open_source

DATAGRAMS = [*dump((1, 2, 3)), *dump((4, 5), family=10)]


def test_fault_40_snaplen(tmp_path: Path) -> None:
    """Of a packet cut by the snaplen the whole messages are rows, the rest is counted, with the advice `-s 0`."""
    packet = cooked(row(1) + row(2) + row(3))
    content = pcap_header() + record(cooked(request())) + record(packet[: 16 + 88 + 90], wirelen=len(packet))
    tally = Tally()
    source = open_source(saved(tmp_path, content + record(cooked(done()))))
    assert sockets(source, tally) == [(1, 1), (1, 2)]
    assert (tally.rows, tally.quarantined) == (2, 1)
    assert "-s 0" in source.damage[0] and f"{len(packet) - 194} bytes" in source.damage[0]


def test_fault_40_nothing_left_of_the_messages(tmp_path: Path) -> None:
    """A snaplen that leaves less than one header is counted like any other."""
    packet = cooked(row(1))
    for kept in (0, 8, 16, 31):
        source = open_source(saved(tmp_path, pcap_header() + record(packet[:kept], wirelen=len(packet))))
        assert sockets(source) == []
        assert len(source.damage) == 1 and "snaplen" in source.damage[0]


def test_fault_42_other_families_and_other_sockets(tmp_path: Path) -> None:
    """rtnetlink and generic netlink are counted; UNIX and UDP dumps are not taken for TCP's, with a request or not."""
    unix = message("<", b"\x01" + bytes(90), 20, MULTI, 5, 9)
    content = pcap_header()
    for family in (0, 0, 16):
        content += record(cooked(b"\x01" * 40, family))
    content += b"".join(record(cooked(d)) for d in dump((1,)))
    content += record(cooked(unix)) + record(cooked(done(seq=5, port=9)))
    content += record(cooked(request(protocol=17, seq=6)))
    content += record(cooked(row(7, seq=6))) + record(cooked(done(seq=6)))
    source = open_source(saved(tmp_path, content))
    assert sockets(source) == [(1, 1)]
    assert source.damage == []
    assert "packets of other netlink families skipped (generic: 1, route: 2)." in source.notes
    assert "messages about other sockets skipped (UDP sockets: 2, UNIX sockets: 2)." in source.notes


def test_a_packet_without_the_netlink_header(tmp_path: Path) -> None:
    """Another hardware type inside a netlink capture is told, and the packets around it are read."""
    content = pcap(dump((1,))) + record(b"\0\4\0\1" + bytes(40)) + b"".join(record(cooked(d)) for d in dump((2,)))
    source = open_source(saved(tmp_path, content))
    assert sockets(source) == [(1, 1), (2, 2)]
    assert len(source.damage) == 1 and "LINKTYPE_NETLINK" in source.damage[0]


def test_damage_of_one_kind_is_one_line(tmp_path: Path) -> None:
    """A thousand damaged packets make one line with the first places and the count."""
    content = pcap_header() + record(cooked(b"\xff" * 40)) * 1000
    source = open_source(saved(tmp_path, content))
    assert sockets(source) == []
    assert len(source.damage) == 1
    assert "at byte 24, at byte 96, at byte 168 and 997 more" in source.damage[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (bytes(1000), "zero bytes"),
        (b"Netid State Recv-Q\n", "text"),
        (b"BZh91AY&SY" + bytes(20), "bzip2 -dc"),
        (b"\x04\x22\x4d\x18" + bytes(20), "lz4 -dc"),
        (b"PK\x03\x04" + bytes(20), "zip archive"),
        (b'{"timestamp_ns":1}\n', "text"),
        (b"\xfe\xed" * 50, "unknown kind"),
        (pcap_header(major=3), "version 3.4"),
        (pcap_header()[:20], "20 of 24 bytes"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    """What it is and what to do, exit 3."""
    with pytest.raises(DamagedInput) as caught:
        sockets(open_source(saved(tmp_path, content)))
    assert said in str(caught.value) and caught.value.to_do
    assert caught.value.exit_code == ExitCode.DAMAGED


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Wrong usage, not damage."""
    with pytest.raises(UsageError):
        sockets(open_source(str(tmp_path / "none.pcap")))


def test_a_capture_of_nothing_says_so(tmp_path: Path) -> None:
    """A header alone is whole; packets without sock_diag get a hint."""
    source = open_source(saved(tmp_path, pcap_header()))
    assert (sockets(source), source.damage, source.notes) == ([], [], [])
    source = open_source(saved(tmp_path, pcap_header() + record(cooked(bytes(20), 0))))
    assert sockets(source) == []
    assert any("no sock_diag message" in note for note in source.notes)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=fewer(200))
@given(st.lists(st.tuples(st.integers(0, 1055), st.integers(0, 255)), min_size=1, max_size=8))
def test_fault_48_any_damage_is_an_error_of_ours(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    """Bytes changed anywhere give rows, damage or `DamagedInput`, never another exception, and the books balance."""
    content = bytearray(pcap(DATAGRAMS))
    for at, value in changes:
        content[at % len(content)] = value
    tally = Tally()
    try:
        sockets(open_source(saved(tmp_path, bytes(content))), tally)
    except DamagedInput:
        return
    assert tally.messages == tally.rows + tally.quarantined + sum(tally.control.values())
