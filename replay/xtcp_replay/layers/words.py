"""The names of numbers in netlink's headers and in sock_diag's structs, as the kernel's headers spell them.

States, families and timers are those of `xtcp.schema.names`; attributes those of the schema's table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from xtcp.netlink import numbers as nl
from xtcp.schema.inet_diag import ATTRIBUTES, IPPROTO_MPTCP, IPPROTO_TCP
from xtcp.schema.names import CA_STATES, FAMILIES, STATES, TCPI_OPTIONS, TIMERS

# include/uapi/linux/netlink.h
NETLINK_FAMILIES: Final[dict[int, str]] = {
    0: "NETLINK_ROUTE",
    4: "NETLINK_SOCK_DIAG",
    6: "NETLINK_XFRM",
    9: "NETLINK_AUDIT",
    12: "NETLINK_NETFILTER",
    15: "NETLINK_KOBJECT_UEVENT",
    16: "NETLINK_GENERIC",
}
# include/uapi/linux/netlink.h, inet_diag.h, sock_diag.h
MESSAGE_TYPES: Final[dict[int, str]] = {
    nl.NLMSG_NOOP: "NLMSG_NOOP",
    nl.NLMSG_ERROR: "NLMSG_ERROR",
    nl.NLMSG_DONE: "NLMSG_DONE",
    nl.NLMSG_OVERRUN: "NLMSG_OVERRUN",
    nl.TCPDIAG_GETSOCK: "TCPDIAG_GETSOCK",
    19: "DCCPDIAG_GETSOCK",
    nl.SOCK_DIAG_BY_FAMILY: "SOCK_DIAG_BY_FAMILY",
    21: "SOCK_DESTROY",
}
# include/uapi/linux/if_packet.h
PACKET_TYPES: Final[dict[int, str]] = {
    0: "PACKET_HOST",
    1: "PACKET_BROADCAST",
    2: "PACKET_MULTICAST",
    3: "PACKET_OTHERHOST",
    4: "PACKET_OUTGOING",
    6: "PACKET_USER",
    7: "PACKET_KERNEL",
}
# include/uapi/linux/inet_diag.h: the operations of a filter, from 0
OPERATIONS: Final[dict[int, str]] = {
    number: f"INET_DIAG_BC_{name}"
    for number, name in enumerate(
        (
            "NOP",
            "JMP",
            "S_GE",
            "S_LE",
            "D_GE",
            "D_LE",
            "AUTO",
            "S_COND",
            "D_COND",
            "DEV_COND",
            "MARK_COND",
            "S_EQ",
            "D_EQ",
            "CGROUP_COND",
        )
    )
}
ARPHRD: Final[dict[int, str]] = {824: "ARPHRD_NETLINK"}

_ANY_FLAGS: Final = {
    nl.NLM_F_REQUEST: "NLM_F_REQUEST",
    nl.NLM_F_MULTI: "NLM_F_MULTI",
    0x4: "NLM_F_ACK",
    0x8: "NLM_F_ECHO",
    nl.NLM_F_DUMP_INTR: "NLM_F_DUMP_INTR",
    0x20: "NLM_F_DUMP_FILTERED",
}
_REQUEST_FLAGS: Final = {**_ANY_FLAGS, 0x100: "NLM_F_ROOT", 0x200: "NLM_F_MATCH", 0x400: "NLM_F_ATOMIC"}
_REPLY_FLAGS: Final = {**_ANY_FLAGS, nl.NLM_F_CAPPED: "NLM_F_CAPPED", nl.NLM_F_ACK_TLVS: "NLM_F_ACK_TLVS"}

NLA_F_NESTED: Final = 0x8000
NLA_F_NET_BYTEORDER: Final = 0x4000

NAMES: Final[dict[str, Mapping[int, str]]] = {
    "idiag_family": FAMILIES,
    "sdiag_family": FAMILIES,
    "tcpm_family": FAMILIES,
    "family": FAMILIES,
    "idiag_state": STATES,
    "tcpi_state": STATES,
    "idiag_timer": TIMERS,
    "tcpi_ca_state": CA_STATES,
    "sdiag_protocol": {IPPROTO_TCP: "IPPROTO_TCP"},
    "req_protocol": {IPPROTO_TCP: "IPPROTO_TCP", IPPROTO_MPTCP: "IPPROTO_MPTCP"},
    # include/uapi/linux/tls.h
    "ulp_tls_version": {0x0303: "TLS_1_2_VERSION", 0x0304: "TLS_1_3_VERSION"},
    "ulp_tls_txconf": {1: "TLS_CONF_BASE", 2: "TLS_CONF_SW", 3: "TLS_CONF_HW", 4: "TLS_CONF_HW_RECORD"},
    "ulp_tls_rxconf": {1: "TLS_CONF_BASE", 2: "TLS_CONF_SW", 3: "TLS_CONF_HW", 4: "TLS_CONF_HW_RECORD"},
    "ulp_tls_cipher": {
        51: "TLS_CIPHER_AES_GCM_128",
        52: "TLS_CIPHER_AES_GCM_256",
        53: "TLS_CIPHER_AES_CCM_128",
        54: "TLS_CIPHER_CHACHA20_POLY1305",
        55: "TLS_CIPHER_SM4_GCM",
        56: "TLS_CIPHER_SM4_CCM",
        57: "TLS_CIPHER_ARIA_GCM_128",
        58: "TLS_CIPHER_ARIA_GCM_256",
    },
}

FLAGS: Final[dict[str, Mapping[int, str]]] = {
    "tcpi_options": TCPI_OPTIONS,
    "idiag_states": {1 << number: name for number, name in STATES.items()},
    # One bit may ask for several: the first of them names it.
    "idiag_ext": dict(sorted({1 << a.ext - 1: a.name for a in reversed(ATTRIBUTES) if a.ext is not None}.items())),
    # include/net/sock.h
    "shutdown": {1: "RCV_SHUTDOWN", 2: "SEND_SHUTDOWN"},
    # include/uapi/linux/mptcp.h
    "mptcpi_flags": {1: "MPTCP_INFO_FLAG_FALLBACK", 2: "MPTCP_INFO_FLAG_REMOTE_KEY_RECEIVED"},
    "ulp_mptcp_flags": {
        1 << bit: f"MPTCP_SUBFLOW_FLAG_{name}"
        for bit, name in enumerate(
            (
                "MCAP_REM",
                "MCAP_LOC",
                "JOIN_REM",
                "JOIN_LOC",
                "BKUP_REM",
                "BKUP_LOC",
                "FULLY_ESTABLISHED",
                "CONNECTED",
                "MAPVALID",
            )
        )
    },
}


def flag_words(flags: Mapping[int, str], value: int) -> str:
    """The names of the bits that are set, `|` between them, what has none in hexadecimal digits; `0` for none."""
    words = [name for bit, name in flags.items() if value & bit]
    rest = value
    for bit in flags:
        rest &= ~bit
    if rest or not words:
        words.append(f"{rest:#x}" if rest else "0")
    return "|".join(words)


def message_flags(flags: int) -> str:
    """`nlmsg_flags` in words: the upper byte means one thing in a request and another in a reply."""
    return flag_words(_REQUEST_FLAGS if flags & nl.NLM_F_REQUEST else _REPLY_FLAGS, flags)


def attribute_type(name: str, number: int) -> str:
    """`nla_type` in words, of the attribute of that name."""
    flags = flag_words({NLA_F_NESTED: "NLA_F_NESTED", NLA_F_NET_BYTEORDER: "NLA_F_NET_BYTEORDER"}, number & 0xC000)
    return name if flags == "0" else f"{name}|{flags}"
