"""How is a socket held, and written down with what it must show?

In: calls of the exhibits (zoo_states, zoo_attributes). Out: a ``Zoo`` with its sockets and ``Expected`` records. Knows
no kind of socket; asks ``getsockopt`` and /proc/net/tcp, never netlink.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

SO_COOKIE, IPPROTO_MPTCP = 57, 262

Address = tuple[str, int]
Key = tuple[int, Address, Address]

V: Final[Mapping[int, str]] = {socket.AF_INET: "v4", socket.AF_INET6: "v6"}
LOOPBACK: Final[Mapping[int, str]] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
ANY: Final[Mapping[int, Address]] = {socket.AF_INET: ("0.0.0.0", 0), socket.AF_INET6: ("::", 0)}
_STATES: Final = (
    "?", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "UNCONN", "CLOSE-WAIT", "LAST-ACK",
    "LISTEN", "CLOSING", "SYN-RECV",
)  # fmt: skip
_SETTLED_AFTER: Final = 1.5


@dataclass(frozen=True, slots=True)
class Expected:
    """What a row of a dump must say of one socket; names are those of the columns.

    ``state`` is ss's name. ``cookie`` is None where no descriptor of ours ever stood for the socket, ``inode`` is 0
    where it has no file, ``uid`` is None where the kernels differ. ``present`` columns have some value, ``bits`` are
    set among others. ``mark`` and ``md5sig`` show only to a reader with CAP_NET_ADMIN. ``bound_inactive`` rows come
    only to one who asks for that state (kernel 6.8 and later). ``protocol`` 262 rows come only from a dump of MPTCP.
    """

    shows: str
    state: str
    family: int
    local: Address
    peer: Address
    protocol: int = socket.IPPROTO_TCP
    cookie: int | None = None
    inode: int | None = None
    uid: int | None = None
    bound_inactive: bool = False
    equals: Mapping[str, int | str] = field(default_factory=dict)
    at_least: Mapping[str, int] = field(default_factory=dict)
    bits: Mapping[str, int] = field(default_factory=dict)
    present: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        """Family and both ends."""
        return self.family, self.local, self.peer


class Zoo:
    """The sockets, what they show, and what is missing: ``missing[exhibit]`` is the reason. A context manager."""

    def __init__(self, own_namespace: bool) -> None:
        self.own_namespace = own_namespace
        self.sockets: list[socket.socket] = []
        self.expected: list[Expected] = []
        self.missing: dict[str, str] = {}
        self.controls: tuple[str, ...] = ()
        self.conditions: list[tuple[str, Callable[[], bool]]] = []
        self.undo: list[Callable[[], object]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes all sockets and takes back what was set up; TIME-WAIT rows stay as long as the kernel keeps them."""
        while self.sockets:
            self.sockets.pop().close()
        while self.undo:
            self.undo.pop()()

    def told(self) -> tuple[list[Expected], dict[str, str]]:
        """``expected`` and ``missing``: what goes to another process."""
        return self.expected, self.missing

    def open(self, family: int, protocol: int = 0) -> socket.socket:
        """A socket that lives until ``close``."""
        opened = socket.socket(family, socket.SOCK_STREAM, protocol)
        opened.settimeout(2.0)
        self.sockets.append(opened)
        return opened

    def drop(self, *closing: socket.socket) -> None:
        """Closes these at once."""
        for each in closing:
            self.sockets.remove(each)
            each.close()

    def listener(
        self, family: int, *, backlog: int = 16, protocol: int = 0, prepare: Prepare | None = None, address: str = ""
    ) -> socket.socket:
        """A listener on the loopback address, prepared before it is bound; not yet in ``expected``."""
        opened = self.open(family, protocol)
        if prepare:
            prepare(opened)
        opened.bind((address or LOOPBACK[family], 0))
        opened.listen(backlog)
        return opened

    def pair(
        self, listener: socket.socket, *, protocol: int = 0, prepare: Prepare | None = None, address: str = ""
    ) -> tuple[socket.socket, socket.socket]:
        """A connection to the listener: the end that connected, prepared before, and the one that was accepted."""
        caller = self.open(listener.family, protocol)
        if prepare:
            prepare(caller)
        target = listener.getsockname()
        caller.connect((address, *target[1:]) if address else target)
        return caller, self.accept(listener)

    def accept(self, listener: socket.socket) -> socket.socket:
        """Takes one connection from the listener."""
        accepted, _ = listener.accept()
        accepted.settimeout(2.0)
        self.sockets.append(accepted)
        return accepted

    def claim(
        self,
        of: socket.socket,
        state: str,
        shows: str,
        *,
        peer: Address | None = None,
        orphan: bool = False,
        bound_inactive: bool = False,
        uid: int | None = None,
        equals: Mapping[str, int | str] | None = None,
        at_least: Mapping[str, int] | None = None,
        bits: Mapping[str, int] | None = None,
        present: tuple[str, ...] = (),
    ) -> None:
        """Writes down what the socket is, now or soon; ``orphan`` if it is to be closed before the zoo is ready;
        ``uid`` where it is not this process's.
        """
        if peer is None:
            peer = ANY[of.family] if state in ("LISTEN", "UNCONN") else address_of(of.getpeername())
        self.expected.append(
            Expected(
                shows,
                state,
                int(of.family),
                address_of(of.getsockname()),
                peer,
                protocol=IPPROTO_MPTCP if of.proto == IPPROTO_MPTCP else socket.IPPROTO_TCP,
                cookie=cookie_of(of),
                inode=0 if orphan else os.fstat(of.fileno()).st_ino,
                uid=None if orphan else os.geteuid() if uid is None else uid,
                bound_inactive=bound_inactive,
                equals=equals or {},
                at_least=at_least or {},
                bits=bits or {},
                present=present,
            )
        )

    def claim_both(self, ends: tuple[socket.socket, socket.socket], shows: str) -> None:
        """Both ends of a plain connection."""
        for end, side in zip(ends, ("connected", "accepted"), strict=True):
            self.claim(end, "ESTAB", f"{shows}, {side} end")

    def claim_unheld(self, state: str, shows: str, caller: socket.socket) -> None:
        """The other end of ``caller``, for which no descriptor stands (queued, half open)."""
        family, local, peer = int(caller.family), address_of(caller.getpeername()), address_of(caller.getsockname())
        self.expected.append(Expected(shows, state, family, local, peer, inode=0))

    def until(self, shows: str, condition: Callable[[], bool]) -> None:
        """What must come true before the zoo is ready."""
        self.conditions.append((shows, condition))


Prepare = Callable[[socket.socket], object]
Exhibit = Callable[[Zoo, int], None]


class Unavailable(Exception):
    """The rest of this exhibit cannot be had here; the text is the reason. What was opened before it stays."""


def address_of(name: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """Address and port without the scope that Python writes behind a link-local address."""
    return name[0].partition("%")[0], name[1]


def cookie_of(of: socket.socket) -> int:
    """SO_COOKIE, the number that ``idiag_cookie`` shows."""
    cookie: int = struct.unpack("=Q", of.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0]
    return cookie


def states_now() -> dict[Key, str]:
    """Every TCP socket of this namespace by /proc/net/tcp and tcp6 (bound-inactive and MPTCP ones are not there)."""
    found = {}
    for family, file in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        path = Path("/proc/net", file)
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            _, local, peer, state, *_ = line.split()
            found[(int(family), _proc_address(family, local), _proc_address(family, peer))] = _STATES[int(state, 16)]
    return found


def _proc_address(family: int, text: str) -> Address:
    words, _, port = text.partition(":")
    raw = b"".join(int(words[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(words), 8))
    return socket.inet_ntop(family, raw), int(port, 16)
