"""Files begin and end with polls; a row is accepted when its file is final."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import fewer
from tests.store.bench import LIMITS, Bench
from tests.store.made import (
    HOUR_NS,
    INTERVAL_NS,
    START_NS,
    Clock,
    batch,
    files,
    lines_of,
    selected,
    trailer,
)
from xtcp.ledger import Account
from xtcp.sinks.folders import partitioned
from xtcp.sinks.folders.local_folder import LocalFolder
from xtcp.sinks.folders.partitioned import Limits, Partitioned


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An open sink."""
    made = Bench(tmp_path)
    yield made
    made.sink.close()
    assert not made.balance.in_flight


def test_a_row_is_accepted_when_its_file_is_final(bench: Bench) -> None:
    """With the poll that ends at the file's age; until then it is in flight."""
    bench.clock.now += 10_000
    bench.poll(0, 1, 2)
    assert (bench.balance.accepted, bench.balance.in_flight) == (2, 0)
    assert bench.cookies() == [1, 2]
    for number in range(1, 21):
        bench.poll(number, number + 10)
    assert bench.balance.in_flight == 20 and bench.cookies() == [1, 2]
    bench.poll(21, 100)
    assert (bench.balance.accepted, bench.balance.in_flight) == (23, 0)
    assert len(bench.cookies()) == 23
    sizes = sum(path.stat().st_size for path in (bench.path / "sockets").rglob("*.zst"))
    assert bench.balance.bytes == sizes


def test_files_are_short_at_first(bench: Bench) -> None:
    """Whoever has just started it need not wait for what there is to read."""
    ends = []
    for number in range(100):
        bench.poll(number, number)
        if not bench.balance.in_flight:
            ends.append(number)
    assert ends[:4] == [0, 2, 6, 14] and len(ends) < 12


def test_polls_come_after_their_rows(bench: Bench) -> None:
    """In a file of the same name, with every trailer of the polls that ended in it."""
    for number in range(25):
        bench.poll(number, number)
    bench.sink.flush()
    assert files(bench.path) == files(bench.path, "polls")
    assert sorted(p.name for p in (bench.path / "sockets").rglob("xtcp*")) == sorted(
        p.name for p in (bench.path / "polls").rglob("xtcp*")
    )
    assert [row["poll_id"] for row in lines_of(bench.path, "polls")] == [START_NS + n * INTERVAL_NS for n in range(25)]


def test_a_poll_without_a_socket(bench: Bench) -> None:
    """Its trailer is kept all the same."""
    bench.sink.end_poll(trailer(rows=0))
    assert files(bench.path) == [] and len(list(lines_of(bench.path, "polls"))) == 1


def test_a_large_file_ends_with_its_poll_or_at_twice_the_size(tmp_path: Path) -> None:
    """By size at the end of a poll; in its midst only when it would not end otherwise."""
    bench = Bench(tmp_path, Limits(age_s=1e9, size=3_000))
    bench.poll(0, 0)
    many = tuple(range(100_000, 100_400))
    start = START_NS + INTERVAL_NS
    published = []
    batches = fewer(200)
    for _ in range(batches):
        bench.sink.accept(batch(*many, start_ns=start))
        published.append(len(files(bench.path)))
    assert (published[-1] > 1 and published[:3] == [2, 2, 2]) or published[0] == 1
    bench.sink.end_poll(trailer(start))
    bench.sink.close()
    assert bench.balance.accepted == 1 + batches * 400


@pytest.mark.needs("zstandard")
def test_fault_72_the_start_of_the_poll_decides_the_partition(bench: Bench) -> None:
    """By the host's own wall clock: over the hour's end, after a step back, in 1970; whatever the clock here says."""
    start = START_NS + HOUR_NS - 1
    bench.sink.accept(batch(1, start_ns=start))
    # The same poll, another dump, after the full hour.
    later = batch(2, start_ns=start + 10**9)
    object.__setattr__(later.context, "poll_id", start)
    bench.sink.accept(later)
    bench.clock.leap_ns = -5 * HOUR_NS
    bench.sink.end_poll(trailer(start))
    for number, when in enumerate((start + HOUR_NS, start - HOUR_NS, 5, START_NS), 3):
        bench.sink.accept(batch(number, start_ns=when))
        bench.sink.end_poll(trailer(when))
    bench.sink.flush()
    where = {path.parts[-3] + "/" + path.parts[-2] for path in (bench.path / "sockets").rglob("*.zst")}
    assert where == {
        *("date=2026-11-23/hour=22", "date=2026-11-23/hour=23", "date=2026-11-23/hour=21"),
        "date=1970-01-01/hour=00",
    }
    assert bench.cookies() == [1, 2, 3, 4, 5, 6]
    (torn,) = [p for p in (bench.path / "sockets").rglob("*.zst") if p.read_bytes() != b"" and has(p, 1)]
    assert has(torn, 2)


