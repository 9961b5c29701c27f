"""Rows 37 to 39: sections and blocks of pcapng, magics of pcap, link types."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.replay.made import (
    DATAGRAMS,
    ROWS,
    T0,
    block,
    cooked,
    dump,
    enhanced,
    interface,
    option,
    pcap,
    pcap_header,
    pcapng,
    read,
    record,
    row,
    section,
    sockets,
)
from xtcp.errors import DamagedInput, ExitCode

# 37: pcapng


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


# 38: magics


@pytest.mark.parametrize("nano", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_38_every_magic(tmp_path: Path, order: str, nano: bool) -> None:
    """Four magics: either byte order of the file, µs and ns; the fraction of the request's time is exact."""
    source = read(tmp_path, pcap(DATAGRAMS, order, nano=nano))
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
            sockets(read(tmp_path, content))
        assert "editcap" in caught.value.to_do


# 39: link types


def test_fault_39_another_link_type_is_refused(tmp_path: Path) -> None:
    """Ethernet and cooked captures: the type's name, and the four commands that capture right."""
    for number, name in ((1, "ETHERNET"), (113, "LINUX_SLL"), (276, "LINUX_SLL2"), (9999, "9999")):
        content = pcap_header(link_type=number) + record(b"x" * 60)
        with pytest.raises(DamagedInput, match=name) as caught:
            sockets(read(tmp_path, content))
        assert "modprobe nlmon" in caught.value.to_do and "tcpdump -i nlmon0 -s 0 -w" in caught.value.to_do
        assert caught.value.exit_code == ExitCode.DAMAGED


def test_fault_39_only_netlink_interfaces_are_read(tmp_path: Path) -> None:
    """A mixed file: packets of others are counted; a file without a netlink interface is refused by its type."""
    content = section() + interface(link_type=1) + interface()
    content += enhanced(b"e" * 60, number=0) + b"".join(enhanced(cooked(d), number=1) for d in dump((1,)))
    source = read(tmp_path, content)
    assert sockets(source) == [(1, 1)]
    assert any("not netlink" in note for note in source.notes)
    with pytest.raises(DamagedInput, match="ETHERNET"):
        sockets(read(tmp_path, section() + interface(link_type=1) + enhanced(b"e" * 60)))
