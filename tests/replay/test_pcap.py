"""Classic pcap: every format of it, every damage told with its place, every other file refused by name."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.encoder import message
from tests.replay.made import MULTI, T0, cooked, done, dump, pcap, pcap_header, record, request, row, saved, sockets
from xtcp.batch import Tally
from xtcp.errors import DamagedInput, ExitCode, UsageError
from xtcp_replay.reading.capture_file import CaptureFile

DATAGRAMS = [*dump((1, 2, 3)), *dump((4, 5), family=10)]
ROWS = [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5)]


@pytest.mark.parametrize("nano", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_38_every_magic(tmp_path: Path, order: str, nano: bool) -> None:
    """Four magics: either byte order of the file, µs and ns; the fraction of the request's time is exact."""
    source = CaptureFile(saved(tmp_path, pcap(DATAGRAMS, order, nano=nano)))
    assert sockets(source) == ROWS
    assert (source.damage, source.notes) == ([], [])
    times = [chunk.context.timestamp_ns for chunk in source.chunks()]
    unit = 1 if nano else 1000
    assert times == [T0 // unit * unit, (T0 + 3_000_000) // unit * unit]


def test_fault_38_modified_magic_is_refused(tmp_path: Path) -> None:
    """Magic 0xa1b2cd34 has other record headers: what it is and how to rewrite it."""
    for order in "<>":
        content = struct.pack(order + "I", 0xA1B2CD34) + pcap(DATAGRAMS, order)[4:]
        with pytest.raises(DamagedInput, match="0xa1b2cd34") as caught:
            sockets(CaptureFile(saved(tmp_path, content)))
        assert "editcap" in caught.value.to_do


def test_fault_34_cut_at_every_byte(tmp_path: Path) -> None:
    """Every whole message before the cut is decoded; a cut inside is told with its place, one between records is not
    to be seen in the packets and shows as a dump without its end.
    """
    content = pcap(DATAGRAMS)
    row_ends, boundaries = [], []
    at = 24
    for datagram in DATAGRAMS:
        boundaries.append(at)
        rows = (len(datagram) // 88) if datagram[4] == 20 and len(datagram) % 88 == 0 and datagram[6] == MULTI else 0
        row_ends += [at + 32 + 88 * (i + 1) for i in range(rows)]
        at += 32 + len(datagram)
    assert at == len(content) and len(row_ends) == 5
    for size in range(len(content)):
        source = CaptureFile(saved(tmp_path, content[:size]))
        if size < 24:
            with pytest.raises(DamagedInput):
                sockets(source)
            continue
        tally = Tally()
        found = sockets(source, tally)
        assert found == ROWS[: sum(end <= size for end in row_ends)], size
        assert bool(source.damage) == (size not in boundaries), size
        if source.damage:
            assert f"at byte {max(b for b in boundaries if b < size):,}" in source.damage[0]
        assert tally.messages == tally.rows + tally.quarantined + sum(tally.control.values())


def test_fault_39_another_link_type_is_refused(tmp_path: Path) -> None:
    """Ethernet and cooked captures: the type's name, and the four commands that capture right."""
    for number, name in ((1, "ETHERNET"), (113, "LINUX_SLL"), (276, "LINUX_SLL2"), (9999, "9999")):
        content = pcap_header(link_type=number) + record(b"x" * 60)
        with pytest.raises(DamagedInput, match=name) as caught:
            sockets(CaptureFile(saved(tmp_path, content)))
        assert "modprobe nlmon" in caught.value.to_do and "tcpdump -i nlmon0 -s 0 -w" in caught.value.to_do
        assert caught.value.exit_code == ExitCode.DAMAGED


def test_fault_40_snaplen(tmp_path: Path) -> None:
    """Of a packet cut by the snaplen the whole messages are rows, the rest is counted, with the advice `-s 0`."""
    packet = cooked(row(1) + row(2) + row(3))
    content = pcap_header() + record(cooked(request())) + record(packet[: 16 + 88 + 90], wirelen=len(packet))
    tally = Tally()
    source = CaptureFile(saved(tmp_path, content + record(cooked(done()))))
    assert sockets(source, tally) == [(1, 1), (1, 2)]
    assert (tally.rows, tally.quarantined) == (2, 1)
    assert "-s 0" in source.damage[0] and f"{len(packet) - 194} bytes" in source.damage[0]


def test_fault_40_nothing_left_of_the_messages(tmp_path: Path) -> None:
    """A snaplen that leaves less than one header is counted like any other."""
    packet = cooked(row(1))
    for kept in (0, 8, 16, 31):
        source = CaptureFile(saved(tmp_path, pcap_header() + record(packet[:kept], wirelen=len(packet))))
        assert sockets(source) == []
        assert len(source.damage) == 1 and "snaplen" in source.damage[0]


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("<IIII", 0, 0, 0xFFFFFFF0, 0xFFFFFFF0),
        struct.pack("<IIII", 0, 0, (1 << 20) + 1, 1 << 21),
        struct.pack("<IIII", 0, 0, 88, 40),
        struct.pack("<IIII", 0, 1_000_000, 88, 88),
    ],
)
def test_fault_41_a_header_that_cannot_be(tmp_path: Path, header: bytes) -> None:
    """Lengths and times that no packet has end the file there: told with the place, what stood before is decoded."""
    good = pcap(dump((1,)))
    source = CaptureFile(saved(tmp_path, good + header + cooked(row(2))))
    assert sockets(source) == [(1, 1)]
    assert len(source.damage) == 1 and f"at byte {len(good):,}" in source.damage[0]


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
    source = CaptureFile(saved(tmp_path, content))
    assert sockets(source) == [(1, 1)]
    assert source.damage == []
    assert "packets of other netlink families skipped (generic: 1, route: 2)." in source.notes
    assert "messages about other sockets skipped (UDP sockets: 2, UNIX sockets: 2)." in source.notes


