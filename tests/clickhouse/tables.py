"""Our tables in a server of the tests, by the DDL that `xtcp schema clickhouse` prints."""

from __future__ import annotations

from tests.clickhouse.server import Server
from xtcp.records.texts.clickhouse import ddl
from xtcp.records.texts.clickhouse_kafka import Topic
from xtcp.schema.clickhouse import Names


def split(script: str) -> list[str]:
    """The statements of a script."""
    return [statement.strip() for statement in script.split(";\n") if statement.strip()]


def statements(names: Names | None = None, topic: Topic | None = None) -> list[str]:
    """Those of our tables."""
    return split(ddl(names, topic))


def create(server: Server) -> None:
    """Makes our tables anew."""
    server.query("DROP DATABASE IF EXISTS xtcp")
    for statement in statements():
        server.query(statement)
    forever(server, "sockets", "polls")


def forever(server: Server, *tables: str) -> None:
    """What is old stays: the rows of the tests are of any time."""
    for table in tables:
        server.query(f"ALTER TABLE xtcp.{table} REMOVE TTL")


def empty(server: Server) -> None:
    """No row, no other table."""
    server.query("TRUNCATE TABLE xtcp.sockets")
    server.query("TRUNCATE TABLE xtcp.polls")
    server.query("DROP TABLE IF EXISTS xtcp.older")
