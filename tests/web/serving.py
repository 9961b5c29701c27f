"""A server on loopback, and clients that speak to it byte by byte."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.patience import patient
from tests.web.states import ordinary
from xtcp.metrics.exposition import Exposition
from xtcp.settings.values import Address
from xtcp.web.server import Server

LOOPBACK = Address("127.0.0.1", 0)


@dataclass(frozen=True)
class Answer:
    """An answer as it came: header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@contextlib.contextmanager
def serving(web_config: Path | None = None, exposition: Exposition | None = None) -> Iterator[Server]:
    """A server that has an ordinary agent to tell of."""
    if exposition is None:
        exposition = Exposition()
        exposition.publish(ordinary())
    server = Server(LOOPBACK, exposition, web_config)
    server.start()
    try:
        yield server
    finally:
        server.stop(patient(2))


def connect(server: Server, source: str = "127.0.0.1", timeout: float = 10) -> socket.socket:
    """A connection from an address of loopback."""
    return socket.create_connection(("127.0.0.1", server.port), patient(timeout), (source, 0))


def ask(
    server: Server, path: str = "/metrics", method: str = "GET", source: str = "127.0.0.1", **headers: str
) -> Answer:
    """A request on a connection of its own, and its answer."""
    with connect(server, source) as client:
        return converse(client, request(path, method, **headers))


def request(path: str = "/metrics", method: str = "GET", **headers: str) -> bytes:
    """The bytes of a request that wants the connection closed behind it."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def converse(client: socket.socket, sent: bytes) -> Answer:
    """Sends, and reads to the end."""
    client.sendall(sent)
    return parsed(read(client))


def read(client: socket.socket) -> bytes:
    """All bytes until the other side closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError, ssl.SSLEOFError):
        while piece := client.recv(1 << 16):
            received += piece
    return received


def parsed(received: bytes) -> Answer:
    """The answer in `received`; status 0 where there is none."""
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    status = re.match(r"HTTP/1\.1 (\d{3})", first)
    headers = dict(line.split(": ", 1) for line in lines)
    return Answer(int(status[1]) if status else 0, {n.lower(): v for n, v in headers.items()}, body)


def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Waits until it is so."""
    end = time.monotonic() + patient(seconds)
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)


def written(folder: Path, text: str) -> Path:
    """A web configuration file."""
    path = folder / "web.yml"
    path.write_text(text)
    return path


def basic(user: str, password: str) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
