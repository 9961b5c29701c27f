"""What would ss print for this row?

In: one row as a mapping by our column names (addresses as text, ``idiag_state`` by ss's name, integers otherwise,
absent columns left out). Out: ``TOKENS`` and ``MPTCP_TOKENS``, for each token of ss the option group that shows it and
the texts ss may write for that row, were it without faults (those stand in ``known_faults``). Nothing is decoded or
parsed here, and no code is shared with the decoder. Source:
iproute2 ``misc/ss.c`` (``tcp_stats_print``, ``inet_show_sock``, ``print_skmeminfo``, ``mptcp_subflow_info``,
``mptcp_stats_print``, ``sock_details_print``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from xtcp.schema.names import TIMERS
from xtcp_replay.judging.witnesses.ss_formats import Row, Texts, c_hex, integer, rate_texts, timer_text

TIMER, DETAILS, CGROUP, TOS, SOCKOPT, MEMORY, INFO = "timer", "details", "cgroup", "tos", "sockopt", "memory", "info"
GROUPS: Final = frozenset((TIMER, DETAILS, CGROUP, TOS, SOCKOPT, MEMORY, INFO))
"""Option groups: ss -o, -e, -e or --cgroup, --tos, --inet-sockopt, -m, -i."""

_U32: Final = 0xFFFF_FFFF
_U64: Final = 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, slots=True)
class Rule:
    """How ss prints one token: ``values(row)`` are the texts it may write after the name, empty when it prints none.

    ``exact`` is false where the value comes from the host (the path of a control group; an id that ss finds no path for
    is compared) or is redacted (MD5 keys): then only the presence counts.
    """

    group: str
    values: Callable[[Row], Texts]
    exact: bool = True


def _number(column: str, text: str = "{}") -> Callable[[Row], Texts]:
    """Printed unless 0."""

    def values(row: Row) -> Texts:
        value = integer(row, column)
        return (text.format(value),) if value else ()

    return values


def _attribute(column: str, text: Callable[[int], str]) -> Callable[[Row], Texts]:
    """Printed whenever the attribute came, zero too."""
    return lambda row: (text(integer(row, column)),) if column in row else ()


def _flag(column: str, mask: int = -1) -> Callable[[Row], Texts]:
    return lambda row: ("",) if integer(row, column) & mask else ()


def _milliseconds(column: str, *hidden: int) -> Callable[[Row], Texts]:
    """Microseconds shown as milliseconds with %g."""

    def values(row: Row) -> Texts:
        value = integer(row, column)
        return () if not value or value in hidden else (f"{value / 1000:g}",)

    return values


def _timer(row: Row) -> Texts:
    number = integer(row, "idiag_timer")
    if not number:
        return ()
    name = TIMERS.get(number, "unknown")
    return (f"({name},{timer_text(integer(row, 'idiag_expires'))},{integer(row, 'idiag_retrans')})",)


def _shutdown(row: Row) -> Texts:
    if "shutdown" not in row:
        return ()
    mask = integer(row, "shutdown")
    return (("-" if mask & 1 else "<") + "-" + ("-" if mask & 2 else ">"),)


def _v6only(row: Row) -> Texts:
    """Of IPv6 sockets alone, whatever came."""
    return (str(integer(row, "skv6only")),) if "skv6only" in row and ":" in str(row["idiag_src"]) else ()


_SOCKOPT_BITS: Final = (
    "recverr", "is_icsk", "freebind", "hdrincl", "mc_loop", "transparent", "mc_all", "nodefrag", "bind_address_no_port",
    "recverr_rfc4884", "defer_connect",
)  # fmt: skip


def _sockopt(row: Row) -> Texts:
    if "sockopt_recverr" not in row:
        return ()
    names = [bit.replace("bind_address", "bind_addr") for bit in _SOCKOPT_BITS if integer(row, f"sockopt_{bit}")]
    return ("(" + "".join(f" {name}" for name in names) + ")",)


_SKMEM: Final = (
    ("r", "rmem_alloc"), ("rb", "rcvbuf"), ("t", "wmem_alloc"), ("tb", "sndbuf"), ("f", "fwd_alloc"),
    ("w", "wmem_queued"), ("o", "optmem"), ("bl", "backlog"), ("d", "drops"),
)  # fmt: skip


def _skmem(row: Row) -> Texts:
    if "skmem_rmem_alloc" not in row:
        return ()
    shown = [(name, column) for name, column in _SKMEM if f"skmem_{column}" in row]
    return ("(" + ",".join(f"{name}{integer(row, f'skmem_{column}')}" for name, column in shown) + ")",)


def _meminfo(row: Row) -> Texts:
    if "idiag_rmem" not in row or "skmem_rmem_alloc" in row:
        return ()
    return ("(" + ",".join(f"{letter}{integer(row, f'idiag_{letter}mem')}" for letter in "rwft") + ")",)


def _cong(row: Row) -> Texts:
    return (str(row["cong"])[:15],) if row.get("cong") and "tcpi_state" in row else ()


def _wscale(row: Row) -> Texts:
    if not integer(row, "tcpi_options") & 4:
        return ()
    return (f"{integer(row, 'tcpi_snd_wscale')},{integer(row, 'tcpi_rcv_wscale')}",)


def _rtt(row: Row) -> Texts:
    rtt = integer(row, "tcpi_rtt")
    return (f"{rtt / 1000:g}/{integer(row, 'tcpi_rttvar') / 1000:g}",) if rtt else ()


def _ssthresh(row: Row) -> Texts:
    value = integer(row, "tcpi_snd_ssthresh")
    return (str(value),) if 0 < value < 0xFFFF else ()


def _dctcp(row: Row) -> Texts:
    if "dctcp_enabled" not in row or "tcpi_state" not in row:
        return ()
    if not integer(row, "dctcp_enabled"):
        return ("fallback_mode",)
    members = ("ce_state", "alpha", "ab_ecn", "ab_tot")
    return ("(" + ",".join(f"{name}:{integer(row, f'dctcp_{name}')}" for name in members) + ")",)


def _bbr(row: Row) -> Texts:
    if "bbr_bw" not in row or "tcpi_state" not in row:
        return ()
    rest = f",mrtt:{integer(row, 'bbr_min_rtt') / 1000:g}"
    for gain in ("pacing_gain", "cwnd_gain"):
        if integer(row, f"bbr_{gain}"):
            rest += f",{gain}:{integer(row, f'bbr_{gain}') / 256:g}"
    return tuple(f"(bw:{rate}{rest})" for rate in rate_texts(integer(row, "bbr_bw") * 8.0))


def _send(row: Row) -> Texts:
    """Not a value of the kernel: cwnd · mss / rtt, with vegas' own rtt where it has one."""
    rtt, vegas = integer(row, "tcpi_rtt"), integer(row, "tcpv_rtt")
    if integer(row, "tcpv_enabled") and vegas not in (0, 0x7FFF_FFFF):
        rtt = vegas
    window = float(integer(row, "tcpi_snd_cwnd")) * float(integer(row, "tcpi_snd_mss"))
    return rate_texts(window * 8_000_000.0 / rtt) if rtt and window else ()


