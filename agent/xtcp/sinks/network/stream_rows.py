"""StreamRows: rows into a connection, opened anew where it ends; the sink of the destination `unix:`.

Accepted means handed to the operating system. A batch goes whole into one connection: where the connection fails in its
midst, the batch is dropped by the errno, and the next one begins with a new connection, so a reader misreads nothing
but what stands behind the last whole row of a connection that was cut. One that has been closed by the reader is
noticed before a batch is sent into it. A reader that takes nothing for `STALLED_S` is left (ETIMEDOUT).

While nobody listens rows wait in the queue.
"""

from __future__ import annotations

import errno
import math
import os
import select
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from xtcp.errors import XtcpError
from xtcp.ledger import CLOSED, Account
from xtcp.sinks.backoff import Backoff
from xtcp.sinks.network.refusals import reason, refusal
from xtcp.sinks.sink import PATIENCE_S

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer
    from xtcp.sinks.files.form import Form, Piece

STALLED_S: Final = 10.0


class StreamRows:
    """A `Sink`; `connect` makes a connection that does not block, or raises OSError; `make_form` a form for each."""

    gone: Final = False

    def __init__(
        self, name: str, account: Account, connect: Callable[[], socket.socket], make_form: Callable[[], Form]
    ) -> None:
        self._name = name
        self._account = account
        self._connect = connect
        self._make_form = make_form
        self._form: Form | None = None
        self._socket: socket.socket | None = None
        self._backoff = Backoff()
        self._next_at = -math.inf
        self._why = reason(errno.ENOTCONN)
        self._in_hand = 0
        self._closed = False
        self.error: XtcpError | None = None
        account.ask(lambda: self._in_hand)

    @property
    def ready(self) -> bool:
        """Whether there is a connection; `tick` tries for one."""
        return self._socket is not None

    def tick(self) -> float:
        """Connects, where it is time; returns the seconds until it is."""
        if self._socket is None and not self._closed and time.monotonic() >= self._next_at:
            self._open()
        return math.inf if self._socket is not None else max(0.0, self._next_at - time.monotonic())

    def accept(self, batch: Batch) -> None:
        """Sends the rows."""
        if self._closed:
            self._account.refuse(batch.rows, CLOSED)
            return
        with self._account as account:
            account.offer(batch.rows)
            self._in_hand += batch.rows
        self._check()
        self.tick()
        size, why = 0, self._why
        try:
            if self._form is not None:
                for piece in self._form.rows(batch):
                    size += self._send(piece)
        except OSError as error:
            why = self._failed(error)
        with self._account as account:
            if self._socket is None:
                account.drop(batch.rows, why)
            else:
                account.accept(batch.rows, size)
            self._in_hand -= batch.rows

    def end_poll(self, trailer: Trailer) -> None:
        """Sends the trailer where the form has one."""
        self._check()
        if self._form is None:
            return
        try:
            self._send(self._form.trailer(trailer))
        except OSError as error:
            self._failed(error)

    def flush(self, timeout_s: float = PATIENCE_S) -> None:
        """Nothing: no row is held between batches."""

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        """Ends the stream."""
        if self._closed:
            return
        self._closed = True
        with self._account as account:
            account.drop(self._in_hand, CLOSED)
            broken, self._in_hand = self._in_hand, 0
        try:
            if self._form is not None and not broken:
                self._send(self._form.end(), timeout_s)
        except OSError as error:
            self._failed(error)
        self._leave()

    def _open(self) -> None:
        self._next_at = time.monotonic() + self._backoff.next()
        try:
            self._socket = self._connect()
            self._form = self._make_form()
            self._send(self._form.begin())
            self._backoff.reset()
        except OSError as error:
            self._failed(error)

    def _check(self) -> None:
        """Leaves a connection whose reader has left."""
        try:
            if self._socket is not None and self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
                self._leave()
                self._next_at = -math.inf
        except BlockingIOError:
            return
        except OSError as error:
            self._failed(error)
            self._next_at = -math.inf

    def _send(self, data: Piece, stalled_s: float | None = None) -> int:
        """Hands all of `data` over; returns its size."""
        assert self._socket is not None
        left = memoryview(data)
        size = len(left)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                room = select.poll()
                room.register(self._socket, select.POLLOUT)
                if not room.poll(1000 * (STALLED_S if stalled_s is None else stalled_s)):
                    raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from None
        return size

    def _failed(self, error: OSError) -> str:
        self._leave()
        self.error = refusal(self._name, error)
        self._why = reason(error.errno)
        return self._why

    def _leave(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = self._form = None
