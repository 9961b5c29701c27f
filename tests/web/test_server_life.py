"""How a server begins and ends: at which addresses, and what is said where it cannot or ends by itself."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from tests.patience import patient
from tests.web.serving import LOOPBACK, ask, connect, converse, request, serving, until, written
from xtcp.errors import ConfigurationError, Temporary, Unavailable, UsageError, XtcpError
from xtcp.metrics.exposition import Exposition
from xtcp.settings.values import Address
from xtcp.web import server as server_module
from xtcp.web.server import Server


def test_a_port_in_use() -> None:
    """Another program listens there: an error that says so, before anything runs."""
    with serving() as server:
        second = Server(Address("127.0.0.1", server.port), Exposition())
        with pytest.raises(Unavailable, match="in use") as error:
            second.start()
        assert "--listen" in error.value.to_do


@pytest.mark.parametrize(
    ("address", "kind"),
    [(Address("192.0.2.1", 0), ConfigurationError), (Address("no such host.invalid", 0), UsageError)],
)
def test_an_address_that_cannot_be(address: Address, kind: type[XtcpError]) -> None:
    """Not this host's, or nobody's."""
    with pytest.raises(kind):
        Server(address, Exposition()).start()


@pytest.mark.parametrize("host", ["::1", "localhost", "::", "0.0.0.0"])
def test_addresses(host: str) -> None:
    """`[::1]`, `localhost`, `[::]` (every address, IPv4 too) and 0.0.0.0 are served; the URL names the same."""
    if ":" in host and not _has_ipv6():
        pytest.skip("this kernel has no IPv6")
    server = Server(Address(host, 0), Exposition())
    server.start()
    try:
        for client in {"::": ("127.0.0.1", "::1")}.get(host, (host,)):
            with socket.create_connection((client, server.port), patient(10)) as connected:
                assert converse(connected, request("/-/healthy")).status == 200
        assert server.url == f"http://{f'[{host}]' if ':' in host else host}:{server.port}/"
    finally:
        server.stop()


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_stopping() -> None:
    """Idle connections do not keep it, the port is free again at once, and its thread is gone."""
    with serving() as server, connect(server), connect(server):
        until(lambda: server.state().connections == 2)
        port = server.port
        began = time.monotonic()
        server.stop(patient(2))
        assert time.monotonic() - began < patient(1)
        assert not any(thread.name == "web" for thread in threading.enumerate())
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOOPBACK.host, port), 1)


def test_a_server_that_ends_by_itself(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever starts or reloads it hears of it and does not wait for good; clients are refused."""
    with serving() as server:
        assert server._loop is not None
        port = server.port

        async def broken() -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(server, "_part", broken)
        server._loop.call_soon_threadsafe(server._stopping.set)
        until(lambda: not server._thread.is_alive())
        assert "the web server has ended" in caplog.text
        with pytest.raises(XtcpError, match="has ended by a fault"):
            server.reload()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOOPBACK.host, port), 1)
    other = Server(Address(LOOPBACK.host, 0), Exposition())
    monkeypatch.setattr(other, "_accept", lambda _: 1 // 0)
    with pytest.raises(XtcpError, match="has ended by a fault"):
        other.start()
    assert other._listeners[0].fileno() == -1


def test_no_thread_for_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on tasks is told as such, and its port is free again."""
    server = Server(Address(LOOPBACK.host, 0), Exposition())

    def none() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(server._thread, "start", none)
    with pytest.raises(Temporary, match="no thread to be had") as met:
        server.start()
    assert "TasksMax" in met.value.why and server._listeners[0].fileno() == -1


def test_a_server_that_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload, which polls wait for, does not wait for good; what was given up is not taken later."""
    monkeypatch.setattr(server_module, "_RELOAD_S", 0.2)
    path = written(tmp_path, "http_server_config: {headers: {X-Frame-Options: deny}}")
    with serving(path) as server:
        assert server._loop is not None
        go_on = threading.Event()
        server._loop.call_soon_threadsafe(go_on.wait)
        path.write_text("")
        monkeypatch.setattr(server, "_look_again", lambda: None)  # nor by itself
        with pytest.raises(Temporary, match="old configuration stays"):
            server.reload()
        go_on.set()
        assert ask(server).headers["x-frame-options"] == "deny"
        monkeypatch.undo()
        server.reload()
        assert "x-frame-options" not in ask(server).headers


def test_a_configuration_that_cannot_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours there comes to who reloads, and the server goes on."""
    with serving() as server:
        with monkeypatch.context() as broken:
            broken.setattr(server, "_take", lambda _: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                server.reload()
        server.reload()
        assert ask(server).status == 200
