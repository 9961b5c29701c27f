"""Our tables in a server of the tests, by the DDL that `xtcp schema clickhouse` prints."""

from __future__ import annotations

from collections.abc import Iterator

from tests.clickhouse.server import Server
from xtcp.records.clickhouse import ddl
from xtcp.records.clickhouse_kafka import Topic
from xtcp.schema.clickhouse import Names


def statements(names: Names | None = None, topic: Topic | None = None) -> Iterator[str]:
    """The script's statements, one by one."""
    for statement in ddl(names, topic).split(";\n"):
        if statement.strip():
            yield statement.strip()


def create(server: Server) -> None:
    """Makes them anew. What is old stays: the rows of the tests are of any time."""
    server.query("DROP DATABASE IF EXISTS xtcp")
    for statement in statements():
        server.query(statement)
    for table in ("sockets", "polls"):
        server.query(f"ALTER TABLE xtcp.{table} REMOVE TTL")


def empty(server: Server) -> None:
    """No row, no other table."""
    server.query("TRUNCATE TABLE xtcp.sockets")
    server.query("TRUNCATE TABLE xtcp.polls")
    server.query("DROP TABLE IF EXISTS xtcp.older")
