"""A connected UDP socket to `HOST:PORT`: asks for the name's addresses, and takes the first that has a route."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass

from xtcp.sinks.network.address import HostPort


@dataclass(frozen=True)
class Marks:
    """What its packets carry, and how much of them the kernel may keep (bytes); None: the system's default.

    `ttl` is the hop limit too, `dscp` the six bits of RFC 2474.
    """

    sndbuf: int | None = None
    ttl: int | None = None
    dscp: int | None = None


def connected(where: HostPort, marks: Marks | None = None) -> socket.socket:
    """A socket that does not block. Raises OSError, `socket.gaierror` where the name has no address.

    Blocks as long as the resolver takes; call it where that hurts nobody.
    """
    found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_DGRAM, proto=socket.IPPROTO_UDP)
    failed = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    for family, kind, protocol, _, address in found:
        sock = None
        try:
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            _mark(sock, marks or Marks())
            sock.connect(address)
        except OSError as error:
            failed = error
            if sock is not None:
                sock.close()
        else:
            return sock
    raise failed


def _mark(sock: socket.socket, marks: Marks) -> None:
    six = sock.family == socket.AF_INET6
    if marks.sndbuf is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, marks.sndbuf)
    if marks.ttl is not None and six:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, marks.ttl)
    elif marks.ttl is not None:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, marks.ttl)
    if marks.dscp is not None and six:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, marks.dscp << 2)
    elif marks.dscp is not None:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, marks.dscp << 2)
