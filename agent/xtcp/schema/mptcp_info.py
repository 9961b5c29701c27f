"""The table of `struct mptcp_info`: what `INET_DIAG_INFO` carries in a dump of protocol 262 (MPTCP)."""

from __future__ import annotations

from typing import Final

from xtcp.schema.model import U8, U32, U64, Field, Struct

MPTCP_INFO: Final = Struct(
    "mptcp_info",
    "include/uapi/linux/mptcp.h",
    (
        Field("mptcpi_subflows", U8, "subflows", "5.9", "additional subflows that are open"),
        Field("mptcpi_add_addr_signal", U8, "addresses", "5.9", "ADD_ADDR announced"),
        Field("mptcpi_add_addr_accepted", U8, "addresses", "5.9", "ADD_ADDR accepted"),
        Field("mptcpi_subflows_max", U8, "subflows", "5.9", "limit of additional subflows"),
        Field("mptcpi_add_addr_signal_max", U8, "endpoints", "5.9", "endpoints configured to be announced (signal)"),
        Field("mptcpi_add_addr_accepted_max", U8, "addresses", "5.9", "limit of ADD_ADDR to accept"),
        Field("mptcpi_flags", U32, "", "5.9", "bits: 1 fell back to TCP, 2 remote key received"),
        Field("mptcpi_token", U32, "", "5.9", "token of the connection"),
        Field("mptcpi_write_seq", U64, "bytes", "5.9", "data sequence number of the next byte to write"),
        Field("mptcpi_snd_una", U64, "bytes", "5.9", "first data sequence number not acknowledged"),
        Field("mptcpi_rcv_nxt", U64, "bytes", "5.9", "next data sequence number expected"),
        Field("mptcpi_local_addr_used", U8, "addresses", "5.12", "local addresses used for additional subflows"),
        Field("mptcpi_local_addr_max", U8, "endpoints", "5.12", "endpoints configured to open subflows (subflow)"),
        Field("mptcpi_csum_enabled", U8, "", "5.14", "1 if data checksums are used"),
        Field("mptcpi_retransmits", U32, "events", "6.5", "retransmissions at the MPTCP level, in a row"),
        Field("mptcpi_bytes_retrans", U64, "bytes", "6.5", "retransmitted at the MPTCP level"),
        Field("mptcpi_bytes_sent", U64, "bytes", "6.5", "sent at the MPTCP level"),
        Field("mptcpi_bytes_received", U64, "bytes", "6.5", "received at the MPTCP level"),
        Field("mptcpi_bytes_acked", U64, "bytes", "6.5", "acknowledged at the MPTCP level"),
        Field("mptcpi_subflows_total", U8, "subflows", "6.8", "all subflows that are open, the first included"),
        Field("mptcpi_endp_laminar_max", U8, "endpoints", "6.18", "laminar endpoints configured"),
        Field("mptcpi_endp_fullmesh_max", U8, "endpoints", "6.19", "fullmesh endpoints configured"),
        Field("_reserved", U8),
        Field("mptcpi_last_data_sent", U32, "ms", "6.10", "since data was last sent"),
        Field("mptcpi_last_data_recv", U32, "ms", "6.10", "since data was last received"),
        Field("mptcpi_last_ack_recv", U32, "ms", "6.10", "since an acknowledgement was last received"),
    ),
)
