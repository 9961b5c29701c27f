"""Every value of every column in a real ClickHouse engine, as it is in the batch: our captures and made-up dumps."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests.clickhouse.server import Server
from tests.clickhouse.tables import empty
from tests.clickhouse.test_sink import opened
from tests.dumps import Plan
from tests.rows import decoded
from tests.strategies import orders, plans
from tests.zoos import WITH_TWINS
from xtcp.batch import Batch
from xtcp.ledger import Ledger
from xtcp.schema.columns import COLUMNS
from xtcp.schema.model import Order
from xtcp_replay.reading.opening import open_source

pytestmark = [pytest.mark.clickhouse, pytest.mark.timeout(120)]

ZOOS = WITH_TWINS
# Texts and bytes are asked for in hexadecimal: what is no UTF-8 would not come through JSON.
HEX = frozenset(column.name for column in COLUMNS if column.kind.column in {"object", "S16", "(16,)u1"})


def values_of(batches: Iterable[Batch]) -> list[dict[str, Any]]:
    """The rows as the table has them: every column, 0 or empty where a row has none; texts and bytes in hexadecimal."""
    rows: list[dict[str, Any]] = []
    for batch in batches:
        constants = batch.context.constants()
        columns = {name: column.tolist() for name, column in batch.columns.items()}
        for at in range(batch.rows):
            row: dict[str, Any] = {}
            for column in COLUMNS:
                name = column.name
                value = constants.get(name) if name in constants else columns[name][at] if name in columns else None
                row[name] = _hexadecimal(value, column.kind.size) if name in HEX else value or 0
            rows.append(row)
    return rows


def _hexadecimal(value: Any, size: int) -> str:
    if value is None:
        return "00" * size
    return (value.encode() if isinstance(value, str) else bytes(value)).hex().upper()


def stored(server: Server) -> list[dict[str, Any]]:
    """All rows of the table."""
    each = [f"hex({c.name}) AS {c.name}" if c.name in HEX else _asked(c.name) for c in COLUMNS]
    return server.rows(f"SELECT {', '.join(each)} FROM xtcp.sockets")


def _asked(name: str) -> str:
    return "toUnixTimestamp64Nano(timestamp_ns) AS timestamp_ns" if name == "timestamp_ns" else name


def ordered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One order for both sides."""
    return sorted(rows, key=lambda row: tuple(map(str, row.values())))


@pytest.mark.parametrize("path", ZOOS, ids=lambda path: path.parent.name)
def test_captures(tables: Server, path: Path) -> None:
    """Both architectures, every state and attribute there is a socket for."""
    batches = list(decoded(open_source(str(path)).chunks()))
    ledger = Ledger()
    sink = opened(tables, ledger)
    for batch in batches:
        sink.accept(batch)
    sink.close(20)
    assert ledger.snapshot()[0].accepted == sum(batch.rows for batch in batches) > 100
    assert ordered(stored(tables)) == ordered(values_of(batches))


@settings(max_examples=15)
@given(plan=plans(), order=orders)
def test_dumps_of_any_layout(server: Server, plan: Plan, order: Order) -> None:
    """Made-up dumps of either byte order, columns of all widths with all values; batches of one insert differ."""
    server.faults()
    empty(server)
    dump = plan.build(order)
    batches = [batch for batch in decoded([dump.chunk(*dump.datagrams)]) if batch.rows]
    half = [batch.take(np.arange(0, batch.rows, 2)) for batch in batches]
    sink = opened(server, Ledger())
    for batch in [*batches, *half]:
        sink.accept(batch)
    sink.close(20)
    assert sink.error is None
    assert ordered(stored(server)) == ordered(values_of([*batches, *half]))
