"""What other programs are known to get wrong, or do not say: the one list, rendered into docs/witnesses.md.

A disagreement that a `KnownFault` foretells, to the letter, is the other's: `explained` finds it, and it is counted
apart. Everything else is ours until someone has understood it. A `Limit` is no disagreement: nothing was compared.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from xtcp.chunk import NATIVE
from xtcp.netlink.numbers import NLA_HDRLEN, NLA_TYPE_MASK, NLMSG_HDRLEN, aligned
from xtcp.schema.inet_diag import INET_DIAG_MSG
from xtcp.schema.layout import members, size_of
from xtcp.schema.model import Order
from xtcp.schema.tcp_info import TCP_INFO
from xtcp_replay.judging.witnesses.ss_formats import Row, integer, signed, timer_text
from xtcp_replay.judging.witnesses.testimony import Difference


@dataclass(frozen=True)
class Case:
    """A difference with what is needed to judge it: our row, the byte order of the message, that of the witness's
    host (it decides where a program reads by its own order), and the message as the witness got it.
    """

    difference: Difference
    row: Row
    order: Order
    host: Order = NATIVE
    message: bytes = b""


@dataclass(frozen=True)
class KnownFault:
    """`fields` are the columns or tokens it concerns; `foretells` says of a case whether this fault is all it is.

    `seen` names the releases in which it was seen, `source` the file of that program and, behind a blank, the
    functions.
    """

    name: str
    witness: str
    fields: tuple[str, ...]
    what: str
    why: str
    seen: str
    source: str
    foretells: Callable[[Case], bool]


@dataclass(frozen=True)
class Limit:
    """What a witness is not asked, or does not say, and why."""

    witness: str
    what: str
    why: str


def _timer(text: str) -> Callable[[Case], bool]:
    """`text` is how ss writes the timer: name, duration, retransmissions."""

    def foretells(case: Case) -> bool:
        milliseconds, retrans = integer(case.row, "idiag_expires"), integer(case.row, "idiag_retrans")
        ours, theirs = case.difference.ours, case.difference.theirs
        name = ours[0].partition(",")[0] if ours else "("
        duration = timer_text(milliseconds, "{:03d}ms") if milliseconds else ""
        return theirs == text.format(name=name, duration=duration, retrans=retrans)

    return foretells


def _signed(case: Case) -> bool:
    return any(
        text.isdigit() and int(text) >> 31 == 1 and case.difference.theirs == str(signed(int(text)))
        for text in case.difference.ours
    )


def _maplen(case: Case) -> bool:
    if case.host == "<":
        return False
    read = integer(case.row, "ulp_mptcp_map_datalen") << 16
    return case.difference.theirs in {f"{read:x}", str(read)}


def _low_nibble(case: Case) -> bool:
    """The low nibble is what a little-endian host sends first, `tcpi_snd_wscale`, and a big-endian one second."""
    low = "tcpi_snd_wscale" if case.host == "<" else "tcpi_rcv_wscale"
    return case.difference.field != low and case.difference.theirs == str(case.row.get(low))


def _low_bit(case: Case) -> bool:
    """Bit 0 is the last of five unused ones on a big-endian host."""
    at = _payload_of_info(case.message, case.host) + _APP_LIMITED
    bit = case.message[at] & 1 if at < len(case.message) else 0
    return case.host == ">" and case.difference.theirs == str(bit)


def _beyond_info(case: Case) -> bool:
    """What stands in the message where the member would be, were `tcp_info` as long as pyroute2 believes."""
    length = integer(case.row, "tcp_info_len")
    if not 0 < length < PYROUTE2_INFO or case.difference.ours:
        return False
    begin = _payload_of_info(case.message, case.host)
    for member in members(TCP_INFO, case.host, None):
        if member.column == case.difference.field and member.end > length:
            raw = case.message[begin + member.offset : begin + member.end]
            return case.difference.theirs == str(int.from_bytes(raw, "little" if case.host == "<" else "big"))
    return False


def _payload_of_info(message: bytes, order: Order) -> int:
    """Where the payload of INET_DIAG_INFO begins in an undamaged message, its length where there is none."""
    at = NLMSG_HDRLEN + size_of(INET_DIAG_MSG)
    while at + NLA_HDRLEN <= len(message):
        length, number = struct.unpack_from(order + "HH", message, at)
        at += NLA_HDRLEN
        if number & NLA_TYPE_MASK == _INFO:
            return at
        at += aligned(max(length, NLA_HDRLEN) - NLA_HDRLEN)
    return len(message)


def _not_read(case: Case) -> bool:
    return 0 < integer(case.row, "tcp_info_len") < PYROUTE2_INFO and case.difference.theirs == NOT_READ


def _swapped_pair(case: Case) -> bool:
    cookie = integer(case.row, "idiag_cookie")
    return case.host == ">" and case.difference.theirs == str(cookie >> 32 | (cookie & 0xFFFF_FFFF) << 32)


def _little_words(case: Case) -> bool:
    low, high = divmod(integer(case.row, "idiag_cookie"), 1 << 32)[::-1]
    words = low.to_bytes(4, "big") + high.to_bytes(4, "big")
    return case.order == ">" and case.difference.theirs == str(int.from_bytes(words, "little"))


_INFO: Final = 2
_APP_LIMITED: Final = 7  # the byte of tcp_info that holds it
PYROUTE2_INFO: Final = 232
"""What pyroute2 believes `struct tcp_info` to be at least, as in Linux 5.4."""

NOT_READ: Final = "not read"
"""What a witness says of a payload that it gives up on."""

_SS: Final = "https://github.com/iproute2/iproute2/blob/main/misc/ss.c"
_PYROUTE2: Final = "https://github.com/svinota/pyroute2/blob/master/pyroute2/netlink/diag/__init__.py"
_TSHARK: Final = "https://github.com/wireshark/wireshark/blob/master/epan/dissectors/packet-netlink-sock_diag.c"

KNOWN_FAULTS: Final[tuple[KnownFault, ...]] = (
    KnownFault(
        "ss-timer-fraction",
        "ss",
        ("timer:",),
        "6146 ms are printed as `6.146ms`",
        "the unit of the fraction is written behind seconds and fraction together",
        "6.1, and the texts beside all captures",
        f"{_SS} print_ms_timer",
        lambda case: integer(case.row, "idiag_expires") > 0 and _timer("{name},{duration},{retrans})")(case),
    ),
    KnownFault(
        "ss-timer-blank",
        "ss",
        ("timer:",),
        "a timer that is due now is printed without a time: `timer:(keepalive,,0)`",
        "each part of a duration is left out where it is 0, all of them where all are",
        "6.1",
        f"{_SS} print_ms_timer",
        lambda case: not integer(case.row, "idiag_expires") and _timer("{name},,{retrans})")(case),
    ),
    KnownFault(
        "ss-timer-unknown",
        "ss",
        ("timer:",),
        "timer 5, the delayed acknowledgement's, is printed as `unknown`",
        "the number is newer than the table of names",
        "6.1",
        f"{_SS} tcp_timer_print",
        lambda case: integer(case.row, "idiag_timer") > 4 and _timer("(unknown,{duration},{retrans})")(case),
    ),
    KnownFault(
        "ss-signed",
        "ss",
        ("Recv-Q:", "Send-Q:", "mss:", "rcvmss:", "advmss:", "rcv_space:", "reordering:", "reord_seen:"),
        "2147483648 and above are printed as negative numbers",
        "u32 members are printed with %d",
        "6.1",
        f"{_SS} tcp_stats_print, sock_state_print",
        _signed,
    ),
    KnownFault(
        "ss-maplen",
        "ss",
        ("maplen:",),
        "on a big-endian host the length 5 of an MPTCP mapping is printed as 50000, by 7.2 in decimal: 327680",
        "the u16 MPTCP_SUBFLOW_ATTR_MAP_DATALEN is read as u32; little-endian hosts are right by its padding",
        "6.1 and 7.2 on s390x",
        f"{_SS} mptcp_subflow_info",
        _maplen,
    ),
    KnownFault(
        "pyroute2-wscale",
        "pyroute2",
        ("tcpi_snd_wscale", "tcpi_rcv_wscale"),
        "both window scales are the low half of their byte",
        "`x & 0xF0 >> 4` is `x & 0xF` in Python",
        "0.9.7",
        f"{_PYROUTE2} tcp_info.decode",
        _low_nibble,
    ),
    KnownFault(
        "pyroute2-app-limited",
        "pyroute2",
        ("tcpi_delivery_rate_app_limited",),
        "on a big-endian host tcpi_delivery_rate_app_limited is an unused bit, always 0",
        "`x & 0x80 >> 7` is `x & 1`, which is the right bit on little-endian hosts only",
        "0.7.2 on s390x",
        f"{_PYROUTE2} tcp_info.decode",
        _low_bit,
    ),
    KnownFault(
        "pyroute2-beyond-info",
        "pyroute2",
        tuple(member.column for member in members(TCP_INFO, "<", None) if member.end <= PYROUTE2_INFO),
        f"a tcp_info of less than {PYROUTE2_INFO} bytes, from kernels before 5.4, has values of members that it lacks",
        "the struct is unpacked whole, whatever its length, out of the bytes of the next attribute",
        "0.9.7",
        f"{_PYROUTE2} tcp_info.fields",
        _beyond_info,
    ),
    KnownFault(
        "pyroute2-short-info",
        "pyroute2",
        ("INET_DIAG_INFO",),
        f"a tcp_info of less than {PYROUTE2_INFO} bytes at the end of a message is not read at all",
        "the struct is unpacked whole, and there are no bytes behind it",
        "0.9.7",
        f"{_PYROUTE2} tcp_info.fields",
        _not_read,
    ),
    KnownFault(
        "pyroute2-cookie",
        "pyroute2",
        ("idiag_cookie",),
        "on a big-endian host the halves of the cookie change places",
        "two u32, low word first, are read as one u64",
        "0.7.2 on s390x",
        f"{_PYROUTE2} inet_diag_msg.fields",
        _swapped_pair,
    ),
    KnownFault(
        "tshark-cookie",
        "tshark",
        ("idiag_cookie",),
        "the cookie of a big-endian host is read as if the host were little-endian",
        "tvb_get_letohl instead of the byte order that was found",
        "4.0.17",
        f"{_TSHARK} sock_diag_proto_tree_add_cookie",
        _little_words,
    ),
)

BY_NAME: Final = {fault.name: fault for fault in KNOWN_FAULTS}

DAMAGED: Final = "damaged: programs differ in what they make of it"
REPEATED: Final = "an attribute came twice: programs differ in which they take"
FAMILY: Final = "neither IPv4 nor IPv6"
MPTCP: Final = "of an MPTCP dump"
STATE: Final = "in a state that no kernel sends"
LONG: Final = "longer than the 16 KiB that ss reads"
BEYOND_LIMIT: Final = "beyond --limit"

LIMITS: Final[tuple[Limit, ...]] = (
    Limit("all", DAMAGED, "only the reference decoder is asked about a damaged message"),
    Limit("all", REPEATED, "ss takes the first, the kernel's own parser the last, pyroute2 and tshark list both"),
    Limit("all", FAMILY, "their layout is another one"),
    Limit(
        "ss, pyroute2",
        "messages of the other byte order, as they came",
        "they know only their host's: they get the message's exact twin",
    ),
    Limit("ss", MPTCP, "`TCPDIAG_FILE` is taken for a dump of TCP, and mptcp_info for a tcp_info"),
    Limit("ss", STATE, "ss looks up its name behind the end of a table, and prints what it finds there"),
    Limit("ss", LONG, "its buffer for a message of a file"),
    Limit(
        "ss",
        "zeros, a slow start threshold of 65535 and above, an rto of 3 s",
        "it prints nothing for them, as for a member that did not come",
    ),
    Limit(
        "ss",
        "digits of a time in ms behind the sixth, of a rate with a unit behind the third",
        "it prints with %g; our value printed so is what is compared",
    ),
    Limit(
        "ss",
        "the path of a control group, the keys of MD5",
        "the one is this host's, the others are not decoded: only that they are there is compared",
    ),
    Limit("ss", "tokens that this release does not know", "it is asked once about a made-up socket that has all"),
    Limit("pyroute2", "mptcp_info", "it takes it for a tcp_info"),
    Limit("pyroute2", "SOCKOPT, tcp_info behind tcpi_snd_wnd, tcpi_fastopen_client_fail", "it does not know them"),
    Limit("pyroute2", "SKMEMINFO, MARK, ULP_INFO, MD5SIG", "it gives their bytes only"),
    Limit(
        "tshark",
        "several messages in one packet",
        "it guesses the byte order by the first one's length: each message gets a packet of its own",
    ),
    Limit(
        "tshark",
        "answers to the older request (nlmsg_type 18)",
        "it does not look into them: they get type 20, the rest is the same",
    ),
    Limit(
        "tshark",
        "answers to port id 0, as those of an archive are",
        "it takes them for requests: they get port id 1",
    ),
    Limit("tshark", "timer, retransmissions, expiry, uid, the last members of SKMEMINFO", "it skips them"),
    Limit(
        "tshark",
        "attributes other than MEMINFO, SKMEMINFO, SHUTDOWN",
        "it gives their bytes only; texts and single bytes are compared, and the length of tcp_info",
    ),
)


def explanation(witness: str, case: Case) -> KnownFault | None:
    """The fault of `witness` that is all there is to `case`, None where there is none."""
    for fault in _BY_FIELD.get((witness, case.difference.field), ()):
        if fault.foretells(case):
            return fault
    return None


def _by_field() -> dict[tuple[str, str], list[KnownFault]]:
    found: dict[tuple[str, str], list[KnownFault]] = {}
    for fault in KNOWN_FAULTS:
        for field in fault.fields:
            found.setdefault((fault.witness, field), []).append(fault)
    return found


_BY_FIELD: Final = _by_field()
