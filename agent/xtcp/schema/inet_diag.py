"""The table of `sock_diag`'s own structs and of every `INET_DIAG_*` attribute.

An attribute number that is not decoded has a row as well, and the row says why.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from xtcp.schema.model import (
    ADDRESS,
    BE16,
    BLOB,
    FLAG,
    PAIR64,
    TEXT,
    U8,
    U16,
    U32,
    U64,
    Attribute,
    Bits,
    Field,
    Kind,
    Nest,
    Struct,
)
from xtcp.schema.mptcp_info import MPTCP_INFO
from xtcp.schema.tcp_info import TCP_BBR_INFO, TCP_DCTCP_INFO, TCP_INFO, TCPVEGAS_INFO

_H: Final = "include/uapi/linux/inet_diag.h"

NLMSGHDR: Final = Struct(
    "nlmsghdr",
    "include/uapi/linux/netlink.h",
    (
        Field("nlmsg_len", U32, "bytes"),
        Field("nlmsg_type", U16),
        Field("nlmsg_flags", U16),
        Field("nlmsg_seq", U32),
        Field("nlmsg_pid", U32),
    ),
)

INET_DIAG_SOCKID: Final = Struct(
    "inet_diag_sockid",
    _H,
    (
        Field("idiag_sport", BE16, "", "2.6", "local port"),
        Field("idiag_dport", BE16, "", "2.6", "remote port"),
        Field("idiag_src", ADDRESS, "", "2.6", "local address; IPv4 in the first four bytes"),
        Field("idiag_dst", ADDRESS, "", "2.6", "remote address; IPv4 in the first four bytes"),
        Field("idiag_if", U32, "", "2.6", "interface that the socket is bound to, 0 if none"),
        Field("idiag_cookie", PAIR64, "", "2.6", "the socket's own number, unique until the next boot"),
    ),
)

INET_DIAG_MSG: Final = Struct(
    "inet_diag_msg",
    _H,
    (
        Field("idiag_family", U8, "", "2.6", "address family: 2 IPv4, 10 IPv6"),
        Field("idiag_state", U8, "", "2.6", "TCP state"),
        Field(
            "idiag_timer",
            U8,
            "",
            "2.6",
            "timer that runs: 0 none, 1 retransmission, 2 keepalive, 3 TIME_WAIT, "
            "4 zero window probe, 5 delayed acknowledgement",
        ),
        Field("idiag_retrans", U8, "", "2.6", "retransmissions or probes the timer has counted"),
        *INET_DIAG_SOCKID.fields,
        Field("idiag_expires", U32, "ms", "2.6", "until the timer runs out"),
        Field("idiag_rqueue", U32, "bytes", "2.6", "received and not read; on a listener connections to accept"),
        Field("idiag_wqueue", U32, "bytes", "2.6", "written and not acknowledged; on a listener the backlog"),
        Field("idiag_uid", U32, "", "2.6", "user that owns the socket"),
        Field("idiag_inode", U32, "", "2.6", "inode of the socket, 0 once it has no file"),
    ),
)

INET_DIAG_REQ: Final = Struct(
    "inet_diag_req",
    _H,
    (
        Field("idiag_family", U8),
        Field("idiag_src_len", U8),
        Field("idiag_dst_len", U8),
        Field("idiag_ext", U8),
        *INET_DIAG_SOCKID.fields,
        Field("idiag_states", U32),
        Field("idiag_dbs", U32),
    ),
)

INET_DIAG_REQ_V2: Final = Struct(
    "inet_diag_req_v2",
    _H,
    (
        Field("sdiag_family", U8),
        Field("sdiag_protocol", U8),
        Field("idiag_ext", U8),
        Field("pad", U8),
        Field("idiag_states", U32),
        *INET_DIAG_SOCKID.fields,
    ),
)

INET_DIAG_MEMINFO: Final = Struct(
    "inet_diag_meminfo",
    _H,
    (
        Field("idiag_rmem", U32, "bytes", "2.6", "memory of the receive queue"),
        Field("idiag_wmem", U32, "bytes", "2.6", "memory of the send queue"),
        Field("idiag_fmem", U32, "bytes", "2.6", "memory reserved and not yet used"),
        Field("idiag_tmem", U32, "bytes", "2.6", "memory of segments on their way"),
    ),
)

SK_MEMINFO: Final = Struct(
    "sk_meminfo",
    "include/uapi/linux/sock_diag.h",
    (
        Field("skmem_rmem_alloc", U32, "bytes", "3.3", "memory of the receive queue"),
        Field("skmem_rcvbuf", U32, "bytes", "3.3", "limit of the receive buffer"),
        Field("skmem_wmem_alloc", U32, "bytes", "3.3", "memory of segments on their way"),
        Field("skmem_sndbuf", U32, "bytes", "3.3", "limit of the send buffer"),
        Field("skmem_fwd_alloc", U32, "bytes", "3.3", "memory reserved and not yet used"),
        Field("skmem_wmem_queued", U32, "bytes", "3.3", "memory of the send queue"),
        Field("skmem_optmem", U32, "bytes", "3.3", "memory of socket options and filters"),
        Field("skmem_backlog", U32, "bytes", "3.6", "packets that wait for the socket's lock"),
        Field("skmem_drops", U32, "segments", "4.7", "packets dropped by this socket"),
    ),
)

INET_DIAG_SOCKOPT: Final = Struct(
    "inet_diag_sockopt",
    _H,
    (
        Field(
            "_sockopt0",
            U8,
            bits=(
                Bits("sockopt_recverr", 1, "", "5.10", "IP_RECVERR"),
                Bits("sockopt_is_icsk", 1, "", "5.10", "the socket is connection oriented"),
                Bits("sockopt_freebind", 1, "", "5.10", "IP_FREEBIND"),
                Bits("sockopt_hdrincl", 1, "", "5.10", "IP_HDRINCL"),
                Bits("sockopt_mc_loop", 1, "", "5.10", "IP_MULTICAST_LOOP"),
                Bits("sockopt_transparent", 1, "", "5.10", "IP_TRANSPARENT"),
                Bits("sockopt_mc_all", 1, "", "5.10", "IP_MULTICAST_ALL"),
                Bits("sockopt_nodefrag", 1, "", "5.10", "IP_NODEFRAG"),
            ),
        ),
        Field(
            "_sockopt1",
            U8,
            bits=(
                Bits("sockopt_bind_address_no_port", 1, "", "5.10", "IP_BIND_ADDRESS_NO_PORT"),
                Bits("sockopt_recverr_rfc4884", 1, "", "5.10", "IP_RECVERR_RFC4884"),
                Bits("sockopt_defer_connect", 1, "", "5.10", "fast open waits for the first write"),
                Bits("_unused", 5, "", "", ""),
            ),
        ),
    ),
)

TCP_DIAG_MD5SIG: Final = Struct(
    "tcp_diag_md5sig",
    _H,
    (
        Field("tcpm_family", U8),
        Field("tcpm_prefixlen", U8),
        Field("tcpm_keylen", U16, "bytes"),
        Field("tcpm_addr", ADDRESS),
        Field("tcpm_key", Kind("u8[80]", 80, 1, "S80")),
    ),
)


def _one(name: str, kind: Kind, since: str, meaning: str, unit: str = "", source: str = _H) -> Struct:
    """An attribute whose payload is a single value."""
    return Struct(name, source, (Field(name, kind, unit, since, meaning),))


_TLS_H: Final = "include/uapi/linux/tls.h"
_one_tls = partial(_one, source=_TLS_H)
_TLS: Final = Nest((
    Attribute(1, "TLS_INFO_VERSION", _one_tls("ulp_tls_version", U16, "5.4", "TLS version: 0x0303 is 1.2, 0x0304 is 1.3"), "5.4", "", source=_TLS_H),
    Attribute(2, "TLS_INFO_CIPHER", _one_tls("ulp_tls_cipher", U16, "5.4", "cipher, TLS_CIPHER_*"), "5.4", "", source=_TLS_H),
    Attribute(3, "TLS_INFO_TXCONF", _one_tls("ulp_tls_txconf", U16, "5.4", "sending: 1 base, 2 software, 3 device, 4 whole record by device"), "5.4", "", source=_TLS_H),
    Attribute(4, "TLS_INFO_RXCONF", _one_tls("ulp_tls_rxconf", U16, "5.4", "receiving: 1 base, 2 software, 3 device, 4 whole record by device"), "5.4", "", source=_TLS_H),
    Attribute(5, "TLS_INFO_ZC_RO_TX", Field("ulp_tls_zc_ro_tx", FLAG, "", "5.19", "1 if sendfile passes pages on without a copy"), "5.19", "", source=_TLS_H),
    Attribute(6, "TLS_INFO_RX_NO_PAD", Field("ulp_tls_rx_no_pad", FLAG, "", "6.0", "1 if received records are expected without padding"), "6.0", "", source=_TLS_H),
    Attribute(7, "TLS_INFO_TX_MAX_PAYLOAD_LEN", _one_tls("ulp_tls_tx_max_payload_len", U16, "6.19", "largest payload of a record sent", "bytes"), "6.19", "", source=_TLS_H),
))  # fmt: skip

_MPTCP_H: Final = "include/uapi/linux/mptcp.h"
_one_mptcp = partial(_one, source=_MPTCP_H)
_MPTCP: Final = Nest((
    Attribute(1, "MPTCP_SUBFLOW_ATTR_TOKEN_REM", _one_mptcp("ulp_mptcp_token_rem", U32, "5.7", "the peer's token"), "5.7", "", source=_MPTCP_H),
    Attribute(2, "MPTCP_SUBFLOW_ATTR_TOKEN_LOC", _one_mptcp("ulp_mptcp_token_loc", U32, "5.7", "our token"), "5.7", "", source=_MPTCP_H),
    Attribute(3, "MPTCP_SUBFLOW_ATTR_RELWRITE_SEQ", _one_mptcp("ulp_mptcp_relwrite_seq", U32, "5.7", "subflow sequence number written last", "bytes"), "5.7", "", needs="CAP_NET_ADMIN", source=_MPTCP_H),
    Attribute(4, "MPTCP_SUBFLOW_ATTR_MAP_SEQ", _one_mptcp("ulp_mptcp_map_seq", U64, "5.7", "data sequence number of the mapping", "bytes"), "5.7", "", needs="CAP_NET_ADMIN", source=_MPTCP_H),
    Attribute(5, "MPTCP_SUBFLOW_ATTR_MAP_SFSEQ", _one_mptcp("ulp_mptcp_map_sfseq", U32, "5.7", "subflow sequence number of the mapping", "bytes"), "5.7", "", needs="CAP_NET_ADMIN", source=_MPTCP_H),
    Attribute(6, "MPTCP_SUBFLOW_ATTR_SSN_OFFSET", _one_mptcp("ulp_mptcp_ssn_offset", U32, "5.7", "initial subflow sequence number", "bytes"), "5.7", "", needs="CAP_NET_ADMIN", source=_MPTCP_H),
    Attribute(7, "MPTCP_SUBFLOW_ATTR_MAP_DATALEN", _one_mptcp("ulp_mptcp_map_datalen", U16, "5.7", "length of the mapping", "bytes"), "5.7", "", needs="CAP_NET_ADMIN", source=_MPTCP_H),
    Attribute(8, "MPTCP_SUBFLOW_ATTR_FLAGS", _one_mptcp("ulp_mptcp_flags", U32, "5.7", "MPTCP_SUBFLOW_FLAG_* bits"), "5.7", "", source=_MPTCP_H),
    Attribute(9, "MPTCP_SUBFLOW_ATTR_ID_REM", _one_mptcp("ulp_mptcp_id_rem", U8, "5.7", "the peer's address id"), "5.7", "", source=_MPTCP_H),
    Attribute(10, "MPTCP_SUBFLOW_ATTR_ID_LOC", _one_mptcp("ulp_mptcp_id_loc", U8, "5.7", "our address id"), "5.7", "", source=_MPTCP_H),
    Attribute(11, "MPTCP_SUBFLOW_ATTR_PAD", None, "5.7", "padding before a u64", source=_MPTCP_H),
))  # fmt: skip

_ULP: Final = Nest((
    Attribute(1, "INET_ULP_INFO_NAME", Field("ulp_name", TEXT, "", "5.4", "upper layer protocol: tls, mptcp, espintcp, smc"), "5.4", ""),
    Attribute(2, "INET_ULP_INFO_TLS", _TLS, "5.4", "kernel TLS"),
    Attribute(3, "INET_ULP_INFO_MPTCP", _MPTCP, "5.7", "this socket is a subflow of an MPTCP connection"),
))  # fmt: skip

# One bit asks for several: VEGASINFO for whatever the congestion control has, TCLASS for CLASS_ID too, PROTOCOL and
# the rest are sent unasked. Measured on 6.18, and true of net/ipv4/inet_diag.c since 5.0.
ATTRIBUTES: Final[tuple[Attribute, ...]] = (
    Attribute(1, "INET_DIAG_MEMINFO", INET_DIAG_MEMINFO, "2.6", "memory in use", ext=1),
    Attribute(2, "INET_DIAG_INFO", TCP_INFO, "2.6", "struct tcp_info", ext=2),
    Attribute(3, "INET_DIAG_VEGASINFO", TCPVEGAS_INFO, "2.6", "Vegas and its relatives", ext=3),
    Attribute(4, "INET_DIAG_CONG", Field("cong", TEXT, "", "2.6", "name of the congestion control"), "2.6", "congestion control", ext=4),
    Attribute(5, "INET_DIAG_TOS", _one("tos", U8, "3.2", "IPv4 type of service: DSCP << 2 | ECN"), "3.2", "type of service", ext=5),
    Attribute(6, "INET_DIAG_TCLASS", _one("tclass", U8, "3.2", "IPv6 traffic class: DSCP << 2 | ECN"), "3.2", "traffic class", ext=6),
    Attribute(7, "INET_DIAG_SKMEMINFO", SK_MEMINFO, "3.3", "memory in use and its limits", ext=7),
    Attribute(8, "INET_DIAG_SHUTDOWN", _one("shutdown", U8, "3.8", "bits: 1 receiving is shut down, 2 sending is"), "3.8", "closed directions"),
    Attribute(9, "INET_DIAG_DCTCPINFO", TCP_DCTCP_INFO, "3.18", "DCTCP", ext=3),
    Attribute(10, "INET_DIAG_PROTOCOL", _one("protocol", U8, "4.2", "IP protocol of a raw or destroyed socket"), "4.2", "IP protocol"),
    Attribute(11, "INET_DIAG_SKV6ONLY", _one("skv6only", U8, "4.3", "IPV6_V6ONLY"), "4.3", "IPV6_V6ONLY of listening and closed sockets"),
    Attribute(12, "INET_DIAG_LOCALS", Field("locals", BLOB, "", "4.7", "local addresses of an SCTP association, sockaddr_storage each"), "4.7", "SCTP"),
    Attribute(13, "INET_DIAG_PEERS", Field("peers", BLOB, "", "4.7", "remote addresses of an SCTP association, sockaddr_storage each"), "4.7", "SCTP"),
    Attribute(14, "INET_DIAG_PAD", None, "4.7", "padding before a u64, no value"),
    Attribute(15, "INET_DIAG_MARK", _one("mark", U32, "4.9", "SO_MARK"), "4.9", "firewall mark", needs="CAP_NET_ADMIN"),
    Attribute(16, "INET_DIAG_BBRINFO", TCP_BBR_INFO, "4.9", "BBR", ext=3),
    Attribute(17, "INET_DIAG_CLASS_ID", _one("class_id", U32, "4.14", "net_cls class id, or SO_PRIORITY where there is none; sent by 5.0 and later, and stable kernels of 2019"), "4.14", "class id", ext=6),
    Attribute(18, "INET_DIAG_MD5SIG", Field("md5sig", BLOB, "", "4.14", "TCP MD5 keys: struct tcp_diag_md5sig each, key bytes zeroed"), "4.14", "TCP MD5 keys", needs="CAP_NET_ADMIN"),
    Attribute(19, "INET_DIAG_ULP_INFO", _ULP, "5.4", "upper layer protocol", needs="CAP_NET_ADMIN before 6.15"),
    Attribute(20, "INET_DIAG_SK_BPF_STORAGES", Field("bpf_storages", BLOB, "", "5.7", "BPF socket storages as the kernel nested them, sent only when a request names maps"), "5.7", "BPF storages", needs="CAP_BPF"),
    Attribute(21, "INET_DIAG_CGROUP_ID", _one("cgroup_id", U64, "5.8", "cgroup v2 id, the inode of its directory"), "5.8", "cgroup v2"),
    Attribute(22, "INET_DIAG_SOCKOPT", INET_DIAG_SOCKOPT, "5.10", "socket options as bits"),
)  # fmt: skip

IPPROTO_TCP: Final = 6
IPPROTO_MPTCP: Final = 262


def info_struct(protocol: int) -> Struct:
    """What `INET_DIAG_INFO` is in a dump of `protocol`: the bytes themselves do not say."""
    return MPTCP_INFO if protocol == IPPROTO_MPTCP else TCP_INFO
