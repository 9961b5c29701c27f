"""ClickHouse's Kafka engine: what reads a topic of envelopes into the tables of sockets and polls.

A message is an envelope with its length before it, so records are read as `ProtobufList`. That format takes header and
trailer of an envelope for records too; they are rows without a family and left out. Trailers are read as `Protobuf`, a
row an envelope, in a consumer group of their own. A message that is damaged is kept in a table of errors for a day. The
server needs the .proto file (`xtcp schema proto`) in its folder of format schemas.

Sources: https://clickhouse.com/docs/engines/table-engines/integrations/kafka,
https://clickhouse.com/docs/interfaces/formats/ProtobufList
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from xtcp.errors import UsageError
from xtcp.records.envelope_messages import TRAILER
from xtcp.records.model import Nested, RecordField
from xtcp.schema.clickhouse import Names, column_type, quoted
from xtcp.schema.columns import COLUMNS
from xtcp.schema.model import Column

PROTO_FILE: Final = "xtcp_flat.proto"
# A message may have 900 kB and some thousand rows: few at a time bound the server's memory, and as many rows a block as
# these have keep the parts of the table few.
MESSAGES_A_TIME: Final = 16
ROWS_A_BLOCK: Final = 65_536

_BROKER: Final = re.compile(r"[A-Za-z0-9._-]+:\d{1,5}|\[[0-9A-Fa-f:]+\]:\d{1,5}")
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_WORDS: Final = frozenset({"hostname", "netns", "release", "byte_order"})


@dataclass(frozen=True)
class Topic:
    """A topic and who has it: `brokers` HOST:PORT each. Raises `UsageError` for what is neither."""

    brokers: tuple[str, ...]
    name: str
    group: str = "clickhouse"

    def __post_init__(self) -> None:
        for broker in self.brokers:
            if not _BROKER.fullmatch(broker):
                to_do = "Write --kafka HOST:9092 --topic TOPIC"
                raise UsageError(f"{broker!r} is no broker.", "A broker is HOST:PORT.", to_do)
        for name in (self.name, self.group):
            if not _TOPIC.fullmatch(name):
                raise UsageError(
                    f"{name!r} is no name of a topic or group.",
                    "Kafka takes letters, digits, dot, _ and -, at most 249.",
                    "Write --kafka HOST:9092 --topic TOPIC",
                )


def kafka_tables(names: Names, topic: Topic) -> list[str]:
    """What reads a topic into the tables of `names`."""
    sockets, polls = names.of(names.sockets), names.of(names.polls)
    queue, ends = names.of(f"{names.sockets}_kafka"), names.of(f"{names.polls}_kafka")
    errors = names.of(f"{names.sockets}_errors")
    read = ",\n".join(f"    `{column.name}` {record_type(column)}" for column in COLUMNS)
    moved = ", ".join(_moved(column) for column in COLUMNS if record_type(column) != column_type(column))
    trailer = ",\n".join(f"    {line}" for field in TRAILER.fields for line in _trailer_columns(field))
    poll = ",\n".join(f"    {_trailer_value(field)} AS {field.name}" for field in TRAILER.fields)
    return [
        f"CREATE TABLE IF NOT EXISTS {queue}\n(\n{read}\n)\n{engine(topic, 'ProtobufList', f'{PROTO_FILE}:Record')}",
        moved_by(queue, sockets, f"SELECT * REPLACE ({moved})", "idiag_family != 0"),
        errors_table(errors),
        errors_view(errors, queue),
        f"CREATE TABLE IF NOT EXISTS {ends}\n(\n{trailer}\n)\n"
        + engine(topic, "Protobuf", f"{PROTO_FILE}:Envelope", group=f"{topic.group}-polls"),
        moved_by(ends, polls, f"SELECT\n{poll}", "trailer_hostname != ''"),
    ]


def moved_by(queue: str, to: str, select: str, condition: str) -> str:
    """The materialized view that moves what the Kafka table `queue` has read, and is no error, to a table."""
    return (
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS {queue}_mv TO {to} AS\n"
        f"{select}\nFROM {queue}\nWHERE length(_error) = 0 AND {condition};\n"
    )


def record_type(column: Column) -> str:
    """The type that `ProtobufList` can give a column: a time is a number, for the format takes it for seconds."""
    return "Int64" if column_type(column).startswith("DateTime64") else column_type(column)


def _moved(column: Column) -> str:
    return f"fromUnixTimestamp64Nano({column.name}) AS {column.name}"


def _trailer_columns(field: RecordField | Nested) -> list[str]:
    """How the format names and types a field of the trailer; of repeated messages, a column a field."""
    if isinstance(field, Nested):
        types = {"string": "Array(String)", "uint64": "Array(UInt64)"}
        return [f"`trailer_{field.name}.{one.name}` {types[one.type]}" for one in field.message.scalars()]
    return [f"`trailer_{field.name}` {poll_type(field)}"]


def _trailer_value(field: RecordField | Nested) -> str:
    if not isinstance(field, Nested):
        return f"trailer_{field.name}"
    return f"mapFromArrays({', '.join(f'trailer_{field.name}.{one.name}' for one in field.message.scalars())})"


def engine(topic: Topic, form: str, schema: str, *, group: str = "") -> str:
    """`ENGINE = Kafka` of a table that reads `topic`."""
    return (
        "ENGINE = Kafka\n"
        f"SETTINGS kafka_broker_list = {quoted(','.join(topic.brokers))},\n"
        f"    kafka_topic_list = {quoted(topic.name)},\n"
        f"    kafka_group_name = {quoted(group or topic.group)},\n"
        f"    kafka_format = {quoted(form)},\n"
        f"    kafka_schema = {quoted(schema)},\n"
        "    kafka_handle_error_mode = 'stream',\n"
        "    kafka_skip_broken_messages = 0,\n"
        "    kafka_num_consumers = 1,\n"
        "    kafka_thread_per_consumer = 0,\n"
        f"    kafka_poll_max_batch_size = {MESSAGES_A_TIME},\n"
        f"    kafka_max_block_size = {ROWS_A_BLOCK},\n"
        "    kafka_flush_interval_ms = 2000;\n"
    )


def errors_table(name: str) -> str:
    """`CREATE TABLE` of messages that could not be read."""
    return (
        f"CREATE TABLE IF NOT EXISTS {name}\n(\n"
        "    `observed_at` DateTime DEFAULT now(),\n"
        "    `topic` LowCardinality(String),\n"
        "    `partition` UInt64,\n"
        "    `offset` UInt64,\n"
        "    `error` String,\n"
        "    `message` String\n)\n"
        "ENGINE = MergeTree\nORDER BY observed_at\nTTL observed_at + INTERVAL 1 DAY DELETE;\n"
    )


def errors_view(name: str, queue: str) -> str:
    """What moves them there from the Kafka table `queue`."""
    return (
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS {name}_mv TO {name} AS\n"
        "SELECT _topic AS topic, _partition AS partition, _offset AS offset, _error AS error, _raw_message AS message\n"
        f"FROM {queue}\nWHERE length(_error) > 0;\n"
    )


def poll_type(field: RecordField | Nested) -> str:
    """The type of a field of the trailer in the table of polls."""
    if isinstance(field, Nested):
        return "Map(LowCardinality(String), UInt64)"
    if field.type == "string":
        one = "LowCardinality(String)" if field.name in _WORDS or field.repeated else "String"
        return f"Array({one})" if field.repeated else one
    return "Int64" if field.type == "int64" else "UInt64"
