"""Our tables in a server of the tests."""

from __future__ import annotations

from tests.clickhouse.server import Server
from xtcp.encode.native import native_type
from xtcp.schema.columns import COLUMNS


def create(server: Server) -> None:
    """Makes them anew."""
    server.query("DROP DATABASE IF EXISTS xtcp")
    server.query("CREATE DATABASE xtcp")
    columns = ", ".join(f"{column.name} {native_type(column)}" for column in COLUMNS)
    engine = "MergeTree ORDER BY hostname SETTINGS non_replicated_deduplication_window = 1000"
    server.query(f"CREATE TABLE xtcp.sockets ({columns}) ENGINE = {engine}")