def has(path: Path, cookie: int) -> bool:
    """Whether the file has a row of `cookie`."""
    import zstandard

    with path.open("rb") as file:
        return b'"idiag_cookie":%d}' % cookie in zstandard.ZstdDecompressor().stream_reader(file).read()


def test_a_new_hour_ends_the_file_of_the_last(bench: Bench) -> None:
    """Without waiting for its age."""
    bench.clock.now += 10_000
    bench.poll(0, 0)
    bench.poll(1, 1)
    bench.poll(121, 2)
    assert bench.cookies() == [0, 1] and bench.balance.in_flight == 1


def test_a_poll_without_an_end_ends_by_time(bench: Bench) -> None:
    """Its host went away in its midst; `tick` ends the file at twice the age, and says when it wants to be called."""
    bench.poll(0, 0)
    bench.sink.accept(batch(1, start_ns=START_NS + INTERVAL_NS))
    bench.clock.now += 599
    assert bench.sink.tick() == pytest.approx(601)
    bench.clock.now += 600
    bench.sink.tick()
    assert bench.balance.in_flight == 1
    bench.clock.now += 2
    bench.sink.tick()
    assert bench.balance.accepted == 2


def test_many_hosts_have_few_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector's: the file that was written longest ago ends for another, and no row is lost."""
    monkeypatch.setattr(partitioned, "MOST_OPEN", 5)
    bench = Bench(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(3):
        for host in range(12):
            bench.poll(0 if number == 0 else number, number * 100 + host, host=f"h{host}")
            assert len(list(Path("/proc/self/fd").iterdir())) < before + 20
    assert sum(path.endswith(".tmp") for path in files(bench.path)) <= 5
    bench.sink.close()
    assert bench.balance.accepted == 36 and len(bench.cookies()) == 36


def test_what_waits_in_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet keeps rows to write many at once; over the bound the file that keeps most writes."""
    from xtcp.sinks.folders.parquet import Parquet

    monkeypatch.setattr(partitioned, "BUFFER_BYTES", 100_000)
    clock, account = Clock(), Account("parquet")
    sink = Partitioned(LocalFolder(tmp_path), Parquet(), account, LIMITS, clock=clock, wall=clock.wall)
    for number in range(60):
        sink.accept(batch(*range(10 + number), host=f"h{number % 4}"))
        kept = sum(part.writer.buffered for part in sink._open.values() if part.writer is not None)
        assert kept <= 100_000
    sink.close()
    (count,) = selected(f"SELECT count(*) AS n FROM '{tmp_path}/sockets/*/*/*/*.parquet'")
    assert account.balance().accepted == count["n"] == sum(10 + n for n in range(60))


def test_a_file_with_many_row_groups_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its footer, which is kept in memory, grows with them: it ends with the poll that has too many."""
    from xtcp.sinks.folders import parquet
    from xtcp.sinks.folders.parquet import Parquet

    monkeypatch.setattr(parquet, "GROUP_ROWS", 10)
    monkeypatch.setattr(parquet, "MOST_GROUPS", 3)
    clock, account = Clock(), Account("parquet")
    sink = Partitioned(LocalFolder(tmp_path), Parquet(), account, LIMITS, clock=clock, wall=clock.wall)
    clock.now += 10_000
    in_flight = []
    for number in range(7):
        start = START_NS + number * INTERVAL_NS
        sink.accept(batch(*range(10 * number, 10 * number + 10), start_ns=start, host="web-1"))
        sink.end_poll(trailer(start, "web-1"))
        in_flight.append(account.balance().in_flight)
    # A host's first poll has a file of its own.
    assert in_flight == [0, 10, 20, 0, 10, 20, 0]
    sink.close()


def test_closing_without_time_drops_what_is_open(tmp_path: Path) -> None:
    """As `closed`; no draft stays."""
    bench = Bench(tmp_path)
    bench.poll(0, 0)
    bench.poll(1, 1)
    bench.sink.close(0)
    bench.sink.close()
    assert dict(bench.balance.dropped) == {"closed": 1} and bench.cookies() == [0]
    assert not [path for path in files(tmp_path) if path.endswith("tmp")]
