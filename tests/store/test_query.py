"""A store that is asked: views, and that its files and nothing else are read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Never

import pytest

from tests.patience import patient
from tests.store.kept import Kept
from tests.store.made import (
    CAPTURES,
    HOUR_NS,
    INTERVAL_NS,
    START_NS,
    as_stored,
    batch,
    captured,
    present,
    trailer,
)
from xtcp.cli.main import run
from xtcp.errors import ExitCode, PermissionMissing, Temporary, Unavailable, UsageError
from xtcp.schema.columns import COLUMNS
from xtcp.store import VIEWS
from xtcp.store.query import Store
from xtcp.store.views import COUNTERS, PER_SECOND, poll_types, socket_types

SCHEMES = ("parquet", "lines")


@pytest.fixture(params=SCHEMES)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    """An empty folder of either format."""
    made = Kept(tmp_path / "it's [a] *store?", request.param)
    yield made
    made.sink.close()


def test_sockets_are_the_rows_of_json(kept: Kept) -> None:
    """Every column of every row; the folder's names and the time beside them."""
    batches = captured(CAPTURES[0])
    for each in batches:
        kept.sink.accept(each)
    kept.sink.flush()
    names = ", ".join(column.name for column in COLUMNS)
    stored = as_stored(batches)
    found = present(kept.ask(f"SELECT {names} FROM sockets"))

    def order(row: dict[str, Any]) -> tuple[int, int]:
        return row["dump"], row["idiag_cookie"]

    for row in found:  # DuckDB writes JSON back with spaces of its own
        for name in {"md5sig", "locals", "peers"} & row.keys():
            row[name] = json.dumps(json.loads(row[name]), separators=(",", ":"))
    assert sorted(found, key=order) == sorted(stored, key=order)
    (first,) = kept.ask("SELECT time, timestamp_ns, host, date, hour FROM sockets ORDER BY timestamp_ns LIMIT 1")
    assert first["time"].isoformat()[:13] == f"{first['date']}T{first['hour']:02}"
    assert first["host"] == batches[0].context.hostname


def test_views_and_their_columns(kept: Kept) -> None:
    """Those of the help; the schema's columns with their width, the trailer's fields."""
    kept.poll(0, [{"idiag_cookie": 1}])
    assert {row["name"] for row in kept.ask("SHOW TABLES")} == set(VIEWS)

    def columns(view: str) -> dict[str, str]:
        return {row["column_name"]: row["column_type"] for row in kept.ask(f"DESCRIBE {view}")}

    hive = {"host": "VARCHAR", "date": "DATE", "hour": "UTINYINT"}
    assert columns("sockets") == {"time": "TIMESTAMP_NS", **socket_types(), **hive}
    assert columns("polls") == {"time": "TIMESTAMP_NS", **poll_types(), **hive}
    assert columns("latest") == columns("sockets")
    assert {name + PER_SECOND for name in COUNTERS} < columns("rates").keys()


def test_latest_is_the_newest_whole_poll_of_each_host(kept: Kept) -> None:
    """Not one whose end is missing, nor one that lacks rows; `interrupted` is the kernel's way of saying busy."""
    kept.poll(0, [{"idiag_cookie": 1}, {"idiag_cookie": 2}])
    kept.poll(1, [{"idiag_cookie": 3}, {"idiag_cookie": 4}], flags=("interrupted",))
    kept.poll(2, [{"idiag_cookie": 5}], flags=("dropped",))
    kept.sink.accept(batch(6, start_ns=START_NS + 3 * INTERVAL_NS))
    kept.poll(1, [{"idiag_cookie": 7}], host="web-2")
    kept.sink.flush()
    assert {(r["hostname"], r["idiag_cookie"]) for r in kept.ask("FROM latest")} == {
        *(("web-1", 3), ("web-1", 4), ("web-2", 7))
    }


