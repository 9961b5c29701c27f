"""Checkpoints: up to where an input's rows have been accepted by all sinks, so that it may be told so.

Sinks take rows in the order in which they were offered. So what was offered when the mark was made has arrived as soon
as every account has accepted as much as it was offered then. Once any sink has dropped a row nothing more is settled:
it is to come again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from xtcp.collect.arrivals import Input
from xtcp.ledger import Ledger

EVERY_S: Final = 2.0


class Checkpoints:
    """Marks of one input, settled when they are reached."""

    def __init__(self, source: Input, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._ledger = ledger
        self._clock = clock
        self._due = clock() + EVERY_S
        self._mark: object = None
        self._offered: dict[str, int] | None = None

    def tick(self) -> None:
        """Settles the mark where it is reached; makes another where it is time."""
        if self._offered is not None:
            self._settle()
        if self._offered is None and self._clock() >= self._due:
            self._due = self._clock() + EVERY_S
            self._make()

    def end(self) -> bool:
        """Settles all, once the sinks are closed; whether nothing is left to come again."""
        self._make()
        self._settle()
        return self._offered is None

    def _make(self) -> None:
        self._mark = self._source.mark()
        self._offered = {balance.name: balance.offered for balance in self._ledger.snapshot()}

    def _settle(self) -> None:
        assert self._offered is not None
        balances = self._ledger.snapshot()
        if all(not b.dropped and b.accepted >= self._offered.get(b.name, 0) for b in balances):
            self._source.settle(self._mark)
            self._offered = None
