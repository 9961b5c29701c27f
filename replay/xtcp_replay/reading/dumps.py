"""Dumps: packets to chunks, one dump behind the other.

1. The payload's byte order is found from the messages, per interface; the file's own order says nothing about it.
2. A reply belongs to the dump of its (nlmsg_pid, nlmsg_seq) on its interface, until that dump's NLMSG_DONE or
   NLMSG_ERROR. A new dump takes the oldest request that fits: the packet type is the same both ways, so
   NLM_F_REQUEST tells a request, and requests carry port id 0, those of ss one sequence number for all.
3. Dumps are numbered from 1 in the order of their request, else of their first reply. A reply without NLM_F_MULTI
   (one socket that was asked for, an event) is a dump of its own.
4. Chunks of one dump follow each other. Others that run at the same time are held back, `HELD` bytes of them; beyond
   that the dump in front is closed as incomplete, and the oldest beyond `OPEN_DUMPS` of them. So memory is bounded,
   whatever the file.
"""

from __future__ import annotations

import struct
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from xtcp.chunk import SLACK, Chunk, Context
from xtcp.netlink.byte_order import LONGEST_MESSAGE, detect, plausible_messages
from xtcp.netlink.numbers import (
    NETLINK_SOCK_DIAG,
    NLM_F_MULTI,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_HDRLEN,
    SOCK_DIAG_BY_FAMILY,
    TCPDIAG_GETSOCK,
    aligned,
)
from xtcp.schema.model import Order
from xtcp_replay.reading.diag_request import AF_UNSPEC, NOT_INET, Asked, asked_for
from xtcp_replay.reading.findings import Findings, at_byte
from xtcp_replay.reading.interface import Interface
from xtcp_replay.reading.packets import Packet
from xtcp_replay.reading.pcap_stream import LONGEST_PACKET

ARENA: Final = 2 << 20
HELD: Final = 64 << 20
WAITING_REQUESTS: Final = 256
OPEN_DUMPS: Final = 4096

_COOKED_LEN: Final = 16
_ARPHRD_NETLINK: Final = 824
_DUMP_OVERHEAD: Final = 1 << 10
_DONE_LEN: Final = 20
_FULL: Final = 4 << 10
_ROWS: Final = frozenset({SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK, TCPDIAG_GETSOCK + 1})
_FAMILIES: Final = {0: "route", 6: "xfrm", 9: "audit", 12: "netfilter", 15: "kobject", 16: "generic"}
_CUT_PACKETS: Final = "packets cut by the snaplen of the capture"


@dataclass(frozen=True)
class _Request:
    number: int
    interface: Interface
    seq: int
    port: int
    time_ns: int | None
    asked: Asked


@dataclass
class _Dump:
    """`others` names the sockets where they are not TCP's: such a dump has no number and is skipped."""

    number: int
    context: Context
    key: tuple[int, int, int]
    asked: Asked | None
    others: str | None
    pending: list[bytes] = field(default_factory=list)
    size: int = _DUMP_OVERHEAD
    closed: bool = False


class _Reply(NamedTuple):
    """What one datagram of replies says of its dump.

    `ends`: a NLMSG_DONE or an error is in it. `family` is that of the first row, if any.
    """

    ends: bool
    multi: bool
    family: int | None
    messages: int


