"""Our tables in a server of the tests."""

from __future__ import annotations

from tests.clickhouse.server import Server
from xtcp.encode.native import native_type
from xtcp.schema.columns import COLUMNS


def create(server: Server) -> None:
    """Makes them anew."""
    server.query("DROP DATABASE IF EXISTS xtcp")
    server.query("CREATE DATABASE xtcp")
    cols = ", ".join(f"{c.name} {native_type(c)}" for c in COLUMNS)
    server.query(
        f"CREATE TABLE xtcp.sockets ({cols}) ENGINE = MergeTree ORDER BY (hostname, timestamp_ns) SETTINGS non_replicated_deduplication_window = 1000"
    )