def _pacing_rate(row: Row) -> Texts:
    rate, highest = integer(row, "tcpi_pacing_rate"), integer(row, "tcpi_max_pacing_rate")
    if rate in (0, _U64):
        return ()
    if highest in (0, _U64):
        return rate_texts(rate * 8.0)
    return tuple(f"{a}/{b}" for a, b in zip(rate_texts(rate * 8.0), rate_texts(highest * 8.0), strict=True))


def _delivery_rate(row: Row) -> Texts:
    rate = integer(row, "tcpi_delivery_rate")
    return rate_texts(rate * 8.0) if rate else ()


def _limited(column: str) -> Callable[[Row], Texts]:
    def values(row: Row) -> Texts:
        busy, limited = integer(row, "tcpi_busy_time"), integer(row, column)
        return (f"{limited // 1000}ms({100.0 * limited / busy:.1f}%)",) if busy and limited else ()

    return values


def _busy(row: Row) -> Texts:
    busy = integer(row, "tcpi_busy_time")
    return (f"{busy // 1000}ms",) if busy else ()


def _retrans(row: Row) -> Texts:
    now, total = integer(row, "tcpi_retrans"), integer(row, "tcpi_total_retrans")
    return (f"{now}/{total}",) if now or total else ()


def _sacked(row: Row) -> Texts:
    sacked = integer(row, "tcpi_sacked")
    return (str(sacked),) if sacked and row["idiag_state"] != "LISTEN" else ()


def _reordering(row: Row) -> Texts:
    value = integer(row, "tcpi_reordering")
    return (str(value),) if "tcpi_state" in row and value != 3 else ()


def _named(column: str, names: Mapping[int, str], other: str) -> Callable[[Row], Texts]:
    def values(row: Row) -> Texts:
        text = names.get(integer(row, column), other.format(integer(row, column)))
        return (text,) if column in row and text else ()

    return values


def _sequence(column: str) -> Callable[[Row], Texts]:
    """A sequence number of mptcp_info: hexadecimal in iproute2 6.1, decimal in later releases."""

    def values(row: Row) -> Texts:
        value = integer(row, column)
        return (str(value), f"{value:x}") if value else ()

    return values


