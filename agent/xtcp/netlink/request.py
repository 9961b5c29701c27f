"""Requests for a dump of TCP sockets, as bytes in this host's order.

Two forms (include/uapi/linux/inet_diag.h): `inet_diag_req_v2`, one family a dump; and the older `inet_diag_req`,
which walks the kernel's table once for both families. `docs/architecture.md` says when which is used.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from xtcp.netlink.numbers import (
    NLA_HDRLEN,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_HDRLEN,
    SOCK_DIAG_BY_FAMILY,
    TCPDIAG_GETSOCK,
)
from xtcp.schema.columns import ALL_EXT
from xtcp.schema.inet_diag import INET_DIAG_SOCKID, IPPROTO_TCP
from xtcp.schema.layout import size_of

INET_DIAG_REQ_PROTOCOL: Final = 3
ALL_STATES: Final = 0xFFFFFFFF
_SOCKID_LEN: Final = size_of(INET_DIAG_SOCKID)


@dataclass(frozen=True)
class Request:
    """One dump: of `family` (0: IPv4 and IPv6 in one pass, by the older form), of the states in the mask `states`
    (bit n for state n), with the attributes in the mask `ext` (bit n - 1 for extension n).
    """

    family: int = 0
    states: int = ALL_STATES
    ext: int = ALL_EXT
    protocol: int = IPPROTO_TCP

    def message(self, seq: int) -> bytes:
        """The whole netlink message with sequence number `seq`; its port id is the kernel's to fill."""
        any_socket = bytes(_SOCKID_LEN)
        extra = b""
        if self.family == 0:
            kind = TCPDIAG_GETSOCK
            body = struct.pack("=BBBB", 0, 0, 0, self.ext) + any_socket + struct.pack("=II", self.states, 0)
        else:
            kind = SOCK_DIAG_BY_FAMILY
            body = struct.pack("=BBBBI", self.family, self.protocol & 0xFF, self.ext, 0, self.states) + any_socket
            if self.protocol > 0xFF:
                extra = struct.pack("=HHI", NLA_HDRLEN + 4, INET_DIAG_REQ_PROTOCOL, self.protocol)
        length = NLMSG_HDRLEN + len(body) + len(extra)
        return struct.pack("=IHHII", length, kind, NLM_F_REQUEST | NLM_F_DUMP, seq, 0) + body + extra

    def __str__(self) -> str:
        family = {0: "IPv4 and IPv6", 2: "IPv4", 10: "IPv6"}.get(self.family, f"family {self.family}")
        return f"dump of {family} sockets"
