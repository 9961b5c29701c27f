"""Sink: where rows go. One small class a destination, behind this Protocol.

A sink takes batches as they are, columns and presence, and encodes them itself, because each wants another form. It
counts every row in the `Account` it is made with (`xtcp.ledger`), and it is called from one thread only.

What a sink does *not* do: choose rows, remove duplicates, read a clock for the rows, or raise for what its far side
does. A full disk or a broker that is gone is a drop with its reason, and `error` for people; only opening raises.

**One that writes at once** (`whole_batches`): `accept` holds the batch, writes it, and settles it before it returns.

    def accept(self, batch):
        with self._account:                       # one move: offered, and in our hand
            self._account.offer(batch.rows)
            self._in_hand = batch.rows
        size = write(batch)                       # no lock is held here
        with self._account:                       # one move: out of our hand, and accepted
            self._in_hand = 0
            self._account.accept(batch.rows, size)

**One whose far side is slow or may be away** (UDP, Kafka, ClickHouse, Parquet) is written the same way, and a `Queued`
stands before it: a queue bounded in bytes and a thread of the sink's own (`queued`). It may take its time in `accept`,
but does not wait there for a far side that is away:
1. While it can take nothing (the pause after a failure, a full buffer of a library's) its `ready` is False, and what
   comes waits in the queue, or is dropped from it (`queue`).
2. `tick` is called when it asked to be, and after every batch: to try again, to look for delivery reports, to rotate.
3. Rows sent and not confirmed are held: `account.ask(held)`. A delivery report, on whatever thread it comes, is one
   move: `held` less, `accept` or `drop` more.
4. `close` sends what it holds as long as its time allows, and drops the rest (`closed`); a report after that is
   ignored by the sink.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.errors import XtcpError
    from xtcp.poll.trailer import Trailer

# How long closing may wait for a far side: the daemon has 8 s for all sinks after SIGTERM.
PATIENCE_S: Final = 8.0


class Sink(Protocol):
    """Takes the rows of polls."""

    @property
    def error(self) -> XtcpError | None:
        """What went wrong, the first time or, where a far side comes and goes, the last; None so far."""
        ...

    @property
    def gone(self) -> bool:
        """Whether the far side will take nothing any more; whoever has no other sink may stop."""
        ...

    @property
    def ready(self) -> bool:
        """Whether `accept` would take a batch now, rather than keep it waiting for a far side that is away."""
        ...

    def tick(self) -> float:
        """Does what is due by time; returns the seconds after which it wants to be called again (inf: never)."""
        ...

    def accept(self, batch: Batch) -> None:
        """Takes all rows of `batch`, whose arrays stay as they are; counts them as offered before it returns."""
        ...

    def end_poll(self, trailer: Trailer) -> None:
        """A poll of the trailer's host ends here, all its rows came before; polls of other hosts may still be open."""
        ...

    def flush(self, timeout_s: float = PATIENCE_S) -> None:
        """Waits until nothing is in flight, no longer than `timeout_s`."""
        ...

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        """Flushes, drops what is still not confirmed, lets go of everything; after it nothing is in flight.

        May be called twice. Never raises.
        """
        ...


class AtOnce:
    """What a `Sink` does that is always ready and has nothing to do by time."""

    ready: Final = True

    def tick(self) -> float:
        """Nothing, never."""
        return math.inf
