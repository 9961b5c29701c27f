"""Partitions: where a file of rows lies below its folder, by Hive's convention, and which files there are ours.

    sockets/host=web-1/date=2026-11-28/hour=13/xtcp-20261128T130500Z-9f0c33a1-0001-5c1d20be.parquet
    polls/host=web-1/date=2026-11-28/hour=13/xtcp-20261128T130500Z-9f0c33a1-0001-5c1d20be.parquet

`sockets` has the rows, `polls` the trailers of the polls that end in the file of the same name. Date and hour are UTC
and those of the poll's start by the host's own wall clock, so a poll is never torn by the end of an hour. A value is
percent-encoded (RFC 3986, unreserved characters stay), so that no name leads elsewhere; a long one is cut and told
apart by a hash. What is not known is Hive's `__HIVE_DEFAULT_PARTITION__`, which readers take for null.

A name says when the file's first poll began, who wrote it, its number, and which columns it has (`FINGERPRINT`): a
reader of thousands of files, of several releases maybe, need not open each to know.

A file that is being written has `.tmp` behind its name. Whatever else lies there is nobody's business here.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote, unquote

from xtcp.encode.cells import clean_text
from xtcp.poll.trailer import Trailer
from xtcp.schema.columns import COLUMNS

SOCKETS: Final = "sockets"
POLLS: Final = "polls"
TEMPORARY: Final = ".tmp"
UNKNOWN: Final = "__HIVE_DEFAULT_PARTITION__"

HOUR_NS: Final = 3600 * 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# A name in a folder has at most 255 bytes (NAME_MAX, include/uapi/linux/limits.h).
_LONGEST: Final = 200
_HASH: Final = 16

_HEX: Final = 8


def _fingerprint() -> str:
    columns = [f"{column.name} {column.kind.name}" for column in COLUMNS]
    polls = [f"{field.name} {field.type}" for field in fields(Trailer)]
    return hashlib.sha256("\n".join(columns + polls).encode()).hexdigest()[:_HEX]


# Files of the same have the same columns.
FINGERPRINT: Final = _fingerprint()

_OURS: Final = re.compile(
    rf"(?P<table>{SOCKETS}|{POLLS})"
    rf"/host=(?P<host>[^/]+)/date=(?P<date>\d{{4}}-\d\d-\d\d|{UNKNOWN})/hour=(?P<hour>\d\d|{UNKNOWN})"
    r"/(?P<name>xtcp-[0-9A-Za-z_]+-[0-9a-f]{8}-\d{4,}-(?P<fingerprint>[0-9a-f]{8}))\.(?P<ending>parquet|jsonl\.zst|jsonl\.gz)(?P<temporary>\.tmp)?"
)


@dataclass(frozen=True)
class Partition:
    """The rows of one host, None where it has no name, of the hour since 1970 in which their polls began, or None."""

    host: str | None
    hour: int | None

    @classmethod
    def of(cls, host: str | None, start_ns: int | None) -> Partition:
        """That of a poll which began at `start_ns` (since 1970)."""
        hour = None if start_ns is None else start_ns // HOUR_NS
        return cls(host or None, hour if hour is not None and _time(hour) is not None else None)

    @property
    def folder(self) -> str:
        """Its path below that of the table."""
        host = UNKNOWN if self.host is None else encoded(self.host)
        start = None if self.hour is None else _time(self.hour)
        if start is None:
            return f"host={host}/date={UNKNOWN}/hour={UNKNOWN}"
        return f"host={host}/date={start:%Y-%m-%d}/hour={start:%H}"


@dataclass(frozen=True)
class Ours:
    """A file of this layout.

    `key` is its partition's, host, date and hour as they are read, empty where unknown; `end_ns` where its hour ends
    (since 1970), None where that is unknown; `name` is without the `ending`.
    """

    table: str
    key: tuple[str, str, str]
    name: str
    fingerprint: str
    ending: str
    end_ns: int | None
    temporary: bool


def encoded(value: str) -> str:
    """A value as part of a folder's name; different values have different names."""
    text = clean_text(value)
    name = quote(text, safe="")
    if len(name) <= _LONGEST and text == value:
        return name
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
    room = _LONGEST - _HASH - 1
    kept = ""
    for character in text:  # between two characters, because a reader decodes what is kept
        if len(kept) + len(each := quote(character, safe="")) > room:
            break
        kept += each
    return f"{kept}~{digest}"


def stem(start_ns: int | None, token: str, number: int) -> str:
    """A file's name without its ending: when its first poll began, the writer's 8 hexadecimal digits, a number."""
    start = None if start_ns is None else _time(start_ns // HOUR_NS)
    if start is None or start_ns is None:
        return f"xtcp-unknown-{token}-{number:04}-{FINGERPRINT}"
    start += timedelta(seconds=start_ns % HOUR_NS // 1_000_000_000)
    return f"xtcp-{start:%Y%m%dT%H%M%SZ}-{token}-{number:04}-{FINGERPRINT}"


def ours(path: str) -> Ours | None:
    """What `path`, below the folder, is; None for a file that is not of this layout."""
    found = _OURS.fullmatch(path)
    if found is None:
        return None
    end = None
    if UNKNOWN not in {found["date"], found["hour"]}:
        try:
            start = datetime.strptime(f"{found['date']} {found['hour']}", "%Y-%m-%d %H").replace(tzinfo=UTC)
        except ValueError:
            return None
        end = (int((start - _EPOCH).total_seconds()) // 3600 + 1) * HOUR_NS
    parts = [found[part] for part in ("host", "date", "hour")]
    host, date, hour = ["" if part == UNKNOWN else unquote(part) for part in parts]
    temporary = found["temporary"] is not None
    return Ours(
        found["table"], (host, date, hour), found["name"], found["fingerprint"], found["ending"], end, temporary
    )


def _time(hour: int) -> datetime | None:
    """The hour's beginning; None outside the calendar of four-digit years."""
    try:
        time = _EPOCH + timedelta(hours=hour)
    except OverflowError:
        return None
    return time if time.year >= 1000 else None
