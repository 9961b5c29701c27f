"""What is said over HTTP and what is made of the answers, with servers of the tests' that speak anything."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import require_program
from tests.patience import patient
from xtcp.sinks.clickhouse.server import Failed, Server
from xtcp.sinks.clickhouse.target import target
from xtcp.sinks.destination import parse


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that reads a request and does anything; its HOST:PORT."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(patient(10))
                    while b"payload" not in connection.recv(65536):
                        pass
                    answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def post(address: str, timeout_s: float = patient(10), scheme: str = "http", **options: str) -> None:
    """An insert, without compression."""
    named = "&".join(f"{name.replace('_', '.')}={value}" for name, value in options.items())
    server = Server(target(parse(f"clickhouse:{scheme}://{address}/d.t?compression=none&{named}".rstrip("&"))))
    try:
        server.post("INSERT INTO d.t FORMAT Native", b"payload", "token", timeout_s)
    finally:
        server.close()


def answers(text: bytes) -> Callable[[socket.socket], None]:
    """Says this and closes."""
    return lambda connection: connection.sendall(text)


@pytest.mark.parametrize(
    ("answer", "reason", "lasting"),
    [
        (b"", "connection", False),
        (b"nonsense\r\n\r\n", "connection", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "connection", False),
        (b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n", "HTTP_500", False),
        (b"HTTP/1.1 502 no\r\nContent-Length: 5\r\n\r\nproxy", "HTTP_502", False),
        (b"HTTP/1.1 429 no\r\nContent-Length: 0\r\n\r\n", "HTTP_429", False),
        (b"HTTP/1.1 401 no\r\nContent-Length: 0\r\n\r\n", "HTTP_401", True),
        (b"HTTP/1.1 301 no\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n", "HTTP_301", False),
        (b"HTTP/1.1 404 no\r\nContent-Length: 9\r\n\r\nCode: 60.", "CODE_60", True),
        (b"HTTP/1.1 500 no\r\nX-ClickHouse-Exception-Code: 252\r\nContent-Length: 0\r\n\r\n", "CODE_252", False),
        (b"HTTP/1.1 200 OK\r\nX-ClickHouse-Exception-Code: 16\r\nContent-Length: 0\r\n\r\n", "CODE_16", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\nCode: 60. DB::Exception: (NO_TABLE)  ", "NO_TABLE", True),
    ],
)
def test_answers(answer: bytes, reason: str, lasting: bool) -> None:
    """ClickHouse's own name or code where it gives one, else the status, else that the connection broke."""
    with listening(answers(answer)) as address, pytest.raises(Failed) as raised:
        post(address)
    assert (raised.value.reason, raised.value.lasting) == (reason, lasting)


def test_done() -> None:
    """Nothing is raised."""
    with listening(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as address:
        post(address)


def test_what_cannot_be_reached() -> None:
    """Each by its name."""
    with socket.socket() as silent:
        # A port that is its own, and where it does not listen.
        silent.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{silent.getsockname()[1]}"
        for address, reason in ((nobody, "ECONNREFUSED"), ("no-such-host.invalid", "resolve")):
            with pytest.raises(Failed) as raised:
                post(address)
            assert (raised.value.reason, raised.value.lasting) == (reason, False)
    release = threading.Event()

    def stall(_: socket.socket) -> None:
        release.wait(patient(10))

    with listening(stall) as address:
        with pytest.raises(Failed) as raised:
            post(address, timeout_s=0.1)
        release.set()
    assert (raised.value.reason, raised.value.lasting) == ("timeout", False)


def test_hostile_text_does_not_reach_a_terminal() -> None:
    """No escape sequence, and not more than a few lines of it."""
    text = b"\x1b[2J\x07 (" + b"A" * 5000 + b")"
    head = f"HTTP/1.1 400 no\r\nContent-Length: {len(text)}\r\n\r\n".encode()
    with listening(answers(head + text)) as address, pytest.raises(Failed) as raised:
        post(address)
    assert "\x1b" not in raised.value.said and len(raised.value.said) <= 500


class _Https(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        """All is well."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_tls(tmp_path: Path) -> None:
    """With the server's certificate an insert is done; without it nothing is sent."""
    openssl = require_program("openssl", "openssl")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    what = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost")
    whose = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate)
    subprocess.run([openssl, *what, *whose], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Https) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        address = f"127.0.0.1:{server.server_address[1]}"
        post(address, scheme="https", ca_file=str(certificate))
        with pytest.raises(Failed) as raised:
            post(address, scheme="https")
        server.shutdown()
        thread.join(5)
    assert raised.value.reason == "tls" and "certificate" in raised.value.said
