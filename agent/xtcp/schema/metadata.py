"""The columns that are ours: what a message does not say itself, and what decoding notes about it."""

from __future__ import annotations

from typing import Final

from xtcp.schema.model import BLOB, I64, STRING, U8, U32, U64, Column

CONTEXT_COLUMNS: Final = (
    Column("timestamp_ns", I64, "ns", "", "wall clock just before the dump was requested, since 1970", "xtcp"),
    Column("hostname", STRING, "", "", "name of the host", "xtcp"),
    Column("netns", STRING, "", "", "network namespace: its inode, or its name where it has one", "xtcp"),
    Column("poll_id", U64, "", "", "number of the poll, the same in all its rows and in its trailer", "xtcp"),
    Column("weight", U32, "", "", "sockets that this one stands for, where only some are sent: 1 in so many", "xtcp"),
    Column("dump", U32, "", "", "number of the dump in a capture, from 1", "xtcp"),
    Column(
        "received_from", STRING, "", "", "address that sent the row to a collector, beside the name it claims", "xtcp"
    ),
)

NOTE_COLUMNS: Final = (
    Column("attributes", U64, "", "", "attributes that came, bit n for number n", "xtcp"),
    Column("tcp_info_len", U32, "bytes", "", "received length of INET_DIAG_INFO", "xtcp", (2,)),
)

REMAINDER_COLUMNS: Final = (
    Column("tcp_info_surplus", BLOB, "", "", "bytes of INET_DIAG_INFO beyond the members known here", "xtcp", (2,)),
    Column(
        "unknown_attributes", BLOB, "", "", "attributes not in this table, each with its header, as received", "xtcp"
    ),
    Column("damaged", U8, "", "", "1 if the message's attributes end in bytes that make no attribute", "xtcp"),
)
