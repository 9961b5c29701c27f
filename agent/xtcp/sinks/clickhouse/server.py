"""A ClickHouse server over HTTP: one statement a request, and what its answer means.

http.client of the standard library is enough for that: one connection, kept while a poll is sent. clickhouse-connect
asks the server who it is before anything else, so it cannot be opened while the server is away, it wants rows or
frames where we have a block, and it tries again by rules of its own, where the token must stay the same.
"""

from __future__ import annotations

import errno
import gzip
import http.client
import re
import socket
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from xtcp.errors import ConfigurationError
from xtcp.sinks.text_file import file_error
from xtcp.spelling import visible

if TYPE_CHECKING:
    from xtcp.sinks.clickhouse.target import Target

# A server ends a connection on which nothing came for some seconds; a poll comes every 30.
KEPT_S: Final = 2.0
MOST_READ: Final = 64 << 10
MOST_SAID: Final = 500

_NAMED: Final = re.compile(r"\(([A-Z][A-Z0-9_]{2,60})\)")
_CODE: Final = re.compile(r"Code: (\d+)")

# What will be the same however often it is asked (src/Common/ErrorCodes.cpp): the statement, its columns, the login.
LASTING: Final = frozenset(
    {6, 10, 16, 20, 26, 27, 33, 34, 36, 44, 47, 48, 50, 53, 60, 62, 70, 81, 115, 117, 130, 164, 170, 192, 193, 194, 349}
    | {403, 497, 516}
)
_BUSY_STATUS: Final = frozenset({408, 425, 429})


class Failed(Exception):
    """An insert that was not confirmed: `reason` for the ledger; whether it is `lasting`, or may pass."""

    def __init__(self, reason: str, said: str, *, lasting: bool = False) -> None:
        super().__init__(f"{reason}: {said}")
        self.reason, self.said, self.lasting = reason, said, lasting


class Server:
    """The server; connects when it is asked something, and again after every failure."""

    def __init__(self, target: Target, clock: Callable[[], float] = time.monotonic) -> None:
        self._target = target
        self._clock = clock
        self._connection: http.client.HTTPConnection | None = None
        self._used = 0.0
        self._tls = _context(target) if target.tls else None
        self._encoding, self._compress = _compressor(target)
        self._secret = target.secret()

    def post(self, statement: str, data: bytes, token: str, timeout_s: float) -> None:
        """Has an insert of `data` done and waits for its end. Raises `Failed`."""
        own = {"query": statement, "insert_deduplication_token": token, "wait_end_of_query": "1"}
        query = urlencode({**self._target.settings, **own})
        headers: dict[str, str | bytes] = {"Content-Type": "application/octet-stream", "User-Agent": "xtcp"}
        if self._target.user:
            headers["X-ClickHouse-User"] = self._target.user.encode()
        if self._secret:
            headers["X-ClickHouse-Key"] = self._secret.encode()
        if self._encoding:
            headers["Content-Encoding"] = self._encoding
        try:
            connection = self._connected(timeout_s)
            connection.request("POST", f"/?{query}", self._compress(data), headers)
            answer = connection.getresponse()
            said = answer.read(MOST_READ)
            if answer.length and len(said) < MOST_READ:
                raise http.client.IncompleteRead(said, answer.length)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Failed(_reason(error), _said(error)) from error
        self._used = self._clock()
        code = answer.getheader("X-ClickHouse-Exception-Code")
        # An insert has nothing to say; an exception that comes after the status stands in the text.
        if answer.status != 200 or code is not None or b"DB::Exception" in said:
            self.close()
            raise _refused(answer.status, code, said.decode("utf-8", "replace"))

    def close(self) -> None:
        """Ends the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._clock() - self._used > KEPT_S:
            self.close()
        connection = self._connection
        if connection is None:
            host, port = self._target.host, self._target.port
            if self._tls is not None:
                connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=self._tls)
            else:
                connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
            self._connection = connection
        elif connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        return connection


def _context(target: Target) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=target.ca_file or None)
    except OSError as error:
        raise file_error(target.ca_file, error, f"ca.file of {target.name}") from error


def _compressor(target: Target) -> tuple[str, Callable[[bytes], bytes]]:
    """The name of what is done to a body, and what does it."""
    if target.compression == "none":
        return "", lambda body: body
    if target.compression != "gzip":
        try:
            import zstandard
        except ImportError as error:
            if target.compression:
                what = f"{target.name}: compression=zstd needs zstandard."
                raise ConfigurationError(what, "It is an extra.", "pip install 'xtcp[clickhouse]'") from error
        else:
            compress: Callable[[bytes], bytes] = zstandard.ZstdCompressor(1).compress
            return "zstd", compress
    return "gzip", lambda body: gzip.compress(body, 1, mtime=0)


def _reason(error: Exception) -> str:
    """The errno's name, or a word."""
    for kind, word in ((TimeoutError, "timeout"), (ssl.SSLError, "tls"), (socket.gaierror, "resolve")):
        if isinstance(error, kind):
            return word
    number = getattr(error, "errno", None)
    return errno.errorcode.get(number, "connection") if isinstance(number, int) else "connection"


def _said(error: Exception) -> str:
    return visible(getattr(error, "strerror", None) or str(error) or type(error).__name__)[:MOST_SAID]


def _refused(status: int, header: str | None, text: str) -> Failed:
    """What an answer that is no success means; ClickHouse's own code where it gives one, else the status of a proxy."""
    found = _CODE.search(text)
    digits = header if header and header.isdecimal() else found[1] if found else ""
    names = _NAMED.findall(text)
    said = visible(" ".join(text.split()))[:MOST_SAID] or f"HTTP {status}"
    if digits:
        return Failed(names[-1] if names else f"CODE_{digits[:6]}", said, lasting=int(digits) in LASTING)
    return Failed(f"HTTP_{status}", said, lasting=400 <= status < 500 and status not in _BUSY_STATUS)
