"""`xtcp-replay send` into ClickHouse: the command, the sink and the engine together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import three_parts, xtcp_replay
from tests.clickhouse.server import Server
from tests.clickhouse.test_values import ZOOS
from tests.rows import decoded, rows_of
from xtcp_replay.reading.opening import open_source

pytestmark = [pytest.mark.clickhouse, pytest.mark.timeout(60)]


def test_a_capture_is_in_the_table(tables: Server, tmp_path: Path) -> None:
    """Every socket of every dump, and the ledger says the same."""
    ledger = tmp_path / "ledger.json"
    dest = f"clickhouse:http://{tables.address}/xtcp.sockets?compression=gzip"
    done = xtcp_replay("send", ZOOS[0], "--dest", dest, "--speed", "max", "--ledger", ledger)
    assert done.returncode == 0, done.stderr
    sent = rows_of(decoded(open_source(str(ZOOS[0])).chunks()))
    found = tables.rows("SELECT dump, idiag_cookie FROM xtcp.sockets")
    assert {(row["dump"], row["idiag_cookie"]) for row in found} == {(row["dump"], row["idiag_cookie"]) for row in sent}
    (balance,) = json.loads(ledger.read_text())["sinks"]
    assert balance["balanced"] and balance["accepted"] == balance["offered"] == len(found)


def test_a_table_that_is_missing(tables: Server) -> None:
    """Exit code and three parts; every row is accounted for."""
    dest = f"clickhouse:http://{tables.address}/xtcp.nothing"
    done = xtcp_replay("send", ZOOS[0], "--dest", dest, "--speed", "max")
    text = three_parts(done, 75, "UNKNOWN_TABLE", "xtcp schema clickhouse")
    assert "0 accepted" in text and "0 in flight" in text