def _mapping(column: str) -> Callable[[Row], Texts]:
    """A number of MPTCP's subflow: hexadecimal in iproute2 6.1, decimal in 7.2."""
    return lambda row: (f"{integer(row, column):x}", str(integer(row, column))) if column in row else ()


_TLS_CONF: Final = {1: "none", 2: "sw", 3: "hw", 4: "hw-record"}


def _subflow_flags(row: Row) -> Texts:
    flags = integer(row, "ulp_mptcp_flags")
    letters = "".join(letter for bit, letter in enumerate("MmJjBbecv") if flags >> bit & 1)
    return (letters,) if flags else ()


def _subflow_token(row: Row) -> Texts:
    if not {f"ulp_mptcp_{name}" for name in ("token_rem", "id_rem", "token_loc", "id_loc")} <= row.keys():
        return ()
    tokens = [integer(row, f"ulp_mptcp_token_{end}") for end in ("rem", "loc")]
    ids = [integer(row, f"ulp_mptcp_id_{end}") for end in ("rem", "loc")]
    return ("/".join(f"{token:04x}(id:{number})" for token, number in zip(tokens, ids, strict=True)),)


def _text(column: str) -> Callable[[Row], Texts]:
    return lambda row: (str(row[column]),) if column in row else ()


_COMMON: Final[dict[str, Rule]] = {
    "timer:": Rule(TIMER, _timer),
    "uid:": Rule(DETAILS, _number("idiag_uid")),
    "ino:": Rule(DETAILS, _attribute("idiag_inode", str)),
    "sk:": Rule(DETAILS, _attribute("idiag_cookie", "{:x}".format)),
    "fwmark:": Rule(DETAILS, _number("mark", "{:#x}")),
    "v6only:": Rule(DETAILS, _v6only),
    "<->": Rule(DETAILS, _shutdown),
    "tos:": Rule(TOS, _attribute("tos", c_hex)),
    "tclass:": Rule(TOS, _attribute("tclass", c_hex)),
    "class_id:": Rule(TOS, _attribute("class_id", c_hex)),
    "cgroup:": Rule(CGROUP, _number("cgroup_id", "unreachable:{:x}"), exact=False),
    "inet-sockopt: ": Rule(SOCKOPT, _sockopt),
    "skmem:": Rule(MEMORY, _skmem),
    "mem:": Rule(MEMORY, _meminfo),
}

_TCP_NUMBERS: Final = (
    "backoff", "pmtu", "bytes_sent", "bytes_retrans", "bytes_acked", "bytes_received", "segs_out", "segs_in",
    "data_segs_out", "data_segs_in", "delivered", "delivered_ce", "unacked", "lost", "dsack_dups", "fackets",
    "rcv_ssthresh", "rcv_ooopack", "snd_wnd", "rcv_wnd", "rehash",
)  # fmt: skip

