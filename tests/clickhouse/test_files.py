"""Files of ours that ClickHouse reads by itself: Parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clickhouse.server import Server
from tests.clickhouse.test_values import ZOOS
from tests.rows import decoded, rows_of
from xtcp.ledger import Account
from xtcp.sinks.destination import parse
from xtcp_replay.reading.opening import open_source

pytestmark = [pytest.mark.clickhouse, pytest.mark.timeout(60)]


def present(row: dict[str, Any]) -> dict[str, Any]:
    """What a row has; columns that are lists in JSON are JSON in Parquet."""
    lists = {"md5sig", "locals", "peers"}
    return {
        name: json.loads(value) if name in lists and isinstance(value, str) and value.startswith("[") else value
        for name, value in row.items()
        if value is not None
    }


@pytest.mark.parametrize("path", ZOOS[:2], ids=lambda path: path.parent.name)
def test_parquet(server: Server, path: Path, tmp_path: Path) -> None:
    """Every row and value, and no other, as JSON has them; what is absent there is null here."""
    batches = list(decoded(open_source(str(path)).chunks()))
    sink = parse(f"parquet:{tmp_path}").open(Account("parquet"))
    for batch in batches:
        sink.accept(batch)
    sink.close(20)
    found = [
        present(row)
        for row in server.rows(f"SELECT * EXCEPT (host, date, hour) FROM file('{tmp_path}/**/*.parquet', Parquet)")
    ]

    def key(row: dict[str, Any]) -> tuple[int, int, str]:
        return row["dump"], row["idiag_cookie"], json.dumps(row, sort_keys=True)

    assert sorted(found, key=key) == sorted(rows_of(batches), key=key)
