"""What the schema table says, in the kernel's words: C paths of members, enumerators, and the release of each.

In: the table. Out: rows that a compiler or BTF can be asked about. Nothing here knows an offset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from xtcp.netlink import numbers
from xtcp.schema import inet_diag, names, requests, tcp_info
from xtcp.schema.inet_diag import ATTRIBUTES, INET_DIAG_SOCKID, INET_DIAG_SOCKOPT, SK_MEMINFO
from xtcp.schema.model import Attribute, Bits, Field, Nest, Struct
from xtcp.schema.mptcp_info import MPTCP_INFO

Release = tuple[int, int]

STRUCTS: Final[tuple[Struct, ...]] = (
    inet_diag.NLMSGHDR,
    inet_diag.INET_DIAG_SOCKID,
    inet_diag.INET_DIAG_MSG,
    inet_diag.INET_DIAG_REQ,
    inet_diag.INET_DIAG_REQ_V2,
    inet_diag.INET_DIAG_MEMINFO,
    inet_diag.INET_DIAG_SOCKOPT,
    inet_diag.TCP_DIAG_MD5SIG,
    tcp_info.TCPVEGAS_INFO,
    tcp_info.TCP_DCTCP_INFO,
    tcp_info.TCP_BBR_INFO,
    tcp_info.TCP_INFO,
    MPTCP_INFO,
    requests.NLATTR,
    requests.INET_DIAG_BC_OP,
    requests.INET_DIAG_HOSTCOND,
    requests.INET_DIAG_MARKCOND,
)

# include/net/tcp_states.h, without the prefix: TCP_ in the kernel, BPF_TCP_ in include/uapi/linux/bpf.h.
STATE_NAMES: Final = {
    1: "ESTABLISHED",
    2: "SYN_SENT",
    3: "SYN_RECV",
    4: "FIN_WAIT1",
    5: "FIN_WAIT2",
    6: "TIME_WAIT",
    7: "CLOSE",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "NEW_SYN_RECV",
    13: "BOUND_INACTIVE",
}
_STATE_SINCE: Final = {12: "4.1", 13: "6.8"}
_NETLINK_PREFIXES: Final = ("NLMSG_", "NLM_F_", "NLMSGERR_", "NLA_", "NETLINK_", "TCPDIAG_", "SOCK_DIAG_")
_SOCKID_NAMES: Final = frozenset(field.name for field in INET_DIAG_SOCKID.fields)


@dataclass(frozen=True)
class Row:
    """A member of `struct`: its column, the C paths that make it up (two for `bbr_bw`), its first release."""

    struct: Struct
    column: str
    paths: tuple[str, ...]
    since: Release
    bit_field: bool


@dataclass(frozen=True)
class Enumerator:
    """A constant of the headers, by what C calls it, the number that the table gives it, and its first release."""

    name: str
    number: int
    since: Release


def release_of(since: str) -> Release:
    """`"6.18"` as (6, 18); (0, 0) for a row without a release, which every kernel has."""
    major, _, minor = since.partition(".")
    return (int(major), int(minor)) if since else (0, 0)


def _paths(struct: Struct, name: str) -> tuple[str, ...]:
    if struct is not INET_DIAG_SOCKID and name in _SOCKID_NAMES:
        return (f"id.{name}",)
    if struct is INET_DIAG_SOCKOPT:
        return (name.removeprefix("sockopt_"),)
    if name == "bbr_bw":
        return ("bbr_bw_lo", "bbr_bw_hi")
    return (name,)


def rows_of(struct: Struct) -> tuple[Row, ...]:
    """Every member of `struct` that becomes a column, of all tails; one that a tail made a bit field comes twice."""
    found: dict[tuple[str, bool], Row] = {}
    for field in (*struct.fields, *(member for tail in struct.tails for member in tail.fields)):
        named: Iterable[Bits | Field] = (*field.bits, field)
        for one in named:
            if not one.name.startswith("_"):
                row = Row(struct, one.name, _paths(struct, one.name), release_of(one.since), isinstance(one, Bits))
                found[row.column, row.bit_field] = row
    return tuple(found.values())


def _attribute_numbers(attributes: Iterable[Attribute]) -> Iterator[Enumerator]:
    for attribute in attributes:
        yield Enumerator(attribute.name, attribute.number, release_of(attribute.since))
        if isinstance(attribute.body, Nest):
            yield from _attribute_numbers(attribute.body.attributes)


def enumerators(state_prefix: str) -> tuple[Enumerator, ...]:
    """Attribute numbers of all nests, operations of a filter, the order of `SK_MEMINFO`, states, congestion states,
    protocols.
    """
    meminfo = (
        Enumerator("SK_MEMINFO_" + field.name.removeprefix("skmem_").upper(), index, release_of(field.since))
        for index, field in enumerate(SK_MEMINFO.fields)
    )
    states = (
        Enumerator(state_prefix + STATE_NAMES[number], number, release_of(_STATE_SINCE.get(number, "")))
        for number in names.STATES
    )
    congestion = (Enumerator("TCP_CA_" + name, number, (0, 0)) for number, name in names.CA_STATES.items())
    protocols = (
        Enumerator("IPPROTO_TCP", inet_diag.IPPROTO_TCP, (0, 0)),
        Enumerator("IPPROTO_MPTCP", inet_diag.IPPROTO_MPTCP, (5, 6)),
    )
    around = (*requests.REQUEST_ATTRIBUTES, *requests.ERROR_ATTRIBUTES, *requests.OPERATIONS)
    return (*_attribute_numbers((*ATTRIBUTES, *around)), *meminfo, *states, *congestion, *protocols)


def netlink_numbers() -> tuple[Enumerator, ...]:
    """The constants of `xtcp.netlink.numbers` that bear a name of the headers."""
    # The header's mask is an int with all upper bits set; the field it is for has 16.
    c_names = {"NLA_TYPE_MASK": "(__u16)NLA_TYPE_MASK"}
    return tuple(
        Enumerator(c_names.get(name, name), number, (0, 0))
        for name, number in vars(numbers).items()
        if isinstance(number, int) and name.startswith(_NETLINK_PREFIXES)
    )
