"""The table of `struct tcp_info` and of the congestion controls' own structs.

`struct tcp_info` only ever grows at its end (104 bytes in 2.6 to 280 in 6.18); its length in a message tells which
members came. The one exception are its last four bytes, which 7.0 laid out anew without changing the length.
"""

from __future__ import annotations

from typing import Final

from xtcp.schema.model import PAIR64, U8, U16, U32, U64, Bits, Field, Struct, Tail

_TCP_H = "include/uapi/linux/tcp.h"
_INET_DIAG_H = "include/uapi/linux/inet_diag.h"

_OPT_SEEN = "peer's AccECN option: 0 not seen, 1 seen empty, 2 seen with counters, 3 failed"
_FAIL_MODE = "what of AccECN failed, bits: 1 ACE field sent, 2 ACE field received, 4 option sent, 8 option received"

TCP_INFO: Final = Struct(
    "tcp_info",
    _TCP_H,
    (
        Field("tcpi_state", U8, "", "2.6", "TCP state, the same number as idiag_state"),
        Field("tcpi_ca_state", U8, "", "2.6", "congestion state: 0 Open, 1 Disorder, 2 CWR, 3 Recovery, 4 Loss"),
        Field("tcpi_retransmits", U8, "", "2.6", "retransmissions of the segment that is due, in a row"),
        Field("tcpi_probes", U8, "", "2.6", "unanswered zero window or keepalive probes"),
        Field("tcpi_backoff", U8, "", "2.6", "exponent of the retransmission timer's backoff"),
        Field(
            "tcpi_options",
            U8,
            "",
            "2.6",
            "TCPI_OPT_* bits: 1 timestamps, 2 SACK, 4 window scaling, 8 ECN, "
            "16 ECN seen, 32 data in SYN, 64 usec timestamps, 128 fast open child",
        ),
        Field(
            "_wscale",
            U8,
            bits=(
                Bits("tcpi_snd_wscale", 4, "", "2.6", "window scale that the peer announced"),
                Bits("tcpi_rcv_wscale", 4, "", "2.6", "window scale that we announced"),
            ),
        ),
        Field(
            "_app_limited",
            U8,
            bits=(
                Bits(
                    "tcpi_delivery_rate_app_limited",
                    1,
                    "",
                    "4.9",
                    "1 if tcpi_delivery_rate was limited by the sender's application",
                ),
                Bits(
                    "tcpi_fastopen_client_fail",
                    2,
                    "",
                    "5.5",
                    "why fast open fell back: 1 cookie unavailable, 2 data not acked, 3 SYN retransmitted",
                ),
                Bits("_unused", 5, "", "", ""),
            ),
        ),
        Field("tcpi_rto", U32, "us", "2.6", "retransmission timeout"),
        Field("tcpi_ato", U32, "us", "2.6", "timeout of delayed acknowledgements"),
        Field("tcpi_snd_mss", U32, "bytes", "2.6", "segment size we send"),
        Field("tcpi_rcv_mss", U32, "bytes", "2.6", "segment size we receive, estimated"),
        Field(
            "tcpi_unacked", U32, "segments", "2.6", "sent and not acknowledged; on a listener the accept queue's length"
        ),
        Field(
            "tcpi_sacked", U32, "segments", "2.6", "acknowledged selectively; on a listener the accept queue's limit"
        ),
        Field("tcpi_lost", U32, "segments", "2.6", "assumed lost"),
        Field("tcpi_retrans", U32, "segments", "2.6", "retransmitted and not yet acknowledged"),
        Field("tcpi_fackets", U32, "segments", "2.6", "forward acknowledged; 0 since 4.15"),
        Field("tcpi_last_data_sent", U32, "ms", "2.6", "since data was last sent"),
        Field("tcpi_last_ack_sent", U32, "ms", "2.6", "not kept by the kernel, always 0"),
        Field("tcpi_last_data_recv", U32, "ms", "2.6", "since data was last received"),
        Field("tcpi_last_ack_recv", U32, "ms", "2.6", "since an acknowledgement was last received"),
        Field("tcpi_pmtu", U32, "bytes", "2.6", "path MTU"),
        Field("tcpi_rcv_ssthresh", U32, "bytes", "2.6", "upper bound of the receive window's growth"),
        Field("tcpi_rtt", U32, "us", "2.6", "smoothed round trip time"),
        Field("tcpi_rttvar", U32, "us", "2.6", "mean deviation of the round trip time"),
        Field("tcpi_snd_ssthresh", U32, "segments", "2.6", "slow start threshold; 2147483647 while none"),
        Field("tcpi_snd_cwnd", U32, "segments", "2.6", "congestion window"),
        Field("tcpi_advmss", U32, "bytes", "2.6", "segment size we announced"),
        Field("tcpi_reordering", U32, "segments", "2.6", "reordering distance that is tolerated"),
        Field("tcpi_rcv_rtt", U32, "us", "2.6", "round trip time as the receiver estimates it"),
        Field("tcpi_rcv_space", U32, "bytes", "2.6", "receive buffer's autotuning: read in one round trip"),
        Field("tcpi_total_retrans", U32, "segments", "2.6", "retransmitted since the connection began"),
        Field("tcpi_pacing_rate", U64, "bytes/s", "3.15", "rate at which segments are paced; all ones: not limited"),
        Field("tcpi_max_pacing_rate", U64, "bytes/s", "3.15", "limit set by SO_MAX_PACING_RATE; all ones: none"),
        Field(
            "tcpi_bytes_acked", U64, "bytes", "4.1", "acknowledged by the peer (RFC 4898 tcpEStatsAppHCThruOctetsAcked)"
        ),
        Field(
            "tcpi_bytes_received", U64, "bytes", "4.1", "received in order (RFC 4898 tcpEStatsAppHCThruOctetsReceived)"
        ),
        Field(
            "tcpi_segs_out", U32, "segments", "4.2", "sent, retransmissions included (RFC 4898 tcpEStatsPerfSegsOut)"
        ),
        Field("tcpi_segs_in", U32, "segments", "4.2", "received (RFC 4898 tcpEStatsPerfSegsIn)"),
        Field("tcpi_notsent_bytes", U32, "bytes", "4.6", "written by the application and not yet sent"),
        Field("tcpi_min_rtt", U32, "us", "4.6", "smallest round trip time seen lately; 4294967295 while none"),
        Field("tcpi_data_segs_in", U32, "segments", "4.6", "received with data (RFC 4898 tcpEStatsDataSegsIn)"),
        Field("tcpi_data_segs_out", U32, "segments", "4.6", "sent with data (RFC 4898 tcpEStatsDataSegsOut)"),
        Field("tcpi_delivery_rate", U64, "bytes/s", "4.9", "goodput of the latest delivery"),
        Field("tcpi_busy_time", U64, "us", "4.10", "time with data to send or unacknowledged"),
        Field("tcpi_rwnd_limited", U64, "us", "4.10", "of it, limited by the peer's receive window"),
        Field("tcpi_sndbuf_limited", U64, "us", "4.10", "of it, limited by our send buffer"),
        Field("tcpi_delivered", U32, "segments", "4.18", "delivered, retransmissions included"),
        Field("tcpi_delivered_ce", U32, "segments", "4.18", "delivered with an ECN mark"),
        Field(
            "tcpi_bytes_sent",
            U64,
            "bytes",
            "4.19",
            "payload sent, retransmissions included (RFC 4898 tcpEStatsPerfHCDataOctetsOut)",
        ),
        Field(
            "tcpi_bytes_retrans", U64, "bytes", "4.19", "payload retransmitted (RFC 4898 tcpEStatsPerfOctetsRetrans)"
        ),
        Field(
            "tcpi_dsack_dups",
            U32,
            "segments",
            "4.19",
            "duplicates that the peer reported by DSACK (RFC 4898 tcpEStatsStackDSACKDups)",
        ),
        Field("tcpi_reord_seen", U32, "events", "4.19", "reordering events"),
        Field("tcpi_rcv_ooopack", U32, "segments", "5.4", "received out of order"),
        Field("tcpi_snd_wnd", U32, "bytes", "5.4", "the peer's receive window after scaling"),
        Field("tcpi_rcv_wnd", U32, "bytes", "6.2", "our receive window after scaling"),
        Field(
            "tcpi_rehash",
            U32,
            "events",
            "6.2",
            "changes of the flow's hash to find another path, after a timeout or by PLB",
        ),
        Field("tcpi_total_rto", U16, "events", "6.7", "retransmission timeouts"),
        Field("tcpi_total_rto_recoveries", U16, "events", "6.7", "recoveries by retransmission timeout"),
        Field("tcpi_total_rto_time", U32, "ms", "6.7", "time spent in them"),
        Field("tcpi_received_ce", U32, "segments", "6.18", "received with an ECN mark (AccECN)"),
        Field("tcpi_delivered_e1_bytes", U32, "bytes", "6.18", "delivered as ECT(1) (AccECN option)"),
        Field("tcpi_delivered_e0_bytes", U32, "bytes", "6.18", "delivered as ECT(0) (AccECN option)"),
        Field("tcpi_delivered_ce_bytes", U32, "bytes", "6.18", "delivered with an ECN mark (AccECN option)"),
        Field("tcpi_received_e1_bytes", U32, "bytes", "6.18", "received as ECT(1)"),
        Field("tcpi_received_e0_bytes", U32, "bytes", "6.18", "received as ECT(0)"),
        Field("tcpi_received_ce_bytes", U32, "bytes", "6.18", "received with an ECN mark"),
    ),
    tails=(
        Tail(
            (6, 18),
            (7, 0),
            (
                Field("tcpi_accecn_fail_mode", U16, "", "6.18", _FAIL_MODE),
                Field("tcpi_accecn_opt_seen", U16, "", "6.18", _OPT_SEEN),
            ),
        ),
        Tail(
            (7, 0),
            None,
            (
                Field(
                    "_accecn",
                    U32,
                    bits=(
                        Bits(
                            "tcpi_ecn_mode",
                            2,
                            "",
                            "7.0",
                            "ECN mode: 0 none, 1 RFC 3168, 2 AccECN, 3 not negotiated yet",
                        ),
                        Bits("tcpi_accecn_opt_seen", 2, "", "6.18", _OPT_SEEN),
                        Bits("tcpi_accecn_fail_mode", 4, "", "6.18", _FAIL_MODE),
                        Bits("tcpi_options2", 24, "", "7.0", "more option bits; none defined yet"),
                    ),
                ),
            ),
        ),
    ),
)

