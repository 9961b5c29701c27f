"""`clickhouse:`: what a destination says, and the sink that follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xtcp.sinks.clickhouse.inserts import ClickHouse
from xtcp.sinks.clickhouse.target import target

if TYPE_CHECKING:
    from xtcp.sinks.destination import Destination, Maker


def prepare(destination: Destination) -> Maker:
    """Checks it; nothing is opened."""
    meant = target(destination)
    return lambda account: ClickHouse(meant, account)