def test_rates(kept: Kept) -> None:
    """By connection, over the time that has passed; null where a counter went back, and never negative."""

    def row(cookie: int, sent: int, segments: int, retransmitted: int = 0) -> dict[str, int]:
        return {
            "idiag_cookie": cookie,
            "tcpi_bytes_acked": sent,
            "tcpi_segs_out": segments,
            "tcpi_total_retrans": retransmitted,
        }

    kept.poll(0, [row(1, 1000, 10), row(2, 0, 0), row(3, 5, 5)])
    kept.poll(1, [row(1, 4000, 40, 3), row(2, 0, 0), {"idiag_cookie": 3}])
    kept.poll(3, [row(1, 1000, 50, 3), row(3, 6005, 65)])
    kept.poll(1, [row(1, 9_000_000, 1)], host="web-2")
    found = {(r["hostname"], r["idiag_cookie"], r["seconds"]): r for r in kept.ask("FROM rates")}
    assert found.keys() == {("web-1", 1, 30.0), ("web-1", 2, 30.0), ("web-1", 1, 60.0), ("web-1", 3, 90.0)}
    first = found["web-1", 1, 30.0]
    assert first["tcpi_bytes_acked_per_s"] == 100 and first["tcpi_segs_out_per_s"] == 1
    assert first["tcpi_total_retrans_per_s"] == pytest.approx(0.1) and first["tcpi_bytes_received_per_s"] is None
    assert found["web-1", 2, 30.0]["tcpi_bytes_acked_per_s"] == 0
    back = found["web-1", 1, 60.0]
    assert back["tcpi_bytes_acked_per_s"] is None and back["tcpi_segs_out_per_s"] == pytest.approx(10 / 60)
    assert found["web-1", 3, 90.0]["tcpi_bytes_acked_per_s"] == pytest.approx(6000 / 90)


def test_both_formats_in_one_folder_and_older_columns(tmp_path: Path) -> None:
    """A machine that got pyarrow later; a file of a version with fewer columns, and with one more."""
    import duckdb

    for number, scheme in enumerate(SCHEMES):
        kept = Kept(tmp_path, scheme)
        kept.poll(number, [{"idiag_cookie": number, "tcpi_rtt": 5}])
        kept.sink.close()
    (parquet,) = (tmp_path / "sockets").rglob("*.parquet")
    other = parquet.with_name("xtcp-20261123T220000Z-00000000-0001-00000000.parquet")
    duckdb.execute(f"COPY (SELECT 9 AS idiag_cookie, 'new' AS tcpi_new) TO '{other}' (FORMAT parquet)")
    found = Kept(tmp_path, "lines").ask("SELECT idiag_cookie, tcpi_rtt, tcpi_new FROM sockets ORDER BY ALL")
    assert [tuple(row.values()) for row in found] == [(0, 5, None), (1, 5, None), (9, None, "new")]


def test_a_damaged_capture_of_any_time_is_no_error(kept: Kept) -> None:
    """A time that is hardly one."""
    kept.sink.accept(batch(1, start_ns=-(2**63)))
    kept.sink.accept(batch(2))
    kept.sink.flush()
    assert {row["idiag_cookie"] for row in kept.ask("SELECT time, idiag_cookie FROM sockets")} == {1, 2}


REFUSED = {
    "copy out": ("COPY (SELECT 1) TO '{folder}/x.csv'", UsageError),
    "copy out by explain": ("EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/x.csv'", UsageError),
    "another file": ("SELECT * FROM read_text('/etc/passwd')", PermissionMissing),
    "another file as a table": ("SELECT * FROM '/etc/passwd.csv'", (UsageError, PermissionMissing)),
    "up and out": ("SELECT * FROM read_text('{folder}/../secret')", PermissionMissing),
    "names of files": ("SELECT * FROM glob('/etc/*')", PermissionMissing),
    "the network": ("SELECT * FROM read_csv('http://127.0.0.1:9/x')", (PermissionMissing, UsageError)),
    "attach": ("ATTACH '{folder}/x.db'", UsageError),
    "install": ("INSTALL httpfs", UsageError),
    "load": ("LOAD '/tmp/x.so'", UsageError),
    "set": ("SET enable_external_access = true", UsageError),
    "pragma": ("PRAGMA enable_external_access", UsageError),
    "two": ("SELECT 1; COPY (SELECT 1) TO '{folder}/x.csv'", UsageError),
    "none": ("-- nothing", UsageError),
    "through query()": ("SELECT * FROM query('COPY (SELECT 1) TO ''{folder}/x.csv''')", UsageError),
    "drop": ("DROP VIEW sockets", UsageError),
    "syntax": ("SELEC 1", UsageError),
    "column": ("SELECT nope FROM sockets", UsageError),
    "value": ("SELECT 'x'::INTEGER", UsageError),
    "division": ("SELECT error('boo')", UsageError),
}


