"""DatagramRows: rows as datagrams; the sink of the destinations `udp:` and `unixgram:`.

Accepted means handed to the operating system and not answered by an error while that lasted (`transmission`). Reasons
of drops: `oversize` for a row that fits no datagram; an errno's name; `resolve` where the far side's name has no
address. Rows wait in the queue while there is no socket, never for a receiver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xtcp.errors import XtcpError
from xtcp.ledger import CLOSED, Account
from xtcp.sinks.network.datagram_socket import DatagramSocket
from xtcp.sinks.sink import PATIENCE_S

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer
    from xtcp.sinks.network.packing import Packing

OVERSIZE: Final = "oversize"


class DatagramRows:
    """A `Sink` that sends by `sender` what `packing` makes."""

    gone: Final = False

    def __init__(self, account: Account, sender: DatagramSocket, packing: Packing) -> None:
        self._account = account
        self._socket = sender
        self._packing = packing
        self._in_hand = 0
        self._closed = False
        account.ask(lambda: self._in_hand)

    @property
    def error(self) -> XtcpError | None:
        """The last refusal."""
        return self._socket.error

    @property
    def ready(self) -> bool:
        """Whether there is a socket; `tick` tries for one."""
        return self._socket.ready

    def tick(self) -> float:
        """Opens the socket."""
        return self._socket.refresh()

    def accept(self, batch: Batch) -> None:
        """Sends the rows."""
        if self._closed:
            self._account.refuse(batch.rows, CLOSED)
            return
        with self._account as account:
            account.offer(batch.rows)
            self._in_hand += batch.rows
        mail = self._packing.rows(batch)
        outcome = self._socket.send(mail)
        with self._account as account:
            account.drop(batch.rows - int(mail.rows.sum()), OVERSIZE)
            for reason, rows in outcome.lost.items():
                account.drop(rows, reason)
            account.accept(outcome.rows, outcome.size)
            self._in_hand -= batch.rows

    def end_poll(self, trailer: Trailer) -> None:
        """Sends the trailer where the form has one."""
        mail = self._packing.trailer(trailer)
        if mail is not None and not self._closed:
            self._socket.send(mail)

    def flush(self, timeout_s: float = PATIENCE_S) -> None:
        """Nothing: no row is held between batches."""

    def close(self, timeout_s: float = PATIENCE_S) -> None:  # noqa: ARG002 - there is nothing to wait for
        """Gives the socket back; a batch whose sending was broken off is dropped."""
        self._closed = True
        self._socket.close()
        with self._account as account:
            account.drop(self._in_hand, CLOSED)
            self._in_hand = 0
