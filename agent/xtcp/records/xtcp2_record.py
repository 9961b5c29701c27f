"""xtcp2's layouts, `xtcp2-1` and `xtcp2-2`: proto3, flat, message `xtcp_flat_record.v1.XtcpFlatRecord`.

One table for both: they differ in names, in three numbers and in what the second brought (its epoch is what xtcp2 calls
`schema_version`, field 1). An older one, without that field, uses some numbers for other fields and is not written.

Addresses are always 16 bytes. What only xtcp2 knows (containers, uplinks, owners of networks) stands here without a
column and is never sent; so is `inet_diag_sockopt`, which has in one number what are eleven columns here, and
`netns_inode`, for a column `netns` is a text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

from xtcp import __version__
from xtcp.records.model import Derivation, EnumType, EnvelopeForm, Layout, Message, RecordField, Scalar

Epoch = Literal[1, 2]

CONGESTION: Final = EnumType(
    "CongestionAlgorithm",
    tuple(
        (f"CONGESTION_ALGORITHM_{name}", number)
        for number, name in enumerate(("UNSPECIFIED", "CUBIC", "DCTCP", "VEGAS", "PRAGUE", "BBR1", "BBR2", "BBR3"))
    ),
    (("cubic", 1), ("dctcp", 2), ("vegas", 3), ("prague", 4), ("bbr", 5), ("bbr1", 5), ("bbr2", 6), ("bbr3", 7)),
)
LOCALITY: Final = EnumType(
    "Locality",
    tuple(
        (f"LOCALITY_{name}", number) for number, name in enumerate(("UNSPECIFIED", "SELF", "LOCAL_SUBNET", "REMOTE"))
    ),
)


@dataclass(frozen=True)
class _Row:
    """A field as the second layout has it, and what it was in the first: its number and name; None: it was not there.
    One that is not `kept` is not in the second.
    """

    field: RecordField
    first: tuple[int, str] | None
    kept: bool

    def of(self, epoch: Epoch) -> RecordField | None:
        """The field in one of the two layouts."""
        if epoch == 2:
            return self.field if self.kept else None
        return self.first and replace(self.field, number=self.first[0], name=self.first[1])


def _row(
    scalar: Scalar,
    number: int,
    name: str,
    column: str = "",
    *,
    first: tuple[int, str] | str | None = "",
    kept: bool = True,
    derivation: Derivation = Derivation.SAME,
    enum: EnumType | None = None,
) -> _Row:
    if isinstance(first, str):
        first = number, first or name
    return _Row(RecordField(number, name, scalar, column, derivation=derivation, enum=enum), first, kept)


_u32, _u64 = partial(_row, "uint32"), partial(_row, "uint64")
_i64, _enum = partial(_row, "int64"), partial(_row, "enum")
_text, _bytes = partial(_row, "string"), partial(_row, "bytes")


def _uplink(base: int, prefix: str) -> Iterator[_Row]:
    """What xtcp2 says of one of a host's uplinks: the card and, behind it, the neighbour that LLDP told."""
    card = "ifname nic_driver nic_model nic_pci_vendor nic_pci_device nic_bus_info nic_speed_mbps nic_fw_version"
    numbers = {"nic_pci_vendor", "nic_pci_device", "nic_speed_mbps"}
    for number, name in enumerate(card.split(), base):
        yield (_u32 if name in numbers else _text)(number, f"{prefix}_{name}")
    for number, name in enumerate(["chassis_name", "chassis_id", "mgmt_ip", "port_id", "port_descr"], base + 20):
        yield _text(number, f"{prefix}_lldp_{name}")


