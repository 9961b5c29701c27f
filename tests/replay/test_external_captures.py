"""Captures that others made: rows a file as an independent parser counted them, none lost, none set aside."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path

import pytest

from xtcp.batch import Tally
from xtcp.decode.decoder import Decoder
from xtcp.schema.model import Order
from xtcp.sources.dump_file import DumpFile
from xtcp_replay.reading.opening import ReplaySource, open_source

pytestmark = pytest.mark.external

# File, sockets, sockets by dump, other netlink families' packets, lengths of tcp_info.
SEVEN = (351, 352, 351, 352, 351, 351, 352)
FILES = [
    ("4_19_319/4_19_319_tcp_10_sockets.pcap", (12, 21), 0, {224}),
    ("4_19_319/4_19_319_tcp_100_sockets.pcap", (102, 209), 0, {224}),
    ("5_4_281/5_4_281_tcp_10_sockets.pcap", (12, 21), 0, {232}),
    ("5_4_281/5_4_281_tcp_100_sockets.pcap", (102, 210), 0, {232}),
    ("5_15_164/5_15_164_tcp_10_sockets.pcap", (12, 21), 13, {232}),
    ("5_15_164/5_15_164_tcp_100_sockets.pcap", (102, 209), 0, {232}),
    ("6_1_103/6_1_103_tcp_10_sockets.pcap", (12, 21), 0, {232}),
    ("6_1_103/6_1_103_tcp_100_sockets.pcap", (102, 210), 0, {232}),
    ("6_6_44/ss_tcp_info_a_4.pcap", (6, 9), 0, {240}),
    ("6_6_44/tcp_100_sockets.pcap", (101, 299) * 3, 0, {240}),
    ("6_6_44/tcp_100_sockets_bbr.pcap", (102, 201) * 3, 16, {240}),
    ("6_6_44/tcp_100_sockets_dctcp.pcap", (201, 201) * 3, 1, {240}),
    ("6_10_3/6_10_3_tcp_10_sockets.pcap", (12, 21), 0, {248}),
    ("6_10_3/6_10_3_tcp_100_sockets.pcap", (102, 210), 0, {248}),
    ("6_10_3/6_10_3_tcp_1000_sockets.pcap", (240, 1347), 0, {248}),
    ("7_0_3/7_0_3_ss_tcp_info.pcap", (19, 11, 13, 2), 70, {280}),
    ("s390x-6.1/nlmon-us.pcap", SEVEN, 8, {232}),
    ("s390x-6.1/nlmon-ns.pcap", SEVEN, 8, {232}),
    ("s390x-6.1/nlmon.pcapng", SEVEN, 0, {232}),
]


def decoded(source: ReplaySource | DumpFile) -> tuple[Counter[int | None], Tally, set[tuple[Order, str]]]:
    """Rows by dump, the tally, and (order, release) of all chunks."""
    rows: Counter[int | None] = Counter()
    tally = Tally()
    contexts = set()
    decoder = Decoder()
    for chunk in source.chunks():
        batch = decoder.decode(chunk)
        rows[chunk.context.dump] += batch.rows
        tally.add(batch.tally)
        contexts.add((chunk.context.order, chunk.context.release))
    return rows, tally, contexts


@pytest.mark.parametrize(("name", "by_dump", "others", "lengths"), FILES)
def test_every_socket_is_decoded(
    captures: Path, name: str, by_dump: tuple[int, ...], others: int, lengths: set[int]
) -> None:
    """Sockets by dump, a DONE for each, nothing quarantined, noise counted, the kernel's tcp_info."""
    source = open_source(str(captures / name))
    rows, tally, contexts = decoded(source)
    assert rows == dict(enumerate(by_dump, 1))
    assert tally.control == {"done": len(by_dump)}
    assert (tally.quarantined, tally.damaged, tally.unknown) == (0, 0, {})
    assert set(tally.info_lengths) == lengths
    assert source.damage == []
    skipped = [
        int(part)
        for note in source.notes
        for part in note.replace(")", " ").replace(",", " ").split()
        if part.rstrip(".").isdigit()
    ]
    assert sum(skipped) == others
    release = "6.1.0-50-s390x" if name.endswith("ng") else ""
    assert contexts == {(">" if "s390x" in name else "<", release)}


def test_single_replies(captures: Path) -> None:
    """One packet out of a dump: its rows, and a note that request and end are missing."""
    for name, sockets in (("port4018", 17), ("port443v4", 7), ("port443v6", 11)):
        source = open_source(str(captures / f"6_6_44/netlink_sock_diag_reply_single_packet_{name}.pcap"))
        assert decoded(source)[0] == {1: sockets}
        assert len(source.notes) == 2 and source.damage == []


def test_snaplen_1500(captures: Path) -> None:
    """Every message that is whole in the first 1,500 bytes is a row, as counted here by a walk of its own."""
    content = (captures / "s390x-6.1/nlmon-snap1500.pcap").read_bytes()
    at, whole, cut = 24, 0, 0
    while at < len(content):
        caplen, wirelen = struct.unpack_from(">II", content, at + 8)
        packet = content[at + 16 : at + 16 + caplen]
        cut += wirelen > caplen
        inner = 16
        while packet[14:16] == b"\0\4" and inner + 16 <= caplen:
            length, kind, flags = struct.unpack_from(">IHH", packet, inner)
            whole += inner + length <= caplen and kind in {18, 20} and not flags & 1
            inner += (length + 3) & ~3
        at += 16 + caplen
    source = open_source(str(captures / "s390x-6.1/nlmon-snap1500.pcap"))
    rows, tally, _ = decoded(source)
    assert rows.total() == whole
    assert tally.messages == tally.rows + tally.quarantined + sum(tally.control.values())
    assert f"and {cut - 3} more" in source.damage[0] and "-s 0" in source.damage[0]


def test_the_same_dump_raw_and_captured(captures: Path) -> None:
    """`ss -D` on the big-endian host: two dumps, as many sockets as nlmon saw."""
    rows, tally, contexts = decoded(DumpFile(str(captures / "s390x-6.1/ss-D.bin")))
    assert rows == {1: 351, 2: 352}
    assert tally.quarantined == 0
    assert contexts == {(">", "")}
