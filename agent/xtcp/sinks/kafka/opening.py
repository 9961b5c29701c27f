"""`kafka:`: what a destination says, and the sink that follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xtcp.sinks.kafka.producer import Kafka
from xtcp.sinks.kafka.target import target

if TYPE_CHECKING:
    from xtcp.sinks.destination import Destination, Maker


def prepare(destination: Destination) -> Maker:
    """Checks it; nothing is opened."""
    meant = target(destination)
    return lambda account: Kafka(meant, account)