_ROWS: Final = (
    # what the record is and where it comes from
    _u32(1, "schema_version", derivation=Derivation.CONSTANT),
    _text(2, "daemon_version", derivation=Derivation.CONSTANT),
    _i64(10, "timestamp_ns", "timestamp_ns"),
    _text(20, "hostname", "hostname"),
    _text(21, "location", derivation=Derivation.CONSTANT),
    _text(30, "netns", "netns"),
    _u64(31, "netns_inode"),
    _u32(32, "nsid"),
    _text(40, "container_id"),
    _text(41, "container_runtime"),
    _text(42, "container_name"),
    _text(43, "container_image"),
    _text(50, "label", derivation=Derivation.CONSTANT),
    _text(51, "tag", derivation=Derivation.CONSTANT),
    _u64(60, "record_counter", derivation=Derivation.COUNTER),
    _u64(61, "socket_fd"),
    _u64(62, "netlinker_id"),
    # of the host's uplinks, which only xtcp2 looks for
    *_uplink(100, "uplink1"),
    *_uplink(200, "uplink2"),
    # what xtcp2 looks up
    _text(300, "enrich_socket_interface_name", first=None),
    _enum(310, "enrich_socket_dest_locality", enum=LOCALITY, first=None),
    _u32(311, "enrich_socket_dest_egress_ifindex", first=None),
    _text(312, "enrich_socket_dest_egress_ifname", first=None),
    _u64(320, "enrich_socket_dest_asn", first=None),
    _u64(321, "enrich_socket_dest_next_hop_asn", first=None),
    _text(322, "enrich_socket_dest_network_owner", first=None),
    # struct inet_diag_msg
    _u32(1001, "inet_diag_msg_family", "idiag_family"),
    _u32(1002, "inet_diag_msg_state", "idiag_state"),
    _u32(1003, "inet_diag_msg_timer", "idiag_timer"),
    _u32(1004, "inet_diag_msg_retrans", "idiag_retrans"),
    _u32(1005, "inet_diag_msg_socket_source_port", "idiag_sport"),
    _u32(1006, "inet_diag_msg_socket_destination_port", "idiag_dport"),
    _bytes(1007, "inet_diag_msg_socket_source", "idiag_src"),
    _bytes(1008, "inet_diag_msg_socket_destination", "idiag_dst"),
    _u32(1009, "inet_diag_msg_socket_interface", "idiag_if"),
    _u64(1010, "inet_diag_msg_socket_cookie", "idiag_cookie"),
    _u64(1011, "inet_diag_msg_socket_dest_asn", kept=False),
    _u64(1012, "inet_diag_msg_socket_next_hop_asn", kept=False),
    _u32(1013, "inet_diag_msg_expires", "idiag_expires"),
    _u32(1014, "inet_diag_msg_rqueue", "idiag_rqueue"),
    _u32(1015, "inet_diag_msg_wqueue", "idiag_wqueue"),
    _u32(1016, "inet_diag_msg_uid", "idiag_uid"),
    _u32(1017, "inet_diag_msg_inode", "idiag_inode"),
    # INET_DIAG_MEMINFO
    _u32(1101, "mem_info_rmem", "idiag_rmem"),
    _u32(1102, "mem_info_wmem", "idiag_wmem"),
    _u32(1103, "mem_info_fmem", "idiag_fmem"),
    _u32(1104, "mem_info_tmem", "idiag_tmem"),
    # struct tcp_info
    _u32(1201, "tcp_info_state", "tcpi_state"),
    _u32(1202, "tcp_info_ca_state", "tcpi_ca_state"),
    _u32(1203, "tcp_info_retransmits", "tcpi_retransmits"),
    _u32(1204, "tcp_info_probes", "tcpi_probes"),
    _u32(1205, "tcp_info_backoff", "tcpi_backoff"),
    _u32(1206, "tcp_info_options", "tcpi_options"),
    _u32(1207, "tcp_info_snd_wscale", "tcpi_snd_wscale", first="tcp_info_send_scale"),
    _u32(1208, "tcp_info_rcv_wscale", "tcpi_rcv_wscale", first="tcp_info_rcv_scale"),
    _u32(1209, "tcp_info_delivery_rate_app_limited", "tcpi_delivery_rate_app_limited"),
    _u32(1210, "tcp_info_fastopen_client_fail", "tcpi_fastopen_client_fail", first="tcp_info_fast_open_client_failed"),
    _u32(1215, "tcp_info_rto", "tcpi_rto"),
    _u32(1216, "tcp_info_ato", "tcpi_ato"),
    _u32(1217, "tcp_info_snd_mss", "tcpi_snd_mss"),
    _u32(1218, "tcp_info_rcv_mss", "tcpi_rcv_mss"),
    _u32(1219, "tcp_info_unacked", "tcpi_unacked"),
    _u32(1220, "tcp_info_sacked", "tcpi_sacked"),
    _u32(1221, "tcp_info_lost", "tcpi_lost"),
    _u32(1222, "tcp_info_retrans", "tcpi_retrans"),
    _u32(1223, "tcp_info_fackets", "tcpi_fackets"),
    _u32(1224, "tcp_info_last_data_sent", "tcpi_last_data_sent"),
    _u32(1225, "tcp_info_last_ack_sent", "tcpi_last_ack_sent"),
    _u32(1226, "tcp_info_last_data_recv", "tcpi_last_data_recv"),
    _u32(1227, "tcp_info_last_ack_recv", "tcpi_last_ack_recv"),
    _u32(1228, "tcp_info_pmtu", "tcpi_pmtu"),
    _u32(1229, "tcp_info_rcv_ssthresh", "tcpi_rcv_ssthresh"),
    _u32(1230, "tcp_info_rtt", "tcpi_rtt"),
    _u32(1231, "tcp_info_rttvar", "tcpi_rttvar", first="tcp_info_rtt_var"),
    _u32(1232, "tcp_info_snd_ssthresh", "tcpi_snd_ssthresh"),
    _u32(1233, "tcp_info_snd_cwnd", "tcpi_snd_cwnd"),
    _u32(1234, "tcp_info_advmss", "tcpi_advmss", first="tcp_info_adv_mss"),
    _u32(1235, "tcp_info_reordering", "tcpi_reordering"),
    _u32(1236, "tcp_info_rcv_rtt", "tcpi_rcv_rtt"),
    _u32(1237, "tcp_info_rcv_space", "tcpi_rcv_space"),
    _u32(1238, "tcp_info_total_retrans", "tcpi_total_retrans"),
    _u64(1239, "tcp_info_pacing_rate", "tcpi_pacing_rate"),
    _u64(1240, "tcp_info_max_pacing_rate", "tcpi_max_pacing_rate"),
    _u64(1241, "tcp_info_bytes_acked", "tcpi_bytes_acked"),
    _u64(1242, "tcp_info_bytes_received", "tcpi_bytes_received"),
    _u32(1243, "tcp_info_segs_out", "tcpi_segs_out"),
    _u32(1244, "tcp_info_segs_in", "tcpi_segs_in"),
    _u32(1245, "tcp_info_notsent_bytes", "tcpi_notsent_bytes", first="tcp_info_not_sent_bytes"),
    _u32(1246, "tcp_info_min_rtt", "tcpi_min_rtt"),
    _u32(1247, "tcp_info_data_segs_in", "tcpi_data_segs_in"),
    _u32(1248, "tcp_info_data_segs_out", "tcpi_data_segs_out"),
    _u64(1249, "tcp_info_delivery_rate", "tcpi_delivery_rate"),
    _u64(1250, "tcp_info_busy_time", "tcpi_busy_time"),
    _u64(1251, "tcp_info_rwnd_limited", "tcpi_rwnd_limited"),
    _u64(1252, "tcp_info_sndbuf_limited", "tcpi_sndbuf_limited"),
    _u32(1253, "tcp_info_delivered", "tcpi_delivered"),
    _u32(1254, "tcp_info_delivered_ce", "tcpi_delivered_ce"),
    _u64(1255, "tcp_info_bytes_sent", "tcpi_bytes_sent"),
    _u64(1256, "tcp_info_bytes_retrans", "tcpi_bytes_retrans"),
    _u32(1257, "tcp_info_dsack_dups", "tcpi_dsack_dups"),
    _u32(1258, "tcp_info_reord_seen", "tcpi_reord_seen"),
    _u32(1259, "tcp_info_rcv_ooopack", "tcpi_rcv_ooopack"),
    _u32(1260, "tcp_info_snd_wnd", "tcpi_snd_wnd"),
    _u32(1261, "tcp_info_rcv_wnd", "tcpi_rcv_wnd"),
    _u32(1262, "tcp_info_rehash", "tcpi_rehash"),
    _u32(1263, "tcp_info_total_rto", "tcpi_total_rto"),
    _u32(1264, "tcp_info_total_rto_recoveries", "tcpi_total_rto_recoveries"),
    _u32(1265, "tcp_info_total_rto_time", "tcpi_total_rto_time"),
    _u32(1266, "tcp_info_received_ce", "tcpi_received_ce", first=None),
    _u32(1267, "tcp_info_delivered_e1_bytes", "tcpi_delivered_e1_bytes", first=None),
    _u32(1268, "tcp_info_delivered_e0_bytes", "tcpi_delivered_e0_bytes", first=None),
    _u32(1269, "tcp_info_delivered_ce_bytes", "tcpi_delivered_ce_bytes", first=None),
    _u32(1270, "tcp_info_received_e1_bytes", "tcpi_received_e1_bytes", first=None),
    _u32(1271, "tcp_info_received_e0_bytes", "tcpi_received_e0_bytes", first=None),
    _u32(1272, "tcp_info_received_ce_bytes", "tcpi_received_ce_bytes", first=None),
    _u32(1273, "tcp_info_ecn_mode", "tcpi_ecn_mode", first=None),
    _u32(1274, "tcp_info_accecn_opt_seen", "tcpi_accecn_opt_seen", first=None),
    _u32(1275, "tcp_info_accecn_fail_mode", "tcpi_accecn_fail_mode", first=None),
    _u32(1276, "tcp_info_options2", "tcpi_options2", first=None),
    # INET_DIAG_CONG, _TOS, _TCLASS
    _text(1300, "inet_diag_cong", "cong", first="congestion_algorithm_string"),
    _enum(
        1301,
        "inet_diag_cong_enum",
        "cong",
        derivation=Derivation.CONGESTION,
        enum=CONGESTION,
        first="congestion_algorithm_enum",
    ),
    _u32(1401, "inet_diag_tos", "tos", first="type_of_service"),
    _u32(1402, "inet_diag_tclass", "tclass", first="traffic_class"),
    # INET_DIAG_SKMEMINFO
    _u32(1501, "sk_mem_info_rmem_alloc", "skmem_rmem_alloc"),
    _u32(1502, "sk_mem_info_rcvbuf", "skmem_rcvbuf", first="sk_mem_info_rcv_buf"),
    _u32(1503, "sk_mem_info_wmem_alloc", "skmem_wmem_alloc"),
    _u32(1504, "sk_mem_info_sndbuf", "skmem_sndbuf", first="sk_mem_info_snd_buf"),
    _u32(1505, "sk_mem_info_fwd_alloc", "skmem_fwd_alloc"),
    _u32(1506, "sk_mem_info_wmem_queued", "skmem_wmem_queued"),
    _u32(1507, "sk_mem_info_optmem", "skmem_optmem"),
    _u32(1508, "sk_mem_info_backlog", "skmem_backlog"),
    _u32(1509, "sk_mem_info_drops", "skmem_drops"),
    # INET_DIAG_SHUTDOWN
    _u32(1600, "inet_diag_shutdown", "shutdown", first="shutdown_state"),
    # congestion controls' own
    _u32(1701, "vegas_info_enabled", "tcpv_enabled"),
    _u32(1702, "vegas_info_rttcnt", "tcpv_rttcnt", first="vegas_info_rtt_cnt"),
    _u32(1703, "vegas_info_rtt", "tcpv_rtt"),
    _u32(1704, "vegas_info_minrtt", "tcpv_minrtt", first="vegas_info_min_rtt"),
    _u32(1801, "dctcp_info_enabled", "dctcp_enabled"),
    _u32(1802, "dctcp_info_ce_state", "dctcp_ce_state"),
    _u32(1803, "dctcp_info_alpha", "dctcp_alpha"),
    _u32(1804, "dctcp_info_ab_ecn", "dctcp_ab_ecn"),
    _u32(1805, "dctcp_info_ab_tot", "dctcp_ab_tot"),
    _u32(1901, "bbr_info_bw_lo", "bbr_bw", derivation=Derivation.LOW_WORD),
    _u32(1902, "bbr_info_bw_hi", "bbr_bw", derivation=Derivation.HIGH_WORD),
    _u32(1903, "bbr_info_min_rtt", "bbr_min_rtt"),
    _u32(1904, "bbr_info_pacing_gain", "bbr_pacing_gain"),
    _u32(1905, "bbr_info_cwnd_gain", "bbr_cwnd_gain"),
    # INET_DIAG_CLASS_ID, _SOCKOPT, _CGROUP_ID
    _u32(2001, "inet_diag_class_id", "class_id", first="class_id"),
    _u32(2002, "inet_diag_sockopt", first="sock_opt"),
    _u64(2003, "inet_diag_cgroup_id", "cgroup_id", first=(2103, "c_group")),
)

_EMPTY: Final = (("location", ""), ("label", ""), ("tag", ""))


def _layout(epoch: Epoch) -> Layout:
    found = [field for row in _ROWS if (field := row.of(epoch))]
    record = Message("XtcpFlatRecord", tuple(sorted(found, key=lambda field: field.number)))
    return Layout(
        f"xtcp2-{epoch}",
        "xtcp_flat_record.v1",
        "proto3",
        record,
        EnvelopeForm("Envelope", record=10, record_name="row"),
        (("schema_version", epoch), ("daemon_version", f"xtcp {__version__}"), *_EMPTY),
    )


XTCP2_1: Final = _layout(1)
XTCP2_2: Final = _layout(2)
