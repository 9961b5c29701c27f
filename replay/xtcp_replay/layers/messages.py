"""Messages of sock_diag for one host: the classes of `of(order, release, protocol)`, made from the schema.

    nl = of(">", (6, 1))
    nl.nlmsghdr(nlmsg_seq=7) / nl.inet_diag_msg(idiag_state="ESTAB", attributes=[nl.INET_DIAG_INFO(tcpi_rtt=150)])

Classes have the kernel's names, `struct` or attribute, and the members the names of the schema's columns. `datagram`
is several messages behind each other. Lengths and padding are computed where they are None, and written as they are
where they are given, right or wrong; a member of None is left out. Reading never raises, and what is read is built
again byte for byte.
"""

# ruff: noqa: ARG002 - the signatures are scapy's
from __future__ import annotations

import errno
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Final

from scapy.packet import Packet, Raw

from xtcp.netlink import numbers as nl
from xtcp.schema.inet_diag import (
    ATTRIBUTES,
    INET_DIAG_MSG,
    INET_DIAG_REQ,
    INET_DIAG_REQ_V2,
    IPPROTO_MPTCP,
    IPPROTO_TCP,
    NLMSGHDR,
)
from xtcp.schema.model import Order
from xtcp.schema.requests import ERROR_ATTRIBUTES, NLMSGERR, REQUEST_ATTRIBUTES
from xtcp.schema.tcp_info import TCP_INFO
from xtcp_replay.layers.attributes import Attributes
from xtcp_replay.layers.bytecode import bytecode
from xtcp_replay.layers.fields import Chain, Member, Padding, Remainder
from xtcp_replay.layers.structs import Layer, layer, length_field, struct_fields
from xtcp_replay.layers.words import MESSAGE_TYPES, message_flags
from xtcp_replay.reading.diag_request import NOT_INET

_SOCK_DESTROY: Final = 21
_V2_REQUESTS: Final = frozenset({nl.SOCK_DIAG_BY_FAMILY, _SOCK_DESTROY})
_OLD: Final = frozenset({nl.TCPDIAG_GETSOCK, nl.TCPDIAG_GETSOCK + 1})
_HEADER: Final = "IHHII"


@dataclass(frozen=True)
class Layers:
    """The classes of one host, each an attribute of its name, like `nlmsghdr`, `inet_diag_msg`, `INET_DIAG_INFO`."""

    order: Order
    release: tuple[int, int] | None
    protocol: int
    classes: dict[str, type[Layer]]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.classes[name]
        except KeyError:
            raise AttributeError(name) from None


def of(order: Order, release: tuple[int, int] | None = None, protocol: int = IPPROTO_TCP) -> Layers:
    """The classes for a host of byte order `order` and kernel `release` (major, minor; None: unknown), and for a dump
    of `protocol`. Made once for all releases that lay out their structs alike.
    """
    tail = next((tail.since for tail in TCP_INFO.tails if tail.covers(release)), None)
    return _made(order, tail, IPPROTO_MPTCP if protocol == IPPROTO_MPTCP else IPPROTO_TCP)


class _Message(Layer):
    """`struct nlmsghdr`; its payload is the message."""

    length_name = "nlmsg_len"
    bodies: ClassVar[dict[str, type[Layer]]] = {}

    def _end(self, s: bytes) -> int:
        return max(super()._end(s), nl.NLMSG_HDRLEN)

    def guess_payload_class(self, payload: bytes) -> type[Packet]:
        """What the type, and NLM_F_REQUEST, say."""
        kind, flags = self.nlmsg_type, self.nlmsg_flags
        classes = type(self).bodies
        name = ""
        if flags & nl.NLM_F_REQUEST:
            if kind in _V2_REQUESTS and payload[0] not in NOT_INET:
                name = INET_DIAG_REQ_V2.name
            elif kind in _OLD:
                name = INET_DIAG_REQ.name
        elif kind in (nl.SOCK_DIAG_BY_FAMILY, *_OLD):
            name = "" if payload[0] in NOT_INET else INET_DIAG_MSG.name
        elif kind == nl.NLMSG_DONE:
            name = "NLMSG_DONE"
        elif kind == nl.NLMSG_ERROR and not _inside_error(self):
            name = NLMSGERR.name
        found: type[Packet] = classes.get(name, Raw)
        return found

    def mysummary(self) -> str:
        """The type in words."""
        return f"{type(self).__name__} {MESSAGE_TYPES.get(self.nlmsg_type, self.nlmsg_type)}"


class _Datagram(Layer):
    """Messages, and in `rest` what makes none."""

    def mysummary(self) -> str:
        """How many there are."""
        return f"{len(self.messages)} messages"


