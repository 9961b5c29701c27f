"""What our writers write comes back through scapy and the replay source as the same rows."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
from scapy.utils import RawPcapNgReader, RawPcapNgWriter, RawPcapReader, RawPcapWriter

from tests.encoder import Item, Layout, Writer, encode, message, values
from tests.equality import rows_of
from tests.replay.made import T0, cooked, saved, sockets
from xtcp.chunk import NATIVE, Chunk, Context
from xtcp.decode.decoder import Decoder
from xtcp.netlink.request import Request
from xtcp.sinks.capture_file import open_capture
from xtcp_replay.reading.opening import open_source

SEQ, PORT = 0x5EED5EED, 77
LAYOUT = Layout((Item(1, 16), Item(2, 248), Item(4, 6), Item(7, 36), Item(8, 1), Item(21, 8)), release=(6, 10))


def datagrams() -> list[bytes]:
    """300 sockets with attributes in ten datagrams of this host's order, a request before and a DONE behind."""
    chance = Random(3)
    writer = Writer(NATIVE, chance)
    rows = [message(NATIVE, encode(values(LAYOUT, chance), LAYOUT, writer)[0], seq=SEQ, port=PORT) for _ in range(300)]
    body = [b"".join(rows[i : i + 30]) for i in range(0, 300, 30)]
    return [Request(0).message(SEQ), *body, message(NATIVE, bytes(4), 3, seq=SEQ, port=PORT)]


@pytest.mark.parametrize("name", ["a.pcap", "a.pcapng"])
def test_same_rows_as_from_memory(tmp_path: Path, name: str) -> None:
    """Columns, presence and order; the context says what the format can hold."""
    path = str(tmp_path / name)
    packets = datagrams()
    with open_capture(path, hostname="edge7", netns="blue") as capture:
        for number, datagram in enumerate(packets):
            capture.write(datagram, T0 + number)
    source = open_source(path)
    (chunk,) = source.chunks()
    replayed = rows_of(Decoder().decode(chunk))
    # A pcap names no kernel; the layout's 248 bytes are the same without.
    direct = Chunk.of(*packets[1:], context=Context(NATIVE, "6.10.3"), seq=SEQ, port=PORT)
    assert replayed == rows_of(Decoder().decode(direct))
    assert len(replayed) == 300
    assert (source.damage, source.notes) == ([], [])
    context = chunk.context
    assert (context.timestamp_ns, context.order, context.dump) == (T0, NATIVE, 1)
    told = (context.hostname, context.netns, context.release)
    assert told == (("edge7", "blue", os.uname().release) if name.endswith("ng") else (None, None, ""))


@pytest.mark.parametrize("name", ["a.pcap", "a.pcapng"])
def test_scapy_reads_what_we_write(tmp_path: Path, name: str) -> None:
    """scapy's own readers, without our streams, find every packet and its link type."""
    path = str(tmp_path / name)
    with open_capture(path, hostname="h", netns="n") as capture:
        for datagram in datagrams():
            capture.write(datagram, T0)
    reader = (RawPcapNgReader if name.endswith("ng") else RawPcapReader)(path)
    packets = list(reader)
    reader.close()
    assert [packet for packet, _ in packets] == [cooked(d) for d in datagrams()]


@pytest.mark.parametrize("nano", [False, True])
@pytest.mark.parametrize("endianness", ["<", ">"])
def test_we_read_what_scapy_writes(tmp_path: Path, endianness: str, nano: bool) -> None:
    """Classic pcap of scapy's writer in both byte orders and both time units."""
    path = str(tmp_path / "scapy.pcap")
    with RawPcapWriter(path, linktype=253, endianness=endianness, nano=nano) as writer:
        writer.write_header(None)
        for datagram in datagrams():
            writer.write_packet(cooked(datagram), sec=5, usec=7)
    source = open_source(path)
    assert len(sockets(source)) == 300
    assert source.damage == []
    assert next(iter(source.chunks())).context.timestamp_ns == 5_000_000_000 + 7 * (1 if nano else 1000)


def test_we_read_scapys_pcapng(tmp_path: Path) -> None:
    """pcapng of scapy's writer."""
    path = str(tmp_path / "scapy.pcapng")
    writer = RawPcapNgWriter(path)
    writer.linktype = 253
    writer.write_header(None)
    for datagram in datagrams():
        writer.write_packet(cooked(datagram), sec=5, usec=7)
    writer.close()
    source = open_source(path)
    assert len(sockets(source)) == 300
    assert source.damage == []


def test_fault_47_the_same_file_gives_the_same_rows(tmp_path: Path) -> None:
    """Twice the same file, once again through the same source: equal batches, no clock and no host inside."""
    path = saved(tmp_path, b"", "x.pcap")
    with open_capture(path, hostname="h", netns="n") as capture:
        for datagram in datagrams():
            capture.write(datagram, T0)
    source = open_source(path)
    results = [
        [rows_of(Decoder().decode(chunk)) for chunk in reading.chunks()]
        for reading in (source, source, open_source(path))
    ]
    assert results[0] == results[1] == results[2]
