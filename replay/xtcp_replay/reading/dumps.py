"""Dumps: packets to chunks, one dump behind the other.

1. A reply belongs to the dump of its (nlmsg_seq, nlmsg_pid) and byte order on its interface, until that dump's
   NLMSG_DONE or NLMSG_ERROR. A new dump takes the oldest request that fits: the packet type is the same both ways, so
   NLM_F_REQUEST tells a request, and requests carry port id 0, those of ss one sequence number for all. What proves
   that a dump is over although its end is not in the file, and that two ran where one can, stands in `matching`.
2. Dumps are numbered from 1 in the order of their request, else of their first reply. A reply without NLM_F_MULTI
   (one socket that was asked for, an event) is a dump of its own.
3. Chunks of one dump follow each other. Others that run at the same time are held back, `HELD` bytes of them; beyond
   that the dump in front is closed as incomplete, and the oldest beyond `OPEN_DUMPS` of them. So memory is bounded,
   whatever the file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from xtcp.chunk import SLACK, Chunk, Context
from xtcp.netlink.numbers import NLM_F_REQUEST, aligned
from xtcp.schema.inet_diag import IPPROTO_TCP
from xtcp.schema.model import Order
from xtcp_replay.reading.contents import Contents, DumpInfo
from xtcp_replay.reading.datagrams import Datagram, Datagrams
from xtcp_replay.reading.diag_request import NOT_INET, Asked, asked_for
from xtcp_replay.reading.findings import Findings
from xtcp_replay.reading.interface import Interface
from xtcp_replay.reading.matching import Key, Request, Requests
from xtcp_replay.reading.packets import Packet
from xtcp_replay.reading.pcap_stream import LONGEST_PACKET
from xtcp_replay.reading.replies import Reply, read_on, read_reply

ARENA: Final = 2 << 20
HELD: Final = 64 << 20
OPEN_DUMPS: Final = 4096

_DUMP_OVERHEAD: Final = 1 << 10


@dataclass
class _Dump:
    """`others` names the sockets where they are not TCP's: such a dump has no number and is skipped."""

    number: int
    context: Context
    key: Key
    asked: Asked | None
    others: str | None
    single: bool
    socket: bytes
    interface: Interface
    times: list[int] = field(default_factory=list)
    datagrams: int = 0
    length: int = 0
    pending: list[memoryview] = field(default_factory=list)
    size: int = _DUMP_OVERHEAD
    closed: bool = False

    def seen(self, time_ns: int | None) -> None:
        """Takes the time of one of its packets; keeps the earliest and the latest."""
        times = self.times
        if time_ns is None:
            return
        if not times:
            times += (time_ns, time_ns)
        elif time_ns > times[1]:
            times[1] = time_ns
        elif time_ns < times[0]:
            times[0] = time_ns


