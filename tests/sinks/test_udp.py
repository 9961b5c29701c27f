"""udp: and unixgram: rows as datagrams, to receivers that listen, do not, or have another address by now."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.batches import batch_of
from tests.patience import fewer, patient
from tests.sinks.protobuf import cookies_of, delimited
from tests.sinks.receivers import Listener, nobody, until
from tests.sinks.standins import TRAILER, cookies
from xtcp.batch import Batch
from xtcp.chunk import Context
from xtcp.errors import ConfigurationError, Unavailable, UsageError
from xtcp.ledger import Account
from xtcp.records.envelopes import Envelopes
from xtcp.records.signature import FOOTER, UNKNOWN_KEY, Keys
from xtcp.schema.columns import BY_NAME
from xtcp.schema.model import U32
from xtcp.sinks.destination import parse
from xtcp.sinks.network import udp
from xtcp.sinks.network.address import HostPort, host_port
from xtcp.sinks.network.udp_socket import Marks, connected
from xtcp.sinks.sink import Sink

ENVELOPED = ["flat", "xtcp2-1", "xtcp2-2"]


def opened(text: str) -> tuple[Sink, Account]:
    """The sink behind a destination, without a queue."""
    account = Account("udp")
    return parse(text).maker()(account), account


def sockets(count: int, **more: int | bytes) -> Batch:
    """Rows with an address, a state and some of tcp_info."""
    row = {"idiag_family": 2, "idiag_state": 1, "idiag_src": bytes(16), "idiag_dst": bytes(16), "tcpi_rtt": 300, **more}
    return batch_of(
        [{**row, "idiag_cookie": number + 1} for number in range(count)],
        Context(hostname="one", timestamp_ns=1_700_000_000_123_456_789, poll_id=7, netns="4026531840"),
    )


def varint(data: bytes) -> tuple[int, int]:
    """The number at the beginning, and how long it is."""
    value = 0
    for place, byte in enumerate(data):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, place + 1
    raise ValueError(data)


def test_an_xtcp_record_a_datagram() -> None:
    """Bare, as xTCP's receivers want it: no length before, a field of the record first."""
    with Listener() as there:
        count = min(3000, there.room)
        sink, account = opened(f"udp:{there.address}")
        sink.accept(sockets(count))
        sink.end_poll(TRAILER)
        datagrams = there.wait_for(count)
        sink.close()
    assert len(datagrams) == len(set(datagrams)) == count
    assert all(datagram[0] >> 3 in range(1, 60) and b"one" in datagram for datagram in datagrams)
    assert max(map(len, datagrams)) < 1472
    balance = account.balance()
    assert (balance.accepted, balance.dropped, balance.bytes) == (count, {}, sum(map(len, datagrams)))


@pytest.mark.parametrize("record", ENVELOPED)
@pytest.mark.parametrize("mtu", [600, 1432, 9000])
def test_fault_60_envelopes_are_cut_under_the_limit(record: str, mtu: int) -> None:
    """From one row to thousands: every datagram is a whole envelope, none is longer than the limit, none is lost."""
    with Listener() as there:
        many = min(fewer(3000), there.room)
        sink, account = opened(f"udp:{there.address}?record={record}&mtu={mtu}")
        for count in (1, 2, many):
            sink.accept(sockets(count))
        assert account.balance().accepted == 3 + many
        assert until(lambda: account.balance().bytes == sum(map(len, there.datagrams)))
        sink.end_poll(TRAILER)
        sink.close()
    assert max(map(len, there.datagrams)) <= mtu
    for datagram in there.datagrams:
        size, head = varint(datagram)
        assert size == len(datagram) - head
    assert account.balance().dropped == {}


@pytest.mark.parametrize("record", ["xtcp", "flat"])
def test_fault_60_a_row_too_large_is_dropped_and_the_others_are_not(record: str) -> None:
    """Counted as `oversize`, before anything is sent."""
    large = {name: 2**31 for name in BY_NAME if name.startswith("tcpi_") and BY_NAME[name].kind is U32}
    rows = batch_of([{"idiag_cookie": n, **(large if n % 3 == 0 else {})} for n in range(30)], Context(hostname="one"))
    with Listener() as there:
        sink, account = opened(f"udp:{there.address}?record={record}&mtu=256")
        sink.accept(rows)
        sink.close()
        balance = account.balance()
        assert until(lambda: sum(map(len, there.datagrams)) == balance.bytes)
    assert (balance.accepted, balance.dropped) == (20, {"oversize": 10})
    assert max(map(len, there.datagrams)) <= 256


