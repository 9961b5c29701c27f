"""Sockets of this host: readers that are not there yet, leave, come back, and read slowly."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from tests.sinks.receivers import StreamListener, until
from tests.sinks.standins import TRAILER, cookies, cookies_in
from xtcp.errors import Unavailable, UsageError
from xtcp.ledger import Account
from xtcp.sinks.destination import parse
from xtcp.sinks.network import stream_rows
from xtcp.sinks.sink import Sink


def opened(text: str) -> tuple[Sink, Account]:
    """The sink behind a destination, without a queue."""
    account = Account("unix")
    return parse(text).maker()(account), account


def test_rows_and_ends(tmp_path: Path) -> None:
    """What is accepted comes through, and the stream ends with it."""
    with StreamListener(str(tmp_path / "s")) as there:
        sink, account = opened(f"unix:{tmp_path}/s?format=csv")
        sink.accept(cookies(1, 2))
        sink.end_poll(TRAILER)
        sink.accept(cookies(3))
        sink.close()
        sink.close()
        assert until(lambda: bool(there.texts) and there.texts[0].count(b"\n") == 4)
    assert account.balance().accepted == 3 and account.balance().bytes > 0
    assert there.texts[0].startswith(b"timestamp_ns,")


def test_a_reader_that_is_not_there_yet(tmp_path: Path) -> None:
    """Without one the sink is not ready, so that rows wait before it; given some all the same, it drops them."""
    sink, account = opened(f"unix:{tmp_path}/s")
    assert sink.tick() < 1
    assert not sink.ready
    sink.accept(cookies(1))
    assert isinstance(sink.error, Unavailable) and "made that socket" in str(sink.error)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(tmp_path / "s"))
    assert until(lambda: sink.tick() < 1 and "Nobody listens" in str(sink.error))
    (tmp_path / "s").unlink()
    with StreamListener(str(tmp_path / "s")) as there:
        assert until(lambda: sink.tick() > 1 and sink.ready)
        sink.accept(cookies(2))
        assert until(lambda: bool(there.texts and there.texts[0]))
        sink.close()
    assert cookies_in(there.texts[0].decode()) == [2]
    balance = account.balance()
    assert (balance.accepted, balance.dropped, balance.balanced) == (1, {"ENOENT": 1}, True)


def test_a_queue_keeps_rows_for_a_reader_that_comes_late(tmp_path: Path) -> None:
    """As `run` has it: nothing is lost while there is room."""
    account = Account("unix")
    sink = parse(f"unix:{tmp_path}/s").open(account, wait=False)
    for number in range(20):
        sink.accept(cookies(number))
    with StreamListener(str(tmp_path / "s")) as there:
        assert until(lambda: account.balance().accepted == 20)
        sink.close()
        assert until(lambda: bool(there.texts) and there.texts[-1].count(b"\n") == 20)
    assert cookies_in(there.texts[0].decode()) == list(range(20))


def test_a_reader_that_leaves_and_comes_back(tmp_path: Path) -> None:
    """It is noticed before the next batch, which goes whole into the next connection; nothing is lost between."""
    with StreamListener(str(tmp_path / "s")) as there:
        sink, account = opened(f"unix:{tmp_path}/s?format=csv")
        sink.accept(cookies(1))
        assert until(lambda: bool(there.texts) and there.texts[0].count(b"\n") == 2)
        there.leave.set()
        assert until(lambda: not there.leave.is_set())
        sink.accept(cookies(2))
        assert until(lambda: len(there.texts) == 2 and there.texts[1].count(b"\n") == 2)
        sink.close()
    assert all(text.startswith(b"timestamp_ns,") for text in there.texts)
    assert (account.balance().accepted, account.balance().dropped) == (2, {})


def test_a_reader_that_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left, and the batch in whose midst it stood is dropped; the next one begins a new connection."""
    monkeypatch.setattr(stream_rows, "STALLED_S", 0.1)
    big = cookies(*range(20_000))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there:
        there.bind(str(tmp_path / "s"))
        there.listen(8)
        sink, account = opened(f"unix:{tmp_path}/s")
        sink.accept(cookies(1))
        sink.accept(big)
        assert account.balance().dropped == {"ETIMEDOUT": 20_000}
        first, _ = there.accept()
        text = b""
        while data := first.recv(1 << 20):
            text += data
        first.close()
        assert cookies_in(text.rpartition(b"\n")[0].decode())[:2] == [1, 0]
        assert until(lambda: sink.tick() > 1 and sink.ready)
        sink.accept(cookies(2))
        second, _ = there.accept()
        sink.close()
        assert cookies_in(second.recv(1 << 20).decode()) == [2]
        second.close()
    assert (account.balance().accepted, account.balance().balanced) == (2, True)


def test_an_abstract_name() -> None:
    """`@NAME` is in no folder."""
    name = f"xtcp-test-{time.monotonic_ns()}"
    with StreamListener(f"\0{name}") as there:
        sink, account = opened(f"unix:@{name}")
        sink.accept(cookies(5))
        sink.close()
        assert until(lambda: bool(there.texts and there.texts[0]))
    assert account.balance().accepted == 1


def test_after_close_rows_are_refused(tmp_path: Path) -> None:
    """Nothing is lost silently even then."""
    sink, account = opened(f"unix:{tmp_path}/s")
    sink.close()
    sink.accept(cookies(1))
    assert account.balance().dropped == {"closed": 1} and account.balance().balanced


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("unix:", "names no socket"),
        ("unix:@", "names no socket"),
        (f"unix:/{'x' * 107}", "at most 107 bytes"),
        ("unix:/s?format=xml", "there is no format"),
        ("unix:/s?format=json&record=flat", "no meaning"),
    ],
)
def test_refused(text: str, says: str) -> None:
    """An address or an option that cannot be."""
    with pytest.raises(UsageError, match=says):
        parse(text)
