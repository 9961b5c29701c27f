"""Replies: what one datagram of sock_diag replies says of the dump it belongs to. Rows are not looked into."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from xtcp.netlink.byte_order import LONGEST_MESSAGE
from xtcp.netlink.numbers import (
    NLM_F_MULTI,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_HDRLEN,
    SOCK_DIAG_BY_FAMILY,
    TCPDIAG_GETSOCK,
    aligned,
)
from xtcp.schema.inet_diag import INET_DIAG_MSG
from xtcp.schema.layout import members
from xtcp.schema.model import Order

_ROWS: Final = frozenset({SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK, TCPDIAG_GETSOCK + 1})
_DONE_LEN: Final = 20
_FULL: Final = 4 << 10
# struct inet_diag_sockid: from the ports to the cookie.
_PLACE: Final = {m.column: NLMSG_HDRLEN + m.offset for m in members(INET_DIAG_MSG, "<", None)}
_SOCKET: Final = slice(_PLACE["idiag_sport"], _PLACE["idiag_cookie"] + 8)
_READERS: Final = {order: struct.Struct(order + "IHH").unpack_from for order in ("<", ">")}
_LASTS: Final = {order: struct.Struct(order + "IHHIIi").unpack_from for order in ("<", ">")}


class Reply(NamedTuple):
    """`done`: a NLMSG_DONE is in it; `ends`: that, or an error, whose `errno` it has (positive, 0 for none). `multi`:
    it is part of a dump. `family` is that of the first row, None without rows, and `socket` the first row's
    `inet_diag_sockid`, empty where the datagram does not begin with a row.
    """

    done: bool
    ends: bool
    multi: bool
    family: int | None
    socket: bytes
    errno: int
    messages: int


def read_on(netlink: memoryview, order: Order, kind: int, flags: int, whose: tuple[int, int]) -> Reply:
    """What a datagram in the middle of a dump of TCP sockets says; `kind` and `flags` are its first message's, `whose`
    (nlmsg_seq, nlmsg_pid) of the dump.

    Full ones are not walked, which would cost as much as decoding them: the kernel sends a NLMSG_DONE alone, or as
    the last of the datagram. Should one stand elsewhere, decode sets aside what is behind it.
    """
    if len(netlink) < _FULL or kind not in _ROWS or not flags & NLM_F_MULTI:
        return read_reply(netlink, order)
    length, kind, _, seq, port, code = _LASTS[order](netlink, len(netlink) - _DONE_LEN)
    done = (length, kind) == (_DONE_LEN, NLMSG_DONE) and (seq, port) == whose
    return Reply(done, done, True, netlink[NLMSG_HDRLEN], bytes(netlink[_SOCKET]), abs(code) if done else 0, 0)


def read_reply(netlink: memoryview, order: Order) -> Reply:
    """Looks at each message's header, and at the first row."""
    read = _READERS[order]
    done = ends = multi = False
    family: int | None = None
    socket = b""
    at = count = errno = 0
    while at + NLMSG_HDRLEN <= len(netlink):
        length, kind, flags = read(netlink, at)
        if not NLMSG_HDRLEN <= length <= LONGEST_MESSAGE:
            break
        count += 1
        multi |= bool(flags & NLM_F_MULTI)
        if kind in _ROWS:
            if family is None and at + NLMSG_HDRLEN < len(netlink):
                family = netlink[at + NLMSG_HDRLEN]
                socket = b"" if at else bytes(netlink[_SOCKET])
        elif kind == NLMSG_DONE:
            done = ends = True
            errno = _errno(netlink, order, at)
        elif kind == NLMSG_ERROR:
            # An error of 0 is an acknowledgement, which ends nothing.
            code = _errno(netlink, order, at)
            ends |= code != 0 or len(netlink) < at + _DONE_LEN
            errno = code or errno
        at += aligned(length)
    return Reply(done, ends, multi, family, socket, errno, count)


def _errno(netlink: memoryview, order: Order, at: int) -> int:
    """Of the NLMSG_DONE or NLMSG_ERROR at `at`, 0 where it is cut."""
    if at + _DONE_LEN > len(netlink):
        return 0
    code: int = _LASTS[order](netlink, at)[5]
    return abs(code)
