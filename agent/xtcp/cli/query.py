"""`xtcp query`: SQL over the rows that the agent has stored on this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from xtcp import amounts
from xtcp.cli.command import argument, say
from xtcp.errors import ExitCode
from xtcp.sinks.text_file import TextFile
from xtcp.store import MEMORY, VIEWS

if TYPE_CHECKING:
    from xtcp.store.query import Store

FORMATS: Final = ("table", "json", "csv")

# What people ask first; a test runs each of them.
EXAMPLES: Final = {
    "the connections that retransmit most, now": (
        "SELECT idiag_dst, idiag_dport, cong, tcpi_rtt / 1000 AS rtt_ms, tcpi_total_retrans, "
        "round(100.0 * tcpi_bytes_retrans / tcpi_bytes_sent, 2) AS percent FROM latest "
        "WHERE tcpi_bytes_sent > 1e6 ORDER BY percent DESC LIMIT 20"
    ),
    "who is limited by the receiver": (
        "SELECT idiag_dst, count(*) AS connections, "
        "round(100.0 * sum(tcpi_rwnd_limited) / sum(tcpi_busy_time), 1) AS percent_of_time FROM latest "
        "WHERE tcpi_rwnd_limited > 0 GROUP BY ALL ORDER BY percent_of_time DESC LIMIT 20"
    ),
    "sockets by state, poll by poll": (
        "SELECT time, idiag_state, count(*) AS sockets FROM sockets GROUP BY ALL ORDER BY ALL"
    ),
    "throughput and retransmissions a second, by peer": (
        "SELECT idiag_dst, round(avg(tcpi_bytes_acked_per_s)) AS sent, round(avg(tcpi_bytes_received_per_s)) AS "
        "received, round(avg(tcpi_total_retrans_per_s), 3) AS retransmitted FROM rates GROUP BY ALL "
        "ORDER BY sent DESC LIMIT 20"
    ),
    "polls that are not whole": "SELECT time, hostname, rows, flags FROM polls WHERE len(flags) > 0 ORDER BY time",
}


_OVERVIEW: Final = """
    SELECT hostname, count(*) AS polls, sum(rows - duplicates)::BIGINT AS rows, min(time) AS "first poll",
    max(time) AS "last poll" FROM polls GROUP BY hostname ORDER BY hostname
"""
# Of rows that came without trailers, as from a collector of records that have none.
_OVERVIEW_OF_ROWS: Final = """
    SELECT hostname, count(DISTINCT timestamp_ns) AS times, count(*) AS rows, min(time) AS first, max(time) AS last
    FROM sockets GROUP BY hostname ORDER BY hostname
"""


def _epilog() -> str:
    shown = "".join(f'  xtcp query "{sql}"\n      {meaning}\n' for meaning, sql in EXAMPLES.items())
    return f"""\
examples:
  xtcp query                                      what is there: hosts, polls, views
  xtcp query "DESCRIBE sockets"                   the columns of a view (their meaning: xtcp columns)
  xtcp query --format csv "FROM latest"           all of a view, for another program
{shown}
views:
{_views()}
"""


def _views() -> str:
    return "\n".join(f"  {name:<8}  {meaning}" for name, meaning in VIEWS.items())


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    parser = verbs.add_parser(
        "query",
        help="SQL over what the agent has stored",
        description="Answers SQL over the polls that the agent has stored here, or over any parquet: folder.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("sql", metavar="SQL", nargs="?", help="one SELECT; - reads it from standard input")
    parser.add_argument(
        "--format", choices=FORMATS, default="table", help="table (default), json (an object a line), csv"
    )
    parser.add_argument(
        "--dir", "--state-dir", dest="directory", metavar="DIR", help="the store (default: that of xtcp run)"
    )
    parser.add_argument(
        "--memory-limit",
        metavar="SIZE",
        type=argument(amounts.size),
        default=MEMORY,
        help="memory that an answer may take (default 1G)",
    )
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """Asks, prints; returns the exit code."""
    from xtcp.store.directory import state_directory
    from xtcp.store.query import Store

    directory = Path(args.directory) if args.directory is not None else state_directory()
    with Store(directory, args.memory_limit) as store:
        if args.sql is None:
            _overview(store, directory)
        else:
            _answer(store, sys.stdin.read() if args.sql == "-" else args.sql, args.format)
    return ExitCode.OK


def _answer(store: Store, sql: str, form: str) -> None:
    from xtcp.cli.results import WRITERS

    answer = store.ask(sql)
    out = TextFile("-")
    for text in WRITERS[form](answer.names, answer.types, answer.pieces):
        out.write(text)


def _overview(store: Store, directory: Path) -> None:
    """What is there, by host; and what can be asked."""
    from xtcp.encode.units import size
    from xtcp.sinks.folders.partitions import POLLS

    _answer(store, _OVERVIEW if POLLS in store.contents.kinds else _OVERVIEW_OF_ROWS, "table")
    say(f"{directory}: {store.contents.files:,} files, {size(store.contents.bytes)}B; times are UTC")
    say(f"{_views()}\ntheir columns: xtcp query 'DESCRIBE sockets'; examples: xtcp query --help")
