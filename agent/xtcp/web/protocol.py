"""HTTP/1 by uvicorn and h11, with a time limit for everything that a client may take its time for.

1. A request's head must be complete `HEAD_S` after the connection was made, or after its first byte on a connection
   that was kept; what is answered, requests behind it included, must have been taken `ANSWER_S` after that; a
   connection is kept for `KEPT_S`.
2. A head of more than `HEAD_BYTES` is answered 431, or 414 where it is the request line that is so long; what is no
   HTTP, 400.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from xtcp.web.admission import IDLE, NEW, Admission

if TYPE_CHECKING:
    from collections import Counter

    from uvicorn.config import Config
    from uvicorn.server import ServerState

HEAD_S: Final = 5.0
ANSWER_S: Final = 10.0
# Prometheus keeps its connection from one scrape to the next; most scrape every minute.
KEPT_S: Final = 75
HEAD_BYTES: Final = 16 << 10

# h11 bounds a head only while it is incomplete, so it is fed in pieces.
_PIECE: Final = 4096


@dataclass(frozen=True)
class Surroundings:
    """What all connections of a server share. `allowed_sans` empty: any client may come."""

    config: Config
    state: ServerState
    loop: asyncio.AbstractEventLoop
    admission: Admission
    answers: Counter[int]
    refused: Counter[str]
    allowed_sans: frozenset[str] = field(default_factory=frozenset)


class BoundedProtocol(H11Protocol):
    """A connection, and a `Guest`, from before its TLS handshake on. `abandoned` tells that we ended it."""

    def __init__(self, around: Surroundings, address: str, connection: socket.socket) -> None:
        super().__init__(around.config, around.state, {}, around.loop)
        self.address = address
        self.abandoned = False
        self._around = around
        self._connection = connection
        self._timer: asyncio.TimerHandle | None = None
        self._head_expected = False

    @property
    def rank(self) -> int | None:
        """Whether it may be ended for another: not while a whole request is being answered."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None:
            return NEW
        return IDLE if cycle.response_complete else None

    @property
    def _answering(self) -> bool:
        return self.rank is None

    def end(self, reason: str) -> None:
        """Closes the connection at once, whatever it has to send, and counts why."""
        self._around.refused[reason] += 1
        self.abandon()

    def abandon(self) -> None:
        """The same, uncounted."""
        self.abandoned = True
        transport: asyncio.Transport | None = self.transport
        if transport is not None:
            transport.abort()
        else:
            # Its descriptor is asyncio's to close, which sees the end of the connection.
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The connection can be used, its TLS handshake is over."""
        super().connection_made(transport)
        if self._around.allowed_sans and not self._around.allowed_sans & _names(transport):
            self.end("certificate")
        else:
            self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Bytes of a client."""
        waited = not self._answering
        if waited and not self._head_expected:
            self._expect_head()
        for start in range(0, len(data), _PIECE):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + _PIECE])
        if waited and not self._answering and self._older_than_headers():
            self.send_400_response("This is no HTTP/1.1 request.")
        if waited and self._answering:
            self._expect_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        super().connection_lost(exc)
        self._around.admission.leave(self)
        if self._timer is not None:
            self._timer.cancel()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no request, with the status that says how."""
        if self._answering or self.conn.our_state is not h11.IDLE:
            self.end("bad request")
            return
        received = self.conn.trailing_data[0]
        status = HTTPStatus.BAD_REQUEST
        if len(received) >= HEAD_BYTES:
            long_line = b"\n" not in received
            status = HTTPStatus.REQUEST_URI_TOO_LONG if long_line else HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            msg = status.phrase
        self._around.answers[status] += 1
        body = f"{msg}\n".encode("ascii")
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("Connection", "close")]
        response = h11.Response(status_code=status, headers=headers, reason=status.phrase)
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self._expect_reading()
        self.transport.close()

    def _older_than_headers(self) -> bool:
        """Whether a first line without a version has come: HTTP/0.9, which h11 would wait for headers of."""
        line, end, _ = self.conn.trailing_data[0].partition(b"\n")
        return bool(end) and b" HTTP/" not in line and not self.transport.is_closing()

    def _expect_head(self) -> None:
        self._head_expected = True
        self._within(HEAD_S, lambda: self.end("slow request"))

    def _expect_reading(self) -> None:
        self._head_expected = False
        self._within(ANSWER_S, self._taken)

    def _within(self, seconds: float, otherwise: Callable[[], None]) -> None:
        """Until something else is expected, `otherwise` happens after `seconds`."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, otherwise)

    def _taken(self) -> None:
        """The time to take an answer is over. Connections that are only kept are uvicorn's to close."""
        if self._answering or self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.end("slow reading")


def _names(transport: asyncio.Transport) -> set[str]:
    """The subject's alternative names in the client's certificate."""
    certificate = transport.get_extra_info("peercert") or {}
    return {value for _, value in certificate.get("subjectAltName", ())}
