"""Sink: where rows go. One small class a destination, behind this Protocol.

A sink takes batches as they are, columns and presence, and encodes them itself, because each wants another form. It
counts every row in the `Account` it is made with (`xtcp.ledger`), and it is called from one thread only.

What a sink does *not* do: choose rows, remove duplicates, read a clock for the rows, or raise for what its far side
does. A full disk or a broker that is gone is a drop with its reason, and `error` for people; only opening raises.

**One that writes at once** (`text_rows`): `accept` holds the batch, writes it, and settles it before it returns.

    def accept(self, batch):
        with self._account:                       # one move: offered, and in our hand
            self._account.offer(batch.rows)
            self._in_hand = batch.rows
        size = write(batch)                       # no lock is held here
        with self._account:                       # one move: out of our hand, and accepted
            self._in_hand = 0
            self._account.accept(batch.rows, size)

**One with a queue and a thread of its own** (Kafka, ClickHouse, UDP): `accept` never waits for the far side.
1. It encodes the batch, or keeps it: batches are never written to again, and a replay sends the same columns under
   many contexts, so keeping one costs little. In one move it offers the rows and appends the item, or, where the
   queue has no room in bytes, offers and drops them (`queue`). `held` is the rows of the items in the queue, of the
   item that the thread has taken out, and of the messages that are sent and not confirmed.
2. The thread takes items out, sends, tries again after a pause, spools; a row that goes from the queue to
   "unconfirmed" is held all the time.
3. A delivery report, on whatever thread it comes, is one move: `held` less, `accept` or `drop` more.
4. `flush` waits until nothing is held. `close` does that, ends the thread, and drops what is left (`closed`), such
   as messages whose report has not come. A report after that is ignored by the sink.
5. Whether `accept` waits for room instead of dropping is the destination's option (`full=wait`), which a replay
   at full speed sets where it is not given, and the daemon does not.
"""

from __future__ import annotations

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
        """The first thing that went wrong, None so far."""
        ...

    @property
    def gone(self) -> bool:
        """Whether the far side will take nothing any more; whoever has no other sink may stop."""
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
