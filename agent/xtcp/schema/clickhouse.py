"""The table of sockets for ClickHouse, made from the schema: types, codecs, order, how long rows stay.

Every column is there under its own name, none of them nullable: what is absent is 0 or empty, and `attributes` and
`tcp_info_len` tell it from what is zero (a null a column would cost a file a column in every part). Addresses are the
16 bytes that the kernel sends, an IPv4 one in the first four; `src` and `dst` show both families as IPv6, IPv4 mapped
into it. `state` is ss's word. These three are computed when they are asked for and cannot be inserted.

Rows go by their own time: of a host whose clock is years behind, or of an old capture, they go at the next merge. For
these: `ALTER TABLE … REMOVE TTL`.

Text only; nothing here talks to a server. Source: https://clickhouse.com/docs/sql-reference/statements/create/table
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from xtcp.errors import UsageError
from xtcp.schema.columns import COLUMNS
from xtcp.schema.model import ADDRESS, BLOB, I64, STRING, TEXT, Column
from xtcp.schema.names import STATES

# What a name of a database or table may be: it goes into SQL as it is.
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_INTEGERS: Final = {"u1": "UInt8", "u2": "UInt16", "u4": "UInt32", "u8": "UInt64"}
# Hashes or random: neither their differences nor their high bits are small.
_RANDOM: Final = frozenset({"idiag_cookie", "mptcpi_token", "ulp_mptcp_token_rem", "ulp_mptcp_token_loc"})
# Inserts of so many tokens are remembered, each of which is at least a poll's share of rows.
DEDUPLICATED_INSERTS: Final = 1000
# A TTL is a DateTime, 32 bits of seconds.
MOST_DAYS: Final = 20_000
_AF_INET: Final = 2


@dataclass(frozen=True)
class Names:
    """Where the tables are: `database`, the table of sockets, that of polls; `days` that rows stay.

    Raises `UsageError` for what is no plain identifier.
    """

    database: str = "xtcp"
    sockets: str = "sockets"
    polls: str = "polls"
    days: int = 30

    def __post_init__(self) -> None:
        for name in (self.database, self.sockets, self.polls):
            identifier(name)
        if not 1 <= self.days <= MOST_DAYS:
            why = "ClickHouse counts to the year 2106; a row that ends later would go at once."
            raise UsageError(f"{self.days} days: that cannot be.", why, f"Say 1 to {MOST_DAYS}.")

    def of(self, name: str) -> str:
        """`database.name`."""
        return f"{self.database}.{identifier(name)}"


def identifier(name: str) -> str:
    """`name`, which is letters, digits and `_`. Raises `UsageError` for any other."""
    if not _IDENTIFIER.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a table or database here.",
            "It would stand in the SQL as it is.",
            "Use letters, digits and _, at most 63, with no digit first.",
        )
    return name


def quoted(text: str) -> str:
    """`text` as a string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def column_type(column: Column) -> str:
    """The type of a column in the table."""
    if column.kind is I64 and column.unit == "ns":
        return "DateTime64(9, 'UTC')"
    if column.kind is ADDRESS:
        return "FixedString(16)"
    if column.kind in (TEXT, STRING):
        return "LowCardinality(String)"
    return "String" if column.kind is BLOB else _INTEGERS[column.kind.column]


def codec(column: Column) -> str:
    """How a column is compressed: times and numbers of polls by differences, numbers without their zero bits."""
    if column.name in {"timestamp_ns", "poll_id"}:
        return "DoubleDelta, LZ4"
    if column.kind in (ADDRESS, BLOB) or column.name in _RANDOM:
        return "ZSTD(1)"
    if column.kind in (TEXT, STRING) or column.kind.size == 1:
        return "LZ4"
    return "T64, LZ4"


def sockets_table(names: Names) -> str:
    """`CREATE TABLE` of the sockets."""
    lines = [f"    `{c.name}` {column_type(c)} COMMENT {quoted(_comment(c))} CODEC({codec(c)})" for c in COLUMNS]
    lines += [f"    `{name}` {kind} ALIAS {value}" for name, kind, value in aliases()]
    body = ",\n".join(lines)
    return (
        f"CREATE TABLE IF NOT EXISTS {names.of(names.sockets)}\n(\n{body}\n)\n"
        "ENGINE = MergeTree\n"
        "PARTITION BY toDate(timestamp_ns)\n"
        "ORDER BY (hostname, timestamp_ns, netns, idiag_cookie)\n"
        f"TTL toDateTime(timestamp_ns) + INTERVAL {names.days} DAY DELETE\n"
        f"SETTINGS non_replicated_deduplication_window = {DEDUPLICATED_INSERTS}, ttl_only_drop_parts = 1;\n"
    )


def aliases() -> tuple[tuple[str, str, str], ...]:
    """What is computed when it is asked for: name, type, expression."""
    words = ", ".join(quoted(word) for word in STATES.values())
    numbers = ", ".join(map(str, STATES))
    unknown = "concat('UNKNOWN(', toString(idiag_state), ')')"
    return (
        ("src", "IPv6", _ipv6("idiag_src")),
        ("dst", "IPv6", _ipv6("idiag_dst")),
        ("state", "String", f"transform(idiag_state, [{numbers}], [{words}], {unknown})"),
    )


def address_text(name: str) -> str:
    """An expression for the text of an address, the one that JSON has."""
    return (
        f"if(idiag_family = {_AF_INET}, IPv4NumToString(reinterpretAsUInt32(reverse(substring({name}, 1, 4)))), "
        f"IPv6NumToString({name}))"
    )


def _ipv6(name: str) -> str:
    mapped = f"concat(unhex('00000000000000000000FFFF'), substring({name}, 1, 4))"
    return f"CAST(toFixedString(if(idiag_family = {_AF_INET}, {mapped}, {name}), 16) AS IPv6)"


def _comment(column: Column) -> str:
    return f"{column.meaning}, {column.unit}" if column.unit else column.meaning
