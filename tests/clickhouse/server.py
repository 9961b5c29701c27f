"""As much of ClickHouse's HTTP interface as the tests need, with the real engine (chdb) behind it.

One process has one engine, so it runs in a child. What it can be told at /_faults, a JSON object, holds until it is
told otherwise: `delay` seconds before anything is done; `fail` [status, code, name, times]; `silent` times that a
statement is done and the connection closed without an answer; `user` and `password` that a request must have.
Source: https://clickhouse.com/docs/interfaces/http
"""

from __future__ import annotations

import gzip
import http.client
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

ROOT: Final = Path(__file__).resolve().parents[2]
# src/Server/HTTP/exceptionCodeToHTTPStatus.cpp
STATUS: Final = {16: 404, 47: 404, 60: 404, 81: 404, 115: 404, 117: 400, 62: 400, 516: 403, 497: 403}


class Server:
    """The process; `address` is HOST:PORT. Ended at the end of `with`; its data stay in `folder`."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.clickhouse.server", folder, str(port)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.address = f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def faults(self, **faults: object) -> None:
        """What it does wrong from now on; nothing: no more."""
        self._post("/_faults", json.dumps(faults))

    def requests(self) -> list[dict[str, str]]:
        """The parameters of every insert that came, newest last, with its `statement`."""
        found: list[dict[str, str]] = json.loads(self._post("/_requests", ""))
        return found

    def query(self, statement: str) -> str:
        """A statement's answer, as text; `FORMAT …` in it says which."""
        return self._post("/", statement)

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """The rows of a SELECT, integers of 64 bits as such."""
        settings = " SETTINGS output_format_json_quote_64bit_integers = 0"
        text = self.query(f"{statement}{settings} FORMAT JSONEachRow")
        return [json.loads(line) for line in text.splitlines()]

    def _post(self, path: str, body: str) -> str:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        try:
            connection.request("POST", path, body.encode())
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status == 200, text
            return text
        finally:
            connection.close()


class _Engine:
    """chdb, one statement at a time."""

    def __init__(self, folder: str) -> None:
        from chdb import session

        self._session: Any = session.Session(folder)  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()
        self.faults: dict[str, Any] = {}
        self.requests: list[dict[str, str]] = []

    def run(self, statement: bytes, data: bytes, settings: dict[str, str]) -> bytes:
        """Raises what chdb raises. An insert's data stand in a file: in the statement, a `;` would end them."""
        with self._lock, tempfile.NamedTemporaryFile() as file:
            if data:
                file.write(data)
                file.flush()
                added = ", ".join(f"{name} = '{value}'" for name, value in settings.items())
                before, word, behind = statement.rpartition(b"FORMAT")
                source = f"FROM INFILE '{file.name}' {f'SETTINGS {added} ' if added else ''}".encode()
                statement = before + source + word + behind
            answer: bytes = self._session.query(statement, "CSV").bytes()
        return answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: _Engine

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        """A statement, or what the tests say."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        faults = self.engine.faults
        if url.path == "/_faults":
            self.engine.faults = json.loads(body)
            return self._answer(200, b"")
        if url.path == "/_requests":
            return self._answer(200, json.dumps(self.engine.requests).encode())
        settings = {name: values[0] for name, values in parse_qs(url.query).items()}
        match self.headers.get("Content-Encoding"):
            case "gzip":
                body = gzip.decompress(body)
            case "zstd":
                import zstandard

                body = zstandard.ZstdDecompressor().decompress(body)
            case _:
                pass
        statement = settings.pop("query", "").encode()
        if settings:
            self.engine.requests.append({**settings, "statement": statement.decode()})
        statement, body = (statement, body) if statement else (body, b"")
        time.sleep(faults.get("delay", 0))
        said = (self.headers.get(name, "") for name in ("X-ClickHouse-User", "X-ClickHouse-Key"))
        login = tuple(value.encode("latin-1").decode("utf-8") for value in said)
        if settings and "user" in faults and login != (faults["user"], faults["password"]):
            return self._refuse(403, 516, "xtcp: Authentication failed", "AUTHENTICATION_FAILED")
        if settings and faults.get("fail") and faults["fail"][3] > 0:
            faults["fail"][3] -= 1
            status, code, name, _ = faults["fail"]
            return self._refuse(status, code, "told to fail", name)
        settings.pop("wait_end_of_query", None)
        try:
            answer = self.engine.run(statement, body, settings)
        except Exception as error:  # noqa: BLE001 - whatever the engine says is the answer
            found = re.search(r"Code: (\d+)", str(error))
            code = int(found[1]) if found else 0
            return self._answer(STATUS.get(code, 500), str(error).encode(), code)
        if settings and faults.get("silent", 0) > 0:
            faults["silent"] -= 1
            self.close_connection = True
            return None
        return self._answer(200, answer)

    def _refuse(self, status: int, code: int, text: str, name: str) -> None:
        said = f"Code: {code}. DB::Exception: {text}. ({name})" if code else text
        self._answer(status, said.encode(), code)

    def _answer(self, status: int, body: bytes, code: int = 0) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-ClickHouse-Exception-Code", str(code))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _serve(folder: str, port: int) -> None:
    _Handler.engine = _Engine(folder)
    with ThreadingHTTPServer(("127.0.0.1", port), _Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
