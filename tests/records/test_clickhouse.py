"""The DDL for ClickHouse in a real engine: it executes, it reads our envelopes, and what comes out is what went in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.batches import Row, batch_of
from tests.clickhouse.server import Server
from tests.libraries import require
from tests.rows import decoded, rows_of
from tests.zoos import WITH_TWINS
from xtcp.batch import Batch
from xtcp.chunk import Context
from xtcp.encode.cells import AF_INET, AF_INET6
from xtcp.errors import UsageError
from xtcp.poll.trailer import Trailer
from xtcp.records.envelopes import Envelopes
from xtcp.records.layouts import LAYOUTS
from xtcp.records.texts.clickhouse import ddl
from xtcp.records.texts.clickhouse_kafka import Topic, kafka_tables, record_type
from xtcp.records.texts.clickhouse_xtcp2 import xtcp2_ddl
from xtcp.records.texts.proto_text import PROTO_FILES, proto_text
from xtcp.schema.clickhouse import Names, column_type, identifier
from xtcp.schema.columns import COLUMNS
from xtcp.schema.model import BLOB
from xtcp.schema.names import STATES as WORDS
from xtcp_replay.reading.opening import open_source

pytestmark = [pytest.mark.clickhouse, pytest.mark.timeout(120)]

ZOOS = WITH_TWINS
# Rows of captures are old, and would go at the next merge.
NAMES = Names(days=20_000)
TOPIC = Topic(("kafka-0:9092", "[::1]:9092"), "xtcp")
# Columns whose values are the same in JSON and in the view; bytes are written otherwise there.
SAME = frozenset(column.name for column in COLUMNS if column.kind is not BLOB)
TRAILER = Trailer(
    hostname="h", boot_id="b", poll_id=7, netns="n", release="6.18", byte_order="little",
    wall_start_ns=1_700_000_000_123_456_789, wall_end_ns=1_700_000_001_123_456_789, monotonic_start_ns=5,
    monotonic_end_ns=1_500_000_005, dumps=1, messages=9, rows=8, duplicates=1, quarantined=0, damaged=0, control=1,
    forged=0, unknown={"23": 4, "19.9": 1}, surplus={}, flags=("interrupted", "deadline"), suspended_ns=-1,
)  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An engine of our own, with our tables."""
    require("chdb")
    with Server(tmp_path_factory.mktemp("engine") / "data") as server:
        for statement in statements(ddl(NAMES)):
            server.query(statement)
        for name in ("sockets", "polls"):
            server.query(f"ALTER TABLE xtcp.{name} REMOVE TTL")
        yield server


@pytest.fixture
def tables(engine: Server) -> Server:
    """Empty ones."""
    for name in ("sockets", "polls"):
        engine.query(f"TRUNCATE TABLE xtcp.{name}")
    return engine


@pytest.fixture
def protos(tmp_path: Path) -> Path:
    """A folder of format schemas."""
    for name, file in PROTO_FILES.items():
        (tmp_path / file).write_text(proto_text(LAYOUTS[name]))
    return tmp_path


def statements(script: str) -> list[str]:
    """The statements of a script, one by one as chdb takes them."""
    return [part.strip() for part in script.split(";\n") if part.strip()]


def batches_of(capture: Path) -> list[Batch]:
    """All rows of a capture."""
    return list(decoded(open_source(str(capture)).chunks()))


def insert(server: Server, message: bytes, protos: Path) -> None:
    """What the Kafka engine and its materialized views do with a message, by hand: chdb has no such engine."""
    file = protos / "message.bin"
    file.write_bytes(message)
    script = {
        re.sub(r"\W.*", "", view[1]): view[0] for view in (v for v in map(view_of, kafka_tables(NAMES, TOPIC)) if v)
    }
    for target, form, schema, columns, select in (
        ("sockets", "ProtobufList", "Record", structure("sockets_kafka"), script["sockets"]),
        ("polls", "Protobuf", "Envelope", structure("polls_kafka"), script["polls"]),
    ):
        source = f"file('{file}', '{form}', '{columns}')"
        query = re.sub(r"FROM xtcp\.\w+", lambda _, source=source: f"FROM {source}", select)  # type: ignore[misc]
        query = query.replace("length(_error) = 0 AND ", "")
        settings = f"SETTINGS format_schema = '{protos / PROTO_FILES['flat']}:{schema}'"
        server.query(f"INSERT INTO xtcp.{target} {columns_of(query)} {query} {settings}")


def columns_of(select: str) -> str:
    """The columns that a SELECT gives, for INSERT, which otherwise goes by their order."""
    names = re.findall(r" AS (\w+),?$", select, re.MULTILINE) if "REPLACE" not in select else [c.name for c in COLUMNS]
    return f"({', '.join(names)})"


