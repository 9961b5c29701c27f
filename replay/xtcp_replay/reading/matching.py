"""Matching: which request a reply answers, and what that proves of the dumps around it.

A key is what all replies of one dump have in common. ss, and others, use one sequence number for every request and
port id 0 in it, so several requests may fit a reply; three rules tell more than the key does.

1. A port asks again only when its last dump is over. So of the requests that fit, one seen since that dump's end
   comes first; if all of them are older than it, two hosts' captures were merged that have the same port id and
   sequence number, and rows may stand in the wrong dump: that is damage.
2. An open dump of one family is over, its end lost, when rows of the other one come: a kernel sends what was asked.
3. So it is when a waiting request fits and the dump begins again: its port itself sent the request, or the datagram's
   first row is the very socket that the dump's first row was. A kernel sends no row of a dump's first datagram at
   the head of another one, whatever changes meanwhile. Where neither is so, rows of two dumps whose parting DONE is
   lost stay in one: nothing proves that they are two.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from xtcp.schema.model import Order
from xtcp_replay.reading.datagrams import Datagram
from xtcp_replay.reading.diag_request import AF_UNSPEC, INET_FAMILIES, NOT_INET, Asked
from xtcp_replay.reading.findings import Findings
from xtcp_replay.reading.interface import Interface
from xtcp_replay.reading.replies import Reply

WAITING_REQUESTS: Final = 256
ENDED_DUMPS: Final = 4096

_ONE_FAMILY: Final = INET_FAMILIES - {AF_UNSPEC}


class Key(NamedTuple):
    """What the replies of one dump have in common: the number of their interface, byte order, nlmsg_seq, nlmsg_pid."""

    interface: int
    order: Order
    seq: int
    port: int


class Request(NamedTuple):
    """A request that waits for its reply. `key` as it was sent, mostly with port id 0; `at` counts requests and ends
    of dumps.
    """

    number: int
    key: Key
    time_ns: int | None
    asked: Asked
    interface: Interface
    at: int


class Requests:
    """Requests in the order of the file, up to `WAITING_REQUESTS`, and when the last dump of a key ended."""

    def __init__(self, damage: Findings) -> None:
        self._damage = damage
        self._waiting: deque[Request] = deque()
        self._ended: dict[Key, int] = {}
        self._count = 0

    def add(self, number: int, datagram: Datagram, asked: Asked) -> Request | None:
        """Takes a request; returns the oldest one where there are too many."""
        dropped = self._waiting.popleft() if len(self._waiting) == WAITING_REQUESTS else None
        key = Key(datagram.interface.number, datagram.order, datagram.seq, datagram.port)
        self._count += 1
        self._waiting.append(Request(number, key, datagram.time_ns, asked, datagram.interface, self._count))
        return dropped

    def take_all(self) -> list[Request]:
        """Those that wait at the end."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def ended(self, key: Key) -> None:
        """The dump of `key` has come to its end."""
        self._count += 1
        self._ended.pop(key, None)
        self._ended[key] = self._count
        if len(self._ended) > ENDED_DUMPS:
            del self._ended[next(iter(self._ended))]

    def answered_by(self, key: Key, family: int | None) -> Request | None:
        """Takes out the request that a first reply of `key` answers; `family` is that of its first row."""
        fitting = [request for request in self._waiting if _fits(request, key)]
        if not fitting:
            return None
        of_family = [request for request in fitting if _may_answer(family, request.asked)]
        # Replies about other kinds of sockets do not all begin with their family.
        candidates = of_family or [request for request in fitting if request.asked.others]
        if not candidates:
            return None
        last_end = self._ended.get(key, 0)
        later = [request for request in candidates if request.at > last_end]
        request = (later or candidates)[0]
        if not later and request.asked.others is None:
            self._damage.add(
                "dumps of one port id and sequence number at one time: captures of hosts that cannot be told apart "
                "were merged, rows of one may stand in the dump of another",
                f"dump {request.number}",
                advice="Read each host's capture by itself.",
            )
        self._waiting.remove(request)
        return request

    def replaces(self, key: Key, asked: Asked | None, socket: bytes, said: Reply) -> bool:
        """Whether the reply `said` begins another dump than the open one of `key`, which `asked` and began with the
        row of `socket`.
        """
        if said.family is None:
            return False
        if asked is not None and asked.family not in {AF_UNSPEC, said.family}:
            if asked.others is None:
                return said.family in _ONE_FAMILY
            return any(request.asked.family == said.family and _fits(request, key) for request in self._waiting)
        if not self._waiting:
            return False
        again = bool(socket) and said.socket == socket
        return any(
            (again or request.key.port) and request.asked.family in {AF_UNSPEC, said.family} and _fits(request, key)
            for request in self._waiting
        )


def _fits(request: Request, key: Key) -> bool:
    """Whether replies of `key` can answer `request`."""
    return request.key[:3] == key[:3] and request.key.port in {0, key.port}


def _may_answer(family: int | None, asked: Asked) -> bool:
    """Whether rows that begin with one of `family` can be what was asked for; one that no kernel has says nothing."""
    if family is None or asked.family in {AF_UNSPEC, family}:
        return True
    return asked.others is None and family not in _ONE_FAMILY and family not in NOT_INET