TCPVEGAS_INFO: Final = Struct(
    "tcpvegas_info",
    _INET_DIAG_H,
    (
        Field("tcpv_enabled", U32, "", "2.6", "1 while Vegas decides, 0 while it acts as Reno"),
        Field("tcpv_rttcnt", U32, "segments", "2.6", "round trip times measured in this round"),
        Field(
            "tcpv_rtt", U32, "us", "2.6", "Vegas: smallest round trip time of the connection; others: mean or latest"
        ),
        Field(
            "tcpv_minrtt", U32, "us", "2.6", "Vegas: smallest round trip time of this round; others: of the connection"
        ),
    ),
)

TCP_DCTCP_INFO: Final = Struct(
    "tcp_dctcp_info",
    _INET_DIAG_H,
    (
        Field("dctcp_enabled", U16, "", "3.18", "1 while DCTCP decides, 0 while it acts as Reno"),
        Field("dctcp_ce_state", U16, "", "3.18", "1 if the last segment bore an ECN mark"),
        Field("dctcp_alpha", U32, "1/1024", "3.18", "smoothed fraction of marked bytes"),
        Field("dctcp_ab_ecn", U32, "bytes", "3.18", "acknowledged with an ECN mark in this window"),
        Field("dctcp_ab_tot", U32, "bytes", "3.18", "acknowledged in this window"),
    ),
)

TCP_BBR_INFO: Final = Struct(
    "tcp_bbr_info",
    _INET_DIAG_H,
    (
        Field("bbr_bw", PAIR64, "bytes/s", "4.9", "bandwidth estimate, bbr_bw_hi << 32 | bbr_bw_lo"),
        Field("bbr_min_rtt", U32, "us", "4.9", "smallest round trip time of BBR's window"),
        Field("bbr_pacing_gain", U32, "1/256", "4.9", "factor on the pacing rate"),
        Field("bbr_cwnd_gain", U32, "1/256", "4.9", "factor on the congestion window"),
    ),
)
