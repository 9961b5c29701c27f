"""A capture as it may be shared: the same file format, packets and times, under other names.

`scrub` reads a pcap, a pcapng or a dump of `ss -D` once, from its start to its end, and gives the copy piece by piece.

    scrub_pcapng     blocks and options
    scrub_packet     a packet, with what its datagram cannot say itself
    scrub_datagram   messages, member by member
    pseudonyms, addresses   what stands for what

Behind damage nothing is copied, as nothing is read there. A file that is cut in a packet stays cut at the same place.
"""

from __future__ import annotations

import struct
from typing import Final

from xtcp.errors import UsageError
from xtcp.netlink.byte_order import KNOWN_TYPES, LONGEST_MESSAGE, detect
from xtcp.netlink.numbers import NLMSG_HDRLEN, aligned
from xtcp.schema.model import Order
from xtcp.sources.input_file import PCAP, PCAPNG, UNKNOWN, kind_of
from xtcp_replay.reading.findings import Findings, at_byte
from xtcp_replay.reading.input_bytes import InputBytes
from xtcp_replay.reading.mlab_archive import is_archive
from xtcp_replay.reading.packets import Packet, not_a_capture
from xtcp_replay.reading.pcap_stream import LONGEST_PACKET, PcapStream
from xtcp_replay.reading.told import Told
from xtcp_replay.rewriting.pseudonyms import Pseudonyms
from xtcp_replay.rewriting.scrub_datagram import Report
from xtcp_replay.rewriting.scrub_packet import NOT_NETLINK, PacketScrub
from xtcp_replay.rewriting.scrub_pcapng import PcapngScrub, Sink

_FILE_HEADER: Final = 24
_RECORD_HEADER: Final = 16


def scrub(
    source: InputBytes,
    sink: Sink,
    pseudonyms: Pseudonyms,
    damage: Findings,
    told: Told,
    *,
    keep_unknown: bool = False,
) -> Report:
    """Gives the scrubbed copy of `source` to `sink` and says what was done; what is not whole goes to `damage`.

    `keep_unknown`: attributes that are not in the table come as they are. Raises `DamagedInput` where nothing can be
    read, before anything is given to `sink`, and for a file of another kind.
    """
    report = Report()
    packets = PacketScrub(pseudonyms, report, damage, order=told.order, release=told.release, keep_unknown=keep_unknown)
    kind = kind_of(source.head)
    if kind == PCAP:
        _pcap(source, sink, packets)
    elif kind == PCAPNG:
        PcapngScrub(source, packets, sink).copy()
    elif is_archive(source.head):
        raise UsageError(
            f"{source.name} is an archive of m-lab, which names host and sockets in every record.",
            "What is scrubbed are captures and dumps.",
            "Convert it first: xtcp-replay convert IN OUT.pcap",
        )
    elif kind == UNKNOWN and (order := told.order or detect(source.head)):
        _messages(source, sink, packets, order)
    else:
        raise not_a_capture(source.name, kind)
    return report


def _pcap(source: InputBytes, sink: Sink, packets: PacketScrub) -> None:
    """A pcap. A record is given on when it is known that another one stands behind it, or the end of the file."""
    stream = PcapStream(source, packets.damage)
    file_header = stream.read(_FILE_HEADER)
    order = ">" if file_header[0] == 0xA1 else "<"
    sink(file_header)
    waiting: tuple[bytes, Packet] | None = None
    while header := stream.read(_RECORD_HEADER):
        data = stream.read(LONGEST_PACKET) if stream.captured else b""
        if waiting is not None:
            _give_record(sink, packets, *waiting)
        (wirelen,) = struct.unpack_from(order + "I", header, 12)
        if stream.cut:
            # The stream says how much there is; the copy is to be cut as the original is.
            header = header[:8] + struct.pack(order + "I", min(wirelen, LONGEST_PACKET)) + header[12:]
        waiting = header, Packet(data, wirelen, None, stream.interface, stream.offset, stream.cut)
    if waiting is not None:
        _give_record(sink, packets, *waiting, broken=source.offset > stream.offset)


def _give_record(sink: Sink, packets: PacketScrub, header: bytes, packet: Packet, *, broken: bool = False) -> None:
    clean = packets.packet(packet, broken=broken)
    if clean is None:
        packets.report.left_out[NOT_NETLINK] += 1
    else:
        sink(header + clean)


def _messages(source: InputBytes, sink: Sink, packets: PacketScrub, order: Order) -> None:
    """A dump of `ss -D`: messages behind each other. One is given on when it is known what stands behind it."""
    read = struct.Struct(order + "IH").unpack_from
    waiting = b""
    while True:
        at = source.offset
        header = source.read(NLMSG_HDRLEN)
        if len(header) < NLMSG_HDRLEN:
            break
        length, kind = read(header)
        if not NLMSG_HDRLEN <= length <= LONGEST_MESSAGE or kind not in KNOWN_TYPES:
            _give(sink, packets, waiting, order, broken=True)
            waiting = b""
            packets.damage.add("no message can be like that; nothing behind it is copied", at_byte(at))
            return
        _give(sink, packets, waiting, order)
        waiting = header + source.read(aligned(length) - NLMSG_HDRLEN)
        if len(waiting) < length:
            break
    if header:
        packets.damage.add("the file is cut in a message", at_byte(at))
    _give(sink, packets, waiting, order, broken=bool(header))


def _give(sink: Sink, packets: PacketScrub, message: bytes, order: Order, *, broken: bool = False) -> None:
    if message:
        sink(packets.message(message, order, broken=broken))
