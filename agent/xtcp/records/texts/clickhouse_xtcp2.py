"""DDL of xtcp2's ClickHouse tables, so that its tables can be fed by us and its queries go on.

    xtcp_flat_records_v1, _v2   the rows of a layout of ours, `xtcp2-1` or `xtcp2-2`
    xtcp_flat_records           all of them, whichever there are
    xtcp_flat_records_kafka …   with a topic: what reads it, and errors for a day

Names, types, codecs and order are those of xtcp2's own DDL (github.com/randomizedcoder/xtcp2,
build/containers/clickhouse/initdb.d/sql): columns in the record's order, one type a kind of field.
"""

from __future__ import annotations

from typing import Final

from xtcp.records.model import EnumType, Layout, RecordField
from xtcp.records.texts.clickhouse_kafka import Topic, engine, errors_table, errors_view, moved_by
from xtcp.records.texts.proto_text import PROTO_FILES
from xtcp.schema.clickhouse import Names, quoted

TABLE: Final = "xtcp_flat_records"

_LONG_TEXTS: Final = frozenset({"netns", "container_id"})
_CODECS: Final = {"netns_inode": "ZSTD", "record_counter": "DoubleDelta, LZ4"}


def xtcp2_ddl(layout: Layout, names: Names | None = None, topic: Topic | None = None) -> str:
    """The script for one of xtcp2's layouts; of `names` the database and the days count."""
    names = names or Names()
    epoch = dict(layout.constants)["schema_version"]
    table = names.of(f"{TABLE}_v{epoch}")
    fields = list(layout.record.scalars())
    merged = quoted(f"^{TABLE}_v[0-9]+$")
    stored = (
        f"CREATE TABLE IF NOT EXISTS {table}\n(\n{_columns(fields, stored=True)}\n)\n"
        "ENGINE = MergeTree\n"
        "ORDER BY (timestamp_ns, hostname, record_counter, netlinker_id, socket_fd)\n"
        f"TTL toDateTime(timestamp_ns) + INTERVAL {names.days} DAY DELETE;\n"
    )
    all_of_them = (
        f"CREATE TABLE IF NOT EXISTS {names.of(TABLE)} AS {table}\n"
        f"ENGINE = Merge({quoted(names.database)}, {merged});\n"
    )
    parts = [f"CREATE DATABASE IF NOT EXISTS {names.database};\n", stored, all_of_them]
    if topic is not None:
        queue, errors = names.of(f"{TABLE}_kafka"), names.of(f"{TABLE}_errors")
        schema = f"{PROTO_FILES[layout.name]}:{layout.record.name}"
        select = "SELECT * REPLACE (fromUnixTimestamp64Nano(timestamp_ns) AS timestamp_ns)"
        parts += [
            f"CREATE TABLE IF NOT EXISTS {queue}\n(\n{_columns(fields, stored=False)}\n)\n"
            + engine(topic, "ProtobufList", schema),
            moved_by(queue, table, select, f"schema_version = {epoch}"),
            errors_table(errors),
            errors_view(errors, queue),
        ]
    return "\n".join(parts)


def _columns(fields: list[RecordField], *, stored: bool) -> str:
    return ",\n".join(f"    `{field.name}` {_type(field, stored=stored)}" for field in fields)


def _type(field: RecordField, *, stored: bool) -> str:
    if field.name == "timestamp_ns":
        return f"{'DateTime64(9, ' + quoted('UTC') + ')' if stored else 'Int64'} CODEC(DoubleDelta, LZ4)"
    if field.enum is not None:
        return _enum(field.enum)
    match field.type:
        case "bytes":
            return "String CODEC(ZSTD)"
        case "string":
            return "String CODEC(ZSTD)" if field.name in _LONG_TEXTS else "LowCardinality(String)"
        case "uint32":
            return "UInt32 CODEC(LZ4)"
        case _:
            return f"UInt64 CODEC({_CODECS.get(field.name, 'LZ4')})"


def _enum(enum: EnumType) -> str:
    """The words of xtcp2's: values without the enum's name before them, the first of congestion controls empty."""
    prefix = "_".join(enum.values[0][0].split("_")[:-1]) + "_"
    words = [(name.removeprefix(prefix).lower(), number) for name, number in enum.values]
    if enum.congestion:
        words[0] = ("", 0)
    return f"Enum({', '.join(f'{quoted(word)} = {number}' for word, number in words)})"
