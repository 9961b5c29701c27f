"""A file as the pieces that `show` shows: the packets of a capture, or the messages of a file that has no packets.

Each comes with its place in the file and with what its bytes do not say. Nothing is decoded here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from xtcp.chunk import Chunk, Context
from xtcp.netlink.byte_order import detect
from xtcp.netlink.numbers import NLMSG_HDRLEN, aligned
from xtcp.schema.model import Order
from xtcp.sources.dump_file import DumpFile
from xtcp.sources.input_file import PCAP, PCAPNG, UNKNOWN, kind_of
from xtcp_replay.reading.dumps import Dumps
from xtcp_replay.reading.findings import Findings
from xtcp_replay.reading.input_bytes import InputBytes
from xtcp_replay.reading.mlab_archive import archive_chunks, is_archive
from xtcp_replay.reading.packets import Packet, not_a_capture, read_packets
from xtcp_replay.reading.told import Told

_PCAP_RECORD: Final = 16
_ENHANCED_PACKET: Final = 28
_SIMPLE_PACKET: Final = 12


@dataclass(frozen=True)
class Piece:
    """`number` counts packets (or messages) from 1; `data` begins at byte `at` of the file (None: it stands there in
    another form), with the cooked header where `cooked`. `wirelen` is its length before the snaplen.

    `order` is None where the messages do not say it. `context` is that of the dump it belongs to, None for a request
    and for what is no message of sock_diag; `asking` is that of the dump that a request asks for. A dump's number is
    0 where its sockets are not TCP's.
    """

    number: int
    data: bytes
    at: int | None
    cooked: bool
    wirelen: int
    time_ns: int | None
    order: Order | None
    context: Context | None
    asking: Context | None
    release: str

    @property
    def rows(self) -> bool:
        """Whether rows of TCP sockets may be in it."""
        return self.context is not None and self.context.dump != 0


def pieces(source: InputBytes, told: Told, damage: Findings, notes: Findings, lines: list[str]) -> Iterator[Piece]:
    """All of a file. What is not whole goes to `damage`, or as text to `lines`; what is not shown to `notes`.

    Raises `DamagedInput` where nothing can be read.
    """
    kind = kind_of(source.head)
    if kind in {PCAP, PCAPNG}:
        yield from _packets(source, kind, told, damage, notes)
    elif is_archive(source.head):
        chunks = archive_chunks(source, damage, notes, order=told.order or "<", release=told.release)
        yield from _messages(chunks, placed=False)
    elif kind == UNKNOWN and (told.order or detect(source.head)):
        dump = DumpFile(source.name, order=told.order, release=told.release, stream=source)
        yield from _messages(dump.chunks(), placed=True)
        lines += dump.damage
    else:
        raise not_a_capture(source.name, kind)


def _packets(source: InputBytes, kind: str, told: Told, damage: Findings, notes: Findings) -> Iterator[Piece]:
    dumps = Dumps(damage, notes, order=told.order, release=told.release)
    for packet in read_packets(source, damage, notes):
        for _ in dumps.add(packet):
            pass
        datagram = dumps.datagram
        yield Piece(
            number=packet.number,
            data=packet.data,
            at=packet.offset + _head(kind, packet),
            cooked=True,
            wirelen=packet.wirelen,
            time_ns=packet.time_ns,
            order=datagram.order if datagram else None,
            context=dumps.context,
            asking=dumps.asking,
            release=told.release or packet.interface.release,
        )
    for _ in dumps.end():
        pass


def _head(kind: str, packet: Packet) -> int:
    """How long what stands before the packet in its record is: a simple packet block has no time."""
    if kind == PCAP:
        return _PCAP_RECORD
    return _SIMPLE_PACKET if packet.time_ns is None else _ENHANCED_PACKET


def _messages(chunks: Iterator[Chunk], *, placed: bool) -> Iterator[Piece]:
    """Chunks that are messages back to back, a piece each; `placed`: as they are in the file."""
    number = base = 0
    for chunk in chunks:
        length = struct.Struct(chunk.context.order + "I")
        for start, end in zip(chunk.starts.tolist(), chunk.ends.tolist(), strict=True):
            at = start
            while at < end:
                size = length.unpack_from(chunk.data, at)[0] if end - at >= NLMSG_HDRLEN else 0
                behind = min(at + aligned(max(size, NLMSG_HDRLEN)), end)
                number += 1
                data = chunk.data[at:behind].tobytes()
                yield Piece(
                    number=number,
                    data=data,
                    at=base if placed else None,
                    cooked=False,
                    wirelen=len(data),
                    time_ns=chunk.context.timestamp_ns,
                    order=chunk.context.order,
                    context=chunk.context,
                    asking=None,
                    release=chunk.context.release,
                )
                base += behind - at
                at = behind
