"""Contents: what passed in a file, counted, and its dumps one by one: facts beside the rows, for `info` and others."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from xtcp.chunk import Chunk
from xtcp.netlink.numbers import NLMSG_DONE, NLMSG_HDRLEN
from xtcp.schema.model import Order
from xtcp_replay.reading.diag_request import Asked
from xtcp_replay.reading.interface import Interface

# Dumps are counted without end, described up to this many.
MOST_DUMPS: Final = 4096

_DONE_LEN: Final = NLMSG_HDRLEN + 4


@dataclass(frozen=True)
class DumpInfo:
    """One dump of a file. `number` is `Context.dump`.

    `asked` is what its request said, None where that is not in the file; `datagrams` and `bytes` (of messages) are
    those of its replies, 0 for a request without any; `first_ns` and `last_ns` the earliest and the latest time of
    request and replies, None where no packet has one. `errno` is that of its NLMSG_DONE or NLMSG_ERROR. `single`: no
    dump but the answer to a question for one socket, or an event. `order` and `interface` are None where not known.
    """

    number: int
    asked: Asked | None = None
    done_seen: bool = False
    single: bool = False
    first_ns: int | None = None
    last_ns: int | None = None
    datagrams: int = 0
    bytes: int = 0
    errno: int = 0
    order: Order | None = None
    interface: Interface | None = None

    @property
    def request_seen(self) -> bool:
        """Whether its request is in the file."""
        return self.asked is not None

    @property
    def complete(self) -> bool:
        """Whether both its beginning and its end are in the file, so that no socket can be missing from it."""
        return self.single or (self.request_seen and self.done_seen)


@dataclass
class Contents:
    """Counts of a file: `packets` of link type NETLINK, `families` their netlink families, `requests` for sockets,
    `others` messages by kind of socket that is not TCP's, `numbered` dumps, of which the first are in `dumps`; of all
    of them `incomplete` lack their beginning or end, and `first_ns` and `last_ns` are the earliest and latest time.

    Dumps are numbered on from those of the file `after` which this one is read, from 1 without one.
    """

    packets: int = 0
    requests: int = 0
    numbered: int = 0
    incomplete: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    families: Counter[int] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    form: str = ""
    dumps: list[DumpInfo] = field(default_factory=list)
    after: Contents | None = None

    @property
    def before(self) -> int:
        """How many dumps the files before this one have."""
        return 0 if self.after is None else self.after.before + self.after.numbered

    def number(self) -> int:
        """The number of the next dump."""
        self.numbered += 1
        return self.before + self.numbered

    def add(self, dump: DumpInfo) -> None:
        """Takes a dump that is over."""
        self.incomplete += not dump.complete
        self.first_ns = min((ns for ns in (self.first_ns, dump.first_ns) if ns is not None), default=None)
        self.last_ns = max((ns for ns in (self.last_ns, dump.last_ns) if ns is not None), default=None)
        if len(self.dumps) < MOST_DUMPS:
            self.dumps.append(dump)

    def end(self) -> None:
        """Puts the dumps in the order of their numbers."""
        self.dumps.sort(key=lambda dump: dump.number)

    def clear(self) -> None:
        """Forgets all, before the file is read again."""
        self.packets = self.requests = self.numbered = self.incomplete = 0
        self.first_ns = self.last_ns = None
        self.families.clear()
        self.others.clear()
        self.dumps.clear()

    def of(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """Passes on chunks of a file without packets and requests, a raw dump or an archive, and describes its dumps.

        They have one time each; a `NLMSG_DONE` is seen where it is the last message of a dump.
        """
        dump: DumpInfo | None = None
        own: int | None = None
        for chunk in chunks:
            context = chunk.context
            if dump is None or own != context.dump:
                if dump is not None:
                    self.add(dump)
                own, time_ns = context.dump, context.timestamp_ns
                dump = DumpInfo(self.number(), first_ns=time_ns, last_ns=time_ns, order=context.order)
            end = int(chunk.ends[-1])
            last = chunk.data[max(end - _DONE_LEN, 0) : end].tobytes()
            done = len(last) == _DONE_LEN and struct.unpack_from(context.order + "IH", last) == (_DONE_LEN, NLMSG_DONE)
            dump = replace(
                dump,
                done_seen=done,
                datagrams=dump.datagrams + len(chunk.ends),
                bytes=dump.bytes + int((chunk.ends - chunk.starts).sum()),
                errno=abs(struct.unpack_from(context.order + "i", last, NLMSG_HDRLEN)[0]) if done else 0,
            )
            yield chunk if own == dump.number else replace(chunk, context=replace(context, dump=dump.number))
        if dump is not None:
            self.add(dump)
