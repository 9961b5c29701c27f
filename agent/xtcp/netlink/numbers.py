"""Numbers and alignment of netlink itself (include/uapi/linux/netlink.h), nothing of sock_diag's payloads."""

from __future__ import annotations

from typing import Final

NLMSG_NOOP: Final = 1
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLMSG_OVERRUN: Final = 4
TCPDIAG_GETSOCK: Final = 18
SOCK_DIAG_BY_FAMILY: Final = 20

NLM_F_REQUEST: Final = 0x1
NLM_F_MULTI: Final = 0x2
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_CAPPED: Final = 0x100
NLM_F_ACK_TLVS: Final = 0x200
NLM_F_DUMP: Final = 0x300

NLMSGERR_ATTR_MSG: Final = 1
NLA_TYPE_MASK: Final = 0x3FFF

NLMSG_HDRLEN: Final = 16
NLA_HDRLEN: Final = 4
INET_DIAG_MSG_LEN: Final = 72
ROW_LEN: Final = NLMSG_HDRLEN + INET_DIAG_MSG_LEN

NETLINK_SOCK_DIAG: Final = 4


def aligned(length: int) -> int:
    """`NLMSG_ALIGN` and `NLA_ALIGN`: the next multiple of 4."""
    return (length + 3) & ~3
