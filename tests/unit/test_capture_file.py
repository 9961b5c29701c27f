"""Captures that we write: byte for byte as the formats say, and readable by the tools that people have."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require_program, ss_of
from tests.encoder import message
from xtcp import __version__
from xtcp.chunk import NATIVE
from xtcp.errors import PermissionMissing, Temporary, UsageError
from xtcp.schema.model import Order
from xtcp.sinks.capture_file import PcapngWriter, PcapWriter, Section, capture_error, open_capture

T0 = 1_700_000_000_123_456_789
COOKED = bytes.fromhex("0004 0338 0000 0000 0000 0000 0000 0004")


def datagrams() -> list[bytes]:
    """A request, two rows, a DONE, of this host."""
    body = struct.pack("=BBBBI", 2, 6, 0xFF, 0, 0xFFFFFFFF) + bytes(48)
    row = bytearray(72)
    row[0], row[1] = 2, 10
    row[4:6] = struct.pack("!H", 8080)
    row[44:52] = struct.pack("=II", 5, 0)
    request = message(NATIVE, body, 20, 0x301, 77, 0)
    rows = message(NATIVE, bytes(row), 20, 2, 77, 9) * 2
    return [request, rows, message(NATIVE, bytes(4), 3, 2, 77, 9)]


def written(path: Path) -> bytes:
    """The capture at `path`, written through the factory."""
    with open_capture(str(path), hostname="edge7", netns="blue") as capture:
        for number, datagram in enumerate(datagrams()):
            capture.write(memoryview(datagram), T0 + number)
    return path.read_bytes()


def test_pcap(tmp_path: Path) -> None:
    """Nanosecond magic in host order, version 2.4, snaplen 262,144, link type 253; then the records."""
    content = written(tmp_path / "a.pcap")
    expected = struct.pack("=IHHIIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 253)
    for number, datagram in enumerate(datagrams()):
        length = 16 + len(datagram)
        expected += struct.pack("=IIII", T0 // 10**9, T0 % 10**9 + number, length, length) + COOKED + datagram
    assert content == expected


def test_pcapng_blocks_and_options(tmp_path: Path) -> None:
    """Section, interface, packets; the section names host, kernel, machine and program, the interface the namespace."""
    content = written(tmp_path / "a.pcapng")
    blocks = []
    at = 0
    while at < len(content):
        kind, length = struct.unpack_from("=II", content, at)
        assert length % 4 == 0 and struct.unpack_from("=I", content, at + length - 4) == (length,)
        blocks.append((kind, content[at + 8 : at + length - 4]))
        at += length
    assert [kind for kind, _ in blocks] == [0x0A0D0D0A, 1, 6, 6, 6]
    uname = os.uname()
    system = f"{uname.sysname} {uname.release}".encode()
    section = blocks[0][1]
    assert struct.unpack_from("=IHHq", section) == (0x1A2B3C4D, 1, 0, -1)
    assert options(section[16:]) == {
        1: b"host: edge7",
        2: uname.machine.encode(),
        3: system,
        4: f"xtcp {__version__}".encode(),
    }
    assert struct.unpack_from("=HHI", blocks[1][1]) == (253, 0, 262144)
    assert options(blocks[1][1][8:]) == {2: b"blue", 9: b"\x09", 12: system}
    for number, datagram in enumerate(datagrams()):
        interface, high, low, caplen, wirelen = struct.unpack_from("=IIIII", blocks[2 + number][1])
        assert (interface, high << 32 | low) == (0, T0 + number)
        assert caplen == wirelen == 16 + len(datagram)
        assert blocks[2 + number][1][20 : 20 + caplen] == COOKED + datagram


def options(data: bytes) -> dict[int, bytes]:
    """Options by code, up to the end-of-options."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        code, length = struct.unpack_from("=HH", data, at)
        if code == 0:
            assert (length, at + 4) == (0, len(data))
            break
        found[code] = data[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4
    return found


@pytest.mark.parametrize("name", ["a.pcap", "a.pcapng"])
def test_a_datagram_above_the_snaplen_is_cut_and_says_so(tmp_path: Path, name: str) -> None:
    """262,144 bytes are kept, which readers accept; the length before stays in the record."""
    path = tmp_path / name
    with open_capture(str(path), hostname="h", netns="n") as capture:
        capture.write(bytes(300_000), T0)
    assert struct.pack("=II", 262_144, 300_016) in path.read_bytes()
    assert path.stat().st_size < 263_000


@pytest.mark.parametrize("name", ["a.pcap", "a.pcapng"])
def test_tools_read_it(tmp_path: Path, name: str) -> None:
    """capinfos finds every packet, their link type and nanoseconds; tcpdump reads the file without complaint."""
    capinfos = require_program("capinfos", "wireshark-common")
    tcpdump = require_program("tcpdump", "tcpdump")
    path = tmp_path / name
    written(path)
    said = subprocess.run([capinfos, "-M", str(path)], capture_output=True, text=True, check=True).stdout
    assert "Linux Netlink" in said and "nanoseconds" in said
    assert "Number of packets:   3" in said
    if name.endswith("ng"):
        assert "host: edge7" in said and f"Linux {os.uname().release}" in said and "Name = blue" in said
    read = subprocess.run([tcpdump, "-nr", str(path)], capture_output=True, text=True, check=True)
    assert "NETLINK" in read.stderr
    assert read.stdout.count("UNSUPPORTED") == 3


def test_tshark_dissects_it(tmp_path: Path) -> None:
    """tshark finds the sock_diag family, the types and the port of the row."""
    tshark = require_program("tshark", "tshark")
    path = tmp_path / "a.pcapng"
    written(path)
    fields = ["-e", "frame.interface_name", "-e", "netlink.hdr_type", "-e", "netlink-sock_diag.inet_sport"]
    run = subprocess.run([tshark, "-r", str(path), "-T", "fields", *fields], capture_output=True, text=True, check=True)
    lines = [line.split("\t") for line in run.stdout.splitlines()]
    assert [line[0] for line in lines] == ["blue"] * 3
    assert lines[1][2] == "8080,8080"


def test_ss_reads_the_messages(tmp_path: Path) -> None:
    """The netlink bytes between the headers are what ss takes by TCPDIAG_FILE."""
    content = written(tmp_path / "a.pcap")
    messages = tmp_path / "messages"
    at, kept = 24, b""
    while at < len(content):
        (length,) = struct.unpack_from("=I", content, at + 8)
        kept += content[at + 32 : at + 16 + length]
        at += 16 + length
    messages.write_bytes(kept[len(datagrams()[0]) :])
    assert ss_of(messages, "-tlnH").count(":8080") == 2


def test_another_ending_is_refused(tmp_path: Path) -> None:
    """What was meant, exit 2, and no file is made."""
    for name in ("a.cap", "a", "a.pcap.gz"):
        with pytest.raises(UsageError, match=r"\.pcap or \.pcapng"):
            open_capture(str(tmp_path / name), hostname="h", netns="n")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder of that name, and a folder that is not there, are wrong usage."""
    (tmp_path / "a.pcap").mkdir()
    for path in (tmp_path / "a.pcap", tmp_path / "none" / "b.pcap"):
        with pytest.raises(UsageError):
            open_capture(str(path), hostname="h", netns="n")


def test_a_full_disk_is_temporary(tmp_path: Path) -> None:
    """/dev/full takes nothing: told by the write, or by the end of the file, never passed over."""
    link = tmp_path / "full.pcap"
    link.symlink_to("/dev/full")
    capture = open_capture(str(link), hostname="h", netns="n")
    with pytest.raises(Temporary, match="incomplete"):
        capture.close()
    with pytest.raises(Temporary):
        write_much(str(link))


def write_much(path: str) -> None:
    """More than any buffer holds, so that a write meets the disk."""
    with open_capture(path, hostname="h", netns="n") as capture:
        for _ in range(100):
            capture.write(bytes(30_000), T0)


def test_errors_by_errno() -> None:
    """Permission and room are told apart from usage."""
    assert isinstance(capture_error("f", OSError(errno.EACCES, "no")), PermissionMissing)
    assert isinstance(capture_error("f", OSError(errno.ENOSPC, "full")), Temporary)
    assert isinstance(capture_error("f", OSError(errno.ENOTDIR, "what")), UsageError)


class Kept:
    """Bytes that were written."""

    def __init__(self) -> None:
        self.content = b""

    def write(self, data: bytes, /) -> None:
        """Keeps them."""
        self.content += data


@pytest.mark.parametrize("order", ["<", ">"])
def test_order_and_resolution_of_a_pcap(order: Order) -> None:
    """As asked for, whatever this host's are; a packet with its own cooked header, cut to less than it was."""
    kept = Kept()
    writer = PcapWriter(kept, order=order, nanoseconds=False)
    writer.write(b"1234", T0, cooked=bytes(16), wirelen=99)
    expected = struct.pack(order + "IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 253)
    assert kept.content == expected + struct.pack(order + "IIII", T0 // 10**9, 123456, 20, 115) + bytes(16) + b"1234"


def test_times_that_a_pcap_cannot_say() -> None:
    """Before 1970 is 1970; the last second is in 2106."""
    kept = Kept()
    writer = PcapWriter(kept, order="<")
    writer.write(b"", -5)
    writer.write(b"", (1 << 40) * 10**9)
    assert struct.unpack_from("<II", kept.content, 24) == (0, 0)
    assert struct.unpack_from("<II", kept.content, 24 + 32) == (0xFFFFFFFF, 0)


@pytest.mark.parametrize("order", ["<", ">"])
def test_sections_and_interfaces(order: Order) -> None:
    """Each section has its own facts and counts its interfaces anew; what is not known is left out."""
    kept = Kept()
    writer = PcapngWriter(kept, order=order)
    writer.begin_section(Section("Linux 6.1.0", "s390x", "Dumpcap", "edge7"))
    assert [writer.add_interface("blue"), writer.add_interface("red")] == [0, 1]
    writer.write(b"1234", T0, interface=1)
    writer.write(b"1234", None)
    writer.begin_section(Section())
    assert writer.add_interface("") == 0
    writer.write(b"1", None, interface=0, wirelen=50)
    blocks = []
    at = 0
    while at < len(kept.content):
        kind, length = struct.unpack_from(order + "II", kept.content, at)
        assert struct.unpack_from(order + "I", kept.content, at + length - 4) == (length,)
        blocks.append((kind, kept.content[at + 8 : at + length - 4]))
        at += length
    assert [kind for kind, _ in blocks] == [0x0A0D0D0A, 1, 1, 6, 3, 0x0A0D0D0A, 1, 6]
    assert b"host: edge7" in blocks[0][1] and b"s390x" in blocks[0][1] and b"Dumpcap" in blocks[0][1]
    assert b"red" in blocks[2][1] and b"Linux 6.1.0" in blocks[2][1]
    assert struct.unpack_from(order + "IIIII", blocks[3][1]) == (1, T0 >> 32, T0 & 0xFFFFFFFF, 20, 20)
    assert blocks[4][1] == struct.pack(order + "I", 20) + COOKED + b"1234"
    assert blocks[5][1] == struct.pack(order + "IHHqI", 0x1A2B3C4D, 1, 0, -1, 0)
    assert struct.unpack_from(order + "IIIII", blocks[7][1]) == (0, 0, 0, 17, 66)
