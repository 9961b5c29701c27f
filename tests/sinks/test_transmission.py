"""Datagrams through real sockets: what the operating system took, what it refused, and what was answered."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import require_program
from tests.patience import patient
from tests.sinks.receivers import nobody
from tests.sockets import netns
from xtcp.errors import Unavailable
from xtcp.sinks.network import datagram_socket, transmission
from xtcp.sinks.network.datagram_socket import DatagramSocket
from xtcp.sinks.network.sendmmsg import SendMany
from xtcp.sinks.network.transmission import MOST_FAILURES, Datagrams, Outcome, Pace, Transmission

LOOPBACKS = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]


def mail(*payloads: bytes, rows: int = 1) -> Datagrams:
    """A datagram for each."""
    ends = np.cumsum([len(payload) for payload in payloads], dtype=np.int64)
    starts = ends - np.array([len(payload) for payload in payloads], np.int64)
    data = np.frombuffer(b"".join(payloads) or b"\0", np.uint8)
    return Datagrams(data, starts, ends, np.full(len(payloads), rows, np.int64))


def numbered(count: int, rows: int = 1) -> Datagrams:
    """So many datagrams, each its number."""
    return mail(*(b"%d" % number for number in range(count)), rows=rows)


@contextmanager
def receiver(family: int = socket.AF_INET, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A receiver with room for some thousand small datagrams."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        sock.bind((host, 0))
        sock.settimeout(patient(5))
        yield sock


def connected(family: int, host: str, port: int) -> socket.socket:
    """A sender that does not block."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.connect((host, port))
    return sock


@pytest.mark.parametrize("one_call", [True, False])
@pytest.mark.parametrize(("family", "host"), LOOPBACKS)
def test_all_arrive_in_order(family: int, host: str, one_call: bool) -> None:
    """More than one system call takes."""
    with receiver(family, host) as there, connected(family, host, there.getsockname()[1]) as here:
        outcome = Transmission(here, SendMany(one_call=one_call), numbered(2500, rows=3), Pace()).run()
        assert [there.recv(100) for _ in range(2500)] == [b"%d" % number for number in range(2500)]
    assert (outcome.rows, outcome.lost, outcome.error) == (7500, {}, None)
    assert outcome.size == sum(len(b"%d" % number) for number in range(2500))


@pytest.mark.parametrize("one_call", [True, False])
@pytest.mark.parametrize("count", [1, 5, 5000])
@pytest.mark.parametrize(("family", "host"), LOOPBACKS)
def test_fault_59_a_closed_port(family: int, host: str, count: int, one_call: bool) -> None:
    """Every datagram counts as refused, not every second one; and after some the rest is not tried."""
    with nobody(family, host) as port:
        sender = DatagramSocket("udp:there", lambda: connected(family, host, port))
        sender._many = SendMany(one_call=one_call)
        started = time.monotonic()
        outcome = sender.send(numbered(count, rows=2))
        assert time.monotonic() - started < patient(20)
    assert (outcome.rows, outcome.lost) == (0, {"ECONNREFUSED": 2 * count})
    assert isinstance(sender.error, Unavailable) and "Nobody listens" in str(sender.error)
    sender.close()


def test_fault_59_a_receiver_that_comes_back() -> None:
    """Refusals end where it listens again, without a new socket."""
    with receiver() as there:
        address = there.getsockname()
    sender = DatagramSocket("udp:there", lambda: connected(socket.AF_INET, *address))
    assert sender.send(numbered(3)).rows == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(address)
        again.settimeout(patient(5))
        assert sender.send(numbered(3)).rows == 3
        assert [again.recv(9) for _ in range(3)] == [b"0", b"1", b"2"]
    sender.close()


def _refused_inside(address: str) -> Outcome:
    sender = DatagramSocket("udp:there", lambda: connected(socket.AF_INET, address, 9))
    outcome = sender.send(numbered(1000, rows=2))
    sender.close()
    return outcome


