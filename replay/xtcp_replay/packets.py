"""Packets of a capture file, read by scapy's raw readers from a stream that has checked them.

`scapy.utils` is all of scapy that is imported, and only when a capture is read: 0.1 to 0.2 s, where `scapy.all`
takes 2. Its readers end quietly on damage; the streams below them do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NamedTuple

from xtcp.errors import DamagedInput
from xtcp.netlink.byte_order import detect
from xtcp.sources.input_file import COMPRESSED, MODIFIED_PCAP, PCAP, PCAPNG, kind_of
from xtcp_replay.findings import Findings, at_byte
from xtcp_replay.input_bytes import InputBytes
from xtcp_replay.interface import HOW_TO_CAPTURE, LINKTYPE_NETLINK, Interface, wrong_link_type
from xtcp_replay.pcap_stream import LONGEST_PACKET, PcapStream
from xtcp_replay.pcapng_stream import PcapngStream


class Packet(NamedTuple):
    """`data` as captured, `wirelen` bytes before the snaplen; `time_ns` since 1970, None where the file has none.

    `offset` is where its record or block begins in the file.
    """

    data: bytes
    wirelen: int
    time_ns: int | None
    interface: Interface
    offset: int


def read_packets(file: BinaryIO, name: str, findings: Findings) -> Iterator[Packet]:
    """All packets of link type NETLINK that are whole enough to read; the rest goes to `findings`.

    Raises `DamagedInput` where nothing can be read: another kind of file, another link type, a broken beginning.
    """
    source = InputBytes(file, name)
    match kind_of(source.head):
        case kind if kind == PCAP:
            yield from _pcap(PcapStream(source, name, findings), findings)
        case kind if kind == PCAPNG:
            yield from _pcapng(PcapngStream(source, findings), name, findings)
        case kind:
            raise _not_a_capture(name, kind, source.head)


def _pcap(stream: PcapStream, findings: Findings) -> Iterator[Packet]:
    reader = _scapy("RawPcapReader", stream)
    unit: Final = 1 if stream.nanoseconds else 1_000
    while (packet := _next(reader)) is not None:
        data, meta = packet
        yield Packet(data, meta.wirelen, meta.sec * 1_000_000_000 + meta.usec * unit, stream.interface, stream.offset)
    _all_read(stream, findings)


def _pcapng(stream: PcapngStream, name: str, findings: Findings) -> Iterator[Packet]:
    others = 0
    while stream.next_section():
        reader = _scapy("RawPcapNgReader", stream)
        while (packet := _next(reader)) is not None:
            data, meta = packet
            interface = stream.interface
            if interface.link_type != LINKTYPE_NETLINK:
                others += 1
                continue
            time_ns = None
            if stream.timed:
                ticks = meta.tshigh << 32 | meta.tslow
                time_ns = ticks * 1_000_000_000 // meta.tsresol + interface.offset_s * 1_000_000_000
            yield Packet(data, meta.wirelen, time_ns, interface, stream.offset)
        _all_read(stream, findings)
    if stream.link_types and LINKTYPE_NETLINK not in stream.link_types:
        raise wrong_link_type(name, stream.link_types[0])