class Dumps:
    """`add` takes packets in the order of the file, `end` when there are no more; both give chunks.

    `order` and `release`, where given, stand above what the file says. Counts: `packets`, `families` by netlink
    family, `requests`, `others` messages by kind of socket that is not TCP's.
    """

    def __init__(self, damage: Findings, notes: Findings, *, order: Order | None = None, release: str = "") -> None:
        self.packets = 0
        self.requests = 0
        self.families: Counter[int] = Counter()
        self.others: Counter[str] = Counter()
        self._damage = damage
        self._notes = notes
        self._forced = order
        self._release = release
        self._orders: dict[int, Order] = {}
        self._waiting: deque[_Request] = deque()
        self._open: dict[tuple[int, int, int], _Dump] = {}
        self._queue: deque[_Dump] = deque()
        self._held = 0
        self._numbered = 0
        self._arena = np.zeros(ARENA + LONGEST_PACKET + SLACK, np.uint8)

    def add(self, packet: Packet) -> Iterator[Chunk]:
        """Takes one packet."""
        self.packets += 1
        data = packet.data
        where = at_byte(packet.offset)
        if packet.wirelen > len(data) and not packet.file_cut:
            missing = packet.wirelen - len(data)
            self._damage.add(_CUT_PACKETS, where, missing=missing, advice="Capture whole packets: tcpdump -s 0.")
        if len(data) < _COOKED_LEN + NLMSG_HDRLEN and packet.wirelen > len(data):
            return
        if len(data) < _COOKED_LEN or int.from_bytes(data[2:4], "big") != _ARPHRD_NETLINK:
            self._damage.add("packets without the header of LINKTYPE_NETLINK", where)
            return
        family = int.from_bytes(data[14:16], "big")
        self.families[family] += 1
        if family != NETLINK_SOCK_DIAG:
            return
        netlink = data[_COOKED_LEN:]
        order = self._order_of(packet.interface, netlink)
        if order is None:
            which = "either byte order" if self._forced is None else "the byte order given"
            self._damage.add(f"packets that begin with no netlink message in {which}", where)
            return
        _, kind, flags, seq, port = struct.unpack_from(order + "IHHII", netlink)
        if flags & NLM_F_REQUEST:
            self.requests += 1
            self._request(packet, asked_for(netlink, kind, order), seq, port)
        else:
            yield from self._reply(packet, netlink, order, seq, port)

    def end(self) -> Iterator[Chunk]:
        """Gives what is held back; dumps without an end are noted."""
        for dump in list(self._open.values()):
            self._incomplete(dump)
        yield from self._drain()
        while self._waiting:
            self._unanswered(self._waiting.popleft())
        skipped = Counter({_FAMILIES.get(f, str(f)): n for f, n in self.families.items() if f != NETLINK_SOCK_DIAG})
        for what, count in sorted(skipped.items()):
            self._notes.add("packets of other netlink families skipped", f"{what}: {count:,}")
        for what, count in sorted(self.others.items()):
            self._notes.add("messages about other sockets skipped", f"{what}: {count:,}")
        if self.packets and not self.families[NETLINK_SOCK_DIAG]:
            self._notes.add("no sock_diag message in the capture", "run ss while it is taken")

    def _order_of(self, interface: Interface, netlink: bytes) -> Order | None:
        """The byte order of a datagram, None where its first message makes no sense."""
        if len(netlink) < NLMSG_HDRLEN:
            return None
        known = self._forced or self._orders.get(interface.number)
        if known is not None:
            if plausible_messages(netlink[:NLMSG_HDRLEN], known):
                return known
            # A type that is not known yet, in a message of a length that fits.
            (length,) = struct.unpack_from(known + "I", netlink)
            if NLMSG_HDRLEN <= length <= len(netlink):
                return known
        if self._forced is not None:
            return None
        found = detect(netlink)
        if found is not None:
            if known is not None:
                self._notes.add("the byte order of the messages changes", f"interface {interface.number}")
            self._orders[interface.number] = found
        return found

    def _request(self, packet: Packet, asked: Asked, seq: int, port: int) -> None:
        number = 0
        if asked.others is None:
            self._numbered += 1
            number = self._numbered
        if len(self._waiting) == WAITING_REQUESTS:
            self._unanswered(self._waiting.popleft())
        self._waiting.append(_Request(number, packet.interface, seq, port, packet.time_ns, asked))

    def _unanswered(self, request: _Request) -> None:
        if request.asked.others is None:
            self._notes.add("requests without a reply in the capture", f"dump {request.number}")

    def _reply(self, packet: Packet, netlink: bytes, order: Order, seq: int, port: int) -> Iterator[Chunk]:
        key = (packet.interface.number, seq, port)
        dump = self._open.get(key)
        begins = dump is None or dump.others is not None
        said = _read_reply(netlink, order) if begins else _read_on(netlink, order, seq, port)
        if dump is not None and self._replaced(dump, packet.interface, said):
            self._incomplete(dump)
            dump = None
        # What is no part of a dump, one socket's row or an acknowledgement, is over with its datagram.
        ends = said.ends or (dump is None and not said.multi)
        if dump is None:
            dump = self._begin(packet, order, key, said)
            self._open[key] = dump
            if len(self._open) > OPEN_DUMPS:
                self._incomplete(next(iter(self._open.values())))
        if dump.others is not None:
            self.others[dump.others] += said.messages
        else:
            dump.pending.append(netlink)
            dump.size += len(netlink)
            self._held += len(netlink)
        if ends:
            dump.closed = True
            del self._open[key]
        yield from self._drain()

    def _replaced(self, dump: _Dump, interface: Interface, said: _Reply) -> bool:
        """Whether a reply to an open dump answers a later request: rows of another family, which was asked for."""
        if dump.asked is None or said.family is None or said.family == dump.asked.family:
            return False
        if dump.asked.others is None and dump.asked.family == AF_UNSPEC:
            return False
        _, seq, port = dump.key
        return any(r.asked.family == said.family and _fits(r, interface, seq, port) for r in self._waiting)

    def _begin(self, packet: Packet, order: Order, key: tuple[int, int, int], said: _Reply) -> _Dump:
        interface, (_, seq, port) = packet.interface, key
        fitting = [r for r in self._waiting if _fits(r, interface, seq, port)]
        same_family = [r for r in fitting if said.family is None or r.asked.family in {AF_UNSPEC, said.family}]
        request = next(iter(same_family or fitting), None)
        if request is not None:
            self._waiting.remove(request)
            number, time_ns, asked = request.number, request.time_ns, request.asked
            others = asked.others
        else:
            asked = None
            others = f"{NOT_INET[said.family]} sockets" if said.family in NOT_INET else None
            time_ns = packet.time_ns
            number = 0
            if others is None:
                self._numbered += 1
                number = self._numbered
                if said.multi:
                    self._notes.add("dumps whose request is not in the capture", f"dump {number}")
        context = Context(
            order=order,
            release=self._release or interface.release,
            **({"protocol": asked.protocol} if asked is not None and others is None else {}),
            timestamp_ns=time_ns,
            hostname=interface.hostname,
            netns=interface.netns,
            dump=number,
        )
        dump = _Dump(number, context, key, asked, others)
        if others is None:
            self._queue.append(dump)
            self._held += dump.size
        return dump

    def _incomplete(self, dump: _Dump) -> None:
        dump.closed = True
        if self._open.get(dump.key) is dump:
            del self._open[dump.key]
        if dump.others is None:
            self._notes.add("dumps without their NLMSG_DONE: some sockets may be missing", f"dump {dump.number}")

    def _drain(self) -> Iterator[Chunk]:
        """Gives what the dump in front has, and goes on to the next where it is closed."""
        while self._queue:
            front = self._queue[0]
            if self._held > HELD and len(self._queue) > 1 and not front.closed:
                self._incomplete(front)
            if not front.closed and front.size < ARENA:
                return
            yield from self._chunks(front)
            if not front.closed:
                return
            self._queue.popleft()
            self._held -= front.size

    def _chunks(self, dump: _Dump) -> Iterator[Chunk]:
        """What is pending of `dump`, in chunks of little more than `ARENA` bytes."""
        starts: list[int] = []
        ends: list[int] = []
        at = 0
        pending, dump.pending = dump.pending, []
        freed, dump.size = dump.size - _DUMP_OVERHEAD, _DUMP_OVERHEAD
        self._held -= freed
        for datagram in pending:
            if at >= ARENA:
                yield self._chunk(dump, starts, ends)
                starts, ends, at = [], [], 0
            self._arena[at : at + len(datagram)] = np.frombuffer(datagram, np.uint8)
            starts.append(at)
            ends.append(at + len(datagram))
            at = aligned(at + len(datagram))
        if starts:
            yield self._chunk(dump, starts, ends)

    def _chunk(self, dump: _Dump, starts: list[int], ends: list[int]) -> Chunk:
        _, seq, port = dump.key
        return Chunk(self._arena, np.array(starts, np.int64), np.array(ends, np.int64), dump.context, seq, port)