TOKENS: Final[dict[str, Rule]] = (
    _COMMON
    | {f"{name}:": Rule(INFO, _number(f"tcpi_{name}")) for name in _TCP_NUMBERS}
    | {
        "locals:": Rule(INFO, _text("locals")),
        "peers:": Rule(INFO, _text("peers")),
        "ts": Rule(TIMER, _flag("tcpi_options", 1)),
        "usec_ts": Rule(TIMER, _flag("tcpi_options", 64)),
        "sack": Rule(TIMER, _flag("tcpi_options", 2)),
        "ecn": Rule(TIMER, _flag("tcpi_options", 8)),
        "ecnseen": Rule(TIMER, _flag("tcpi_options", 16)),
        "fastopen": Rule(TIMER, _flag("tcpi_options", 32)),
        "cong": Rule(INFO, _cong),
        "wscale:": Rule(INFO, _wscale),
        "rto:": Rule(INFO, _milliseconds("tcpi_rto", 3_000_000)),
        "rtt:": Rule(INFO, _rtt),
        "ato:": Rule(INFO, _milliseconds("tcpi_ato")),
        "mss:": Rule(INFO, _number("tcpi_snd_mss")),
        "rcvmss:": Rule(INFO, _number("tcpi_rcv_mss")),
        "advmss:": Rule(INFO, _number("tcpi_advmss")),
        "cwnd:": Rule(INFO, _number("tcpi_snd_cwnd")),
        "ssthresh:": Rule(INFO, _ssthresh),
        "dctcp:": Rule(INFO, _dctcp),
        "bbr:": Rule(INFO, _bbr),
        "send ": Rule(INFO, _send),
        "lastsnd:": Rule(INFO, _number("tcpi_last_data_sent")),
        "lastrcv:": Rule(INFO, _number("tcpi_last_data_recv")),
        "lastack:": Rule(INFO, _number("tcpi_last_ack_recv")),
        "pacing_rate ": Rule(INFO, _pacing_rate),
        "delivery_rate ": Rule(INFO, _delivery_rate),
        "app_limited": Rule(INFO, _flag("tcpi_delivery_rate_app_limited")),
        "busy:": Rule(INFO, _busy),
        "rwnd_limited:": Rule(INFO, _limited("tcpi_rwnd_limited")),
        "sndbuf_limited:": Rule(INFO, _limited("tcpi_sndbuf_limited")),
        "retrans:": Rule(INFO, _retrans),
        "sacked:": Rule(INFO, _sacked),
        "reordering:": Rule(INFO, _reordering),
        "reord_seen:": Rule(INFO, _number("tcpi_reord_seen")),
        "rcv_rtt:": Rule(INFO, _milliseconds("tcpi_rcv_rtt")),
        "rcv_space:": Rule(INFO, _number("tcpi_rcv_space")),
        "notsent:": Rule(INFO, _number("tcpi_notsent_bytes")),
        "minrtt:": Rule(INFO, _milliseconds("tcpi_min_rtt", _U32)),
        "md5keys:": Rule(INFO, _text("md5sig"), exact=False),
        "tcp-ulp-": Rule(INFO, _text("ulp_name")),
        "version: ": Rule(INFO, _named("ulp_tls_version", {0x303: "1.2", 0x304: "1.3"}, "unknown({})")),
        "cipher: ": Rule(INFO, _named("ulp_tls_cipher", {51: "aes-gcm-128", 52: "aes-gcm-256"}, "")),
        "rxconf: ": Rule(INFO, _named("ulp_tls_rxconf", _TLS_CONF, "unknown({})")),
        "txconf: ": Rule(INFO, _named("ulp_tls_txconf", _TLS_CONF, "unknown({})")),
        "zc_ro_tx": Rule(INFO, _flag("ulp_tls_zc_ro_tx")),
        "no_pad_rx": Rule(INFO, _flag("ulp_tls_rx_no_pad")),
        "flags:": Rule(INFO, _subflow_flags),
        "token:": Rule(INFO, _subflow_token),
        "seq:": Rule(INFO, _mapping("ulp_mptcp_map_seq")),
        "sfseq:": Rule(INFO, _mapping("ulp_mptcp_map_sfseq")),
        "ssnoff:": Rule(INFO, _mapping("ulp_mptcp_ssn_offset")),
        "maplen:": Rule(INFO, _mapping("ulp_mptcp_map_datalen")),
    }
)
"""The tokens of a TCP socket. A name that ends in a blank is followed by its value after that blank."""


_MPTCP_NUMBERS: Final = (
    "subflows", "add_addr_signal", "add_addr_accepted", "subflows_max", "add_addr_signal_max", "add_addr_accepted_max",
    "local_addr_used", "local_addr_max", "csum_enabled", "retransmits",
    "bytes_retrans", "bytes_sent", "bytes_received", "bytes_acked", "subflows_total", "endp_laminar_max",
    "last_data_sent", "last_data_recv", "last_ack_recv",
)  # fmt: skip

MPTCP_TOKENS: Final[dict[str, Rule]] = (
    _COMMON
    | {f"{name}:": Rule(INFO, _number(f"mptcpi_{name}")) for name in _MPTCP_NUMBERS}
    | {f"{name}:": Rule(INFO, _sequence(f"mptcpi_{name}")) for name in ("write_seq", "snd_una", "rcv_nxt")}
    | {
        "fallback": Rule(INFO, _flag("mptcpi_flags", 1)),
        "remote_key": Rule(INFO, _flag("mptcpi_flags", 2)),
        "token:": Rule(INFO, _number("mptcpi_token", "{:x}")),
    }
)
"""The tokens of an MPTCP socket (protocol 262), whose INET_DIAG_INFO is ``struct mptcp_info``."""


LATER_TOKENS: Final = frozenset({
    "bytes_sent:", "bytes_retrans:", "delivered:", "delivered_ce:", "dsack_dups:", "reord_seen:", "rcv_ooopack:",
    "snd_wnd:", "rcv_wnd:", "rehash:", "usec_ts", "cgroup:", "md5keys:", "tcp-ulp-", "version: ", "cipher: ",
    "rxconf: ", "txconf: ", "zc_ro_tx", "no_pad_rx", "flags:", "token:", "seq:", "sfseq:", "ssnoff:", "maplen:",
})  # fmt: skip
"""Tokens that came after iproute2 4.15: an ss without them is old, one without any other is no ss."""


def rules_for(row: Row) -> dict[str, Rule]:
    """The table by which ss prints this row."""
    return MPTCP_TOKENS if "mptcpi_subflows" in row else TOKENS
