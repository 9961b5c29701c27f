"""What a sock_diag request in a capture asked for: the context of the replies behind it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from xtcp.netlink.numbers import NLA_HDRLEN, NLA_TYPE_MASK, NLMSG_HDRLEN, SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK, aligned
from xtcp.netlink.request import INET_DIAG_REQ_PROTOCOL
from xtcp.schema.inet_diag import INET_DIAG_REQ_V2, IPPROTO_MPTCP, IPPROTO_TCP
from xtcp.schema.layout import size_of
from xtcp.schema.model import Order

# Linux address families and protocols that sock_diag serves; their replies are not all of one shape.
AF_UNSPEC, AF_INET, AF_INET6 = 0, 2, 10
INET_FAMILIES: Final = frozenset({AF_UNSPEC, AF_INET, AF_INET6})
NOT_INET: Final = {1: "UNIX", 16: "netlink", 17: "packet", 30: "TIPC", 40: "vsock", 43: "SMC", 44: "XDP"}
_PROTOCOLS: Final = {17: "UDP", 33: "DCCP", 132: "SCTP", 136: "UDPLITE", 255: "raw"}
_V2_LEN: Final = size_of(INET_DIAG_REQ_V2)


@dataclass(frozen=True)
class Asked:
    """`family` 0: IPv4 and IPv6; `protocol` as in `IPPROTO_*`."""

    family: int = AF_UNSPEC
    protocol: int = IPPROTO_TCP

    def __str__(self) -> str:
        family = {AF_UNSPEC: "IPv4 and IPv6", AF_INET: "IPv4", AF_INET6: "IPv6"}.get(self.family)
        if self.others is not None or family is None:
            return self.others or f"family {self.family}"
        return f"{family} {'MPTCP' if self.protocol == IPPROTO_MPTCP else 'TCP'}"

    @property
    def others(self) -> str | None:
        """What kind of sockets it asked for, where that is neither TCP nor MPTCP."""
        if self.family not in INET_FAMILIES:
            return f"{NOT_INET.get(self.family, f'family {self.family}')} sockets"
        if self.protocol not in {IPPROTO_TCP, IPPROTO_MPTCP}:
            return f"{_PROTOCOLS.get(self.protocol, f'protocol {self.protocol}')} sockets"
        return None


def asked_for(message: memoryview, kind: int, order: Order) -> Asked:
    """What the request `message` (from its nlmsghdr on, maybe cut) of type `kind` asked for."""
    if kind == TCPDIAG_GETSOCK:
        return Asked()
    if kind == TCPDIAG_GETSOCK + 1:
        return Asked(protocol=33)
    body = message[NLMSG_HDRLEN:]
    if kind != SOCK_DIAG_BY_FAMILY or len(body) < 2:
        return Asked()
    family, protocol = body[0], body[1]
    if family not in INET_FAMILIES:
        return Asked(family)
    at = _V2_LEN
    while at + NLA_HDRLEN <= len(body):
        length, number = struct.unpack_from(order + "HH", body, at)
        if length < NLA_HDRLEN or at + length > len(body):
            break
        if number & NLA_TYPE_MASK == INET_DIAG_REQ_PROTOCOL and length == NLA_HDRLEN + 4:
            (protocol,) = struct.unpack_from(order + "I", body, at + NLA_HDRLEN)
        at += aligned(length)
    return Asked(family, protocol)
