"""The error queue of a socket for datagrams: what came back for those that were sent (IP_RECVERR in ip(7)).

An answer (ICMP) concerns a datagram that was sent before, and without the queue the kernel reports it instead of
sending the next one, once for however many there were. On IPv4 the queue also has the kernel report a datagram that a
full device queue dropped (ENOBUFS), which is passed over in silence otherwise.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from typing import Final

# include/uapi/linux/in.h, in6.h and errqueue.h: struct sock_extended_err begins with u32 ee_errno, u8 ee_origin, and
# the origins are SO_EE_ORIGIN_ICMP and SO_EE_ORIGIN_ICMP6.
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_KINDS: Final = ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR))
_EXTENDED_ERROR: Final = struct.Struct("=IB")
_ANSWERS: Final = (2, 3)
_INET: Final = (socket.AF_INET, socket.AF_INET6)


def keep_answers(sock: socket.socket) -> None:
    """Has the kernel keep them; nothing for a socket that has none."""
    if sock.family in _INET:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)


def answers(sock: socket.socket) -> Counter[int]:
    """How many came since the last call, by errno; takes them out of the queue of a socket that does not block."""
    found: Counter[int] = Counter()
    while sock.family in _INET:
        try:
            _, said, _, _ = sock.recvmsg(0, 512, socket.MSG_ERRQUEUE)
        except OSError:  # it is empty
            break
        for level, kind, data in said:
            if (level, kind) in _KINDS and len(data) >= _EXTENDED_ERROR.size:
                code, origin = _EXTENDED_ERROR.unpack_from(data)
                if origin in _ANSWERS:
                    found[code] += 1
    return found