@pytest.mark.parametrize("record", ENVELOPED)
def test_fault_60_nothing_fits(record: str) -> None:
    """No datagram, and no error of the operating system's."""
    sink, account = opened(f"udp:127.0.0.1:9?record={record}&mtu=256")
    sink.accept(batch_of([{"idiag_cookie": n + 1} for n in range(30)], Context(hostname="h" * 255)))
    sink.close()
    assert (account.balance().dropped, sink.error) == ({"oversize": 30}, None)


@pytest.mark.parametrize("record", ["xtcp", "flat"])
def test_fault_59_nobody_listens(record: str) -> None:
    """Every row counts by the errno's name, and accepting takes no time."""
    with nobody() as port:
        sink, account = opened(f"udp:127.0.0.1:{port}?record={record}")
        started = time.monotonic()
        for _ in range(5):
            sink.accept(sockets(1000))
            sink.end_poll(TRAILER)
        assert time.monotonic() - started < patient(20)
        sink.close()
    assert account.balance().dropped == {"ECONNREFUSED": 5000}
    assert account.balance().balanced and not sink.gone
    assert isinstance(sink.error, Unavailable)


def test_fault_61_a_name_without_an_address_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening does not ask for it; rows wait in the queue, and come through once it has one."""
    asked: list[str] = []

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        if len(asked) < 3:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with Listener() as there:
        account = Account("udp")
        sink = parse(f"udp:collector.example:{there.port}").open(account, wait=False)
        sink.accept(sockets(10))
        assert len(there.wait_for(10)) == 10
        sink.close()
    assert asked == ["collector.example"] * 3
    assert isinstance(sink.error, Unavailable) and "no address" in str(sink.error)
    assert (account.balance().accepted, account.balance().dropped) == (10, {})


def test_fault_61_a_resolver_that_hangs_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked on the sink's own thread: the poll goes on, and so does the end."""
    answer = threading.Event()

    def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        answer.wait(patient(90))
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    account = Account("udp")
    started = time.monotonic()
    sink = parse("udp:collector.example").open(account, wait=False)
    sink.accept(sockets(10))
    assert time.monotonic() - started < patient(20)
    sink.close(0.1)
    assert time.monotonic() - started < patient(40)
    answer.set()
    assert account.balance().dropped == {"closed": 10} and account.balance().balanced


def test_fault_61_a_name_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """After refusals it is asked again, after a pause; what was refused meanwhile is counted."""
    with Listener() as old, Listener() as new:
        port = [old.port]

        def resolve(host: str, _: int, **__: object) -> list[tuple[object, ...]]:
            return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port[0]))]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        sink, account = opened("udp:collector.example")
        sink.accept(sockets(1))
        old.wait_for(1)
        old.stop()
        port[0] = new.port
        end = time.monotonic() + patient(30)
        while not new.datagrams and time.monotonic() < end:
            sink.accept(sockets(1))
            time.sleep(0.02)
        sink.close()
        assert new.datagrams
    balance = account.balance()
    assert balance.balanced and balance.dropped.keys() == {"ECONNREFUSED"}


def test_the_first_address_that_has_a_route() -> None:
    """Of a name with several; and a closed set is an error, not a hang."""
    with Listener() as there:
        sock = connected(HostPort("localhost", there.port))
        assert not sock.getblocking()
        sock.close()
    with pytest.raises(socket.gaierror):
        connected(HostPort("no-such-name.invalid", 1))


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_marks(host: str, family: int) -> None:
    """Hop limit, DSCP and buffer are the socket's."""
    sock = connected(HostPort(host, 9), Marks(sndbuf=100_000, ttl=7, dscp=10))
    if family == socket.AF_INET:
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 7
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 40
    else:
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) == 7
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) == 40
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 200_000  # the kernel doubles it, socket(7)
    sock.close()


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "127.0.0.1:13000"),
        ("example", "example:13000"),
        (":9", "127.0.0.1:9"),
        ("[::1]", "[::1]:13000"),
        ("[fe80::1%eth0]:8", "[fe80::1%eth0]:8"),
    ],
)
def test_addresses(text: str, where: str) -> None:
    """Either part may be left out."""
    assert str(host_port(text, udp.DEFAULT, of="udp:")) == where


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("udp:h:0", "is no HOST:PORT"),
        ("udp:::1:13000", "in brackets"),
        ("udp:a b", "is no HOST:PORT"),
        ("udp:?mtu=10", "from 256 to 65507"),
        ("udp:?record=xtpc", "Did you mean xtcp"),
        ("udp:?dscp=64", "from 0 to 63"),
        ("udp:?rate=0", "is no number from 1"),
        ("unixgram:", "names no socket"),
    ],
)
def test_refused(text: str, says: str) -> None:
    """An address or an option that cannot be."""
    with pytest.raises(UsageError, match=says):
        parse(text)


