"""The permanent field numbers of our flat record: column to number, once and for all.

A number, once given, is never changed, given up or given to another column: records that were written with it lie in
files and queues, and readers of the last release meet them. proto/tags.lock holds what has been released, and a test
compares. A new column takes the next number of its group; one in whose group there is no room begins a new one.

1. Numbers 1 to 15 take one byte on the wire, up to 2047 two (https://protobuf.dev/programming-guides/encoding).
2. 1800 to 1999 are the header's and the trailer's, which ClickHouse takes for records (`records.envelope_messages`).
3. 19000 to 19999 are protobuf's own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

HIGHEST_TAG: Final = 1799

TAGS: Final[dict[str, int]] = {
    # in nearly every row: one byte a tag
    "timestamp_ns": 1,
    "hostname": 2,
    "netns": 3,
    "poll_id": 4,
    "attributes": 5,
    "tcp_info_len": 6,
    "idiag_family": 7,
    "idiag_state": 8,
    "idiag_sport": 9,
    "idiag_dport": 10,
    "idiag_src": 11,
    "idiag_dst": 12,
    "idiag_cookie": 13,
    "idiag_inode": 14,
    "cong": 15,
    # ours
    "weight": 16,
    "dump": 17,
    "received_from": 18,
    "damaged": 19,
    "tcp_info_surplus": 20,
    "unknown_attributes": 21,
    # struct inet_diag_msg
    "idiag_timer": 40,
    "idiag_retrans": 41,
    "idiag_if": 42,
    "idiag_expires": 43,
    "idiag_rqueue": 44,
    "idiag_wqueue": 45,
    "idiag_uid": 46,
    # INET_DIAG_MEMINFO
    "idiag_rmem": 60,
    "idiag_wmem": 61,
    "idiag_fmem": 62,
    "idiag_tmem": 63,
    # attributes that are one value
    "tos": 70,
    "tclass": 71,
    "shutdown": 72,
    "protocol": 73,
    "skv6only": 74,
    "mark": 75,
    "class_id": 76,
    "cgroup_id": 77,
    "locals": 78,
    "peers": 79,
    "md5sig": 80,
    "bpf_storages": 81,
    # INET_DIAG_SKMEMINFO
    "skmem_rmem_alloc": 90,
    "skmem_rcvbuf": 91,
    "skmem_wmem_alloc": 92,
    "skmem_sndbuf": 93,
    "skmem_fwd_alloc": 94,
    "skmem_wmem_queued": 95,
    "skmem_optmem": 96,
    "skmem_backlog": 97,
    "skmem_drops": 98,
    # INET_DIAG_INFO: struct tcp_info
    "tcpi_state": 110,
    "tcpi_ca_state": 111,
    "tcpi_retransmits": 112,
    "tcpi_probes": 113,
    "tcpi_backoff": 114,
    "tcpi_options": 115,
    "tcpi_snd_wscale": 116,
    "tcpi_rcv_wscale": 117,
    "tcpi_delivery_rate_app_limited": 118,
    "tcpi_fastopen_client_fail": 119,
    "tcpi_rto": 120,
    "tcpi_ato": 121,
    "tcpi_snd_mss": 122,
    "tcpi_rcv_mss": 123,
    "tcpi_unacked": 124,
    "tcpi_sacked": 125,
    "tcpi_lost": 126,
    "tcpi_retrans": 127,
    "tcpi_fackets": 128,
    "tcpi_last_data_sent": 129,
    "tcpi_last_ack_sent": 130,
    "tcpi_last_data_recv": 131,
    "tcpi_last_ack_recv": 132,
    "tcpi_pmtu": 133,
    "tcpi_rcv_ssthresh": 134,
    "tcpi_rtt": 135,
    "tcpi_rttvar": 136,
    "tcpi_snd_ssthresh": 137,
    "tcpi_snd_cwnd": 138,
    "tcpi_advmss": 139,
    "tcpi_reordering": 140,
    "tcpi_rcv_rtt": 141,
    "tcpi_rcv_space": 142,
    "tcpi_total_retrans": 143,
    "tcpi_pacing_rate": 144,
    "tcpi_max_pacing_rate": 145,
    "tcpi_bytes_acked": 146,
    "tcpi_bytes_received": 147,
    "tcpi_segs_out": 148,
    "tcpi_segs_in": 149,
    "tcpi_notsent_bytes": 150,
    "tcpi_min_rtt": 151,
    "tcpi_data_segs_in": 152,
    "tcpi_data_segs_out": 153,
    "tcpi_delivery_rate": 154,
    "tcpi_busy_time": 155,
    "tcpi_rwnd_limited": 156,
    "tcpi_sndbuf_limited": 157,
    "tcpi_delivered": 158,
    "tcpi_delivered_ce": 159,
    "tcpi_bytes_sent": 160,
    "tcpi_bytes_retrans": 161,
    "tcpi_dsack_dups": 162,
    "tcpi_reord_seen": 163,
    "tcpi_rcv_ooopack": 164,
    "tcpi_snd_wnd": 165,
    "tcpi_rcv_wnd": 166,
    "tcpi_rehash": 167,
    "tcpi_total_rto": 168,
    "tcpi_total_rto_recoveries": 169,
    "tcpi_total_rto_time": 170,
    "tcpi_received_ce": 171,
    "tcpi_delivered_e1_bytes": 172,
    "tcpi_delivered_e0_bytes": 173,
    "tcpi_delivered_ce_bytes": 174,
    "tcpi_received_e1_bytes": 175,
    "tcpi_received_e0_bytes": 176,
    "tcpi_received_ce_bytes": 177,
    "tcpi_accecn_fail_mode": 178,
    "tcpi_accecn_opt_seen": 179,
    "tcpi_ecn_mode": 180,
    "tcpi_options2": 181,
    # INET_DIAG_INFO of MPTCP: struct mptcp_info
    "mptcpi_subflows": 240,
    "mptcpi_add_addr_signal": 241,
    "mptcpi_add_addr_accepted": 242,
    "mptcpi_subflows_max": 243,
    "mptcpi_add_addr_signal_max": 244,
    "mptcpi_add_addr_accepted_max": 245,
    "mptcpi_flags": 246,
    "mptcpi_token": 247,
    "mptcpi_write_seq": 248,
    "mptcpi_snd_una": 249,
    "mptcpi_rcv_nxt": 250,
    "mptcpi_local_addr_used": 251,
    "mptcpi_local_addr_max": 252,
    "mptcpi_csum_enabled": 253,
    "mptcpi_retransmits": 254,
    "mptcpi_bytes_retrans": 255,
    "mptcpi_bytes_sent": 256,
    "mptcpi_bytes_received": 257,
    "mptcpi_bytes_acked": 258,
    "mptcpi_subflows_total": 259,
    "mptcpi_endp_laminar_max": 260,
    "mptcpi_endp_fullmesh_max": 261,
    "mptcpi_last_data_sent": 262,
    "mptcpi_last_data_recv": 263,
    "mptcpi_last_ack_recv": 264,
    # INET_DIAG_VEGASINFO
    "tcpv_enabled": 300,
    "tcpv_rttcnt": 301,
    "tcpv_rtt": 302,
    "tcpv_minrtt": 303,
    # INET_DIAG_DCTCPINFO
    "dctcp_enabled": 310,
    "dctcp_ce_state": 311,
    "dctcp_alpha": 312,
    "dctcp_ab_ecn": 313,
    "dctcp_ab_tot": 314,
    # INET_DIAG_BBRINFO
    "bbr_bw": 320,
    "bbr_min_rtt": 321,
    "bbr_pacing_gain": 322,
    "bbr_cwnd_gain": 323,
    # INET_DIAG_SOCKOPT
    "sockopt_recverr": 340,
    "sockopt_is_icsk": 341,
    "sockopt_freebind": 342,
    "sockopt_hdrincl": 343,
    "sockopt_mc_loop": 344,
    "sockopt_transparent": 345,
    "sockopt_mc_all": 346,
    "sockopt_nodefrag": 347,
    "sockopt_bind_address_no_port": 348,
    "sockopt_recverr_rfc4884": 349,
    "sockopt_defer_connect": 350,
    # the name in INET_DIAG_ULP_INFO
    "ulp_name": 360,
    # what it holds of TLS
    "ulp_tls_version": 370,
    "ulp_tls_cipher": 371,
    "ulp_tls_txconf": 372,
    "ulp_tls_rxconf": 373,
    "ulp_tls_zc_ro_tx": 374,
    "ulp_tls_rx_no_pad": 375,
    "ulp_tls_tx_max_payload_len": 376,
    # what it holds of MPTCP
    "ulp_mptcp_token_rem": 390,
    "ulp_mptcp_token_loc": 391,
    "ulp_mptcp_relwrite_seq": 392,
    "ulp_mptcp_map_seq": 393,
    "ulp_mptcp_map_sfseq": 394,
    "ulp_mptcp_ssn_offset": 395,
    "ulp_mptcp_map_datalen": 396,
    "ulp_mptcp_flags": 397,
    "ulp_mptcp_id_rem": 398,
    "ulp_mptcp_id_loc": 399,
}


def locked(text: str) -> dict[str, int]:
    """What proto/tags.lock says: column to number."""
    lines = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return {name: int(number) for number, name in lines}


def faults_of(tags: Mapping[str, int], lock: Mapping[str, int], columns: Collection[str]) -> list[str]:
    """What is wrong with `tags`, given what was released with `lock` and what columns there are; a sentence each."""
    found = [
        f"Column {name} has no tag: give it the next free number of its group in agent/xtcp/schema/tags.py, then run "
        "make columns."
        for name in columns
        if name not in tags
    ]
    for name, number in lock.items():
        if name not in tags:
            found.append(f"Tag {number} of {name} is gone, but records with it lie in files: put its row back.")
        elif tags[name] != number:
            found.append(f"Tag {number} of {name} has become {tags[name]}, but it is permanent: put it back.")
    numbers = list(tags.values())
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    found += [f"Tag {number} is given twice: give the newer column another." for number in twice]
    found += [
        f"Tag {number} of {name} is not one of 1 to {HIGHEST_TAG}."
        for name, number in tags.items()
        if not 0 < number <= HIGHEST_TAG
    ]
    return found
