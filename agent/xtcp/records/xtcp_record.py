"""xTCP's own layout, `xtcp`: proto2, nested, message `xtcppb.xtcp_record`, a bare record in every datagram.

Numbers, names and types are those of its xtcppb.proto, so that what reads its records reads ours. What xTCP sends it
sends with zeros too, but for four values that it leaves out where they are zero. Beyond it, `mem_info`, the congestion
control's name and the members of tcp_info that its proto has and it never filled (10, 53 to 60) are sent here.
"""

from __future__ import annotations

from typing import Final

from xtcp.records.model import Derivation, EnumType, Layout, Message, Nested, Presence, RecordField, Scalar


def _given(
    number: int, name: str, scalar: Scalar, column: str, derivation: Derivation = Derivation.SAME, comment: str = ""
) -> RecordField:
    return RecordField(number, name, scalar, column, Presence.GIVEN, derivation, comment=comment)


def _words(prefix: str, rows: str) -> tuple[RecordField, ...]:
    """Fields of 32 bits, `number name` each, of columns of the same name behind `prefix`, or `number name column`."""
    found = []
    for row in rows.split(";"):
        number, name, *column = row.split()
        found.append(_given(int(number), name, "uint32", prefix + (column[0] if column else name)))
    return tuple(found)


def _wide(rows: str) -> tuple[RecordField, ...]:
    """Fields of 64 bits of tcp_info."""
    return tuple(
        _given(int(number), name, "uint64", f"tcpi_{name}") for number, name in (row.split() for row in rows.split(";"))
    )


CONGESTION: Final = EnumType(
    "congestion_algorithm",
    (("UNKNOWN", 0), ("CUBIC", 1), ("BBR1", 2), ("BBR2", 3)),
    (("cubic", 1), ("bbr", 2), ("bbr1", 2), ("bbr2", 3)),
)

_TIMESPEC = Message(
    "timespec64_t",
    (
        _given(1, "sec", "int64", "timestamp_ns", Derivation.SECONDS),
        _given(2, "nsec", "int64", "timestamp_ns", Derivation.NANOSECONDS),
    ),
)

_SOCKET_ID = Message(
    "socket_i_d",
    (
        _given(1, "source_port", "uint32", "idiag_sport"),
        _given(2, "destination_port", "uint32", "idiag_dport"),
        _given(3, "source", "bytes", "idiag_src", Derivation.ADDRESS),
        _given(4, "destination", "bytes", "idiag_dst", Derivation.ADDRESS),
        _given(5, "interface", "uint32", "idiag_if"),
        _given(6, "cookie", "uint64", "idiag_cookie"),
        RecordField(7, "dest_asn", "uint64", comment="not filled"),
        RecordField(8, "next_hop_asn", "uint64", comment="not filled"),
    ),
)

_INET_DIAG_MSG = Message(
    "inet_diag_msg",
    (
        *_words("idiag_", "1 family; 2 state; 3 timer; 4 retrans"),
        Nested(5, "socket_i_d", _SOCKET_ID),
        *_words("idiag_", "6 expires; 7 rqueue; 8 wqueue; 9 u_i_d uid; 10 inode"),
    ),
)

_MEM_INFO = Message("mem_info", _words("idiag_", "1 rmem; 2 wmem; 3 fmem; 4 tmem"))

_SK_MEM_INFO = Message(
    "sk_mem_info",
    _words(
        "skmem_",
        "1 rmem_alloc; 2 rcv_buf rcvbuf; 3 wmem_alloc; 4 snd_buf sndbuf; 5 fwd_alloc; 6 wmem_queued; 7 optmem;"
        "8 backlog; 9 drops",
    ),
)

_BBR_INFO = Message(
    "bbr_info",
    (
        _given(1, "bw_lo", "uint32", "bbr_bw", Derivation.LOW_WORD),
        _given(2, "bw_hi", "uint32", "bbr_bw", Derivation.HIGH_WORD),
        *_words("bbr_", "3 min_rtt; 4 pacing_gain; 5 cwnd_gain"),
    ),
)

_TCP_INFO = Message(
    "tcp_info",
    (
        *_words(
            "tcpi_",
            "1 state; 2 ca_state; 3 retransmits; 4 probes; 5 backoff; 6 options; 7 send_scale snd_wscale;"
            "8 rcv_scale rcv_wscale; 9 delivery_rate_app_limited; 10 fast_open_client_failed fastopen_client_fail;"
            "15 rto; 16 ato; 17 snd_mss; 18 rcv_mss; 19 unacked; 20 sacked; 21 lost; 22 retrans; 23 fackets;"
            "24 last_data_sent; 25 last_ack_sent; 26 last_data_recv; 27 last_ack_recv; 28 pmtu; 29 rcv_ssthresh;"
            "30 rtt; 31 rtt_var rttvar; 32 snd_ssthresh; 33 snd_cwnd; 34 adv_mss advmss; 35 reordering; 36 rcv_rtt;"
            "37 rcv_space; 38 total_retrans",
        ),
        *_wide("39 pacing_rate; 40 max_pacing_rate; 41 bytes_acked; 42 bytes_received"),
        *_words(
            "tcpi_",
            "43 segs_out; 44 segs_in; 45 not_sent_bytes notsent_bytes; 46 min_rtt; 47 data_segs_in; 48 data_segs_out",
        ),
        *_wide("49 delivery_rate; 50 busy_time; 51 rwnd_limited; 52 sndbuf_limited"),
        *_words("tcpi_", "53 delivered; 54 delivered_ce"),
        *_wide("55 bytes_sent; 56 bytes_retrans"),
        *_words("tcpi_", "57 dsack_dups; 58 reord_seen; 59 rcv_ooopack; 60 snd_wnd"),
    ),
)

RECORD: Final = Message(
    "xtcp_record",
    (
        Nested(1, "epoch_time", _TIMESPEC),
        _given(2, "hostname", "string", "hostname"),
        RecordField(3, "tag", "string", derivation=Derivation.CONSTANT),
        Nested(100, "inet_diag_msg", _INET_DIAG_MSG),
        Nested(101, "mem_info", _MEM_INFO),
        Nested(102, "tcp_info", _TCP_INFO),
        _given(103, "congestion_algorithm_string", "string", "cong"),
        RecordField(
            104, "congestion_algorithm_enum", "enum", "cong", Presence.GIVEN, Derivation.CONGESTION, CONGESTION
        ),
        RecordField(105, "type_of_service", "uint32", "tos"),
        RecordField(106, "traffic_class", "uint32", "tclass"),
        Nested(107, "sk_mem_info", _SK_MEM_INFO),
        RecordField(108, "shutdown_state", "uint32", "shutdown"),
        Nested(116, "bbr_info", _BBR_INFO),
        RecordField(117, "class_id", "uint32", "class_id"),
    ),
)

XTCP: Final = Layout("xtcp", "xtcppb", "proto2", RECORD, constants=(("tag", ""),))