@pytest.mark.parametrize("record", ["xtcp", *ENVELOPED])
def test_datagrams_to_a_socket_of_this_host(tmp_path: Path, record: str) -> None:
    """`unixgram:` blocks where the reader is slow, so all come through; one that was gone and is back gets more."""
    path = tmp_path / "s"
    sink, account = opened(f"unixgram:{path}?record={record}&mtu=2000")
    sink.accept(cookies(1))
    assert account.balance().dropped == {"ENOENT": 1}
    for _ in range(2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
            there.bind(str(path))
            there.settimeout(patient(5))
            assert until(lambda: sink.tick() > 1)
            end = time.monotonic() + patient(30)
            before = account.balance().accepted
            while account.balance().accepted == before and time.monotonic() < end:
                sink.accept(cookies(1, 2))
                time.sleep(0.02)
            assert there.recv(65536)
        path.unlink()
    sink.close()
    assert account.balance().balanced


@pytest.mark.parametrize("record", ["xtcp", "flat"])
def test_fault_93_signed_datagrams(tmp_path: Path, record: str) -> None:
    """The receiver's side believes each, no other key does, and the footer is a part of the limit."""
    key = tmp_path / "keys"
    key.write_text("# ours\n0123456789abcdef0123456789abcdef\nanother key of the fleet\n")
    key.chmod(0o600)
    with Listener() as there:
        sink, account = opened(f"udp:{there.address}?record={record}&hmac-key={key}&mtu=500")
        sink.accept(sockets(100))
        sink.end_poll(TRAILER)
        assert until(lambda: account.balance().bytes <= sum(map(len, there.datagrams)))
        sink.close()
    keys, others = Keys.of_file(str(key)), Keys(b"another key of the fleet")
    assert {keys.fault(datagram, time.time_ns()) for datagram in there.datagrams} == {None}
    assert {others.fault(datagram, time.time_ns()) for datagram in there.datagrams} == {UNKNOWN_KEY}
    assert max(map(len, there.datagrams)) <= 500
    bodies = [datagram[:-FOOTER] for datagram in there.datagrams]
    messages = iter(bodies) if record == "xtcp" else delimited(b"".join(bodies))
    assert cookies_of(record, messages) == list(range(1, 101))


def test_a_key_that_everybody_can_read(tmp_path: Path) -> None:
    """Refused before anything is sent."""
    key = tmp_path / "keys"
    key.write_text("0123456789abcdef0123456789abcdef\n")
    key.chmod(0o644)
    with pytest.raises(ConfigurationError, match="everybody"):
        parse(f"udp:?hmac-key={key}")


def test_sequence_numbers_show_what_was_lost() -> None:
    """Each envelope of a stream has its number; the rows in between are told by those of the next packet."""
    packets = list(Envelopes("flat", limit_bytes=700).cut(sockets(50)))
    assert [packet.first_sequence for packet in packets] == sorted({packet.first_sequence for packet in packets})
    assert sum(packet.rows for packet in packets) == 50


def test_a_poll_of_many_rows_arrives_whole() -> None:
    """20,000 sockets as bare records at a rate that a receiver keeps up with; fewer, and slower, on a slow machine."""
    with Listener() as there:
        rows = min(fewer(4000), there.room // 5)
        sink, account = opened(f"udp:{there.address}?rate={50 * rows}")
        batch = sockets(rows)
        started = time.monotonic()
        for number in range(5):
            sink.accept(replace(batch, context=replace(batch.context, poll_id=number)))
        assert time.monotonic() - started > 0.08
        datagrams = there.wait_for(5 * rows)
        sink.close()
    assert len(datagrams) == account.balance().accepted == 5 * rows
    assert int(np.sum([len(datagram) for datagram in datagrams])) == account.balance().bytes
