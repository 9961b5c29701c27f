"""What `xtcp query` sees: the views of the store as SQL for DuckDB, made of the schema and of which files there are.

sockets  every row of every poll, the schema's columns with `time` before them and `host`, `date`, `hour` behind: what
         its folder is named by, in UTC, so a condition on them opens only the files that can have such rows
polls    the trailer of every poll
latest   of `sockets` the rows of each host's newest poll that is whole, in the last two hours in which it had any
rates    what each connection did between two polls of an hour, a second; null where a counter went back (another
         connection with the same cookie, a counter of 32 bits that began anew), so never negative

Pure text: nothing is read here.
"""

# ruff: noqa: S608 - to make SQL is what this module is for; names are the schema's, and what is not is `quoted`

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Final, get_type_hints

from xtcp.poll.trailer import FLAGS, Trailer
from xtcp.schema.columns import BY_NAME, COLUMNS
from xtcp.schema.model import ADDRESS, BLOB, STRING, TEXT, Column
from xtcp.sinks.folders.partitions import POLLS, SOCKETS, Ours

# By the ending of the files: DuckDB's function that reads them, and what it must be told.
READERS: Final[Mapping[str, str]] = {
    "parquet": "read_parquet({files}, {hive})",
    "jsonl.zst": "read_json({files}, format = 'newline_delimited', compression = 'zstd', columns = {types}, {hive})",
    "jsonl.gz": "read_json({files}, format = 'newline_delimited', compression = 'gzip', columns = {types}, {hive})",
}
_HIVE: Final[Mapping[str, str]] = {"host": "VARCHAR", "date": "DATE", "hour": "UTINYINT"}
# `latest` opens only the files in which a host's newest poll can be.
_LAST_HOURS: Final = 2
_NUMBERS: Final[Mapping[str, str]] = {
    "u1": "UTINYINT",
    "u2": "USMALLINT",
    "u4": "UINTEGER",
    "u8": "UBIGINT",
    "i8": "BIGINT",
}
_TEXTS: Final = frozenset({ADDRESS, BLOB, STRING, TEXT})
_POLL_TYPES: Final = {int: "BIGINT", str: "VARCHAR", tuple[str, ...]: "VARCHAR[]"}
# A poll with none but these has all rows that were asked for.
_WHOLE: Final = ("interrupted", "filtered", "clock")

# Counters whose growth a second `rates` shows.
COUNTERS: Final = (
    *("tcpi_bytes_sent", "tcpi_bytes_acked", "tcpi_bytes_received", "tcpi_bytes_retrans"),
    *("tcpi_segs_out", "tcpi_segs_in", "tcpi_total_retrans"),
)
# Of what a row of `rates` is about; `_FOLDER` with it, so that a condition on it opens only its files.
_FOLDER: Final = ("host", "date", "hour")
_SAME: Final = ("hostname", "netns", "idiag_cookie")
_ENDS: Final = ("idiag_src", "idiag_sport", "idiag_dst", "idiag_dport", "idiag_state", "cong", "weight")
PER_SECOND: Final = "_per_s"


def sql_type(column: Column) -> str:
    """DuckDB's type of a column."""
    return "VARCHAR" if column.name == "idiag_state" or column.kind in _TEXTS else _NUMBERS[column.kind.column]


def socket_types() -> dict[str, str]:
    """DuckDB's types of the schema's columns."""
    return {column.name: sql_type(column) for column in COLUMNS}


def poll_types() -> dict[str, str]:
    """DuckDB's types of a trailer's fields."""
    hints = get_type_hints(Trailer)
    return {each.name: _POLL_TYPES.get(hints[each.name], "MAP(VARCHAR, BIGINT)") for each in fields(Trailer)}


def quoted(text: str) -> str:
    """`text` as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def literal_glob(path: str) -> str:
    """A path in which no character is a pattern."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in path)


@dataclass
class Contents:
    """What lies in a store: `kinds`, the (fingerprint, ending) that the files of each table have; and of each host the
    partitions of its polls, as `Ours` keys them.
    """

    kinds: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    keys: dict[str, set[tuple[str, str, str]]] = field(default_factory=dict)
    files: int = 0
    bytes: int = 0

    def add(self, file: Ours, size: int) -> None:
        """One more file."""
        self.files += 1
        self.bytes += size
        self.kinds.setdefault(file.table, set()).add((file.fingerprint, file.ending))
        if file.table == POLLS:
            self.keys.setdefault(file.key[0], set()).add(file.key)

    def newest(self) -> list[tuple[str, str, str]]:
        """The keys of the partitions in which `latest` looks: of each host the last two."""
        return [key for _, keys in sorted(self.keys.items()) for key in sorted(keys)[-_LAST_HOURS:]]


