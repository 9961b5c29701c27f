"""Packets of a capture file, read by scapy's raw readers from a stream that has checked them.

`scapy.utils` is all of scapy that is imported, and only when a capture is read: 0.1 to 0.2 s, where `scapy.all`
takes 2. Its readers end quietly on damage; the streams below them do not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

from xtcp.errors import ConfigurationError, DamagedInput
from xtcp.sources.input_file import EMPTY, MODIFIED_PCAP, PCAP, PCAPNG, UNKNOWN, ZEROS, kind_of
from xtcp_replay.reading.findings import Findings, at_byte
from xtcp_replay.reading.input_bytes import InputBytes
from xtcp_replay.reading.interface import HOW_TO_CAPTURE, LINKTYPE_NETLINK, Interface, wrong_link_type
from xtcp_replay.reading.pcap_stream import LONGEST_PACKET, PcapStream
from xtcp_replay.reading.pcapng_stream import PcapngStream


class Packet(NamedTuple):
    """`data` as captured, `wirelen` bytes before the snaplen; `time_ns` since 1970, None where the file has none.

    `offset` is where its record or block begins in the file; `file_cut`: the file ends in it. `number` counts the
    packets of all link types from 1, as other programs do.
    """

    data: bytes
    wirelen: int
    time_ns: int | None
    interface: Interface
    offset: int
    file_cut: bool = False
    number: int = 0


def read_packets(source: InputBytes, damage: Findings, notes: Findings) -> Iterator[Packet]:
    """All packets of link type NETLINK that are whole enough to read; the rest goes to `damage` and `notes`.

    Raises `DamagedInput` where nothing can be read: another kind of file, another link type, a broken beginning.
    """
    kind = kind_of(source.head)
    if kind == PCAP:
        yield from _pcap(PcapStream(source, damage), damage)
    elif kind == PCAPNG:
        yield from _pcapng(PcapngStream(source, damage), source.name, damage, notes)
    else:
        raise not_a_capture(source.name, kind)


def _pcap(stream: PcapStream, damage: Findings) -> Iterator[Packet]:
    reader = _scapy("RawPcapReader", stream)
    unit = 1_000_000_000 // stream.interface.ticks_per_s
    number = 0
    while (packet := _next(reader, stream, damage)) is not None:
        data, meta = packet
        number += 1
        time_ns = meta.sec * 1_000_000_000 + meta.usec * unit
        yield Packet(data, meta.wirelen, time_ns, stream.interface, stream.offset, stream.cut, number)


def _pcapng(stream: PcapngStream, name: str, damage: Findings, notes: Findings) -> Iterator[Packet]:
    sections = number = 0
    while stream.next_section():
        sections += 1
        reader = _scapy("RawPcapNgReader", stream)
        while (packet := _next(reader, stream, damage)) is not None:
            data, meta = packet
            number += 1
            interface = stream.interface
            if interface.link_type != LINKTYPE_NETLINK:
                notes.add("packets of interfaces that are not netlink skipped", at_byte(stream.offset))
                continue
            time_ns = None
            if stream.timed:
                ticks = meta.tshigh << 32 | meta.tslow
                time_ns = ticks * 1_000_000_000 // interface.ticks_per_s + interface.offset_s * 1_000_000_000
            yield Packet(data, meta.wirelen, time_ns, interface, stream.offset, stream.cut, number)
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


def not_a_capture(name: str, kind: str) -> DamagedInput:
    """The refusal of a file of another `kind`."""
    if kind == MODIFIED_PCAP:
        return DamagedInput(f"{name} is {kind}, which is not supported.", "", "Rewrite it: editcap -F pcap IN OUT")
    interrupted = kind in {EMPTY, ZEROS}
    why = "Usually another file was meant."
    if kind == UNKNOWN:
        why += " Where it is a dump of messages, its first one reads in neither byte order; --byte-order tells it."
    return DamagedInput(
        f"{name} is {kind}, not a capture, a dump of ss -D, or an archive of m-lab.",
        "Usually the capture or the copy was interrupted." if interrupted else why,
        HOW_TO_CAPTURE,
    )
