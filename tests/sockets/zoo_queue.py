"""A queue on the loopback interface of the zoo's namespace: fq, which holds paced packets back and can mark late ones.

In: requests to the kernel by rtnetlink (tc(8) is not on every guest). Out: nothing but what the queue does. Needs
CAP_NET_ADMIN and a namespace of the zoo's own; raises ``Unavailable`` where the kernel has no such queue.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

from tests.sockets.zoo_keeping import Unavailable, Zoo

# include/uapi/linux/rtnetlink.h, pkt_sched.h
RTM_NEWQDISC, RTM_DELQDISC, NLMSG_ERROR = 36, 37, 2
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x400
TCA_KIND, TCA_OPTIONS, TCA_FQ_CE_THRESHOLD = 1, 2, 12
_ROOT: Final = 0xFFFF_FFFF


@contextlib.contextmanager
def congested(zoo: Zoo) -> Iterator[None]:
    """Every packet of an ECN connection that the queue has held back is marked: it takes all of them for late."""
    _put(zoo, _attribute(TCA_FQ_CE_THRESHOLD, struct.pack("=I", 0)))
    try:
        yield
    finally:
        take_away()


def hold_back(zoo: Zoo) -> None:
    """From now on paced packets wait in a queue of the loopback, not in the socket's."""
    _put(zoo, b"")


def take_away() -> None:
    """The loopback without a queue, as it is at first; with what waits in it."""
    _ask(RTM_DELQDISC, 0, b"")


def _put(zoo: Zoo, options: bytes) -> None:
    if not zoo.own_namespace:
        raise Unavailable("needs a queue on the loopback, and this namespace is not ours alone")
    body = _attribute(TCA_KIND, b"fq\0") + _attribute(TCA_OPTIONS, options)
    number = _ask(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body)
    if number == errno.ENOENT:
        raise Unavailable("this kernel has no fq, the queue that holds packets back and marks them")
    if number:
        raise Unavailable(f"the queue fq cannot be put on the loopback: {os.strerror(number)}")


def _ask(kind: int, flags: int, attributes: bytes) -> int:
    """Asks for a change of the loopback's root queue; the kernel's errno, 0 where it is done."""
    message = struct.pack("=B3xiIII", 0, socket.if_nametoindex("lo"), 0, _ROOT, 0) + attributes  # struct tcmsg
    header = struct.pack("=IHHII", 16 + len(message), kind, NLM_F_REQUEST | NLM_F_ACK | flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        route.send(header + message)
        answer = route.recv(65536)
    assert struct.unpack_from("=H", answer, 4)[0] == NLMSG_ERROR
    return -int(struct.unpack_from("=i", answer, 16)[0])


def _attribute(number: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), number) + payload + bytes(-len(payload) % 4)
