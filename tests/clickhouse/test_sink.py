"""Rows in a real ClickHouse engine: all of them, once, whatever the server does; and what is said when it refuses."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from tests.clickhouse.server import Server
from tests.clickhouse.tables import create
from tests.kafka.standins import of_poll, trailer
from tests.sinks.standins import cookies
from xtcp.batch import Batch
from xtcp.errors import ConfigurationError, PermissionMissing, Unavailable
from xtcp.ledger import Ledger
from xtcp.sinks.clickhouse import inserts as clickhouse
from xtcp.sinks.clickhouse.inserts import ClickHouse
from xtcp.sinks.clickhouse.target import target
from xtcp.sinks.destination import Destination
from xtcp.sinks.queued import Queued

pytestmark = [pytest.mark.clickhouse, pytest.mark.timeout(90)]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are short."""
    monkeypatch.setattr(clickhouse, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(clickhouse, "LONGEST_PAUSE_S", 0.2)


def opened(server: Server, ledger: Ledger, table: str = "xtcp.sockets", **options: str) -> ClickHouse:
    """The sink alone."""
    named = {name.replace("__", "."): value for name, value in options.items()}
    return ClickHouse(target(Destination("clickhouse", f"http://{server.address}/{table}", named)), ledger.open("ch"))


def poll(number: int, rows: int = 100, hostname: str = "web-1") -> Batch:
    """The rows of a poll; their cookies count on from poll to poll."""
    return of_poll(cookies(*range(number * rows, number * rows + rows)), hostname, number)


def stored(server: Server) -> list[int]:
    """All cookies, in order."""
    return [row["idiag_cookie"] for row in server.rows("SELECT idiag_cookie FROM xtcp.sockets ORDER BY idiag_cookie")]


def test_small_batches_go_together_and_a_poll_ends_them(tables: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """An insert holds `ENOUGH_ROWS` or more, the poll's last one what is left; each has a token of its own."""
    monkeypatch.setattr(clickhouse, "ENOUGH_ROWS", 250)
    before, ledger = len(tables.requests()), Ledger()
    sink = opened(tables, ledger)
    for part in range(7):
        sink.accept(of_poll(cookies(*range(100 * part, 100 * part + 100)), "h", 5))
    assert ledger.snapshot()[0].in_flight == 100
    sink.end_poll(trailer("h", 5))
    made = tables.requests()[before:]
    assert len(made) == 3 and len({request["insert_deduplication_token"] for request in made}) == 3
    assert all("-5-" in request["insert_deduplication_token"] for request in made)
    assert stored(tables) == list(range(700))
    sink.close(1)
    balance = ledger.snapshot()[0]
    assert balance.balanced and balance.accepted == 700 and sink.error is None


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_compressed(tables: Server, compression: str) -> None:
    """The same rows, whatever the body is wrapped in."""
    sink = opened(tables, Ledger(), compression=compression)
    sink.accept(poll(3))
    sink.close(5)
    assert stored(tables) == list(range(300, 400))


def test_fault_68_an_answer_that_is_lost_makes_no_second_insert(tables: Server) -> None:
    """Done, but not told: sent again with the same token, there once."""
    ledger = Ledger()
    sink = opened(tables, ledger)
    tables.faults(silent=2)
    sink.accept(poll(0))
    sink.end_poll(trailer("web-1", 0))
    assert ledger.snapshot()[0].in_flight == 100 and not sink.ready
    sink.flush(10)
    sink.close(1)
    tokens = [request["insert_deduplication_token"] for request in tables.requests()[-3:]]
    assert len(set(tokens)) == 1
    assert stored(tables) == list(range(100))
    assert ledger.snapshot()[0].accepted == 100 and ledger.balanced()


@pytest.mark.parametrize(
    ("status", "code", "name"),
    [
        (500, 252, "TOO_MANY_PARTS"),
        (503, 0, ""),
        (429, 0, ""),
        (500, 241, "MEMORY_LIMIT_EXCEEDED"),
        (500, 202, "TOO_MANY_SIMULTANEOUS_QUERIES"),
    ],
)
def test_fault_68_what_may_pass_is_asked_again(tables: Server, status: int, code: int, name: str) -> None:
    """Nothing is lost, nothing is there twice, no error is kept."""
    ledger = Ledger()
    sink = opened(tables, ledger)
    tables.faults(fail=[status, code, name, 3])
    sink.accept(poll(0))
    sink.flush(10)
    sink.close(1)
    assert stored(tables) == list(range(100))
    assert ledger.snapshot()[0].accepted == 100 and ledger.balanced() and sink.error is None


def test_fault_68_what_does_not_pass_in_time_is_dropped_by_name(tables: Server) -> None:
    """After `keep-trying`, and the next insert is tried on its own."""
    ledger = Ledger()
    sink = opened(tables, ledger, **{"keep-trying": "0.3s"})
    tables.faults(fail=[500, 252, "TOO_MANY_PARTS", 10_000])
    sink.accept(poll(0))
    sink.flush(10)
    assert dict(ledger.snapshot()[0].dropped) == {"TOO_MANY_PARTS": 100}
    assert isinstance(sink.error, Unavailable)
    tables.faults()
    sink.accept(poll(1))
    sink.close(5)
    balance = ledger.snapshot()[0]
    assert balance.balanced and balance.accepted == 100
    assert stored(tables) == list(range(100, 200))


def test_fault_68_a_server_that_is_slow_is_asked_again(tables: Server) -> None:
    """It comes to an end behind our back; the rows are there once."""
    ledger = Ledger()
    sink = opened(tables, ledger, timeout="0.3s")
    tables.faults(delay=0.5)
    started = time.monotonic()
    sink.accept(poll(0))
    sink.end_poll(trailer("web-1", 0))
    assert time.monotonic() - started < 0.5 and not sink.ready
    tables.faults()
    sink.flush(10)
    sink.close(1)
    assert stored(tables) == list(range(100))
    assert ledger.snapshot()[0].accepted == 100 and ledger.balanced()


def test_fault_68_down_and_back_with_the_queue_bounded(folder: Path) -> None:
    """Away for a while: the queue holds what it may, the rest is dropped, what was held arrives once."""
    ledger = Ledger()
    with Server(folder) as first:
        create(first)
        port = first.port
        meant = target(Destination("clickhouse", f"http://{first.address}/xtcp.sockets", {}))
        queue = Queued(lambda account: ClickHouse(meant, account), ledger.open("ch"), limit_bytes=20_000)
        queue.accept(poll(0))
        queue.end_poll(trailer("web-1", 0))
        queue.flush(10)
        assert ledger.snapshot()[0].accepted == 100
    for number in range(1, 41):
        queue.accept(poll(number))
        queue.end_poll(trailer("web-1", number))
        assert ledger.balanced() and queue.queued_bytes <= 20_000
    with Server(folder, port) as second:
        queue.close(20)
        found = stored(second)
    balance = ledger.snapshot()[0]
    assert balance.balanced and set(balance.dropped) == {"queue"}
    assert len(found) == len(set(found)) == balance.accepted > 100
    assert balance.accepted + balance.dropped["queue"] == 4100


@pytest.mark.parametrize(
    ("table", "options", "reason", "kind", "says"),
    [
        ("xtcp.nothing", {}, "UNKNOWN_TABLE", ConfigurationError, "xtcp schema clickhouse"),
        ("nowhere.sockets", {}, "UNKNOWN_DATABASE", ConfigurationError, "xtcp schema clickhouse"),
        ("xtcp.older", {}, "NO_SUCH_COLUMN_IN_TABLE", ConfigurationError, "ALTER TABLE xtcp.older"),
        ("xtcp.sockets", {"no_such_setting": "1"}, "UNKNOWN_SETTING", ConfigurationError, "refuses"),
        ("xtcp.sockets", {"user": "me", "password": "hunter2"}, "AUTHENTICATION_FAILED", PermissionMissing, "user"),
    ],
)
def test_fault_68_what_will_not_pass_drops_rows_at_once_and_says_what_to_do(
    tables: Server, table: str, options: dict[str, str], reason: str, kind: type[Exception], says: str
) -> None:
    """The insert and all that comes in the next minute; no retries meanwhile; no password is said."""
    tables.query("CREATE TABLE xtcp.older (hostname String) ENGINE = MergeTree ORDER BY hostname")
    tables.faults(**({"user": "me", "password": "other"} if "user" in options else {}))
    ledger = Ledger()
    sink = opened(tables, ledger, table, **options)
    before = len(tables.requests())
    for number in range(3):
        sink.accept(poll(number))
        sink.end_poll(trailer("web-1", number))
    assert len(tables.requests()) == before + 1
    balance = ledger.snapshot()[0]
    assert balance.balanced and dict(balance.dropped) == {reason: 300}
    assert isinstance(sink.error, kind) and says in str(sink.error) and "hunter2" not in str(sink.error)
    sink.close(1)


def test_fault_68_a_table_that_is_mended_gets_rows_again(tables: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a pause it is tried again, by the next poll."""
    monkeypatch.setattr(clickhouse, "OFF_S", 0.2)
    tables.query("CREATE TABLE xtcp.older (hostname String) ENGINE = MergeTree ORDER BY hostname")
    ledger = Ledger()
    sink = opened(tables, ledger, "xtcp.older")
    sink.accept(poll(0))
    sink.end_poll(trailer("web-1", 0))
    tables.query("ALTER TABLE xtcp.older ADD COLUMN poll_id UInt64, ADD COLUMN idiag_cookie UInt64")
    time.sleep(0.25)
    sink.accept(poll(1))
    sink.close(5)
    balance = ledger.snapshot()[0]
    assert balance.balanced and (balance.accepted, dict(balance.dropped)) == (100, {"NO_SUCH_COLUMN_IN_TABLE": 100})


def test_nobody_there(caplog: pytest.LogCaptureFixture) -> None:
    """The sink opens, waits, and lets go of its rows at the end in time; the log says why, once."""
    ledger = Ledger()
    meant = target(Destination("clickhouse", "http://127.0.0.1:9/xtcp.sockets", {}))
    sink = ClickHouse(meant, ledger.open("ch"))
    with caplog.at_level(logging.WARNING):
        sink.accept(poll(0))
        started = time.monotonic()
        sink.close(0.5)
    assert time.monotonic() - started < 1.5
    assert ledger.balanced() and dict(ledger.snapshot()[0].dropped) == {"closed": 100}
    assert caplog.text.count("ECONNREFUSED") == 1


def test_settings_and_a_login_go_with_every_insert(tables: Server, tmp_path: Path) -> None:
    """The server sees them; a password may be in a file."""
    (tmp_path / "password").write_text("s3crét€\n", "utf-8")
    tables.faults(user="me", password="s3crét€")
    ledger = Ledger()
    sink = opened(tables, ledger, user="me", password__file=str(tmp_path / "password"), max_insert_threads="2")
    sink.accept(poll(0))
    sink.close(5)
    assert tables.requests()[-1]["max_insert_threads"] == "2"
    assert ledger.snapshot()[0].accepted == 100
