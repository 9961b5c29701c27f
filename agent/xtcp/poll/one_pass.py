"""Whether the older request gives the same as two dumps of the newer one, checked on listeners of our own.

`TCPDIAG_GETSOCK` walks the kernel's table once for IPv4 and IPv6. Before it is trusted, two listeners on loopback,
one a family, are dumped both ways (LISTEN sockets only, which is quick) and their rows compared byte by byte.
"""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import ExitStack
from dataclasses import dataclass

from xtcp.batch import Tally
from xtcp.chunk import Chunk, Context
from xtcp.decode.messages import find_rows
from xtcp.errors import XtcpError
from xtcp.netlink.numbers import NLMSG_HDRLEN
from xtcp.netlink.request import Request
from xtcp.sources.live import Limits, LiveDump

_LISTEN = 1 << 10
_SO_COOKIE = 57
_COOKIE_AT = NLMSG_HDRLEN + 44


@dataclass(frozen=True)
class OnePass:
    """The verdict, and in words why."""

    works: bool
    why: str


def verify() -> OnePass:
    """Compares the two ways. Opens and closes listeners on 127.0.0.1 and ::1; nothing else is touched."""
    with ExitStack() as stack:
        cookies: dict[int, int] = {}
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            try:
                listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
                listener.bind((address, 0))
                listener.listen(1)
                cookies[int(family)] = int.from_bytes(
                    listener.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8), sys.byteorder
                )
            except OSError:
                continue
        if not cookies:
            return OnePass(False, "no listener could be opened on loopback to compare the two requests")
        try:
            both = _rows(0)
            each = {number: _rows(number) for number in cookies}
        except XtcpError as error:
            return OnePass(False, f"refused: {error.what}")
        for number, cookie in cookies.items():
            if cookie not in both or both[cookie] != each[number].get(cookie):
                return OnePass(False, f"the two requests differ on a listener of family {number}")
    return OnePass(True, f"same bytes from both requests, families {', '.join(map(str, cookies))}")


def _rows(family: int) -> dict[int, bytes]:
    """Listeners by cookie: `inet_diag_msg` and attributes, without the netlink header."""
    rows: dict[int, bytes] = {}
    dump = LiveDump(Request(family, _LISTEN), Context(), limits=Limits(deadline_s=2.0), overlap=False)
    for chunk in dump.chunks():
        rows.update(_messages(chunk))
    return rows


def _messages(chunk: Chunk) -> dict[int, bytes]:
    found = find_rows(chunk, Tally())
    out: dict[int, bytes] = {}
    for offset, length in zip(found.offset.tolist(), found.length.tolist(), strict=True):
        message = chunk.data[offset : offset + length].tobytes()
        low, high = struct.unpack_from("=II", message, _COOKIE_AT)
        out[high << 32 | low] = message[NLMSG_HDRLEN:]
    return out