def view_of(statement: str) -> tuple[str, str] | None:
    """Of a materialized view its SELECT and its target."""
    found = re.search(r"MATERIALIZED VIEW .* TO xtcp\.(\w+) AS\n(.*);\n$", statement, re.DOTALL)
    return (found[2], found[1]) if found else None


def structure(name: str) -> str:
    """The columns of one of the Kafka tables, as `file` takes them."""
    table = next(s for s in kafka_tables(NAMES, TOPIC) if f" xtcp.{name}\n(" in s)
    body = table[table.index("(\n") + 2 : table.index("\n)\nENGINE")]
    return body.replace("\n", " ").replace("'", "\\'")


def view_rows(server: Server) -> list[dict[str, Any]]:
    """The rows of the view, columns that are null left out."""
    names = ", ".join(c.name for c in COLUMNS if c.name in SAME)
    rows = server.rows(f"SELECT {names}, state, toUnixTimestamp64Nano(timestamp_ns) AS time FROM xtcp.sockets_nullable")
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """What tells rows of a capture apart."""
    return row.get("dump", 0), row["idiag_cookie"], row["idiag_family"], row["idiag_sport"], row["idiag_state"]


@pytest.mark.parametrize("capture", ZOOS, ids=lambda path: path.parent.name)
def test_envelopes_to_rows_to_the_view(capture: Path, tables: Server, protos: Path) -> None:
    """Every row of our captures, as envelopes read by ClickHouse: the view says the same as JSON, nulls included."""
    batches = batches_of(capture)
    sent = 0
    for batch in batches:
        envelopes = Envelopes("flat", limit_bytes=900_000)
        for packet in envelopes.cut(batch):
            insert(tables, packet.data, protos)
            sent += packet.rows
    expected = [{name: value for name, value in row.items() if name in SAME} for row in rows_of(batches)]
    found = view_rows(tables)
    assert sent == len(expected) == len(found) > 0
    for row in found:
        assert row.pop("state") is not None
        row["timestamp_ns"] = row.pop("time")
    for row in expected:
        row["idiag_state"] = next(n for n, word in WORDS.items() if word == row["idiag_state"])
    assert sorted(found, key=key) == sorted(expected, key=key)


def test_trailers_become_polls(tables: Server, protos: Path) -> None:
    """A trailer is a row of polls and none of sockets; the agent's JSON of it gives the same row."""
    packet = Envelopes("flat", limit_bytes=1432).end_poll(TRAILER)
    assert packet is not None
    insert(tables, packet.data, protos)
    assert tables.rows("SELECT count() AS n FROM xtcp.sockets") == [{"n": 0}]
    (row,) = tables.rows("SELECT *, seconds, delivered, toString(wall_start) AS start FROM xtcp.polls")
    assert {name: row[name] for name in TRAILER.as_dict()} == TRAILER.as_dict()
    assert (row["seconds"], row["delivered"], row["start"]) == (1.5, 7, "2023-11-14 22:13:20.123456789")
    tables.query("TRUNCATE TABLE xtcp.polls")
    tables.query(f"INSERT INTO xtcp.polls FORMAT JSONEachRow {json.dumps(TRAILER.as_dict())}")
    (again,) = tables.rows("SELECT *, seconds, delivered, toString(wall_start) AS start FROM xtcp.polls")
    assert again == row


def test_header_and_trailer_beside_rows(tables: Server, protos: Path) -> None:
    """Rows, header and trailer in one envelope: the format takes all for records, the condition leaves rows."""
    batch = next(b for b in batches_of(ZOOS[0]) if b.rows)
    (packet, *_) = Envelopes("flat", limit_bytes=900_000).cut(batch)
    file = protos / "message.bin"
    file.write_bytes(packet.data)
    settings = f"SETTINGS format_schema = '{protos / PROTO_FILES['flat']}:Record'"
    count = f"SELECT count() AS n FROM file('{file}', 'ProtobufList', 'idiag_family UInt8')"
    assert int(tables.query(f"{count} {settings}")) == packet.rows + 1
    insert(tables, packet.data, protos)
    assert tables.rows("SELECT count() AS n FROM xtcp.sockets") == [{"n": packet.rows}]
    assert tables.rows("SELECT count() AS n FROM xtcp.polls") == [{"n": 0}]


def test_addresses_as_ipv6(tables: Server, protos: Path) -> None:
    """What is computed: both families as IPv6, IPv4 mapped into it, so that one condition finds a host in both."""
    ends = {AF_INET: bytes([192, 0, 2, 1]) + bytes(12), AF_INET6: ip_address("2001:db8::1").packed}
    mapped = ip_address("::ffff:192.0.2.1").packed
    rows: list[Row] = [
        {"idiag_family": AF_INET, "idiag_src": ends[AF_INET], "idiag_dst": ends[AF_INET]},
        {"idiag_family": AF_INET6, "idiag_src": ends[AF_INET6], "idiag_dst": mapped},
    ]
    (packet,) = Envelopes("flat", limit_bytes=1432).cut(batch_of(rows, Context(timestamp_ns=TRAILER.wall_start_ns)))
    insert(tables, packet.data, protos)
    asked = "SELECT toString(src) AS src, toString(dst) AS dst, state FROM xtcp.sockets ORDER BY idiag_family"
    assert tables.rows(asked) == [
        {"src": "::ffff:192.0.2.1", "dst": "::ffff:192.0.2.1", "state": "UNKNOWN(0)"},
        {"src": "2001:db8::1", "dst": "::ffff:192.0.2.1", "state": "UNKNOWN(0)"},
    ]
    found = "SELECT count() AS n FROM xtcp.sockets WHERE dst = toIPv6('192.0.2.1')"
    assert tables.rows(found) == [{"n": 2}]