def test_a_packet_without_the_netlink_header(tmp_path: Path) -> None:
    """Another hardware type inside a netlink capture is told, and the packets around it are read."""
    content = pcap(dump((1,))) + record(b"\0\4\0\1" + bytes(40)) + b"".join(record(cooked(d)) for d in dump((2,)))
    source = CaptureFile(saved(tmp_path, content))
    assert sockets(source) == [(1, 1), (2, 2)]
    assert len(source.damage) == 1 and "LINKTYPE_NETLINK" in source.damage[0]


def test_damage_of_one_kind_is_one_line(tmp_path: Path) -> None:
    """A thousand damaged packets make one line with the first places and the count."""
    content = pcap_header() + record(cooked(b"\xff" * 40)) * 1000
    source = CaptureFile(saved(tmp_path, content))
    assert sockets(source) == []
    assert len(source.damage) == 1
    assert "at byte 24, at byte 96, at byte 168 and 997 more" in source.damage[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (bytes(1000), "zero bytes"),
        (b"Netid State Recv-Q\n", "text"),
        (b"\x1f\x8b\x08" + bytes(20), "gzip -d"),
        (b"\x28\xb5\x2f\xfd" + bytes(20), "zstd -d"),
        (b"\xfd7zXZ\0" + bytes(20), "xz -d"),
        (row(1) + done(), "xtcp once --from"),
        (b"\xfe\xed" * 50, "unknown kind"),
        (pcap_header(major=3), "version 3.4"),
        (pcap_header()[:20], "20 of 24 bytes"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    """What it is and what to do, exit 3."""
    with pytest.raises(DamagedInput) as caught:
        sockets(CaptureFile(saved(tmp_path, content)))
    assert said in str(caught.value) and caught.value.to_do
    assert caught.value.exit_code == ExitCode.DAMAGED


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Wrong usage, not damage."""
    with pytest.raises(UsageError):
        sockets(CaptureFile(str(tmp_path / "none.pcap")))


def test_a_capture_of_nothing_says_so(tmp_path: Path) -> None:
    """A header alone is whole; packets without sock_diag get a hint."""
    source = CaptureFile(saved(tmp_path, pcap_header()))
    assert (sockets(source), source.damage, source.notes) == ([], [], [])
    source = CaptureFile(saved(tmp_path, pcap_header() + record(cooked(bytes(20), 0))))
    assert sockets(source) == []
    assert any("no sock_diag message" in note for note in source.notes)


def test_fault_36_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads a pipe, which cannot seek."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(pcap(DATAGRAMS))
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert sockets(CaptureFile("-")) == ROWS


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 1055), st.integers(0, 255)), min_size=1, max_size=8))
def test_fault_48_any_damage_is_an_error_of_ours(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    """Bytes changed anywhere give rows, damage or `DamagedInput`, never another exception, and the books balance."""
    content = bytearray(pcap(DATAGRAMS))
    for at, value in changes:
        content[at % len(content)] = value
    tally = Tally()
    try:
        sockets(CaptureFile(saved(tmp_path, bytes(content))), tally)
    except DamagedInput:
        return
    assert tally.messages == tally.rows + tally.quarantined + sum(tally.control.values())
