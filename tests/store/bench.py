"""A sink of partitioned files, with a clock that the test sets."""

from __future__ import annotations

from pathlib import Path

from tests.store.made import (
    INTERVAL_NS,
    START_NS,
    Clock,
    batch,
    lines_of,
    trailer,
)
from xtcp.ledger import Account, Balance
from xtcp.sinks.folders.local_folder import LocalFolder
from xtcp.sinks.folders.partitioned import Limits, Partitioned
from xtcp.sinks.folders.zstd_lines import Lines

LIMITS = Limits(age_s=600, size=1 << 20)


class Bench:
    """A sink of compressed lines over `folder`, its account and its clock."""

    def __init__(self, path: Path, limits: Limits = LIMITS, folder: LocalFolder | None = None) -> None:
        self.path = path
        self.clock = Clock()
        self.account = Account("lines")
        self.sink = Partitioned(
            folder or LocalFolder(path), Lines(), self.account, limits, clock=self.clock, wall=self.clock.wall
        )

    def poll(self, number: int, *cookies: int, host: str = "web-1", then_s: float = 30) -> None:
        """A whole poll, `number` intervals after the first, and `then_s` after it."""
        start = START_NS + number * INTERVAL_NS
        self.sink.accept(batch(*cookies, start_ns=start, host=host))
        self.sink.end_poll(trailer(start, host))
        self.clock.now += then_s

    @property
    def balance(self) -> Balance:
        """Balanced at every moment."""
        balance = self.account.balance()
        assert balance.balanced, balance.line()
        return balance

    def cookies(self) -> list[int]:
        """Those of all final files."""
        return sorted(row["idiag_cookie"] for row in lines_of(self.path))