@pytest.mark.parametrize(("sql", "kind"), REFUSED.values(), ids=list(REFUSED))
def test_fault_89_nothing_but_the_store_is_reached(sql: str, kind: type[Exception], tmp_path: Path) -> None:
    """Whatever is asked: an error of three parts, and no file more than before."""
    folder = tmp_path / "store"
    (tmp_path / "secret").write_text("secret")
    kept = Kept(folder, "parquet")
    kept.poll(0, [{"idiag_cookie": 1}])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(kind) as told:
        kept.ask(sql.format(folder=folder))
    assert str(told.value) and "secret" not in str(told.value).replace(str(tmp_path), "").replace("../secret", "")
    assert sorted(tmp_path.rglob("*")) == before


def test_more_than_memory_holds(tmp_path: Path) -> None:
    """It says how to allow more; nothing of it stays in the temporary folder."""
    kept = Kept(tmp_path / "store", "parquet")
    kept.poll(0, [{"idiag_cookie": 1}])
    with Store(tmp_path / "store", 32 << 20) as store:
        spill = Path(store._spill)
        assert spill.is_dir()
        with pytest.raises(Temporary, match="--memory-limit"):
            for _ in store.ask("SELECT list(hash(range)) FROM range(20000000)").pieces:
                pass
    assert not spill.exists()


def test_a_store_that_cannot_be_opened_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it fails, or Ctrl-C comes, while views are made the temporary folder is gone too."""
    Kept(tmp_path / "store", "parquet").poll(0, [{"idiag_cookie": 1}])
    (tmp_path / "spill").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "spill"))

    def interrupted(*_: object) -> Never:
        raise KeyboardInterrupt

    monkeypatch.setattr("xtcp.store.query.statements", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path / "store")
    assert list((tmp_path / "spill").iterdir()) == []


def test_no_data_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No folder, an empty one, one with a draft only: what to do, exit code 69."""
    kept = Kept(tmp_path / "store", "parquet")
    kept.sink.accept(batch(1))
    for folder in (tmp_path / "none", tmp_path, tmp_path / "store"):
        with pytest.raises(Unavailable, match="nothing to read yet"):
            Store(folder)
        assert run(["query", "--dir", str(folder), "SELECT 1"]) == ExitCode.UNAVAILABLE
    assert "xtcp run" in capsys.readouterr().err
    kept.sink.close()


def test_while_the_agent_writes(tmp_path: Path) -> None:
    """Every answer is one of whole files, with the polls of all rows; it never fails."""
    from tests.store import crashing

    told = tmp_path / "told"
    told.write_bytes(bytes(8))
    folder = tmp_path / "store"
    folder.mkdir()
    process = crashing.process(crashing.write_for_ever, folder, told)
    try:
        end = time.monotonic() + patient(20)
        while told.read_bytes() == bytes(8):
            assert time.monotonic() < end
            time.sleep(0.01)
        counts: list[int] = []
        while len(counts) < 3 or counts[-1] == counts[0]:
            assert time.monotonic() < end + patient(20)
            with Store(folder) as store:
                # Polls first: the rows of each are written before it.
                polls, rows = (
                    next(store.ask(f"SELECT count(*) FROM {of}").pieces)[0][0] for of in ("polls", "sockets")
                )
            assert rows % crashing.ROWS == 0 and polls <= rows // crashing.ROWS
            counts.append(rows)
        assert counts == sorted(counts)
    finally:
        process.kill()
        process.join()


def test_a_condition_on_the_folder_opens_only_its_files(tmp_path: Path) -> None:
    """A damaged file of another hour is not even looked at."""
    kept = Kept(tmp_path, "lines")
    for hour in range(2):
        start = START_NS + hour * HOUR_NS
        kept.sink.accept(batch(hour, start_ns=start))
        kept.sink.end_poll(trailer(start))
    kept.sink.close()
    (damaged,) = (tmp_path / "sockets").rglob("hour=22/*.zst")
    damaged.write_bytes(b"no zstd")
    assert kept.ask("SELECT idiag_cookie FROM sockets WHERE date = '2026-11-23' AND hour = 23") == [{"idiag_cookie": 1}]
