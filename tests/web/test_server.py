"""What is at which path, and what bad clients get and cost."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.health.made import connection, poll
from tests.patience import patient
from tests.web.serving import ask, connect, converse, parsed, read, request, serving, until
from tests.web.states import ordinary
from xtcp.decode.decoder import Decoder
from xtcp.health.health import Health
from xtcp.metrics.agent_state import AgentState, Verdict
from xtcp.metrics.exposition import Exposition
from xtcp.poll.live import LivePoll, Wanted
from xtcp.web import protocol
from xtcp.web.admission import MOST, MOST_EACH


def test_paths() -> None:
    """Four paths, with what proxies and browsers need to know; everything else is 404."""
    with serving() as server:
        metrics = ask(server, "/metrics")
        assert (metrics.status, metrics.body[:6]) == (200, b"# HELP")
        assert metrics.headers["content-type"].startswith("text/plain; version=")
        assert int(metrics.headers["content-length"]) == len(metrics.body)
        assert ask(server, "/-/healthy").body == b"OK\n"
        assert ask(server, "/-/ready").status == 200
        page = ask(server, "/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert all(f'href="{path}"'.encode() in page.body for path in ("/metrics", "/-/healthy", "/-/ready"))
        for path in ("/metric", "/metrics/", "//metrics", "/../metrics", "/%00", "/debug/pprof/", "/metrics%2f..", "*"):
            assert ask(server, path).status == 404, path


def test_methods_and_bodies() -> None:
    """GET and HEAD; other methods 405; a body is refused unread."""
    with serving() as server:
        head = ask(server, method="HEAD")
        assert (head.status, head.body) == (200, b"") and int(head.headers["content-length"]) > 0
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"):
            answer = ask(server, method=method)
            assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD"), method
        assert ask(server, method="POST", Content_Length="99999999999").status == 413
        assert ask(server, Transfer_Encoding="chunked").status == 413


def test_negotiation() -> None:
    """gzip and OpenMetrics for who asks for them."""
    with serving() as server:
        zipped = ask(server, Accept_Encoding="gzip")
        assert zipped.headers["content-encoding"] == "gzip"
        assert gzip.decompress(zipped.body) == ask(server).body
        openmetrics = ask(server, Accept="application/openmetrics-text;version=1.0.0,*/*;q=0.1")
        assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
        assert openmetrics.body.endswith(b"# EOF\n")


def test_verdicts() -> None:
    """Before the first poll: healthy, not ready; then what the agent says, with its reasons, as text and as HTML."""
    exposition = Exposition()
    with serving(exposition=exposition) as server:
        assert ask(server, "/-/healthy").status == 200
        ready = ask(server, "/-/ready")
        assert (ready.status, ready.body) == (503, b"The first poll has not ended yet.\n")
        reasons = ("no poll for <b>90</b> s \udc80",)
        exposition.publish(ordinary(verdict=Verdict(False, False, reasons)))
        answer = ask(server, "/-/healthy")
        assert (answer.status, answer.body) == (503, b"no poll for <b>90</b> s \\udc80\n")
        assert b"&lt;b&gt;90&lt;/b&gt;" in ask(server, "/").body


def test_a_kept_connection() -> None:
    """Several scrapes on one connection, as Prometheus does, and the server counts its answers."""
    with serving() as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=patient(10))
        for _ in range(3):
            client.request("GET", "/metrics")
            response = client.getresponse()
            assert response.status == 200 and response.read()
        assert (server.state().connections, server.state().answers) == (1, {200: 3})
        client.close()
        until(lambda: server.state().connections == 0)


def test_pipelined_requests() -> None:
    """Requests sent in one go are answered in order."""
    with serving() as server, connect(server) as client:
        first = request("/-/healthy").replace(b"Connection: close\r\n", b"")
        client.sendall(first * 3 + request("/nothing"))
        received = read(client)
    assert received.count(b"HTTP/1.1 200 ") == 3
    assert received.rindex(b"HTTP/1.1 404 ") > received.rindex(b"HTTP/1.1 200 ")


def test_fault_84_slowloris() -> None:
    """500 clients dribble: a scrape takes less than a second, even from their own addresses, in as many threads."""
    with serving() as server, ExitStack() as stack:
        ask(server)
        before = set(threading.enumerate())
        slow = [stack.enter_context(connect(server, f"127.0.1.{1 + n % 20}")) for n in range(500)]
        stop = threading.Event()

        def dribble() -> None:
            while not stop.wait(0.05):
                for client in slow:
                    try:
                        client.send(b"GET /metrics HTTP/1.1\r\nX: y\r\n"[:1])
                    except OSError:
                        continue

        thread = threading.Thread(target=dribble, daemon=True)
        thread.start()
        try:
            for source in ("127.0.0.1", "127.0.1.1", "127.0.1.20"):
                began = time.monotonic()
                assert ask(server, source=source).status == 200
                assert time.monotonic() - began < patient(1)
                assert server.state().connections <= MOST
                assert set(threading.enumerate()) - before == {thread}
        finally:
            stop.set()
            thread.join()
        assert server.state().refused["crowded out"] >= 500 - MOST


def test_fault_84_one_address() -> None:
    """A host that dribbles on many connections is scraped from the same address all the same, and holds 8 at most."""
    with serving() as server, ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(connect(server)).sendall(b"GET")
        # One leaves before the next is in, and this thread may look between the two.
        until(
            lambda: (
                server.state().refused.get("crowded out") == 30 - MOST_EACH and server.state().connections == MOST_EACH
            )
        )
        assert ask(server).status == 200


def test_fault_84_a_head_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that is not complete in time ends the connection, the first one and a later one, whatever dribbles in."""
    monkeypatch.setattr(protocol, "HEAD_S", 0.3)
    with serving() as server:
        with connect(server) as client:
            began = time.monotonic()
            for byte in b"GET /metrics HTT":
                try:
                    client.send(bytes([byte]))
                except OSError:
                    break
                time.sleep(0.05)
            assert read(client) == b""
            assert time.monotonic() - began < patient(2)
        # The first head of this one may take its time: only the later one is late.
        monkeypatch.setattr(protocol, "HEAD_S", patient(60))
        with connect(server) as client:
            client.sendall(request("/-/healthy").replace(b"Connection: close\r\n", b""))
            until(lambda: server.state().answers.get(200))
            monkeypatch.setattr(protocol, "HEAD_S", 0.3)
            client.sendall(b"GET / HTTP/1.1\r\n")
            assert read(client).count(b"HTTP/1.1") == 1
        assert server.state().refused == {"slow request": 2}