def statements(root: str, contents: Contents) -> list[str]:
    """What makes the views over the folder `root`."""
    sockets = _table(root, SOCKETS, socket_types(), contents)
    polls = _table(root, POLLS, poll_types(), contents)
    return [
        f"CREATE VIEW {SOCKETS} AS SELECT TRY(make_timestamp_ns(timestamp_ns)) AS time, * FROM ({sockets})",
        f"CREATE VIEW {POLLS} AS SELECT TRY(make_timestamp_ns(wall_start_ns)) AS time, * FROM ({polls})",
        f"CREATE VIEW latest AS {_latest(contents.newest())}",
        f"CREATE VIEW rates AS {_rates()}",
    ]


def _table(root: str, table: str, types: Mapping[str, str], contents: Contents) -> str:
    """All files of a table; a column that no file has is there too, and null. Those of one fingerprint are one set, of
    which DuckDB opens one to know the columns of all.
    """
    columns = ", ".join(f"NULL::{kind} AS {name}" for name, kind in {**types, **_HIVE}.items())
    parts = [f"SELECT {columns} WHERE false"]
    hive = f"hive_partitioning = true, hive_types = {_struct(_HIVE)}"
    for fingerprint, ending in sorted(contents.kinds.get(table, ())):
        files = quoted(f"{literal_glob(root)}/{table}/*/*/*/xtcp-*-{fingerprint}.{ending}")
        reader = READERS[ending].format(files=files, types=_struct(types), hive=hive)
        parts.append(f"SELECT * FROM {reader}")
    return " UNION ALL BY NAME ".join(parts)


def _struct(types: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name}: {quoted(kind)}" for name, kind in types.items()) + "}"


def _inside(keys: Sequence[tuple[str, str, str]]) -> str:
    """A condition that is true in the partitions of `keys`, in a form by which DuckDB leaves out files."""

    def one(key: tuple[str, str, str]) -> str:
        pairs = zip(_FOLDER, key, strict=True)
        return " AND ".join(f"{name} = {quoted(part)}" if part else f"{name} IS NULL" for name, part in pairs)

    return " OR ".join(f"({one(key)})" for key in keys) or "false"


def _latest(keys: Sequence[tuple[str, str, str]]) -> str:
    """A replay's rows have no number of a poll, but all of one dump have one time."""
    where = _inside(keys)
    broken = ", ".join(quoted(flag) for flag in FLAGS if flag not in _WHOLE)
    newest = (
        f"SELECT hostname, max_by(poll_id, wall_start_ns) AS poll_id FROM {POLLS} "
        f"WHERE ({where}) AND NOT list_has_any(flags, [{broken}]) GROUP BY hostname"
    )
    return (
        f"SELECT s.* FROM (FROM {SOCKETS} WHERE {where}) s SEMI JOIN ({newest}) p "
        "ON coalesce(s.hostname, '') = p.hostname AND coalesce(s.poll_id::BIGINT, s.timestamp_ns) = p.poll_id"
    )


def _rates() -> str:
    assert all(name in BY_NAME for name in (*_SAME, *_ENDS, *COUNTERS))
    before = ", ".join(f"lag({name}) OVER w AS before_{name}" for name in ("timestamp_ns", *COUNTERS))
    grown = ", ".join(
        f"CASE WHEN {name} >= before_{name} THEN ({name} - before_{name}) / seconds END AS {name}{PER_SECOND}"
        for name in COUNTERS
    )
    kept = ", ".join(("time", *_SAME, *_ENDS))
    return (
        f"WITH pairs AS (SELECT *, {before} FROM {SOCKETS} WHERE tcpi_segs_out IS NOT NULL "
        f"WINDOW w AS (PARTITION BY {', '.join((*_FOLDER, *_SAME))} ORDER BY timestamp_ns)), "
        "timed AS (SELECT *, (timestamp_ns - before_timestamp_ns) / 1e9 AS seconds FROM pairs) "
        f"SELECT {kept}, seconds, {grown}, {', '.join(_FOLDER)} FROM timed WHERE seconds > 0"
    )
