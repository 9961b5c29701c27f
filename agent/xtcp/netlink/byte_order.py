"""The byte order of a host, found from netlink messages that it wrote. No I/O.

A message begins with u32 nlmsg_len, u16 nlmsg_type. The types that sock_diag uses are below 256, so in the other
order none of them is a type at all, and a length that fits in one order is millions in the other: one header nearly
always decides, a chain of them always does.
"""

from __future__ import annotations

import struct
from typing import Final

from xtcp.netlink.numbers import (
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_HDRLEN,
    NLMSG_NOOP,
    NLMSG_OVERRUN,
    SOCK_DIAG_BY_FAMILY,
    TCPDIAG_GETSOCK,
    aligned,
)
from xtcp.schema.model import Order

# include/uapi/linux/inet_diag.h and sock_diag.h: DCCPDIAG_GETSOCK is 19, SOCK_DESTROY 21.
KNOWN_TYPES: Final = frozenset(
    {NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN, TCPDIAG_GETSOCK, 19, SOCK_DIAG_BY_FAMILY, 21}
)

# No message is longer: the kernel fills 32 KiB a datagram, a few times that with BPF storages.
LONGEST_MESSAGE: Final = 1 << 20

_HEADER: Final = {"<": struct.Struct("<IH"), ">": struct.Struct(">IH")}
_ORDERS: Final[tuple[Order, Order]] = ("<", ">")


def plausible_messages(messages: bytes | bytearray | memoryview, order: Order) -> int:
    """How many messages in a row, from the start, have a possible length and a known type in `order`.

    The last may reach beyond the end: a datagram that was cut, or the beginning of a file.
    """
    read = _HEADER[order].unpack_from
    count = at = 0
    while at + NLMSG_HDRLEN <= len(messages):
        length, kind = read(messages, at)
        if not NLMSG_HDRLEN <= length <= LONGEST_MESSAGE or kind not in KNOWN_TYPES:
            break
        count += 1
        at += aligned(length)
    return count


def fills(datagram: bytes | bytearray | memoryview, order: Order) -> bool:
    """Whether lengths that are possible in `order` lead from the start of a datagram exactly to its end, whatever the
    types of its messages: weaker than a known type, and in rare cases so in both orders.
    """
    read = _HEADER[order].unpack_from
    at = 0
    while at + NLMSG_HDRLEN <= len(datagram):
        length, _ = read(datagram, at)
        if not NLMSG_HDRLEN <= length <= len(datagram) - at:
            return False
        at += aligned(length)
    return at >= len(datagram) > 0


def detect(messages: bytes | bytearray | memoryview) -> Order | None:
    """The order in which a datagram, or the beginning of a file of messages, reads as messages.

    None where it does in neither: no whole header, or a first message of a type that is not known. In both it cannot:
    a known type, turned round, is none.
    """
    little, big = (plausible_messages(messages, order) for order in _ORDERS)
    if little == big:
        return None
    return "<" if little > big else ">"
