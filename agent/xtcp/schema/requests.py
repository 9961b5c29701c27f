"""The table of what stands around rows: attribute headers, a request's attributes and filter, a refusal's payload.

No column comes from it; what rewrites or shows whole messages reads it beside `inet_diag`.
"""

from __future__ import annotations

from typing import Final

from xtcp.schema.model import ADDRESS, BLOB, TEXT, U8, U16, U32, U64, Attribute, Field, Kind, Nest, Struct

_NETLINK_H: Final = "include/uapi/linux/netlink.h"
_H: Final = "include/uapi/linux/inet_diag.h"
_SOCK_DIAG_H: Final = "include/uapi/linux/sock_diag.h"

NLATTR: Final = Struct("nlattr", _NETLINK_H, (Field("nla_len", U16, "bytes"), Field("nla_type", U16)))

# The beginning of NLMSG_DONE and NLMSG_ERROR; in an error the request's nlmsghdr and, maybe, its payload follow.
NLMSGERR: Final = Struct("nlmsgerr", _NETLINK_H, (Field("error", U32, "", "", "negative errno"),))

ERROR_ATTRIBUTES: Final[tuple[Attribute, ...]] = (
    Attribute(1, "NLMSGERR_ATTR_MSG", Field("msg", TEXT), "4.12", "what the kernel says", source=_NETLINK_H),
    Attribute(2, "NLMSGERR_ATTR_OFFS", Struct("offs", _NETLINK_H, (Field("offs", U32, "bytes"),)), "4.12", "offset of the attribute it is about", source=_NETLINK_H),
    Attribute(3, "NLMSGERR_ATTR_COOKIE", Field("cookie", BLOB), "4.12", "of a subsystem's own", source=_NETLINK_H),
    Attribute(4, "NLMSGERR_ATTR_POLICY", Field("policy", BLOB), "5.10", "what the attribute should have been", source=_NETLINK_H),
    Attribute(5, "NLMSGERR_ATTR_MISS_TYPE", Struct("miss_type", _NETLINK_H, (Field("miss_type", U32),)), "6.1", "number of a missing attribute", source=_NETLINK_H),
    Attribute(6, "NLMSGERR_ATTR_MISS_NEST", Struct("miss_nest", _NETLINK_H, (Field("miss_nest", U32, "bytes"),)), "6.1", "offset of the nest it is missing in", source=_NETLINK_H),
)  # fmt: skip

REQUEST_ATTRIBUTES: Final[tuple[Attribute, ...]] = (
    Attribute(1, "INET_DIAG_REQ_BYTECODE", Field("bytecode", BLOB), "2.6", "a filter: struct inet_diag_bc_op each, with what it compares"),
    Attribute(2, "INET_DIAG_REQ_SK_BPF_STORAGES", Nest((
        Attribute(1, "SK_DIAG_BPF_STORAGE_REQ_MAP_FD", Struct("map_fd", _SOCK_DIAG_H, (Field("map_fd", U32),)), "5.7", "file descriptor of a map", source=_SOCK_DIAG_H),
    )), "5.7", "BPF storages that are wanted"),
    Attribute(3, "INET_DIAG_REQ_PROTOCOL", Struct("req_protocol", _H, (Field("req_protocol", U32),)), "5.9", "protocol, where it is more than a byte"),
)  # fmt: skip

INET_DIAG_BC_OP: Final = Struct(
    "inet_diag_bc_op",
    _H,
    (
        Field("code", U8, "", "2.6", "what is compared"),
        Field("yes", U8, "bytes", "2.6", "to the next operation if it holds: the length of this one"),
        Field("no", U16, "bytes", "2.6", "to the next operation if not; in a second one the port"),
    ),
)
INET_DIAG_HOSTCOND: Final = Struct(
    "inet_diag_hostcond",
    _H,
    (
        Field("family", U8, "", "2.6", "address family, which says how long the address behind it is"),
        Field("prefix_len", U8, "bits"),
        Field("port", U32, "", "2.6", "in host order, all ones: any"),
    ),
)
INET_DIAG_MARKCOND: Final = Struct("inet_diag_markcond", _H, (Field("mark", U32), Field("mask", U32)))

# struct inet_diag_hostcond ends in an address as long as its family's.
_BE32: Final = Kind("be32", 4, 4, "(4,)u1")
HOSTCOND_ADDRESSES: Final = {
    2: Struct("inet_diag_hostcond.addr", _H, (Field("addr", _BE32),)),
    10: Struct("inet_diag_hostcond.addr", _H, (Field("addr", ADDRESS),)),
}

# What follows an operation by its code; None: nothing.
OPERATIONS: Final[tuple[Attribute, ...]] = (
    Attribute(0, "INET_DIAG_BC_NOP", None, "2.6", "nothing"),
    Attribute(1, "INET_DIAG_BC_JMP", None, "2.6", "go on behind no"),
    Attribute(2, "INET_DIAG_BC_S_GE", INET_DIAG_BC_OP, "2.6", "local port at least"),
    Attribute(3, "INET_DIAG_BC_S_LE", INET_DIAG_BC_OP, "2.6", "local port at most"),
    Attribute(4, "INET_DIAG_BC_D_GE", INET_DIAG_BC_OP, "2.6", "remote port at least"),
    Attribute(5, "INET_DIAG_BC_D_LE", INET_DIAG_BC_OP, "2.6", "remote port at most"),
    Attribute(6, "INET_DIAG_BC_AUTO", None, "2.6", "local port chosen by the kernel"),
    Attribute(7, "INET_DIAG_BC_S_COND", INET_DIAG_HOSTCOND, "2.6", "local address and port"),
    Attribute(8, "INET_DIAG_BC_D_COND", INET_DIAG_HOSTCOND, "2.6", "remote address and port"),
    Attribute(9, "INET_DIAG_BC_DEV_COND", Struct("device", _H, (Field("ifindex", U32),)), "4.4", "interface"),
    Attribute(10, "INET_DIAG_BC_MARK_COND", INET_DIAG_MARKCOND, "4.7", "firewall mark", needs="CAP_NET_ADMIN"),
    Attribute(11, "INET_DIAG_BC_S_EQ", INET_DIAG_BC_OP, "4.16", "local port"),
    Attribute(12, "INET_DIAG_BC_D_EQ", INET_DIAG_BC_OP, "4.16", "remote port"),
    Attribute(13, "INET_DIAG_BC_CGROUP_COND", Struct("cgroup", _H, (Field("cgroup", U64),)), "5.9", "cgroup v2 id"),
)  # fmt: skip

CONDITIONS: Final[dict[int, Struct]] = {o.number: o.body for o in OPERATIONS if isinstance(o.body, Struct)}
