"""`xtcp schema`: what others need to read our rows, in their own languages, made from the table of columns."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from xtcp.cli.command import argument
from xtcp.errors import ExitCode, UsageError
from xtcp.sinks.text_file import TextFile

if TYPE_CHECKING:
    from xtcp.records.texts.clickhouse_kafka import Topic

_EXAMPLES = """\
examples:
  xtcp schema proto > xtcp_flat.proto                         our flat record and its envelope
  xtcp schema proto --layout xtcp                             the record of xTCP
  xtcp schema clickhouse | clickhouse-client --multiquery     tables of sockets and polls, a view with nulls
  xtcp schema clickhouse --kafka broker:9092 --topic xtcp     the same, and what reads a topic into them
  xtcp schema clickhouse --xtcp2 2                            the tables of xtcp2
  xtcp schema arrow                                           the columns of Parquet and Arrow, with their types
"""

# Written here too, so that --help needs no table; a test compares.
LAYOUT_NAMES: Final = ("flat", "xtcp", "xtcp2-1", "xtcp2-2")


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    parser = verbs.add_parser(
        "schema",
        help="the schema for protobuf, ClickHouse, Arrow, people",
        description="Prints the schema of the rows: .proto, ClickHouse DDL, Arrow types, the list of columns, the "
        "permanent field numbers. Nothing is asked and nothing is opened.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    kinds = parser.add_subparsers(title="forms", dest="kind", metavar="FORM", required=True)
    proto = kinds.add_parser("proto", help="the .proto of a layout of records", allow_abbrev=False)
    proto.add_argument("--layout", choices=LAYOUT_NAMES, default="flat", help="which (default: flat)")
    proto.set_defaults(handler=_proto)
    _add_clickhouse(kinds)
    for name, handler, text in (
        ("arrow", _arrow, "the columns of Parquet and Arrow, with their types"),
        ("columns", _columns, "the list of columns, as Markdown"),
        ("tags", _tags, "the permanent field numbers of the flat record"),
    ):
        kinds.add_parser(name, help=text, allow_abbrev=False).set_defaults(handler=handler)


def _add_clickhouse(kinds: Any) -> None:
    parser = kinds.add_parser(
        "clickhouse",
        help="DDL for ClickHouse",
        description="CREATE statements: a table of sockets, one of polls, a view with null for what was absent.",
        allow_abbrev=False,
    )
    parser.add_argument("--database", default="xtcp", metavar="NAME", help="database (default: xtcp)")
    parser.add_argument("--table", metavar="NAME", help="table of sockets (default: sockets)")
    parser.add_argument("--polls", metavar="NAME", help="table of polls (default: polls)")
    parser.add_argument(
        "--days", type=argument(_days), default=30, metavar="N", help="how long rows are kept (default: 30)"
    )
    parser.add_argument("--kafka", metavar="BROKERS", help="HOST:PORT[,…]: what reads a topic into the tables, too")
    parser.add_argument("--topic", metavar="TOPIC", help="the topic (default: xtcp)")
    parser.add_argument("--xtcp2", choices=("1", "2"), help="xtcp2's tables instead, of this schema_version")
    parser.set_defaults(handler=_clickhouse)


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{text!r} is no number of days")
    return int(text)


def _print(text: str) -> int:
    TextFile("-").write(text)
    return ExitCode.OK


def _proto(args: argparse.Namespace) -> int:
    from xtcp.records.layouts import LAYOUTS
    from xtcp.records.texts.proto_text import proto_text

    return _print(proto_text(LAYOUTS[args.layout]))


def _clickhouse(args: argparse.Namespace) -> int:
    from xtcp.records.layouts import LAYOUTS
    from xtcp.records.texts.clickhouse import ddl
    from xtcp.records.texts.clickhouse_xtcp2 import xtcp2_ddl
    from xtcp.schema.clickhouse import Names

    names = Names(args.database, args.table or "sockets", args.polls or "polls", args.days)
    topic = _topic(args)
    if args.xtcp2 is None:
        return _print(ddl(names, topic))
    if args.table is not None or args.polls is not None:
        option = "--table" if args.table is not None else "--polls"
        raise UsageError(
            f"{option} does not go with --xtcp2.", "xtcp2's tables have names of their own.", "Leave it out."
        )
    return _print(xtcp2_ddl(LAYOUTS[f"xtcp2-{args.xtcp2}"], names, topic))


def _topic(args: argparse.Namespace) -> Topic | None:
    from xtcp.records.texts.clickhouse_kafka import Topic

    if args.kafka is not None:
        return Topic(tuple(args.kafka.split(",")), args.topic or "xtcp")
    if args.topic is not None:
        raise UsageError("--topic needs --kafka.", "", "Say who has the topic: --kafka HOST:9092")
    return None


def _arrow(_: argparse.Namespace) -> int:
    from xtcp.encode.arrow import schema

    fields = list(schema())
    width = max(len(field.name) for field in fields)
    return _print("".join(f"{field.name.ljust(width)}  {field.type}\n" for field in fields))


def _columns(_: argparse.Namespace) -> int:
    from xtcp.schema.render import columns_md

    return _print(columns_md())


def _tags(_: argparse.Namespace) -> int:
    from xtcp.records.texts.render import tags_lock

    return _print(tags_lock())
