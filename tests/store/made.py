"""Batches, trailers, folders and readers that the tests of the store share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.batches import batch_of
from tests.rows import Row, decoded, rows_of
from tests.zoos import WITH_TWINS
from xtcp.batch import Batch
from xtcp.chunk import Context
from xtcp.poll.trailer import Trailer
from xtcp_replay.reading.opening import open_source

START_NS = 1_795_471_200_000_000_000  # 2026-11-23 22:00:00 UTC
HOUR_NS = 3600 * 10**9
INTERVAL_NS = 30 * 10**9
CAPTURES = WITH_TWINS


def captured(path: Path) -> list[Batch]:
    """All batches of a capture, keys and all."""
    return list(decoded(open_source(str(path)).chunks(), md5_keys=True))


def as_stored(batches: Iterable[Batch]) -> list[Row]:
    """The rows as JSON has them, lists as the text that columns hold."""
    rows = rows_of(batches)
    return [
        {
            name: json.dumps(value, separators=(",", ":")) if isinstance(value, list) else value
            for name, value in row.items()
        }
        for row in rows
    ]


def present(rows: Iterable[Row]) -> list[Row]:
    """Rows without what is null."""
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def context(start_ns: int | None = START_NS, host: str | None = "web-1", **more: Any) -> Context:
    """That of a poll of `host` which began at `start_ns`."""
    return Context(hostname=host, timestamp_ns=start_ns, poll_id=start_ns, **more)


def batch(*cookies: int, start_ns: int | None = START_NS, host: str | None = "web-1") -> Batch:
    """A row a cookie."""
    return batch_of([{"idiag_cookie": cookie} for cookie in cookies], context(start_ns, host))


def trailer(start_ns: int = START_NS, host: str = "web-1", rows: int = 1, flags: Sequence[str] = ()) -> Trailer:
    """The end of that poll."""
    return Trailer(
        hostname=host,
        boot_id="b",
        poll_id=start_ns,
        netns="1",
        release="6.18.44",
        byte_order="little",
        wall_start_ns=start_ns,
        wall_end_ns=start_ns + 10**8,
        monotonic_start_ns=0,
        monotonic_end_ns=10**8,
        dumps=1,
        messages=rows + 1,
        rows=rows,
        duplicates=0,
        quarantined=0,
        damaged=0,
        control=1,
        forged=0,
        unknown={"99": 1},
        flags=tuple(flags),
    )


def files(folder: Path, table: str = "sockets") -> list[str]:
    """The paths of a table's files, drafts too, without what is random in their names."""
    found = sorted(path for path in (folder / table).rglob("*") if path.is_file())
    return [str(path.relative_to(folder / table).parent / path.name.partition(".")[2]) for path in found]


def parquet_cookies(folder: Path, table: str = "sockets") -> list[int]:
    """What DuckDB reads of all final files."""
    if not list((folder / table).glob("*/*/*/*.parquet")):
        return []
    found = selected(f"FROM read_parquet('{folder}/{table}/*/*/*/*.parquet') SELECT idiag_cookie ORDER BY ALL")
    return [row["idiag_cookie"] for row in found]


def selected(sql: str) -> list[Row]:
    """What DuckDB answers."""
    import duckdb

    result: Any = duckdb.sql(sql)
    return [dict(zip(result.columns, row, strict=True)) for row in result.fetchall()]


def lines_of(folder: Path, table: str = "sockets") -> Iterator[Row]:
    """The objects of all final files of compressed lines, read by zstandard alone."""
    import zstandard

    for path in sorted((folder / table).rglob("*.jsonl.zst")):
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
            yield from map(json.loads, stream.read().splitlines())


class Clock:
    """Monotonic seconds and the wall clock, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.leap_ns = 0

    def __call__(self) -> float:
        """Seconds."""
        return self.now

    def wall(self) -> int:
        """ns since 1970."""
        return START_NS + int((self.now - 1000.0) * 1e9) + self.leap_ns
