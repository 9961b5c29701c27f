"""Packets of a capture file, read by scapy's raw readers from a stream that has checked them.

`scapy.utils` is all of scapy that is imported, and only when a capture is read: 0.1 to 0.2 s, where `scapy.all`
takes 2. Its readers end quietly on damage; the streams below them do not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from xtcp.errors import ConfigurationError, DamagedInput
from xtcp.netlink.byte_order import detect
from xtcp.sources.input_file import COMPRESSED, EMPTY, MODIFIED_PCAP, PCAP, PCAPNG, UNKNOWN, ZEROS, kind_of
from xtcp_replay.reading.findings import Findings, at_byte
from xtcp_replay.reading.input_bytes import InputBytes
from xtcp_replay.reading.interface import HOW_TO_CAPTURE, LINKTYPE_NETLINK, Interface, wrong_link_type
from xtcp_replay.reading.pcap_stream import LONGEST_PACKET, PcapStream
from xtcp_replay.reading.pcapng_stream import PcapngStream


class Packet(NamedTuple):
    """`data` as captured, `wirelen` bytes before the snaplen; `time_ns` since 1970, None where the file has none.

    `offset` is where its record or block begins in the file; `file_cut`: the file ends in it.
    """

    data: bytes
    wirelen: int
    time_ns: int | None
    interface: Interface
    offset: int
    file_cut: bool = False


def read_packets(file: BinaryIO, name: str, damage: Findings, notes: Findings) -> Iterator[Packet]:
    """All packets of link type NETLINK that are whole enough to read; the rest goes to `damage` and `notes`.

    Raises `DamagedInput` where nothing can be read: another kind of file, another link type, a broken beginning.
    """
    source = InputBytes(file, name)
    kind = kind_of(source.head)
    if kind == PCAP:
        yield from _pcap(PcapStream(source, name, damage), damage)
    elif kind == PCAPNG:
        yield from _pcapng(PcapngStream(source, damage), name, damage, notes)
    else:
        raise _not_a_capture(name, kind, source.head)


def _pcap(stream: PcapStream, damage: Findings) -> Iterator[Packet]:
    reader = _scapy("RawPcapReader", stream)
    unit = 1_000_000_000 // stream.interface.ticks_per_s
    while (packet := _next(reader, stream, damage)) is not None:
        data, meta = packet
        time_ns = meta.sec * 1_000_000_000 + meta.usec * unit
        yield Packet(data, meta.wirelen, time_ns, stream.interface, stream.offset, stream.cut)


def _pcapng(stream: PcapngStream, name: str, damage: Findings, notes: Findings) -> Iterator[Packet]:
    sections = 0
    while stream.next_section():
        sections += 1
        reader = _scapy("RawPcapNgReader", stream)
        while (packet := _next(reader, stream, damage)) is not None:
            data, meta = packet
            interface = stream.interface
            if interface.link_type != LINKTYPE_NETLINK:
                notes.add("packets of interfaces that are not netlink skipped", at_byte(stream.offset))
                continue
            time_ns = None
            if stream.timed:
                ticks = meta.tshigh << 32 | meta.tslow
                time_ns = ticks * 1_000_000_000 // interface.ticks_per_s + interface.offset_s * 1_000_000_000
            yield Packet(data, meta.wirelen, time_ns, interface, stream.offset, stream.cut)
    if not sections:
        raise DamagedInput(
            f"{name} is a pcapng whose first section header is cut or damaged.",
            "Usually the capture or the copy was interrupted.",
            "Copy it again.",
        )
    if stream.link_types and LINKTYPE_NETLINK not in stream.link_types:
        raise wrong_link_type(name, stream.link_types[0])


def _scapy(reader: str, stream: PcapStream | PcapngStream) -> Any:
    """scapy's raw reader of that name, on `stream`."""
    # Its warnings are about what the stream has judged already, and say neither file nor place.
    logging.getLogger("scapy").setLevel(logging.ERROR)
    try:
        import scapy.utils
    except ImportError as error:
        raise ConfigurationError(
            "Captures are read with scapy, which is not installed here.",
            "Usually xtcp was installed without its extra for captures.",
            "Install it: pip install 'xtcp[replay]'",
        ) from error

    return getattr(scapy.utils, reader)(stream)


def _next(reader: Any, stream: PcapStream | PcapngStream, damage: Findings) -> tuple[bytes, Any] | None:
    """The next packet and its metadata; what scapy hides although the stream has given it goes to `damage`."""
    try:
        # Iterating the reader would cut packets at 64 KiB.
        packet: tuple[bytes, Any] = reader._read_packet(size=LONGEST_PACKET)  # noqa: SLF001
    except EOFError:
        if not stream.ended:
            damage.add("scapy stopped reading; nothing behind it is read", at_byte(stream.offset))
        return None
    missing = stream.captured - len(packet[0])
    if missing:
        damage.add("scapy gave less of a packet than the file has", at_byte(stream.offset), missing=missing)
    return packet


def _not_a_capture(name: str, kind: str, head: bytes) -> DamagedInput:
    if kind in COMPRESSED:
        return DamagedInput(
            f"{name} is {kind} data; captures are read uncompressed.", "", f"Decompress it first: {kind} -d {name}"
        )
    if kind == MODIFIED_PCAP:
        return DamagedInput(f"{name} is {kind}, which is not supported.", "", "Rewrite it: editcap -F pcap IN OUT")
    if kind == UNKNOWN and detect(head) is not None:
        return DamagedInput(
            f"{name} is a dump of raw netlink messages, not a capture.", "", f"Read it with: xtcp once --from {name}"
        )
    interrupted = kind in {EMPTY, ZEROS}
    return DamagedInput(
        f"{name} is {kind}, not a pcap or pcapng capture.",
        "Usually the capture or the copy was interrupted." if interrupted else "Usually another file was meant.",
        HOW_TO_CAPTURE,
    )
