"""A store that a test fills, and asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.batches import batch_of
from tests.store.made import (
    INTERVAL_NS,
    START_NS,
    context,
    trailer,
)
from xtcp.ledger import Account
from xtcp.sinks.destination import parse
from xtcp.store.query import Store


class Kept:
    """A folder with rows, and what is asked of it."""

    def __init__(self, folder: Path, scheme: str) -> None:
        self.folder = folder
        self.sink = parse(f"{scheme}:{folder}?").maker()(Account(scheme))

    def poll(self, number: int, rows: list[dict[str, Any]], host: str = "web-1", flags: tuple[str, ...] = ()) -> None:
        """A poll of one-valued rows, written to its end."""
        start = START_NS + number * INTERVAL_NS
        self.sink.accept(batch_of(rows, context(start, host)))
        self.sink.end_poll(trailer(start, host, len(rows), flags))
        self.sink.flush()

    def ask(self, sql: str) -> list[dict[str, Any]]:
        """The rows of the answer."""
        with Store(self.folder) as store:
            answer = store.ask(sql)
            return [dict(zip(answer.names, row, strict=True)) for piece in answer.pieces for row in piece]
