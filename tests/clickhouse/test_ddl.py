"""What `xtcp schema clickhouse` prints, run by a real engine: the view with nulls, the polls, and the way from a topic.

chdb has no Kafka engine: those tables are parsed here, and then made with the engine `Null` in its place (`topics`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.clickhouse.server import Server
from tests.clickhouse.tables import create, forever, split, statements
from tests.clickhouse.test_sink import opened
from tests.clickhouse.test_values import ZOOS, ordered, stored, values_of
from tests.clickhouse.topics import Topics
from tests.kafka.reading import unframed
from tests.kafka.standins import trailer
from tests.rows import decoded, rows_of
from xtcp.batch import Batch
from xtcp.ledger import Ledger
from xtcp.poll.trailer import Trailer
from xtcp.records.descriptor import message_classes
from xtcp.records.envelopes import Envelopes
from xtcp.records.layouts import LAYOUTS
from xtcp.records.texts.clickhouse_kafka import Topic
from xtcp.records.texts.clickhouse_xtcp2 import xtcp2_ddl
from xtcp_replay.reading.opening import open_source

pytestmark = [pytest.mark.clickhouse, pytest.mark.timeout(90)]

ORIGINALS = [path for path in ZOOS if path.parent.name != "twin"]
TOPIC = Topic(("broker:9092",), "xtcp")
# Columns whose JSON is a list; in ClickHouse they are the bytes themselves.
BYTES = frozenset({"md5sig", "locals", "peers", "tcp_info_surplus", "unknown_attributes"})


def zoo(path: Path) -> list[Batch]:
    """A capture's batches."""
    return list(decoded(open_source(str(path)).chunks()))


def fullest() -> Trailer:
    """A trailer with something in every field."""
    return replace(
        trailer("web-1", 2**64 - 1, 3),
        boot_id="boot-1",
        netns="4026531840",
        wall_start_ns=10**18,
        wall_end_ns=10**18 + 5,
        monotonic_start_ns=7,
        monotonic_end_ns=9,
        duplicates=4,
        quarantined=5,
        damaged=6,
        control=7,
        forged=8,
        unknown={"23": 4, "19.2.9": 1},
        surplus={"2×288": 7},
        flags=("interrupted", "dropped"),
    )


@pytest.mark.parametrize("path", ORIGINALS, ids=lambda path: path.parent.name)
def test_the_view_has_null_where_nothing_came(tables: Server, path: Path) -> None:
    """Row by row what JSON has: the same columns are there, with the same values; states and addresses too."""
    batches = zoo(path)
    sink = opened(tables, Ledger())
    for batch in batches:
        sink.accept(batch)
    sink.close(20)
    found = tables.rows(f"SELECT * EXCEPT ({', '.join(sorted(BYTES))}) REPLACE ({EPOCH}) FROM xtcp.sockets_nullable")
    assert sorted(map(comparable_view, found), key=repr) == sorted(map(comparable_json, rows_of(batches)), key=repr)


EPOCH = "toUnixTimestamp64Nano(timestamp_ns) AS timestamp_ns"


