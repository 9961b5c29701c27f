"""One datagram of sock_diag messages as it may be shared: the same length, the same structure, another host's values.

What is written is what is known to be harmless: the copy begins as zeros, and from the original comes only what
`anatomy` understands. Members that belong to one host get their pseudonyms, all other members of the table come byte
for byte; padding, blobs, surplus and what is not understood stay zero.

A message that cannot be trusted is emptied: its nlmsghdr and its family stay, so that the copy breaks at the same
place. That is one that breaks off, whose attributes break, that the datagram's end cuts, that is about no IPv4 or
IPv6 socket, or that stands before bytes which are no message: where bytes are lost or moved, an address may stand where
a counter should be. What cannot be seen is a flipped bit that makes a `tcp_info` of an attribute that was another.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from xtcp.netlink.byte_order import KNOWN_TYPES, LONGEST_MESSAGE
from xtcp.netlink.numbers import (
    NLM_F_MULTI,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_HDRLEN,
    NLMSG_NOOP,
    NLMSG_OVERRUN,
    aligned,
)
from xtcp.schema.inet_diag import ATTRIBUTES, INET_DIAG_MSG, INET_DIAG_REQ, INET_DIAG_REQ_V2, NLMSGHDR
from xtcp.schema.layout import size_of
from xtcp.schema.model import Field, Order
from xtcp.schema.requests import CONDITIONS, HOSTCOND_ADDRESSES, INET_DIAG_BC_OP, INET_DIAG_HOSTCOND, NLMSGERR
from xtcp.schema.tcp_info import TCP_INFO
from xtcp_replay.reading.diag_request import AF_INET, AF_INET6, AF_UNSPEC
from xtcp_replay.rewriting.anatomy import Kernel, Layout, Part, What, parts
from xtcp_replay.rewriting.pseudonyms import Numbers, Pseudonyms

# Words as kernels write them: no dots, no colons, so no addresses.
_PLAIN_TEXT: Final = re.compile(rb"[A-Za-z0-9_ '(),/-]*\Z")
# The members of a struct that names a family have it in their first byte.
_WITH_FAMILY: Final = frozenset({INET_DIAG_MSG, INET_DIAG_REQ, INET_DIAG_REQ_V2})
# Where the members of tcp_info end that are the same on all kernels, and where those of any kernel do.
_TAIL_AT: Final = size_of(TCP_INFO)
_TAIL_END: Final = max(size_of(TCP_INFO, tail.since) for tail in TCP_INFO.tails)
_MD5SIG: Final = tuple(a.number for a in ATTRIBUTES if a.name == "INET_DIAG_MD5SIG")
_ANSWERS: Final = frozenset({NLMSG_DONE, NLMSG_ERROR})
_ABOUT_SOCKETS: Final = KNOWN_TYPES - _ANSWERS - {NLMSG_NOOP, NLMSG_OVERRUN}
_ANY_PORT: Final = 0xFFFFFFFF
_COMPARISON: Final = 2 * size_of(INET_DIAG_BC_OP)
# include/uapi/linux/socket.h has fewer families, netlink.h these flags; MAX_ERRNO is the kernel's.
_FAMILIES: Final = 64
_MAX_ERRNO: Final = 4095
_NLM_FLAGS: Final = 0x0F3F
_SEQS: Final = 4096

_NO_MESSAGE: Final = "bytes that make no message"
_EMPTIED: Final = "messages that are cut or damaged"

# Writes a member's new value: (copy, original, where the struct begins, where the member does).
_Patch: TypeAlias = Callable[[bytearray, bytes, int, int], None]


@dataclass
class Report:
    """What was done, counted by kind: values that became others, pieces that became zeros, pieces left out."""

    replaced: Counter[str] = field(default_factory=Counter)
    zeroed: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def damaged(self) -> int:
        """How many messages were not whole."""
        return self.zeroed[_NO_MESSAGE] + self.zeroed[_EMPTIED]


class _Message(NamedTuple):
    """The parts of one message from its nlmsghdr on; `end` is where the next one begins, or would."""

    parts: list[Part]
    end: int
    kind: int
    request: bool


class DatagramScrub:
    """`scrubbed` for the datagrams of hosts of one byte order. Unknown attributes, and what an attribute has more than
    the table, come along with `keep_unknown`.
    """

    def __init__(self, pseudonyms: Pseudonyms, report: Report, order: Order, *, keep_unknown: bool = False) -> None:
        self._pseudonyms = pseudonyms
        self._report = report
        self._order: Order = order
        self._keep_unknown = keep_unknown
        self._header = struct.Struct(order + "IHH").unpack_from
        whole = struct.Struct(order + "IHHII")
        self._whole_header, self._whole_header_into = whole.unpack_from, whole.pack_into
        # Sequence numbers of messages that are whole, the latest ones.
        self._seqs: dict[int, None] = {}
        self._patches: dict[Layout, list[tuple[int, _Patch]]] = {}
        self._by_name = self._mapped_members()

    def scrubbed(
        self, netlink: bytes, kernel: Kernel, protocol: int | None, *, cut: bool = False, broken: bool = False
    ) -> bytes:
        """The datagram as it may be shared. `cut`: the capture has its beginning only; `broken`: behind it stand bytes
        that are no message. Never raises.
        """
        out = bytearray(len(netlink))
        messages, end = self._messages(netlink, parts(netlink, self._order, kernel, protocol))
        self._zeroed(_NO_MESSAGE, netlink[end:])
        broken = broken or (end < len(netlink) and not cut)
        for index, message in enumerate(messages):
            before_break = broken and index == len(messages) - 1
            if before_break or not self._trusted(message, netlink):
                self._empty(message, netlink, out)
            else:
                self._copy(message, netlink, out)
        return bytes(out)

    def _messages(self, netlink: bytes, found: list[Part]) -> tuple[list[_Message], int]:
        """The messages, and where they end: at the end of the datagram, or at what is none of a known type."""
        messages: list[_Message] = []
        at = 0
        for part in found:
            if part.offset < at:
                messages[-1].parts.append(part)
                continue
            if part.what is not What.STRUCT or part.layout is None or part.layout.struct is not NLMSGHDR:
                break
            length, kind, flags = self._header(netlink, at)
            if kind not in KNOWN_TYPES or flags & ~_NLM_FLAGS:
                break
            at += aligned(length)
            messages.append(_Message([part], at, kind, bool(flags & NLM_F_REQUEST)))
        return messages, min(at, len(netlink))

    def _trusted(self, message: _Message, netlink: bytes) -> bool:
        """Whether all of a message is where it should be, as far as one can see."""
        start = message.parts[0].offset
        length, _, flags = self._header(netlink, start)
        # The kernel answers in parts, nobody asks in parts.
        if start + length > len(netlink) or (message.request and flags & NLM_F_MULTI):
            return False
        return all(self._plausible(part, message, netlink) for part in message.parts[1:])

    def _plausible(self, part: Part, message: _Message, netlink: bytes) -> bool:
        if part.what is What.REMNANT:
            return False
        if part.what is What.SURPLUS and not part.path:
            return message.kind in _ANSWERS
        if part.layout is None:
            return True
        table = part.layout.struct
        if table is NLMSGERR:
            return self._errno_at(part.offset, netlink)
        if table is NLMSGHDR:
            # The echo of a request.
            length, kind, flags = self._header(netlink, part.offset)
            asked = kind in _ABOUT_SOCKETS and flags & NLM_F_REQUEST
            return bool(asked) and NLMSG_HDRLEN <= length <= LONGEST_MESSAGE
        if table in _WITH_FAMILY:
            unspecified = AF_INET if table is INET_DIAG_MSG else AF_UNSPEC
            return netlink[part.offset] in {AF_INET, AF_INET6, unspecified}
        return True

    def _errno_at(self, at: int, netlink: bytes) -> bool:
        """Whether a negative errno stands there, or 0."""
        errno: int = struct.unpack_from(self._order + "i", netlink, at)[0]
        return -_MAX_ERRNO <= errno <= 0

    def _empty(self, message: _Message, netlink: bytes, out: bytearray) -> None:
        """The nlmsghdr, and the family (of requests the protocol too)."""
        header = message.parts[0]
        self._struct(header, netlink, out)
        length, kind, flags, seq, _ = self._whole_header(netlink, header.offset)
        if seq not in self._seqs:
            # Where no message before had it, it may be anything.
            self._whole_header_into(out, header.offset, length, kind, flags, 0, 0)
        at = header.offset + header.size
        end = min(message.end, len(netlink))
        self._first_bytes(message, at, end, netlink, out)
        self._zeroed(_EMPTIED, netlink[at:end])

    def _first_bytes(self, message: _Message, at: int, end: int, netlink: bytes, out: bytearray) -> None:
        """What tells an answer's errno, or what kind of sockets a message is about, where it is plausible."""
        if message.kind in _ANSWERS:
            if end - at >= 4 and self._errno_at(at, netlink):
                out[at : at + 4] = netlink[at : at + 4]
        elif message.kind in _ABOUT_SOCKETS and at < end and netlink[at] < _FAMILIES:
            known = min(at + 1 + message.request, end)
            out[at:known] = netlink[at:known]

    def _copy(self, message: _Message, netlink: bytes, out: bytearray) -> None:
        self._seqs[self._whole_header(netlink, message.parts[0].offset)[3]] = None
        if len(self._seqs) > _SEQS:
            del self._seqs[next(iter(self._seqs))]
        port_follows = False
        info_at = 0
        for part in message.parts:
            at, end = part.offset, part.offset + part.size
            piece = netlink[at:end]
            match part.what:
                case What.STRUCT:
                    assert part.layout is not None
                    self._struct(part, netlink, out)
                    if part.layout.struct is INET_DIAG_BC_OP:
                        if port_follows:
                            self._bytecode_port(out, netlink, at)
                        port_follows = not port_follows and _compares_ports(piece)
                    else:
                        port_follows = False
                    if part.layout.struct is TCP_INFO:
                        info_at = at
                case What.TEXT:
                    text = piece.partition(b"\0")[0]
                    if self._keep_unknown or _PLAIN_TEXT.match(text):
                        out[at : at + len(text)] = text
                        self._zeroed("bytes behind texts", piece[len(text) :])
                    else:
                        self._zeroed("texts that are not plain words", piece)
                case What.SURPLUS if info_at and part.path == (2,) and _TAIL_AT <= at - info_at < _TAIL_END:
                    # What cannot be told apart without the kernel release: counters either way.
                    known = min(end, info_at + _TAIL_END)
                    out[at:known] = netlink[at:known]
                    self._not_understood(message, part, known, netlink, out)
                case What.UNKNOWN if not part.path:
                    self._first_bytes(message, at, end, netlink, out)
                    self._zeroed(part.why, netlink[at + 2 : end])
                case What.PADDING:
                    self._zeroed("padding that was not zero", piece)
                case _:
                    self._not_understood(message, part, at, netlink, out)

    def _not_understood(self, message: _Message, part: Part, at: int, netlink: bytes, out: bytearray) -> None:
        """The bytes of `part` from `at` on."""
        end = part.offset + part.size
        attribute = part.what in {What.UNKNOWN, What.SURPLUS} and not message.request and bool(part.path)
        if self._keep_unknown and attribute and part.path != _MD5SIG:
            out[at:end] = netlink[at:end]
        else:
            self._zeroed(part.why, netlink[at:end])

    def _zeroed(self, what: str, original: bytes) -> None:
        if any(original):
            self._report.zeroed[what] += 1

    def _struct(self, part: Part, netlink: bytes, out: bytearray) -> None:
        """The members of a struct, each as it may be shared."""
        layout = part.layout
        assert layout is not None
        at = part.offset
        out[at : at + part.size] = netlink[at : at + part.size]
        patches = self._patches.get(layout)
        if patches is None:
            patches = self._patches[layout] = [
                (offset, patch)
                for offset, size, member in layout.members
                if (patch := self._patch_of(layout, size, member)) is not None
            ]
        for offset, patch in patches:
            patch(out, netlink, at, at + offset)

    def _patch_of(self, layout: Layout, size: int, member: Field | None) -> _Patch | None:
        if member is None or (member.name.startswith("_") and not member.bits):
            return self._zeros("reserved bytes", size)
        if layout.struct is HOSTCOND_ADDRESSES[AF_INET]:
            return self._v4_address
        if layout.struct is HOSTCOND_ADDRESSES[AF_INET6]:
            return self._v6_address
        if layout.struct is INET_DIAG_HOSTCOND and member.name == "port":
            return self._condition_port
        if member.name == "tcpm_key":
            return self._zeros("MD5 keys", size)
        return self._by_name.get(member.name)

    def _mapped_members(self) -> dict[str, _Patch]:
        """What is written for a member of this name, in whatever struct; those that are not here come as they are."""
        to = self._pseudonyms
        order = self._order
        u32, u64, be16 = struct.Struct(order + "I"), struct.Struct(order + "Q"), struct.Struct(">H")
        number = self._number
        interface = number(u32, to.interface, "interface numbers")
        cgroup = number(u64, to.cgroup_id, "cgroup ids")
        token = number(u32, to.token, "MPTCP tokens")
        port = number(be16, to.port, "client ports")
        return {
            "nlmsg_pid": number(u32, to.netlink_port, "netlink port ids"),
            "idiag_sport": port,
            "idiag_dport": port,
            "idiag_src": self._address,
            "idiag_dst": self._address,
            "tcpm_addr": self._address,
            "idiag_if": interface,
            "ifindex": interface,
            "idiag_cookie": self._cookie,
            "idiag_uid": number(u32, to.uid, "uids"),
            "idiag_inode": number(u32, to.inode, "inodes"),
            "cgroup_id": cgroup,
            "cgroup": cgroup,
            "ulp_mptcp_token_rem": token,
            "ulp_mptcp_token_loc": token,
            "mptcpi_token": token,
        }

    def _number(self, kind: struct.Struct, mapped: Numbers, what: str) -> _Patch:
        read, write, replaced = kind.unpack_from, kind.pack_into, self._report.replaced

        def patch(out: bytearray, netlink: bytes, _: int, at: int) -> None:
            (value,) = read(netlink, at)
            new = mapped(value)
            if new != value:
                write(out, at, new)
                replaced[what] += 1

        return patch

    def _zeros(self, what: str, size: int) -> _Patch:
        def patch(out: bytearray, netlink: bytes, _: int, at: int) -> None:
            out[at : at + size] = bytes(size)
            self._zeroed(what, netlink[at : at + size])

        return patch

    def _cookie(self, out: bytearray, netlink: bytes, _: int, at: int) -> None:
        words = self._order + "II"
        low, high = struct.unpack_from(words, netlink, at)
        cookie = high << 32 | low
        new = self._pseudonyms.cookie(cookie)
        if new != cookie:
            struct.pack_into(words, out, at, new & 0xFFFFFFFF, new >> 32)
            self._report.replaced["cookies"] += 1

    def _address(self, out: bytearray, netlink: bytes, struct_at: int, at: int) -> None:
        """The address of a struct whose first byte is the family."""
        family = netlink[struct_at]
        if family == AF_INET6:
            self._v6_address(out, netlink, struct_at, at)
            return
        out[at : at + 16] = bytes(16)
        if family == AF_INET:
            self._v4_address(out, netlink, struct_at, at)
            self._zeroed("bytes behind IPv4 addresses", netlink[at + 4 : at + 16])
        else:
            self._zeroed("addresses of another family", netlink[at : at + 16])

    def _v4_address(self, out: bytearray, netlink: bytes, _: int, at: int) -> None:
        old = netlink[at : at + 4]
        out[at : at + 4] = new = self._pseudonyms.v4(old)
        if new != old:
            self._report.replaced["addresses"] += 1

    def _v6_address(self, out: bytearray, netlink: bytes, _: int, at: int) -> None:
        old = netlink[at : at + 16]
        out[at : at + 16] = new = self._pseudonyms.v6(old)
        if new != old:
            self._report.replaced["addresses"] += 1

    def _condition_port(self, out: bytearray, netlink: bytes, _: int, at: int) -> None:
        (port,) = struct.unpack_from(self._order + "I", netlink, at)
        if port == _ANY_PORT:
            return
        new = self._pseudonyms.port(port)
        struct.pack_into(self._order + "I", out, at, new)
        if new != port:
            self._report.replaced["client ports"] += 1

    def _bytecode_port(self, out: bytearray, netlink: bytes, at: int) -> None:
        """The second operation of a comparison: its `no` is the port, in host order."""
        (port,) = struct.unpack_from(self._order + "H", netlink, at + 2)
        new = self._pseudonyms.port(port)
        struct.pack_into(self._order + "H", out, at + 2, new)
        if new != port:
            self._report.replaced["client ports"] += 1


def _compares_ports(operation: bytes) -> bool:
    """Whether an operation of a filter is one that a second one follows, with the port."""
    whole = len(operation) == size_of(INET_DIAG_BC_OP)
    return whole and CONDITIONS.get(operation[0]) is INET_DIAG_BC_OP and operation[1] >= _COMPARISON
