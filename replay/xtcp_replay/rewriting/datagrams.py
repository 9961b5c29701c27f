"""A file of any kind that is known here as one stream of datagrams: what `convert` writes anew.

    pcap, pcapng    every packet as it came, requests and other netlink families too
    ss -D           messages in pieces of at most `PIECE` bytes, as a kernel sends them
    m-lab archives  the same, with a NLMSG_DONE behind each dump, because the format has none

Each comes with the dump that it belongs to, numbered as `decode` numbers them, and its rows are counted by the same
decoder: what is damaged here is damaged there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from xtcp.batch import Tally
from xtcp.chunk import Chunk, Context
from xtcp.decode.decoder import Decoder
from xtcp.netlink.byte_order import LONGEST_MESSAGE, detect
from xtcp.netlink.numbers import NETLINK_SOCK_DIAG, NLM_F_MULTI, NLMSG_DONE, NLMSG_HDRLEN, aligned
from xtcp.schema.model import Order
from xtcp.sources.dump_file import DumpFile
from xtcp.sources.input_file import PCAP, PCAPNG, UNKNOWN, kind_of
from xtcp_replay.reading.contents import Contents
from xtcp_replay.reading.dumps import Dumps
from xtcp_replay.reading.findings import Findings
from xtcp_replay.reading.input_bytes import InputBytes
from xtcp_replay.reading.interface import LINKTYPE_NETLINK, Interface
from xtcp_replay.reading.mlab_archive import archive_chunks, is_archive
from xtcp_replay.reading.packets import Packet, not_a_capture, read_packets
from xtcp_replay.reading.told import Told

# The kernel fills no more of a datagram.
PIECE: Final = 32 << 10

_MOST_INTERFACES: Final = 4096
_COOKED_LEN: Final = 16
_ARPHRD_NETLINK: Final = 824
_COUNTED: Final = frozenset({"idiag_cookie"})


class Datagram(NamedTuple):
    """Messages of one packet, `wirelen` bytes before the snaplen, without the `cooked` header (None: there was none).

    `family` is that of netlink. `order` is None where it is not sock_diag's, and so is `context`, that of the dump;
    its number is 0 where its sockets are not TCP's. `interface` says where it was seen, with what was told of it.
    """

    netlink: bytes
    wirelen: int
    cooked: bytes | None
    family: int
    order: Order | None
    time_ns: int | None
    interface: Interface
    context: Context | None


class DatagramFile:
    """The datagrams of `source`, an open file, in its order. `told` stands above what the file says.

    `tally` counts what decode makes of dumps that `takes` takes by their number; `contents` what else passed. What is
    not whole goes to `damage`, and its whole messages are given.
    """

    def __init__(
        self,
        source: InputBytes,
        told: Told,
        damage: Findings,
        notes: Findings,
        takes: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self.tally = Tally()
        self.contents = Contents()
        # What a raw dump says of its damage, whole lines.
        self.lines: list[str] = []
        self._source = source
        self._told = told
        self._damage = damage
        self._notes = notes
        self._takes = takes
        self._decoder = Decoder(_COUNTED)
        self._interfaces: dict[int, Interface] = {}

    def __iter__(self) -> Iterator[Datagram]:
        """Once. Raises `DamagedInput` where nothing can be read."""
        source, told = self._source, self._told
        kind = kind_of(source.head)
        if kind in {PCAP, PCAPNG}:
            yield from self._packets()
        elif is_archive(source.head):
            chunks = archive_chunks(source, self._damage, self._notes, order=told.order or "<", release=told.release)
            yield from self._messages(self.contents.of(chunks), ends=False)
        elif kind == UNKNOWN and (told.order or detect(source.head)):
            dump = DumpFile(source.name, order=told.order, release=told.release, stream=source)
            yield from self._messages(self.contents.of(dump.chunks()), ends=True)
            self.lines += dump.damage
        else:
            raise not_a_capture(source.name, kind)

    def _count(self, chunk: Chunk) -> None:
        if self._takes(chunk.context.dump or 0):
            self.tally.add(self._decoder.decode(chunk).tally)

    def _packets(self) -> Iterator[Datagram]:
        told = self._told
        dumps = Dumps(self._damage, self._notes, self.contents, order=told.order, release=told.release)
        for packet in read_packets(self._source, self._damage, self._notes):
            for chunk in dumps.add(packet):
                self._count(chunk)
            datagram = self._datagram(packet, dumps)
            if datagram is not None:
                yield datagram
        for chunk in dumps.end(passes_over=False):
            self._count(chunk)

    def _datagram(self, packet: Packet, dumps: Dumps) -> Datagram | None:
        """None where there is nothing that can be read; that was told."""
        cooked, netlink = packet.data[:_COOKED_LEN], packet.data[_COOKED_LEN:]
        wirelen = packet.wirelen - _COOKED_LEN
        interface = self._interface(packet.interface)
        if dumps.datagram is None:
            family = int.from_bytes(cooked[14:16], "big")
            known = len(cooked) == _COOKED_LEN and int.from_bytes(cooked[2:4], "big") == _ARPHRD_NETLINK
            if packet.file_cut or not known or family == NETLINK_SOCK_DIAG:
                return None
            return Datagram(netlink, wirelen, cooked, family, None, packet.time_ns, interface, None)
        order = dumps.datagram.order
        if packet.file_cut:
            netlink = netlink[: whole(netlink, order)]
            wirelen = len(netlink)
            if not netlink:
                return None
        context = dumps.context or dumps.asking
        return Datagram(netlink, wirelen, cooked, NETLINK_SOCK_DIAG, order, packet.time_ns, interface, context)

    def _interface(self, seen: Interface) -> Interface:
        """With what was told of the host."""
        known = self._interfaces.get(seen.number)
        if known is None:
            if len(self._interfaces) == _MOST_INTERFACES:
                self._interfaces.clear()
            told = self._told
            known = self._interfaces[seen.number] = replace(
                seen,
                release=told.release or seen.release,
                hostname=seen.hostname if told.hostname is None else told.hostname,
                netns=seen.netns if told.netns is None else told.netns,
            )
        return known

    def _messages(self, chunks: Iterator[Chunk], *, ends: bool) -> Iterator[Datagram]:
        """Pieces of chunks; `ends`: the dumps have their NLMSG_DONE, others get one."""
        before: Datagram | None = None
        hosts: list[str | None] = []
        for chunk in chunks:
            self._count(chunk)
            context = chunk.context
            if not hosts or hosts[-1] != context.hostname:
                hosts.append(context.hostname)
            interface = Interface(
                len(hosts) - 1,
                LINKTYPE_NETLINK,
                release=context.release,
                hostname=context.hostname,
                section_number=len(hosts),
            )
            interface = self._interface(interface)
            if before is not None and not ends and before.context != context:
                yield _done_behind(before)
            for piece in _pieces(chunk):
                before = Datagram(
                    piece, len(piece), None, NETLINK_SOCK_DIAG, context.order, context.timestamp_ns, interface, context
                )
                yield before
        if before is not None and not ends:
            yield _done_behind(before)


def whole(netlink: bytes, order: Order) -> int:
    """Where the last message that is all there ends, with its padding as far as that is there."""
    at = 0
    for start, length in messages(netlink, order):
        at = min(start + aligned(length), len(netlink))
    return at


def messages(netlink: bytes, order: Order) -> Iterator[tuple[int, int]]:
    """(offset, nlmsg_len) of each message that is all there, up to the first that is not."""
    length_at = struct.Struct(order + "I").unpack_from
    at, end = 0, len(netlink)
    while at + NLMSG_HDRLEN <= end:
        (length,) = length_at(netlink, at)
        if not NLMSG_HDRLEN <= length <= min(LONGEST_MESSAGE, end - at):
            return
        yield at, length
        at += aligned(length)


def _pieces(chunk: Chunk) -> Iterator[bytes]:
    """The messages of a chunk, as many together as fit in `PIECE`, at least one."""
    for start, end in zip(chunk.starts.tolist(), chunk.ends.tolist(), strict=True):
        netlink = chunk.data[start:end].tobytes()
        begin = stop = 0
        for at, length in messages(netlink, chunk.context.order):
            behind = min(at + aligned(length), len(netlink))
            if behind - begin > PIECE and at > begin:
                yield netlink[begin:at]
                begin = at
            stop = behind
        if stop > begin:
            yield netlink[begin:stop]


def _done_behind(last: Datagram) -> Datagram:
    """A NLMSG_DONE with the sequence number and port id of the first message of `last`."""
    assert last.order is not None
    seq, port = struct.unpack_from(last.order + "II", last.netlink, 8)
    done = struct.pack(last.order + "IHHIIi", NLMSG_HDRLEN + 4, NLMSG_DONE, NLM_F_MULTI, seq, port, 0)
    return last._replace(netlink=done, wirelen=len(done))
