"""DDL for ClickHouse: the whole script of our tables, and the view with nulls.

sockets            every row (`schema.clickhouse`)
sockets_nullable   the same with null for what was absent, addresses as text
polls              every poll's trailer
sockets_kafka …    what reads a topic into them (`clickhouse_kafka`)
"""

from __future__ import annotations

from typing import Final

from xtcp.records.envelope_messages import TRAILER
from xtcp.records.model import Nested, RecordField
from xtcp.records.reading.presence import RULES, SUBFLOW
from xtcp.records.texts.clickhouse_kafka import Topic, kafka_tables, poll_type
from xtcp.schema.clickhouse import (
    DEDUPLICATED_INSERTS,
    Names,
    address_text,
    aliases,
    column_type,
    sockets_table,
)
from xtcp.schema.columns import COLUMNS
from xtcp.schema.model import ADDRESS, Column

_TIMES: Final = frozenset({"wall_start_ns", "wall_end_ns"})


def ddl(names: Names | None = None, topic: Topic | None = None) -> str:
    """The script: database, tables, view; with `topic` what reads it into them."""
    names = names or Names()
    parts = [
        f"CREATE DATABASE IF NOT EXISTS {names.database};\n",
        sockets_table(names),
        nullable_view(names),
        polls_table(names),
    ]
    return "\n".join(parts + (kafka_tables(names, topic) if topic else []))


def polls_table(names: Names) -> str:
    """`CREATE TABLE` of the polls; as the agent's trailers are in JSON too."""
    lines = [f"    `{field.name}` {poll_type(field)}{_poll_codec(field)}" for field in TRAILER.fields]
    lines += [
        "    `wall_start` DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(wall_start_ns)",
        "    `wall_end` DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(wall_end_ns)",
        "    `seconds` Float64 ALIAS (monotonic_end_ns - monotonic_start_ns) / 1e9",
        "    `delivered` UInt64 ALIAS rows - duplicates",
    ]
    body = ",\n".join(lines)
    return (
        f"CREATE TABLE IF NOT EXISTS {names.of(names.polls)}\n(\n{body}\n)\n"
        "ENGINE = MergeTree\n"
        "ORDER BY (hostname, wall_start_ns, netns)\n"
        f"TTL toDateTime(fromUnixTimestamp64Nano(wall_start_ns)) + INTERVAL {names.days} DAY DELETE\n"
        f"SETTINGS non_replicated_deduplication_window = {DEDUPLICATED_INSERTS};\n"
    )


def _poll_codec(field: RecordField | Nested) -> str:
    if field.name in _TIMES or field.name == "poll_id":
        return " CODEC(DoubleDelta, LZ4)"
    return ""


def nullable_view(names: Names) -> str:
    """`CREATE VIEW` of the sockets with null where the kernel sent nothing, by the rules of `reader_presence`."""
    lines = [f"    {_nullable(column)} AS `{column.name}`" for column in COLUMNS]
    lines += [f"    s.{name} AS {name}" for name, _, _ in aliases()]
    body = ",\n".join(lines)
    return (
        f"CREATE VIEW IF NOT EXISTS {names.of(f'{names.sockets}_nullable')} AS\n"
        f"SELECT\n{body}\nFROM {names.of(names.sockets)} AS s;\n"
    )


def _nullable(column: Column) -> str:
    value = f"s.{column.name}"
    if column.kind is ADDRESS:
        return address_text(value).replace("(idiag_family", "(s.idiag_family")
    kind, number = RULES[column.name]
    if kind == "always" or column.name == "timestamp_ns":
        return value
    if kind == "value":
        return f"nullIf({value}, {_nothing(column)})"
    return f"if({_condition(kind, number)}, {value}, NULL)"


def _condition(kind: str, number: int) -> str:
    match kind:
        case "bit":
            return f"bitTest(s.attributes, {number})"
        case "tcp":
            return f"s.tcp_info_len >= {number} AND s.tcpi_state != 0"
        case "mptcp":
            return f"s.tcp_info_len >= {number} AND s.tcpi_state = 0"
        case _:
            return " OR ".join(f"s.{name} != 0" for name, needs in SUBFLOW.items() if needs == number)


def _nothing(column: Column) -> str:
    return "0" if column_type(column).startswith("UInt") else "''"