def test_fault_84_an_answer_that_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not read what it asked for is ended, and its memory is free again."""
    monkeypatch.setattr(protocol, "ANSWER_S", 0.3)
    exposition = Exposition()
    exposition.publish(ordinary(failed={f"r{n}{'x' * 200}": 1 for n in range(60)}))
    with serving(exposition=exposition) as server, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        one = request("/metrics").replace(b"Connection: close\r\n", b"")
        client.setblocking(False)
        sent = one * 400
        while sent:
            try:
                sent = sent[client.send(sent) :]
            except BlockingIOError:
                break
        until(lambda: server.state().refused.get("slow reading"))
        until(lambda: server.state().connections == 0)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", 431),
        (b"GET /\r\n", 400),
        (b"GET / HTTP/0.9\r\n\r\n", 505),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600) + b"\r\n\r\n", 400),
        (bytes(range(256)) + b"\r\n\r\n", 400),
        (b"\r\n\r\n\r\n\r\nx\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET http://example.com/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        (b"GET /metrics?name[]=x&name[]=y HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        (b"GET /-/healthy HTTP/1.0\r\n\r\n", 200),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else None,
)
def test_fault_85_requests_that_are_none(sent: bytes, status: int) -> None:
    """Each is answered with its own status, or ended, and the next client is served."""
    with serving() as server:
        with connect(server) as client:
            try:
                client.sendall(sent)
            except OSError:
                # Closed before all of it was read; the answer is there all the same, or lost with the reset.
                assert status in {414, 431}
            answer = parsed(read(client))
        assert answer.status == status or (status in {414, 431} and answer.status == 0)
        assert server.state().answers[status] == 1
        assert ask(server).status == 200


def test_fault_85_random_bytes() -> None:
    """Whatever comes, the server stays, and nothing is left of the connections."""
    import random

    chance = random.Random(85)
    pieces = [b"GET ", b"/metrics", b" HTTP/1.1", b"\r\n", b"Host: x", b"\0", b":", b"Content-Length: 5", b"\r\n\r\n"]
    with serving() as server:
        for _ in range(150):
            sent = b"".join(chance.choice([*pieces, chance.randbytes(20)]) for _ in range(chance.randrange(1, 12)))
            with connect(server) as client:
                client.sendall(sent)
                client.shutdown(socket.SHUT_WR)
                read(client)
        assert ask(server).status == 200
        until(lambda: server.state().connections == 0)


def test_fault_86_forty_scrapes_at_once() -> None:
    """40 clients at once all get the same whole text; it is built once, however many ask."""
    exposition = Exposition()
    exposition.publish(ordinary())
    built = []
    collect = exposition.collect

    def counting() -> object:
        built.append(1)
        return collect()

    exposition.collect = counting  # type: ignore[method-assign,assignment]
    with serving(exposition=exposition) as server, ThreadPoolExecutor(40) as pool:
        barrier = threading.Barrier(40)

        def scrape(number: int) -> bytes:
            with connect(server, f"127.0.2.{1 + number // 4}") as client:
                barrier.wait()
                answer = converse(client, request())
                assert answer.status == 200
                return answer.body

        bodies = set(pool.map(scrape, range(40)))
    assert len(bodies) == 1
    assert len(built) == 1


def test_fault_86_over_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every connection of an address is being answered, the next one is answered 503 at once."""
    hold = threading.Event()

    async def slow(self: object, authorization: str) -> bool:
        return await asyncio.to_thread(hold.wait, patient(10))

    monkeypatch.setattr("xtcp.web.passwords.Passwords.allows", slow)
    with serving() as server, ExitStack() as stack:
        held = [stack.enter_context(connect(server)) for _ in range(MOST_EACH)]
        for client in held:
            client.sendall(request())
        # A connection is only then safe from being crowded out when its request has been read.
        until(lambda: [guest.rank for guest in server._admission] == [None] * MOST_EACH)
        refused = ask(server)
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        hold.set()
        assert [parsed(read(client)).status for client in held] == [200] * MOST_EACH
        assert server.state().refused == {"full": 1}


