"""Old files go by age and by size, never an open one, never another's; a clock that leaps takes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.store.made import HOUR_NS, INTERVAL_NS, START_NS, Clock, batch, files, lines_of, trailer
from xtcp.errors import UsageError
from xtcp.ledger import Account
from xtcp.sinks.destination import parse
from xtcp.sinks.folders.local_folder import LocalFolder, Stored
from xtcp.sinks.folders.partitioned import Limits, Partitioned
from xtcp.sinks.folders.retention import LEAP_S, BelievedClock, Keep, surplus
from xtcp.sinks.folders.zstd_lines import Lines

DAY_NS = 24 * HOUR_NS


def stored(hours_ago: int, size: int = 100, *, written_hours_ago: int | None = None, draft: bool = False) -> Stored:
    """A file of the partition that began so many hours ago."""
    start = START_NS - hours_ago * HOUR_NS
    from xtcp.sinks.folders.partitions import Partition, stem

    path = f"sockets/{Partition.of('a', start).folder}/{stem(start, '0' * 8, 1)}.parquet"
    written = hours_ago if written_hours_ago is None else written_hours_ago
    return Stored(path + ".tmp" * draft, size, START_NS - written * HOUR_NS)


def test_by_age() -> None:
    """When the partition's end and the time of writing are both older."""
    old, replayed, young = stored(30), stored(999, written_hours_ago=1), stored(2)
    nineteen_seventy = stored(10, written_hours_ago=400_000)
    everything = [young, old, replayed, nineteen_seventy]
    assert list(surplus(everything, Keep(age_s=24 * 3600), START_NS)) == [old.path]
    assert list(surplus(everything, Keep(age_s=24 * 3600), None)) == []
    assert list(surplus(everything, Keep(), START_NS)) == []


def test_by_size() -> None:
    """The oldest first, until the rest fits; a draft counts and never goes."""
    drafts = [stored(500, 100, draft=True)]
    kept = [stored(hours) for hours in (3, 9, 1, 7)]
    assert list(surplus([*kept, *drafts], Keep(size=300), START_NS)) == [kept[1].path, kept[3].path]
    assert list(surplus([*kept, *drafts], Keep(size=1), START_NS)) == [kept[n].path for n in (1, 3, 0, 2)]
    assert list(surplus(kept, Keep(size=400), START_NS)) == []


def test_fault_72_a_leap_of_the_clock_removes_nothing() -> None:
    """A year ahead makes everything old; it is believed after an hour, and a step back at once."""
    clock = Clock()
    believed = BelievedClock(clock.wall, clock)
    assert believed.now_ns() == START_NS
    clock.leap_ns = 365 * DAY_NS
    assert believed.now_ns() is None
    clock.now += LEAP_S - 1
    assert believed.now_ns() is None
    clock.leap_ns = 0
    assert believed.now_ns() is not None
    clock.leap_ns = 365 * DAY_NS
    assert believed.now_ns() is None
    clock.now += LEAP_S
    assert believed.now_ns() == clock.wall()
    clock.leap_ns = -365 * DAY_NS
    assert believed.now_ns() == clock.wall()


def test_a_sink_removes_what_it_may(tmp_path: Path) -> None:
    """Its own files with their polls and empty folders; nobody else's, and not the one that is open."""
    clock, account = Clock(), Account("lines")
    keep = Limits(age_s=600, keep=Keep(age_s=3 * 3600.0))
    sink = Partitioned(LocalFolder(tmp_path), Lines(), account, keep, clock=clock, wall=clock.wall)
    others = [tmp_path / "sockets/host=web-1/date=2026-11-23/hour=22/others.parquet", tmp_path / "README"]
    for number in range(5):
        start = START_NS + number * HOUR_NS
        sink.accept(batch(number, start_ns=start))
        sink.end_poll(trailer(start))
        clock.now += 3600
    for path in others:
        path.write_text("")
        os.utime(path, ns=(0, 0))
    sink.flush()
    for path in tmp_path.rglob("xtcp-*"):
        os.utime(path, ns=(START_NS, START_NS))
    sink.tick()
    assert sorted(row["idiag_cookie"] for row in lines_of(tmp_path)) == [1, 2, 3, 4]
    assert files(tmp_path, "polls") == [p for p in files(tmp_path) if "others" not in p and p.endswith("zst")]
    assert all(path.exists() for path in others)
    assert not (tmp_path / "polls/host=web-1/date=2026-11-23/hour=22").exists()
    assert sink.error is None
    # The open file of an old poll stays.
    sink.accept(batch(9, start_ns=START_NS - 100 * HOUR_NS))
    clock.now += 100
    sink.tick()
    sink.close()
    assert 9 in [row["idiag_cookie"] for row in lines_of(tmp_path)]


def test_a_sink_keeps_its_size(tmp_path: Path) -> None:
    """However many polls come, all files together stay within the limit, and the newest are there."""
    clock, account = Clock(), Account("lines")
    keep = Limits(age_s=0.0, keep=Keep(size=20_000))
    sink = Partitioned(LocalFolder(tmp_path), Lines(), account, keep, clock=clock, wall=clock.wall)
    for number in range(60):
        start = START_NS + number * INTERVAL_NS
        sink.accept(batch(*range(number * 1000, number * 1000 + 100), start_ns=start))
        sink.end_poll(trailer(start))
        clock.now += 61
        sink.tick()
        assert sum(path.stat().st_size for path in tmp_path.rglob("xtcp-*")) <= 20_000
    left = {row["idiag_cookie"] // 1000 for row in lines_of(tmp_path)}
    assert max(left) == 59 and left == set(range(min(left), 60)) and min(left) > 0
    assert account.balance().accepted == 6000
    sink.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("parquet:", "names no folder"),
        ("lines:", "names no folder"),
        ("parquet:x?keep-age=soon", "keep-age: 'soon' is no time"),
        ("parquet:x?keep-bytes=0", "keep-bytes"),
        ("parquet:x?rotate=1x", "rotate"),
        ("parquet:x?rotate-bytes=-1", "rotate-bytes"),
        ("parquet:x?compression-level=99", "above 22"),
        ("store:x?compression-level=12", "above 9"),
        ("parquet:x?region=eu", "region means nothing"),
        ("parquet:s3://?region=eu", "names no bucket"),
        ("parquet:x?kep-age=1d", "there is no option"),
    ],
)
def test_refused(text: str, words: str) -> None:
    """Before anything is opened."""
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        parse(text)