@pytest.mark.root
def test_fault_59_no_route(namespace: str) -> None:
    """ENETUNREACH where there is no way, EHOSTUNREACH and EACCES where a route says so: all counted by name."""
    for kind, name in (("unreachable", "EHOSTUNREACH"), ("prohibit", "EACCES")):
        subprocess.run(
            ["ip", "-n", namespace, "route", "replace", kind, "198.51.100.0/24"], check=True, capture_output=True
        )
        assert netns.inside(namespace, _refused_inside, "198.51.100.7").lost == {name: 2000}
    assert netns.inside(namespace, _refused_inside, "192.0.2.1").lost == {"ENETUNREACH": 2000}


@pytest.mark.root
def test_fault_59_a_firewall(namespace: str) -> None:
    """A rule of this host that drops what goes out: EPERM, for every row."""
    nft = require_program("nft", "nftables")
    rules = "add table ip t; add chain ip t o { type filter hook output priority 0; }; add rule ip t o udp dport 9 drop"
    made = netns.run_in(namespace, [nft, rules])
    if made.returncode:
        pytest.skip("this kernel has no nf_tables")
    assert netns.inside(namespace, _refused_inside, "127.0.0.1").lost == {"EPERM": 2000}


def test_fault_60_one_that_is_too_large_says_nothing_of_the_others() -> None:
    """The operating system's own limit: the others go."""
    with receiver() as there, connected(socket.AF_INET, *there.getsockname()) as here:
        outcome = Transmission(here, SendMany(), mail(b"a", bytes(65508), b"b", *[b"c"] * 20), Pace()).run()
        assert [there.recv(100) for _ in range(22)] == [b"a", b"b", *[b"c"] * 20]
    assert (outcome.rows, outcome.lost) == (22, {"EMSGSIZE": 1})


def test_a_receiver_that_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local socket blocks its senders: they wait a little, then the rest is dropped; what was taken is accepted."""
    monkeypatch.setattr(transmission, "WAIT_S", 0.1)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as here,
    ):
        there.bind(str(tmp_path / "socket"))
        here.setblocking(False)
        here.connect(str(tmp_path / "socket"))
        started = time.monotonic()
        outcome = Transmission(here, SendMany(), numbered(5000), Pace()).run()
        assert 0.1 <= time.monotonic() - started < patient(20)
        there.settimeout(patient(5))
        assert [there.recv(9) for _ in range(outcome.rows)] == [b"%d" % number for number in range(outcome.rows)]
    assert outcome.rows and outcome.lost == {"EAGAIN": 5000 - outcome.rows}


def test_a_rate() -> None:
    """So many rows a second, from the second piece on."""
    slept: list[float] = []
    pace = Pace(1000, clock=lambda: 100 + sum(slept), sleep=slept.append)
    with receiver() as there, connected(socket.AF_INET, *there.getsockname()) as here:
        outcome = Transmission(here, SendMany(), numbered(500), pace).run()
    assert outcome.rows == 500
    assert 0.45 < sum(slept) <= 0.5 and max(slept) < 0.05


def test_a_receiver_sees_one_sender() -> None:
    """Asking for the name again changes nothing while its address stays; and then it goes to the new one."""
    now = [0.0]
    with receiver() as first, receiver() as second:
        where = [first.getsockname()]
        sender = DatagramSocket(
            "there", lambda: connected(socket.AF_INET, *where[0]), changes=True, clock=lambda: now[0]
        )
        ports = set()
        for _ in range(3):
            sender.send(numbered(1))
            ports.add(first.recvfrom(9)[1])
            now[0] += datagram_socket.STALE_S + 60
        assert len(ports) == 1
        where[0] = second.getsockname()
        sender.send(numbered(1))
        assert second.recv(9) == b"0"
    sender.close()


def test_failures_are_few_before_the_rest_is_not_tried() -> None:
    """The number of system calls at a closed port does not grow with the rows."""
    calls = 0

    class Counting(SendMany):
        def send(self, *args: object) -> int:
            nonlocal calls
            calls += 1
            return super().send(*args)  # type: ignore[arg-type]

    with nobody() as port:
        sender = DatagramSocket("there", lambda: connected(socket.AF_INET, "127.0.0.1", port))
        sender._many = Counting()
        sender.send(numbered(100_000))
    assert calls <= 2 * MOST_FAILURES
    sender.close()