def comparable_view(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the view without nulls, the state in ss's word."""
    there = {name: value for name, value in row.items() if value is not None and name not in {"src", "dst"}}
    there["idiag_state"] = there.pop("state")
    return dict(sorted(there.items()))


def comparable_json(row: dict[str, Any]) -> dict[str, Any]:
    """A row of JSON without the columns of bytes."""
    return dict(sorted((name, value) for name, value in row.items() if name not in BYTES))


def test_trailers_are_in_the_table_of_polls(tables: Server) -> None:
    """Every field of every poll, counts by name and flags; once, also where the answer was lost."""
    sink = opened(tables, Ledger(), polls="polls")
    tables.faults(silent=1)
    sink.end_poll(fullest())
    sink.end_poll(trailer("web-2", 8))
    sink.flush(10)
    sink.close(5)
    found = {row["hostname"]: row for row in tables.rows("SELECT *, seconds, delivered FROM xtcp.polls")}
    assert found.keys() == {"web-1", "web-2"} and sink.error is None
    expected = json.loads(json.dumps(fullest().as_dict()))
    row = found["web-1"]
    assert {name: row[name] for name in expected} == expected
    assert row["delivered"] == 2**64 - 1  # 3 rows of which 4 were duplicates: what cannot be is not hidden
    assert row["seconds"] == pytest.approx(2e-9)


def test_a_table_of_polls_that_is_missing_costs_trailers_alone(tables: Server) -> None:
    """Rows go on; the error says which table."""
    ledger = Ledger()
    sink = opened(tables, ledger, polls="nothing")
    for number, batch in enumerate(zoo(ZOOS[0])):
        sink.accept(batch)
        sink.end_poll(trailer("web-1", number))
    sink.close(20)
    balance = ledger.snapshot()[0]
    assert balance.accepted == balance.offered > 0
    assert "Make it" in str(sink.error) and "xtcp.nothing" in str(sink.error)


def test_every_statement_is_parsed(server: Server) -> None:
    """By ClickHouse's own parser, those of the Kafka engine too."""
    script = list(statements(topic=TOPIC))
    for record in ("xtcp2-1", "xtcp2-2"):
        script += split(xtcp2_ddl(LAYOUTS[record], None, TOPIC))
    assert sum("ENGINE = Kafka" in statement for statement in script) == 4
    for statement in script:
        assert "CreateQuery" in server.query(f"EXPLAIN AST {statement}")


@pytest.fixture
def bare(server: Server) -> Iterator[Server]:
    """A server without tables; ours are there again at the end."""
    server.query("DROP DATABASE IF EXISTS xtcp")
    yield server
    create(server)


def test_messages_of_a_topic_come_to_both_tables(bare: Server, tmp_path: Path) -> None:
    """Envelopes as `ProtobufList`: every row as the sink over HTTP writes it, no row of a header or trailer; trailers
    as `Protobuf`, in the table of polls.
    """
    topics = Topics(bare, statements(topic=TOPIC), tmp_path)
    forever(bare, "sockets", "polls")
    batches = zoo(ZOOS[0])
    envelopes = Envelopes("flat", limit_bytes=20_000)
    packets = [packet for batch in batches for packet in envelopes.cut(batch)]
    last = envelopes.end_poll(fullest())
    assert last is not None and len(packets) > 2
    for packet in [*packets, last]:
        topics.message(packet.data)
    assert ordered(stored(bare)) == ordered(values_of(batches))
    (poll,) = bare.rows("SELECT * FROM xtcp.polls")
    expected = json.loads(json.dumps(fullest().as_dict()))
    assert {name: poll[name] for name in expected} == expected


@pytest.mark.parametrize("record", ["xtcp2-1", "xtcp2-2"])
def test_tables_of_xtcp2_are_fed(bare: Server, record: str, tmp_path: Path) -> None:
    """Its envelopes through its Kafka table and view into its table of rows: every field, as google.protobuf has it."""
    layout = LAYOUTS[record]
    topics = Topics(bare, split(xtcp2_ddl(layout, None, TOPIC)), tmp_path)
    version = dict(layout.constants)["schema_version"]
    forever(bare, f"xtcp_flat_records_v{version}")
    envelope = message_classes(layout)["Envelope"]()
    envelopes = Envelopes(record, limit_bytes=100_000)
    for batch in zoo(ZOOS[0]):
        for packet in envelopes.cut(batch):
            topics.message(packet.data)
            envelope.MergeFromString(unframed(packet.data))
    expected = [{name: plain(getattr(row, name)) for name in row.DESCRIPTOR.fields_by_name} for row in envelope.row]
    columns = bare.rows(
        "SELECT name, type FROM system.columns WHERE table = 'xtcp_flat_records_kafka' AND default_kind = ''"
    )
    asked = ", ".join(f"{expression(column['name'], column['type'])} AS `{column['name']}`" for column in columns)
    found = bare.rows(f"SELECT {asked} FROM xtcp.xtcp_flat_records")
    assert len(found) > 100
    assert sorted(found, key=by_name) == sorted(expected, key=by_name)


def plain(value: int | str | bytes) -> int | str:
    """A value as `expression` shows it."""
    return value if isinstance(value, int) else (value.encode() if isinstance(value, str) else value).hex().upper()


def expression(name: str, kind: str) -> str:
    """How a column is asked for: texts and bytes in hexadecimal, times and enums as numbers."""
    if name == "timestamp_ns":
        return "toUnixTimestamp64Nano(timestamp_ns)"
    if "String" in kind:
        return f"hex(`{name}`)"
    return f"toInt64(`{name}`)" if "Enum" in kind else f"`{name}`"


def by_name(row: dict[str, Any]) -> str:
    """A key that does not depend on the order of columns."""
    return repr(sorted(row.items()))


def test_the_kafka_tables_have_every_column(bare: Server, tmp_path: Path) -> None:
    """Those of the table that they fill, by name and order."""
    Topics(bare, statements(topic=TOPIC), tmp_path)
    names = {}
    for table in ("sockets", "sockets_kafka"):
        where = f"database = 'xtcp' AND table = '{table}' AND default_kind = ''"
        found = bare.rows(f"SELECT name FROM system.columns WHERE {where} ORDER BY position")
        names[table] = [row["name"] for row in found]
    assert names["sockets"] == names["sockets_kafka"]
