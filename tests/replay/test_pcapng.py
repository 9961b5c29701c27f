"""pcapng: sections, interfaces and their clocks kept apart; every damage told; what scapy drops is read."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import scapy.utils
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader

from tests.replay.made import T0, block, cooked, dump, enhanced, interface, option, row, saved, section, sockets
from xtcp.batch import Tally
from xtcp.errors import DamagedInput
from xtcp_replay.reading.capture_file import CaptureFile


def pcapng(order: str = "<", cookies: tuple[int, ...] = (1, 2), options: bytes = b"") -> bytes:
    """One section, one interface, one dump."""
    packets = b"".join(enhanced(cooked(d), T0 // 1000 + i, order) for i, d in enumerate(dump(cookies)))
    return section(order, options) + interface(order) + packets


def read(folder: Path, content: bytes) -> CaptureFile:
    """The source of a file with `content`."""
    return CaptureFile(saved(folder, content, "made.pcapng"))


def test_fault_37_sections_of_both_orders(tmp_path: Path) -> None:
    """Each section has its own byte order and interfaces: number 0 of the second is not that of the first."""
    ours = option(">", 3, b"Linux 6.6.1") + option(">", 4, b"xtcp 1") + option(">", 1, b"host: two")
    second = section(">", ours) + interface(">", options=option(">", 2, b"blue") + option(">", 9, b"\x09"))
    second += b"".join(enhanced(cooked(d), T0 + i, ">") for i, d in enumerate(dump((3,))))
    source = read(tmp_path, pcapng("<", options=option("<", 3, b"Linux 6.1.7")) + second)
    assert sockets(source) == [(1, 1), (1, 2), (2, 3)]
    assert source.damage == []
    first, other = (chunk.context for chunk in source.chunks())
    assert (first.release, first.hostname, first.netns, first.timestamp_ns) == ("6.1.7", None, None, T0 // 1000 * 1000)
    assert (other.release, other.hostname, other.netns, other.timestamp_ns) == ("6.6.1", "two", "blue", T0)


def test_fault_37_interfaces_with_clocks_of_their_own(tmp_path: Path) -> None:
    """Time resolution in powers of ten and two, and the offset in seconds that scapy does not know."""
    seconds = T0 // 10**9
    content = section() + interface(options=option("<", 9, b"\x03"))
    content += interface(options=option("<", 9, b"\x8a") + option("<", 14, struct.pack("<q", 1000)))
    content += enhanced(cooked(row(1, seq=1)), seconds * 1000 + 5, number=0)
    content += enhanced(cooked(row(2, seq=1)), (seconds << 10) + 512, number=1)
    source = read(tmp_path, content)
    times = {chunk.context.dump: chunk.context.timestamp_ns for chunk in source.chunks()}
    assert times == {1: seconds * 10**9 + 5_000_000, 2: (seconds + 1000) * 10**9 + 500_000_000}


def test_fault_37_unknown_blocks_and_options_are_passed_over(tmp_path: Path) -> None:
    """Statistics, names, secrets, custom and unknown blocks, long ones too; options of packets."""
    others = b"".join(block("<", kind, bytes(64)) for kind in (4, 5, 10, 0xBAD, 0x40000BAD, 77))
    others += block("<", 77, bytes(3 << 20))
    packets = [enhanced(cooked(d), T0 // 1000) for d in dump((1, 2))]
    with_options = packets[1][:-4] + option("<", 0x8001, b"xx") + option("<", 2, b"x")
    with_options = with_options[:4] + struct.pack("<I", len(with_options) + 4) + with_options[8:]
    with_options += struct.pack("<I", len(with_options) + 4)
    content = section() + others + interface() + packets[0] + others + with_options + packets[2] + others
    source = read(tmp_path, content)
    assert sockets(source) == [(1, 1), (1, 2)]
    assert source.damage == []


def test_fault_37_bad_interface_id(tmp_path: Path) -> None:
    """The packet is left out and told; those behind it are read (scapy alone: a clean end)."""
    packets = [enhanced(cooked(d)) for d in dump((1,))]
    source = read(
        tmp_path, section() + interface() + packets[0] + enhanced(cooked(row(9)), number=3) + packets[1] + packets[2]
    )
    assert sockets(source) == [(1, 1)]
    assert len(source.damage) == 1
    assert "interface that is not described" in source.damage[0]
    assert f"at byte {len(section() + interface() + packets[0])}" in source.damage[0]


@pytest.mark.parametrize("length", [0, 8, 11, 13, 31, 0x7FFFFFF0, 0xFFFFFFFF])
def test_fault_37_bad_block_length(tmp_path: Path, length: int) -> None:
    """The file is read up to the block, whose place is told (scapy alone: a clean end)."""
    good = pcapng()
    for kind in (6, 77):
        bad = struct.pack("<II", kind, length) + bytes(64)
        source = read(tmp_path, good + bad)
        assert sockets(source) == [(1, 1), (1, 2)]
        assert len(source.damage) == 1 and f"at byte {len(good)}" in source.damage[0]


def test_fault_37_lengths_that_differ(tmp_path: Path) -> None:
    """A block that does not end with its length ends the file, whatever its kind."""
    good = pcapng()
    for bad in (enhanced(cooked(row(9))), block("<", 77, bytes(8)), section(), interface()):
        source = read(tmp_path, good + bad[:-4] + struct.pack("<I", 4) + enhanced(cooked(row(8))))
        assert sockets(source) == [(1, 1), (1, 2)]
        assert len(source.damage) == 1 and "differ" in source.damage[0]


def test_fault_39_only_netlink_interfaces_are_read(tmp_path: Path) -> None:
    """A mixed file: packets of others are counted; a file without a netlink interface is refused by its type."""
    content = section() + interface(link_type=1) + interface()
    content += enhanced(b"e" * 60, number=0) + b"".join(enhanced(cooked(d), number=1) for d in dump((1,)))
    source = read(tmp_path, content)
    assert sockets(source) == [(1, 1)]
    assert any("not netlink" in note for note in source.notes)
    with pytest.raises(DamagedInput, match="ETHERNET"):
        sockets(read(tmp_path, section() + interface(link_type=1) + enhanced(b"e" * 60)))


def test_fault_41_packets_that_contradict_their_block(tmp_path: Path) -> None:
    """More captured than the block holds, or than the packet had: left out and told, the next one is read."""
    for bad in (enhanced(cooked(row(9)), caplen=5000, wirelen=5000), enhanced(cooked(row(9)), wirelen=20)):
        source = read(tmp_path, pcapng() + bad + b"".join(enhanced(cooked(d)) for d in dump((3,))))
        assert sockets(source) == [(1, 1), (1, 2), (2, 3)]
        assert len(source.damage) == 1 and "left out" in source.damage[0]


def test_older_packet_blocks(tmp_path: Path) -> None:
    """The obsolete block has a time, the simple one none; its length is the snaplen's, of which 0 means all."""
    datagrams = dump((1,))
    obsolete = block(
        "<", 2, struct.pack("<HHIIII", 0, 0, T0 // 1000 >> 32, T0 // 1000 & 0xFFFFFFFF, 88, 88) + cooked(datagrams[0])
    )
    simple = [block("<", 3, struct.pack("<I", 16 + len(d)) + cooked(d)) for d in datagrams]
    source = read(tmp_path, section() + interface() + obsolete + simple[1] + simple[2])
    assert sockets(source) == [(1, 1)]
    assert [c.context.timestamp_ns for c in source.chunks()] == [T0 // 1000 * 1000]
    source = read(tmp_path, section() + interface() + b"".join(simple))
    assert sockets(source) == [(1, 1)]
    assert [c.context.timestamp_ns for c in source.chunks()] == [None]
    two = cooked(row(1) + row(2))
    cut = block("<", 3, struct.pack("<I", len(two)) + two[:104])
    source = read(tmp_path, section() + interface(snaplen=104) + cut)
    assert sockets(source) == [(1, 1)]
    assert "snaplen" in source.damage[0]


def test_fault_34_cut_at_every_byte(tmp_path: Path) -> None:
    """Every whole message before the cut is decoded, and a cut that is not between blocks is told."""
    content = pcapng()
    starts = [len(section()), len(section() + interface())]
    for datagram in dump((1, 2)):
        starts.append(starts[-1] + len(enhanced(cooked(datagram))))
    first_row = starts[2] + 28 + 16 + 88
    for size in range(len(content)):
        source = read(tmp_path, content[:size])
        if size < starts[0]:
            with pytest.raises(DamagedInput):
                sockets(source)
            continue
        assert sockets(source) == [(1, 1), (1, 2)][: (size >= first_row) + (size >= first_row + 88)], size
        assert bool(source.damage) == (size not in starts), size


def test_a_packet_above_64_kib_is_whole(tmp_path: Path) -> None:
    """Iterating scapy's reader would cut it."""
    rows = b"".join(row(c) for c in range(1, 1001))
    source = read(tmp_path, section() + interface() + enhanced(cooked(rows)))
    assert len(sockets(source)) == 1000
    assert source.damage == []


def test_what_scapy_hides_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that gives less of a packet than the file has, or ends early, does not pass for a whole file."""
    path = saved(tmp_path, pcapng(), "a.pcapng")
    inner = scapy.utils.RawPcapNgReader._read_packet

    def shorter(self: RawPcapNgReader, size: int) -> object:
        data, meta = inner(self, size=size)
        return data[:-4], meta

    monkeypatch.setattr(scapy.utils.RawPcapNgReader, "_read_packet", shorter)
    source = CaptureFile(path)
    sockets(source)
    assert any("scapy gave less" in line and "12 bytes" in line for line in source.damage)

    def none(self: RawPcapNgReader, size: int) -> object:
        raise EOFError

    monkeypatch.setattr(scapy.utils.RawPcapNgReader, "_read_packet", none)
    assert sockets(source) == []
    assert any("scapy stopped" in line for line in source.damage)


def test_names_of_other_programs_are_not_namespaces(tmp_path: Path) -> None:
    """`nlmon0` in a capture of dumpcap is an interface; a release is taken from Linux only."""
    content = section(options=option("<", 4, b"Dumpcap 4.2") + option("<", 3, b"macOS 14.5")) + interface(
        options=option("<", 2, b"nlmon0")
    )
    content += b"".join(enhanced(cooked(d)) for d in dump((1,)))
    (chunk,) = read(tmp_path, content).chunks()
    assert (chunk.context.netns, chunk.context.release, chunk.context.hostname) == (None, "", None)


def test_a_release_given_stands_above_the_file(tmp_path: Path) -> None:
    """`--kernel-release` over `shb_os`."""
    path = saved(tmp_path, pcapng(options=option("<", 3, b"Linux 6.1.7")), "a.pcapng")
    assert [c.context.kernel for c in CaptureFile(path).chunks()] == [(6, 1)]
    assert [c.context.kernel for c in CaptureFile(path, release="7.0.3").chunks()] == [(7, 0)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8))
def test_fault_48_any_damage_is_an_error_of_ours(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    """Bytes changed anywhere give rows, damage or `DamagedInput`, never another exception, and the books balance."""
    content = bytearray(pcapng(options=option("<", 3, b"Linux 6.1.7")) + pcapng(">"))
    for at, value in changes:
        content[at % len(content)] = value
    tally = Tally()
    try:
        sockets(read(tmp_path, bytes(content)), tally)
    except DamagedInput:
        return
    assert tally.messages == tally.rows + tally.quarantined + sum(tally.control.values())
