"""Null: takes every row and encodes nothing; what is left is the cost of all before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xtcp.ledger import Account
from xtcp.sinks.destination import Destination, no_address
from xtcp.sinks.sink import PATIENCE_S, AtOnce

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer
    from xtcp.sinks.destination import Maker


class Null(AtOnce):
    """A `Sink`; accepted means taken."""

    error: Final = None
    gone: Final = False

    def __init__(self, account: Account) -> None:
        self._account = account

    def accept(self, batch: Batch) -> None:
        """Counts the rows."""
        with self._account as account:
            account.offer(batch.rows)
            account.accept(batch.rows)

    def end_poll(self, trailer: Trailer) -> None:
        """Nothing."""

    def flush(self, timeout_s: float = PATIENCE_S) -> None:
        """Nothing: no row is ever held."""

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        """Nothing."""


def prepare(destination: Destination) -> Maker:
    """`null:`."""
    no_address(destination)
    return Null
