"""Anatomy: every byte of a datagram of sock_diag messages, and what it is.

`parts` walks a datagram and gives its parts in order, without gaps; a part is a struct of the schema table, a text, or
bytes that are not understood. `places` gives the members of a part. What reads or rewrites messages asks here where
things stand, and the answer comes from the table alone.

1. Damage never raises. A header that makes no sense is a part of its own (`REMNANT`) with the bytes behind it, and is
   as long in either byte order: what a byte order can be given to is, so that a twin breaks at the same places.
2. A message that the datagram's end cuts is walked as far as it is there.
3. `kernel` says how the last four bytes of `tcp_info` lie; unknown, they are `SURPLUS`. `protocol` says what
   `INET_DIAG_INFO` is; neither TCP nor MPTCP, it is `UNKNOWN`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from xtcp.netlink.byte_order import LONGEST_MESSAGE
from xtcp.netlink.numbers import (
    NLA_HDRLEN,
    NLA_TYPE_MASK,
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_HDRLEN,
    SOCK_DIAG_BY_FAMILY,
    TCPDIAG_GETSOCK,
    aligned,
)
from xtcp.schema.inet_diag import (
    ATTRIBUTES,
    INET_DIAG_MSG,
    INET_DIAG_REQ,
    INET_DIAG_REQ_V2,
    IPPROTO_MPTCP,
    IPPROTO_TCP,
    NLMSGHDR,
    TCP_DIAG_MD5SIG,
    info_struct,
)
from xtcp.schema.layout import size_of
from xtcp.schema.model import BLOB, TEXT, Attribute, Field, Nest, Order, Struct
from xtcp.schema.requests import (
    CONDITIONS,
    ERROR_ATTRIBUTES,
    HOSTCOND_ADDRESSES,
    INET_DIAG_BC_OP,
    INET_DIAG_HOSTCOND,
    NLATTR,
    NLMSGERR,
    REQUEST_ATTRIBUTES,
)
from xtcp_replay.reading.diag_request import NOT_INET

Kernel = tuple[int, int] | None

_DCCPDIAG_GETSOCK: Final = 19
_SOCK_DESTROY: Final = 21
_ROWS: Final = frozenset({TCPDIAG_GETSOCK, _DCCPDIAG_GETSOCK, SOCK_DIAG_BY_FAMILY})
_OLD_REQUESTS: Final = frozenset({TCPDIAG_GETSOCK, _DCCPDIAG_GETSOCK})
_NEW_REQUESTS: Final = frozenset({SOCK_DIAG_BY_FAMILY, _SOCK_DESTROY})
_MD5SIG_LEN: Final = size_of(TCP_DIAG_MD5SIG)
_HOSTCOND_LEN: Final = size_of(INET_DIAG_HOSTCOND)


class What(Enum):
    """What the bytes of a part are.

    `STRUCT`: members of a struct of the table, whole. `TEXT`, `BLOB`: a payload of the table that is no numbers (a
    blob's own structure is not known here). `PADDING`: up to the next multiple of 4, and a payload that carries
    nothing. `SURPLUS`: behind the last member that is known or whole. `UNKNOWN`: an attribute or a message that is not
    in the table. `REMNANT`: what damage left; its header, where there is one, is a part with a struct.
    """

    STRUCT = "struct"
    TEXT = "text"
    BLOB = "blob"
    PADDING = "padding"
    SURPLUS = "surplus"
    UNKNOWN = "unknown"
    REMNANT = "remnant"


NOT_UNDERSTOOD: Final = frozenset({What.BLOB, What.SURPLUS, What.UNKNOWN, What.REMNANT})


@dataclass(frozen=True, eq=False)
class Layout:
    """The members of `struct` that `size` bytes hold: (offset, size, Field), None for a hole between two of them.

    The same object for the same struct, size and kernel, so that what is made of it can be kept by it.
    """

    struct: Struct
    size: int
    members: tuple[tuple[int, int, Field | None], ...]


class Part(NamedTuple):
    """Bytes [offset, offset + size) of the datagram.

    `layout` is there for `STRUCT`, and for a remnant's header. `path` is the attribute numbers that lead here, `()`
    outside of attributes. `why` says of bytes that are not understood what they are, in few words.
    """

    offset: int
    size: int
    what: What
    layout: Layout | None = None
    path: tuple[int, ...] = ()
    why: str = ""


class _Chain(NamedTuple):
    """The attributes that one level can have; `name` is what an unknown one is called, `nests` the chains below."""

    name: str
    attributes: dict[int, Attribute]
    nests: dict[int, _Chain]


class Place(NamedTuple):
    """One member, or all of a part without members; `field` None for the latter and for holes (`PADDING`)."""

    offset: int
    size: int
    what: What
    field: Field | None
    part: Part

    @property
    def name(self) -> str:
        """The member's name, `""` where there is none."""
        return self.field.name if self.field is not None else ""


def places(netlink: bytes, order: Order, kernel: Kernel, protocol: int | None) -> Iterator[Place]:
    """`parts`, each member on its own: every byte of the datagram once, in order."""
    for part in parts(netlink, order, kernel, protocol):
        if part.layout is None:
            yield Place(part.offset, part.size, part.what, None, part)
        else:
            for offset, size, field in part.layout.members:
                what = What.PADDING if field is None else part.what
                yield Place(part.offset + offset, size, what, field, part)


def parts(netlink: bytes, order: Order, kernel: Kernel, protocol: int | None) -> list[Part]:
    """The parts of a datagram whose host has `order`; none of them is empty. Never raises, whatever the bytes."""
    walk = _Walk(netlink, order, kernel, protocol)
    walk.datagram()
    return walk.parts


def layout_of(struct: Struct, room: int, kernel: Kernel) -> Layout:
    """The members of `struct` on `kernel` that end within `room` bytes; offsets by the C ABI."""
    # By identity: the hash of a struct is that of all its rows.
    key = (id(struct), min(room, longest(struct)), kernel if struct.tails else None)
    layout = _LAYOUTS.get(key)
    if layout is None:
        layout = _LAYOUTS[key] = _lay_out(struct, room, kernel)
    return layout


def longest(struct: Struct) -> int:
    """The bytes of `struct` on the kernel where it is longest."""
    known = _LONGEST.get(id(struct))
    if known is None:
        sizes = [size_of(struct), *(size_of(struct, tail.since) for tail in struct.tails)]
        known = _LONGEST[id(struct)] = (max(sizes), struct)
    return known[0]


# The structs are kept with what is known by their identity, which is theirs as long as they are.
_LAYOUTS: Final[dict[tuple[int, int, Kernel], Layout]] = {}
_LONGEST: Final[dict[int, tuple[int, Struct]]] = {}


def _lay_out(struct: Struct, room: int, kernel: Kernel) -> Layout:
    found: list[tuple[int, int, Field | None]] = []
    end = 0
    for field in struct.members(kernel):
        at = -(-end // field.kind.align) * field.kind.align
        if at + field.kind.size > room:
            break
        if at > end:
            found.append((end, at - end, None))
        found.append((at, field.kind.size, field))
        end = at + field.kind.size
    return Layout(struct, end, tuple(found))


class _Walk:
    """One datagram, walked once."""

    def __init__(self, netlink: bytes, order: Order, kernel: Kernel, protocol: int | None) -> None:
        self.parts: list[Part] = []
        self._netlink = netlink
        self._kernel = kernel
        self._info = info_struct(protocol) if protocol in {IPPROTO_TCP, IPPROTO_MPTCP} else None
        self._message = struct.Struct(order + "IHH").unpack_from
        self._attribute = struct.Struct(order + "HH").unpack_from

    def datagram(self) -> None:
        netlink, end, at = self._netlink, len(self._netlink), 0
        while end - at >= NLMSG_HDRLEN:
            length, kind, flags = self._message(netlink, at)
            if not NLMSG_HDRLEN <= length <= LONGEST_MESSAGE:
                break
            self._struct(NLMSGHDR, at, at + NLMSG_HDRLEN)
            stop = min(at + length, end)
            self._payload(at + NLMSG_HDRLEN, stop, kind, flags)
            at = min(at + aligned(length), end)
            self._add(stop, at, What.PADDING)
        self._remnant(NLMSGHDR, at, end, (), "no whole message")

    def _add(self, at: int, end: int, what: What, path: tuple[int, ...] = (), why: str = "") -> None:
        if end > at:
            self.parts.append(Part(at, end - at, what, None, path, why))

    def _struct(self, table: Struct, at: int, end: int, path: tuple[int, ...] = ()) -> int:
        """The members of `table` that are there; returns where the last ends."""
        layout = layout_of(table, end - at, self._kernel)
        if layout.size:
            self.parts.append(Part(at, layout.size, What.STRUCT, layout, path))
        return at + layout.size

    def _remnant(self, header: Struct, at: int, end: int, path: tuple[int, ...], why: str) -> None:
        """What is left of a chain behind damage. A header's bytes are told apart, as far as they make one."""
        layout = layout_of(header, end - at, None)
        if layout.size == longest(header):
            self.parts.append(Part(at, layout.size, What.REMNANT, layout, path, why))
            at += layout.size
        self._add(at, end, What.REMNANT, path, why)

    def _payload(self, at: int, end: int, kind: int, flags: int) -> None:
        """The payload of a message of type `kind`."""
        if flags & NLM_F_REQUEST:
            self._request(at, end, kind)
        elif kind in _ROWS:
            family = self._netlink[at] if end > at else 0
            if kind == SOCK_DIAG_BY_FAMILY and family in NOT_INET:
                self._add(at, end, What.UNKNOWN, (), f"messages about {NOT_INET[family]} sockets")
                return
            body = self._struct(INET_DIAG_MSG, at, end)
            if body - at < longest(INET_DIAG_MSG):
                self._add(body, end, What.SURPLUS, (), "a cut inet_diag_msg")
            else:
                self._attributes(_OF_ROWS, body, end, ())
        elif kind in {NLMSG_DONE, NLMSG_ERROR}:
            self._answer(at, end, kind, flags)
        else:
            self._add(at, end, What.UNKNOWN, (), f"messages of type {kind}")

    def _request(self, at: int, end: int, kind: int) -> None:
        """What a request, or the echo of one, asks for."""
        family = self._netlink[at] if end > at else 0
        if kind in _OLD_REQUESTS:
            table = INET_DIAG_REQ
        elif kind in _NEW_REQUESTS and family not in NOT_INET:
            table = INET_DIAG_REQ_V2
        else:
            which = f"for {NOT_INET[family]} sockets" if kind in _NEW_REQUESTS else f"of type {kind}"
            self._add(at, end, What.UNKNOWN, (), f"requests {which}")
            return
        body = self._struct(table, at, end)
        if body - at < longest(table):
            self._add(body, end, What.SURPLUS, (), f"a cut {table.name}")
        else:
            self._attributes(_OF_REQUESTS, body, end, ())

    def _answer(self, at: int, end: int, kind: int, flags: int) -> None:
        """NLMSG_DONE and NLMSG_ERROR: errno, the request as an error echoes it, the extended acknowledgement."""
        at = self._struct(NLMSGERR, at, end)
        if kind == NLMSG_ERROR and end - at >= NLMSG_HDRLEN:
            length, asked, _ = self._message(self._netlink, at)
            body = self._struct(NLMSGHDR, at, end)
            whole = not flags & NLM_F_CAPPED and length > NLMSG_HDRLEN
            stop = min(at + length, end) if whole else body
            self._request(body, stop, asked)
            at = min(at + aligned(length), end) if whole else body
            self._add(stop, at, What.PADDING)
        if flags & NLM_F_ACK_TLVS:
            self._attributes(_OF_ANSWERS, at, end, ())
        else:
            self._add(at, end, What.SURPLUS, (), f"more than {'an error' if kind == NLMSG_ERROR else 'NLMSG_DONE'} has")

    def _attributes(self, chain: _Chain, at: int, end: int, path: tuple[int, ...]) -> None:
        """A chain of attributes."""
        while end - at >= NLA_HDRLEN:
            length, kind = self._attribute(self._netlink, at)
            if length < NLA_HDRLEN or length > end - at:
                break
            begin, stop, here = at + NLA_HDRLEN, at + length, (*path, kind & NLA_TYPE_MASK)
            self.parts.append(Part(at, NLA_HDRLEN, What.STRUCT, _NLATTR, here))
            attribute = chain.attributes.get(here[-1])
            if attribute is None:
                self._add(begin, stop, What.UNKNOWN, here, f"{chain.name} {'.'.join(map(str, here))}")
            elif (nest := chain.nests.get(here[-1])) is not None:
                self._attributes(nest, begin, stop, here)
            else:
                self._attribute_payload(attribute, begin, stop, here)
            at = min(at + aligned(length), end)
            self._add(stop, at, What.PADDING, here)
        self._remnant(NLATTR, at, end, path, "no whole attribute")

    def _attribute_payload(self, attribute: Attribute, at: int, end: int, path: tuple[int, ...]) -> None:
        body = attribute.body
        if attribute.name == "INET_DIAG_INFO":
            if self._info is None:
                self._add(at, end, What.UNKNOWN, path, "INET_DIAG_INFO of another protocol")
                return
            body = self._info
        if isinstance(body, Struct):
            self._add(self._struct(body, at, end, path), end, What.SURPLUS, path, f"the end of {body.name}")
        elif attribute.name == "INET_DIAG_REQ_BYTECODE":
            self._bytecode(at, end, path)
        elif attribute.name == "INET_DIAG_MD5SIG":
            for key in range(at, end, _MD5SIG_LEN):
                stop = min(key + _MD5SIG_LEN, end)
                self._add(self._struct(TCP_DIAG_MD5SIG, key, stop, path), stop, What.SURPLUS, path, "a cut MD5 key")
        elif isinstance(body, Field) and body.kind is TEXT:
            self._add(at, end, What.TEXT, path, body.name)
        elif isinstance(body, Field) and body.kind is BLOB:
            self._add(at, end, What.BLOB, path, body.name)
        else:
            self._add(at, end, What.SURPLUS, path, f"a payload of {attribute.name}")

    def _bytecode(self, at: int, end: int, path: tuple[int, ...]) -> None:
        """A filter: operations, each as long as its `yes` says, as the kernel checks it (inet_diag_bc_audit)."""
        while end - at >= _OP_LEN:
            code, length = self._netlink[at], self._netlink[at + 1]
            stop = at + length
            if length < _OP_LEN or stop > end:
                break
            body = self._struct(INET_DIAG_BC_OP, at, stop, path)
            condition = CONDITIONS.get(code)
            if condition is not None:
                begin, body = body, self._struct(condition, body, stop, path)
                if condition is INET_DIAG_HOSTCOND and body - begin == _HOSTCOND_LEN:
                    address = HOSTCOND_ADDRESSES.get(self._netlink[begin])
                    body = body if address is None else self._struct(address, body, stop, path)
            self._add(body, stop, What.SURPLUS, path, "a filter's operation")
            at = stop
        self._remnant(INET_DIAG_BC_OP, at, end, path, "no whole operation of a filter")


def _chain(name: str, attributes: tuple[Attribute, ...]) -> _Chain:
    nests = {a.number: _chain(name, a.body.attributes) for a in attributes if isinstance(a.body, Nest)}
    return _Chain(name, {a.number: a for a in attributes}, nests)


_OF_ROWS: Final = _chain("attribute", ATTRIBUTES)
_OF_REQUESTS: Final = _chain("a request's attribute", REQUEST_ATTRIBUTES)
_OF_ANSWERS: Final = _chain("an answer's attribute", ERROR_ATTRIBUTES)
_NLATTR: Final = layout_of(NLATTR, NLA_HDRLEN, None)
_OP_LEN: Final = size_of(INET_DIAG_BC_OP)