class Dumps:
    """`add` takes packets in the order of the file, `end` when there are no more; both give chunks.

    `order` and `release`, where given, stand above what the file says. What passed goes to `contents`. Of the packet
    added last `datagram` are the messages (None: none that can be read), `context` is that of the dump they belong to
    (None: a request, or no messages), `asking` that of the dump that a request will have (None: no request). Dumps of
    other sockets than TCP's have the number 0.
    """

    def __init__(
        self,
        damage: Findings,
        notes: Findings,
        contents: Contents | None = None,
        *,
        order: Order | None = None,
        release: str = "",
    ) -> None:
        self.datagram: Datagram | None = None
        self.context: Context | None = None
        self.asking: Context | None = None
        self._contents = Contents() if contents is None else contents
        self._notes = notes
        self._release = release
        self._datagrams = Datagrams(damage, notes, self._contents, order)
        self._requests = Requests(damage)
        self._open: dict[Key, _Dump] = {}
        self._queue: deque[_Dump] = deque()
        self._held = 0
        self._arena = np.zeros(ARENA + LONGEST_PACKET + SLACK, np.uint8)
        self._bytes = memoryview(self._arena)
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, packet: Packet) -> Iterator[Chunk]:
        """Takes one packet."""
        self.datagram = datagram = self._datagrams.read(packet)
        self.context = self.asking = None
        if datagram is None:
            return
        if datagram.flags & NLM_F_REQUEST:
            self._request(datagram)
        else:
            self._reply(datagram)
            yield from self._drain()

    def end(self, *, passes_over: bool = True) -> Iterator[Chunk]:
        """Gives what is held back; dumps without an end are noted, and what was passed over, where it was."""
        for dump in list(self._open.values()):
            self._incomplete(dump)
        yield from self._drain()
        for request in self._requests.take_all():
            self._unanswered(request)
        if passes_over:
            self._datagrams.end()
            for what, count in sorted(self._contents.others.items()):
                self._notes.add("messages about other sockets skipped", f"{what}: {count:,}")
        self._contents.end()

    def _request(self, datagram: Datagram) -> None:
        self._contents.requests += 1
        asked = asked_for(datagram.netlink, datagram.kind, datagram.order)
        number = self._contents.number() if asked.others is None else 0
        self.asking = self._context(datagram, number, asked, datagram.time_ns)
        dropped = self._requests.add(number, datagram, asked)
        if dropped is not None:
            self._unanswered(dropped)

    def _unanswered(self, request: Request) -> None:
        if request.asked.others is None:
            self._notes.add("requests without a reply in the capture", f"dump {request.number}")
            self._contents.add(
                DumpInfo(
                    request.number,
                    request.asked,
                    first_ns=request.time_ns,
                    last_ns=request.time_ns,
                    order=request.key.order,
                    interface=request.interface,
                )
            )

    def _reply(self, datagram: Datagram) -> None:
        netlink, order = datagram.netlink, datagram.order
        key = Key(datagram.interface.number, order, datagram.seq, datagram.port)
        dump = self._open.get(key)
        if dump is None or dump.others is not None:
            said = read_reply(netlink, order)
        else:
            said = read_on(netlink, order, datagram.kind, datagram.flags, key[2:])
        if dump is not None and self._requests.replaces(key, dump.asked, dump.socket, said):
            self._incomplete(dump)
            dump = None
        # What is no part of a dump, one socket's row or an acknowledgement, is over with its datagram.
        ends = said.ends or (dump is None and not said.multi)
        if dump is None:
            dump = self._begin(datagram, key, said)
            self._open[key] = dump
            if len(self._open) > OPEN_DUMPS:
                self._incomplete(next(iter(self._open.values())))
        self.context = dump.context
        dump.seen(datagram.time_ns)
        dump.datagrams += 1
        dump.length += len(netlink)
        if dump.others is not None:
            self._contents.others[dump.others] += said.messages
        else:
            if dump is self._queue[0] and not dump.pending:
                self._place(netlink)
            else:
                dump.pending.append(netlink)
            dump.size += len(netlink)
            self._held += len(netlink)
        if ends:
            self._close(dump, said)

    def _begin(self, datagram: Datagram, key: Key, said: Reply) -> _Dump:
        interface = datagram.interface
        request = self._requests.answered_by(key, said.family)
        if request is not None:
            number, time_ns, asked = request.number, request.time_ns, request.asked
            others = asked.others
        else:
            asked = None
            others = f"{NOT_INET[said.family]} sockets" if said.family in NOT_INET else None
            time_ns = datagram.time_ns
            number = 0
            if others is None:
                number = self._contents.number()
                if said.multi:
                    self._notes.add("dumps whose request is not in the capture", f"dump {number}")
        context = self._context(datagram, number, asked, time_ns)
        single = not (said.multi or said.ends)
        dump = _Dump(number, context, key, asked, others, single, said.socket, interface)
        dump.seen(time_ns)
        if others is None:
            self._queue.append(dump)
            self._held += dump.size
        return dump

    def _context(self, datagram: Datagram, number: int, asked: Asked | None, time_ns: int | None) -> Context:
        """Of the dump `number` (0: of other sockets than TCP's), asked for at `time_ns`."""
        interface = datagram.interface
        return Context(
            order=datagram.order,
            release=self._release or interface.release,
            protocol=asked.protocol if asked is not None and number else IPPROTO_TCP,
            timestamp_ns=time_ns,
            hostname=interface.hostname,
            netns=interface.netns,
            dump=number,
        )

    def _incomplete(self, dump: _Dump) -> None:
        self._close(dump, None)
        if dump.others is None:
            self._notes.add("dumps without their NLMSG_DONE: some sockets may be missing", f"dump {dump.number}")

    def _close(self, dump: _Dump, last: Reply | None) -> None:
        """Ends a dump, by its `last` reply where that is in the file."""
        dump.closed = True
        if self._open.get(dump.key) is dump:
            del self._open[dump.key]
        if last is not None:
            self._requests.ended(dump.key)
        if dump.others is None:
            if last is not None and last.done and last.errno:
                what = "dumps that the captured kernel ended with an error: sockets may be missing"
                self._notes.add(what, f"dump {dump.number}: errno {last.errno}")
            first_ns, last_ns = dump.times or (None, None)
            self._contents.add(
                DumpInfo(
                    dump.number,
                    dump.asked,
                    done_seen=last is not None and last.done,
                    single=dump.single,
                    first_ns=first_ns,
                    last_ns=last_ns,
                    datagrams=dump.datagrams,
                    bytes=dump.length,
                    errno=0 if last is None else last.errno,
                    order=dump.context.order,
                    interface=dump.interface,
                )
            )

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
        pending, dump.pending = dump.pending, []
        freed, dump.size = dump.size - _DUMP_OVERHEAD, _DUMP_OVERHEAD
        self._held -= freed
        for datagram in pending:
            if self._ends and self._ends[-1] >= ARENA:
                yield self._chunk(dump)
            self._place(datagram)
        if self._ends:
            yield self._chunk(dump)

    def _place(self, netlink: memoryview) -> None:
        """Puts a datagram of the dump in front into the arena."""
        start = aligned(self._ends[-1]) if self._ends else 0
        end = start + len(netlink)
        self._bytes[start:end] = netlink
        self._starts.append(start)
        self._ends.append(end)

    def _chunk(self, dump: _Dump) -> Chunk:
        """What is in the arena, all of `dump`."""
        starts, ends = np.array(self._starts, np.int64), np.array(self._ends, np.int64)
        self._starts.clear()
        self._ends.clear()
        return Chunk(self._arena, starts, ends, dump.context, dump.key.seq, dump.key.port)