def _fits(request: _Request, interface: Interface, seq: int, port: int) -> bool:
    """Whether a reply with `seq` and `port` can answer `request`."""
    return request.interface.number == interface.number and request.seq == seq and request.port in {0, port}


def _read_on(netlink: bytes, order: Order, seq: int, port: int) -> _Reply:
    """What a datagram in the middle of a dump of TCP sockets says.

    Full ones are not walked, which would cost as much as decoding them: the kernel sends a NLMSG_DONE alone, or as
    the last of the datagram. Should one stand elsewhere, decode sets aside what is behind it.
    """
    _, kind, flags = struct.unpack_from(order + "IHH", netlink)
    if len(netlink) < _FULL or kind not in _ROWS or not flags & NLM_F_MULTI:
        return _read_reply(netlink, order)
    length, kind, _, *whose = struct.unpack_from(order + "IHHII", netlink, len(netlink) - _DONE_LEN)
    ends = (length, kind, whose) == (_DONE_LEN, NLMSG_DONE, [seq, port])
    return _Reply(ends, True, netlink[NLMSG_HDRLEN], 0)


def _read_reply(netlink: bytes, order: Order) -> _Reply:
    """Looks at each message's header, and at the first row's family."""
    read = struct.Struct(order + "IHH").unpack_from
    ends = multi = False
    family: int | None = None
    at = count = 0
    while at + NLMSG_HDRLEN <= len(netlink):
        length, kind, flags = read(netlink, at)
        if not NLMSG_HDRLEN <= length <= LONGEST_MESSAGE:
            break
        count += 1
        multi |= bool(flags & NLM_F_MULTI)
        if kind == NLMSG_DONE:
            ends = True
        elif kind == NLMSG_ERROR:
            # An error of 0 is an acknowledgement, which ends nothing.
            ends |= netlink[at + NLMSG_HDRLEN : at + NLMSG_HDRLEN + 4] != bytes(4)
        elif family is None and kind in _ROWS and at + NLMSG_HDRLEN < len(netlink):
            family = netlink[at + NLMSG_HDRLEN]
        at += aligned(length)
    return _Reply(ends, multi, family, count)