class _Answer(Layer):
    """The body of NLMSG_DONE or NLMSG_ERROR: attributes only where NLM_F_ACK_TLVS says so, and in `rest` all else."""

    def do_dissect(self, s: bytes) -> bytes:
        """Reads the fields; the request inside an error ends where it says, or with its header if it was capped."""
        self.explicit = 1
        flags = self.underlayer.nlmsg_flags if isinstance(self.underlayer, _Message) else 0
        for field in self.fields_desc:
            value: Any = None
            if isinstance(field, _Inner):
                s, value = field.read(self, s, capped=bool(flags & nl.NLM_F_CAPPED))
            elif isinstance(field, Chain) and not flags & nl.NLM_F_ACK_TLVS:
                value = []
            else:
                s, value = field.getfield(self, s)
            self.fields[field.name] = value
        return s


class _Inner(Remainder):
    """The request that an error is about: a message in the middle of one, maybe only its header."""

    __slots__ = ["cls", "order"]
    holds_packets = 1

    def __init__(self, name: str, cls: type[Layer], order: Order) -> None:
        super().__init__(name, None)
        self.cls = cls
        self.order = order

    def size(self, value: Any) -> int:
        """Bytes on the wire."""
        return 0 if value is None else len(bytes(value))

    def read(self, pkt: Packet, s: bytes, *, capped: bool) -> tuple[bytes, Any]:
        """Rest and message, None where not even its header is there."""
        if len(s) < nl.NLMSG_HDRLEN:
            return s, None
        length = int.from_bytes(s[:4], "little" if self.order == "<" else "big")
        end = nl.NLMSG_HDRLEN if capped else max(nl.aligned(length), nl.NLMSG_HDRLEN)
        return s[end:], self.cls(s[:end], _internal=1, _parent=pkt)

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        """The message as it is built."""
        return s if val is None else s + bytes(val)


def _inside_error(message: Packet) -> bool:
    """Whether a message stands in an error: one of an error there is left alone, else they would nest without end."""
    return isinstance(message.parent, _Answer)


class _Flags(Member):
    """`nlmsg_flags`."""

    __slots__ = ()

    def words(self, value: int) -> str:
        """The names of the flags."""
        return message_flags(value)


class _Errno(Member):
    """An errno, negative as the kernel sends it; 0 is none."""

    __slots__ = ()

    def words(self, value: int) -> str:
        """Its name."""
        return errno.errorcode.get(-value, "")


@cache  # two orders, as many layouts as tcp_info has, two protocols
def _made(order: Order, release: tuple[int, int] | None, protocol: int) -> Layers:
    attributes = Attributes(order, release, protocol)
    made = attributes.made
    attributes.lists = {**attributes.lists, "INET_DIAG_REQ_BYTECODE": bytecode(order, made)}

    header = layer(NLMSGHDR.name, _header_fields(order), _Message, bodies=made)

    def body(name: str, *fields: Any, base: type[Layer] = Layer, flags: int, kind: int, **more: Any) -> None:
        below = {header: {"nlmsg_type": kind, "nlmsg_flags": flags}}
        made[name] = layer(name, [*fields, Remainder("rest")], base, overload_fields=below, **more)

    rows, asked = attributes.chain(ATTRIBUTES), attributes.chain(REQUEST_ATTRIBUTES)
    for struct, chain, flags, kind in (
        (INET_DIAG_MSG, rows, nl.NLM_F_MULTI, nl.SOCK_DIAG_BY_FAMILY),
        (INET_DIAG_REQ_V2, asked, nl.NLM_F_REQUEST | nl.NLM_F_DUMP, nl.SOCK_DIAG_BY_FAMILY),
        (INET_DIAG_REQ, asked, nl.NLM_F_REQUEST | nl.NLM_F_DUMP, nl.TCPDIAG_GETSOCK),
    ):
        body(struct.name, *struct_fields(struct, order, release), chain, flags=flags, kind=kind, struct=struct)
    said = attributes.chain(ERROR_ATTRIBUTES)
    error, inner = _Errno(NLMSGERR.fields[0].name, order + "i"), _Inner("msg", header, order)
    body("NLMSG_DONE", error, said, base=_Answer, flags=nl.NLM_F_MULTI, kind=nl.NLMSG_DONE)
    body(NLMSGERR.name, error, inner, said, base=_Answer, flags=0, kind=nl.NLMSG_ERROR)
    made[NLMSGHDR.name] = header
    messages = Chain("messages", order + _HEADER, 0, lambda _: header)
    made["datagram"] = layer("datagram", [messages, Remainder("rest")], _Datagram)
    return Layers(order, release, protocol, made)


def _header_fields(order: Order) -> list[Any]:
    """The members of `struct nlmsghdr`, its length computed, its type and flags in words; then what pads it."""
    fields = {field.name: field for field in struct_fields(NLMSGHDR, order, None)}
    fields["nlmsg_len"] = length_field("nlmsg_len", order, "I")
    fields["nlmsg_type"] = Member("nlmsg_type", order + "H", names=MESSAGE_TYPES)
    fields["nlmsg_flags"] = _Flags("nlmsg_flags", order + "H")
    return [*fields.values(), Padding()]