@pytest.mark.live
def test_fault_86_a_scrape_during_a_poll() -> None:
    """While a poll runs, what was published before is served; no scrape takes a dump."""
    exposition = Exposition()
    exposition.publish(ordinary(), poll(Health(), [connection(1)]))
    with serving(exposition=exposition) as server:
        health = Health()
        live = LivePoll(Wanted(), Decoder())
        bodies = set()
        for batch in live:
            health.observe(batch)
            bodies.add(ask(server).body)
        assert live.trailer is not None
        bodies.add(ask(server).body)
        assert len(bodies) == 1
        exposition.publish(ordinary(2, trailer=live.trailer), health.end_poll(live.trailer))
        assert ask(server).body not in bodies


def test_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """An exception while answering is a 500 and a log line, and the server goes on."""
    exposition = Exposition()
    state: AgentState = ordinary()
    exposition.publish(state)
    with serving(exposition=exposition) as server:
        monkeypatch.setattr(exposition, "text", lambda *_: 1 // 0)
        assert ask(server).status == 500
        assert "a request failed" in caplog.text
        with monkeypatch.context() as broken:
            broken.setattr(server, "_look_again", lambda: 1 // 0)
            assert ask(server).status == 0
        assert "a connection failed" in caplog.text
        assert ask(server, "/-/healthy").status == 200