def test_kafka_statements_parse(engine: Server) -> None:
    """chdb has no Kafka engine: its parser takes every statement, and the views select what the tables have."""
    for statement in statements(ddl(NAMES, TOPIC)) + statements(xtcp2_ddl(LAYOUTS["xtcp2-2"], NAMES, TOPIC)):
        assert "CreateQuery" in engine.query(f"EXPLAIN AST {statement}")


@pytest.mark.parametrize("layout", ["xtcp2-1", "xtcp2-2"])
def test_tables_of_xtcp2_read_our_envelopes(layout: str, engine: Server, protos: Path) -> None:
    """xtcp2's own tables, fed by us: a row a socket, its values under xtcp2's names."""
    names = Names(database=f"x{layout[-1]}", days=NAMES.days)
    for statement in statements(xtcp2_ddl(LAYOUTS[layout], names)):
        engine.query(statement)
    table = f"x{layout[-1]}.xtcp_flat_records_v{layout[-1]}"
    batch = next(b for b in batches_of(ZOOS[0]) if b.rows)
    (packet, *_) = Envelopes(layout, limit_bytes=900_000).cut(batch)
    file = protos / "message.bin"
    file.write_bytes(packet.data)
    described = engine.rows(f"DESCRIBE TABLE {table}")
    columns = ", ".join(f"{row['name']} {row['type']}" for row in described)
    columns = columns.replace("DateTime64(9, 'UTC')", "Int64").replace("'", "\\'")
    settings = f"SETTINGS format_schema = '{protos / PROTO_FILES[layout]}:XtcpFlatRecord'"
    select = "SELECT * REPLACE (fromUnixTimestamp64Nano(timestamp_ns) AS timestamp_ns)"
    engine.query(f"INSERT INTO {table} {select} FROM file('{file}', 'ProtobufList', '{columns}') {settings}")
    cong = "congestion_algorithm_enum" if layout == "xtcp2-1" else "inet_diag_cong_enum"
    found = engine.rows(
        "SELECT inet_diag_msg_socket_cookie AS cookie, tcp_info_rtt AS rtt, hex(inet_diag_msg_socket_source) AS src,"
        f" length(inet_diag_msg_socket_source) AS size, schema_version AS epoch, toString({cong}) AS cong"
        f" FROM {table} ORDER BY record_counter"
    )
    assert len(found) == packet.rows == batch.rows
    assert {row["epoch"] for row in found} == {int(layout[-1])}
    assert {row["size"] for row in found} == {16}
    assert "cubic" in {row["cong"] for row in found}
    expected = {(row["idiag_cookie"], row.get("tcpi_rtt", 0)) for row in rows_of([batch])}
    assert {(row["cookie"], row["rtt"]) for row in found} == expected


def test_every_column_is_in_the_table_once() -> None:
    """Under its own name and in its order; what is computed stands behind."""
    table = next(s for s in statements(ddl(NAMES)) if "xtcp.sockets\n(" in s)
    names = re.findall(r"^    `(\w+)` (?!.* ALIAS )", table, re.MULTILINE)
    assert names == [column.name for column in COLUMNS]
    assert {record_type(column) for column in COLUMNS} >= {"Int64", "UInt8", "FixedString(16)"}
    assert {column_type(column) for column in COLUMNS} >= {"DateTime64(9, 'UTC')", "LowCardinality(String)"}


def test_fault_89_names_in_ddl() -> None:
    """A name that is no identifier, a broker or topic that is none: refused before it comes near SQL."""
    for name in ("a; DROP DATABASE x", "a`b", "a.b", "", "1a", "a'b", "../../etc", "a" * 64, "é"):
        with pytest.raises(UsageError):
            identifier(name)
        with pytest.raises(UsageError):
            Names(database=name)
    for broker, topic, group in (
        ("b", "t", "g"),
        ("b:9092'", "t", "g"),
        ("b:9092", "t'", "g"),
        ("b:9092", "t", "g;"),
        ("b:9092\n", "t", "g"),
    ):
        with pytest.raises(UsageError):
            Topic((broker,), topic, group)
    for days in (0, 20_001):
        with pytest.raises(UsageError):
            Names(days=days)
