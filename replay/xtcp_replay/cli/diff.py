"""`xtcp-replay diff`: the sockets of two files compared."""

from __future__ import annotations

import argparse
import fnmatch
from typing import TYPE_CHECKING, Any

from xtcp.cli.command import say
from xtcp.errors import DamagedInput, ExitCode, UsageError
from xtcp_replay.cli.filters import dump_ranges
from xtcp_replay.cli.reading import add_reading_options, open_named

if TYPE_CHECKING:
    from xtcp_replay.judging.diff import Comparison
    from xtcp_replay.judging.snapshot import Places, Ranges, Snapshot

_DESCRIPTION = """\
Compares the sockets of two captures, raw dumps, archives or golden files, each a kind of its own. A socket is told by
its cookie, namespace and host. All dumps of a file are looked at; where a socket is in several, its last row counts.
Times and the numbers of polls and dumps are not compared, unless --columns names them.
"""
_EXAMPLES = """\
examples:
  xtcp-replay diff before.pcapng after.pcapng                       what came (+), went (-), changed (~)
  xtcp-replay diff a.pcap b.pcap --columns 'idiag_state,tcpi_*rtt'  only these columns
  xtcp-replay diff a.pcap b.pcap --ignore 'tcpi_last_*' --all       all but these, nothing cut
  xtcp-replay diff a.pcap a.pcap --dump-a 1,2 --dump-b 3,4          the first poll of a file and its second
  xtcp-replay diff a.pcap a.pcap.golden.jsonl --json                one JSON object a socket

exit codes, as of diff(1):
  0  no difference                      1  differences
  2  wrong usage                        3  damaged input; what is whole was compared
"""


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    parser = verbs.add_parser(
        "diff",
        help="what came, went and changed between two files",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("a", metavar="A", help="the older file; - for standard input (no golden file)")
    parser.add_argument("b", metavar="B", help="the newer one")
    what = parser.add_argument_group("what to compare")
    what.add_argument("--columns", metavar="NAME,…", help="these columns, or patterns (all of them: xtcp columns)")
    what.add_argument("--ignore", metavar="NAME,…", default="", help="not these columns, or patterns")
    what.add_argument(
        "--only", metavar="CHANGE,…", type=_changes, help="came, went, changed; the exit code is about these too"
    )
    what.add_argument(
        "--dump-a", metavar="N[-M],…", type=dump_ranges, help="dumps of A, like 1 or 1,3-4 (default: all)"
    )
    what.add_argument("--dump-b", metavar="N[-M],…", type=dump_ranges, help="dumps of B")
    how = parser.add_argument_group("output")
    how.add_argument("--json", action="store_true", help="one JSON object a socket, with all of its fields that differ")
    how.add_argument("--all", action="store_true", help="as text: every socket and every field")
    how.add_argument("-q", "--quiet", action="store_true", help="no summary, only warnings")
    add_reading_options(parser)
    parser.set_defaults(handler=_diff)


def _changes(text: str) -> tuple[str, ...]:
    known = ("came", "went", "changed")
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or not set(names) <= set(known):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(known)}")
    return tuple(name for name in known if name in names)


def _diff(args: argparse.Namespace) -> int:
    from xtcp.sinks.text_file import TextFile
    from xtcp_replay.judging.changes import CHANGES, FIELDS, SOCKETS, TextLines, json_lines, rows_of
    from xtcp_replay.judging.diff import compare
    from xtcp_replay.judging.snapshot import Places

    names = _columns(args.columns, args.ignore)
    if args.a == args.b == "-":
        raise UsageError("A and B are both standard input.", "It can be read once only.", "Save one of them to a file.")
    args.files = [args.a, args.b]  # what --host may name
    only = args.only or CHANGES
    places = Places()
    old, whole_a = _side(args, args.a, args.dump_a, names, places)
    new, whole_b = _side(args, args.b, args.dump_b, names, places)
    found = compare(old, new, places, names)
    out = TextFile("-")
    if args.json:
        pieces = json_lines(found, only, names)
    else:
        limit, most = (None, None) if args.all else (SOCKETS, FIELDS)
        pieces = TextLines(found, limit=limit, most=most, values=args.columns is not None).lines(only, names)
    for piece in pieces:
        out.write(piece)
    out.flush()
    if not args.quiet:
        cut = [] if args.json or args.all else [c for c in only if rows_of(found, c) > SOCKETS]
        _summary(args, found, [f"{rows_of(found, c):,} that {c}" for c in cut], SOCKETS)
    if not (whole_a and whole_b):
        return ExitCode.DAMAGED
    return ExitCode.FINDING if any(rows_of(found, change) for change in only) else ExitCode.OK


def _columns(chosen: str | None, ignored: str) -> list[str]:
    """The columns to compare, in the schema's order."""
    from xtcp.schema.columns import COLUMNS, CONTEXT_NAMES

    names = [column.name for column in COLUMNS if column.name != "idiag_cookie"]
    wanted = set(names) - CONTEXT_NAMES if chosen is None else _matching(chosen, names, "--columns")
    wanted -= _matching(ignored, names, "--ignore")
    if not wanted:
        raise UsageError("no column is left to compare", "", "All of them: xtcp columns")
    return [name for name in names if name in wanted]


def _matching(text: str, names: list[str], option: str) -> set[str]:
    from xtcp.spelling import meant

    found: set[str] = set()
    for pattern in filter(None, map(str.strip, text.split(","))):
        fitting = fnmatch.filter(names, pattern)
        if not fitting:
            raise UsageError(f"{option}: no column matches {pattern!r}", meant(pattern, names), "All: xtcp columns")
        found.update(fitting)
    return found


def _side(
    args: argparse.Namespace, path: str, dumps: Ranges | None, names: list[str], places: Places
) -> tuple[Snapshot, bool]:
    """The sockets of one file, and whether it is whole. Raises `DamagedInput` with `--strict` where it is not."""
    from pathlib import Path

    from xtcp.cli.output import warn_of
    from xtcp_replay.judging.golden_file import GoldenFile, is_golden
    from xtcp_replay.judging.snapshot import Gatherer, gather_golden, gather_source

    gatherer = Gatherer(names, places)
    if is_golden(path):
        snapshot, whole = gather_golden(GoldenFile(Path(path)), gatherer, dumps), True
    else:
        source = open_named(args, path)
        snapshot = gather_source(source, gatherer, dumps)
        tally = snapshot.tally
        if args.strict and (source.damage or tally.quarantined or tally.damaged):
            what = source.damage[0] if source.damage else "messages in it are not whole."
            raise DamagedInput(f"{path}: {what}", "With --strict nothing of a damaged file is compared.")
        if source.damage or tally.quarantined or tally.damaged:
            say(f"{path}:")
        whole = warn_of(tally, source.damage) == ExitCode.OK
        if not args.quiet:
            for note in source.notes:
                say(f"note: {path}: {note}")
    if dumps is not None and not snapshot.dumps:
        raise UsageError(f"{path} has none of the dumps asked for.", "", f"See which it has: xtcp-replay info {path}")
    return snapshot, whole


def _summary(args: argparse.Namespace, found: Comparison, cut: list[str], shown: int) -> None:
    for path, side in ((f"A {args.a}", found.old), (f"B {args.b}", found.new)):
        replaced = f", {side.replaced:,} older rows of sockets that came again left out" if side.replaced else ""
        say(f"{path}: {side.rows:,} sockets of {side.dumps} dump{'s' if side.dumps != 1 else ''}{replaced}")
    changed = len(found.changed)
    moved = int(found.moved.sum())
    say(
        f"{len(found.came):,} came, {len(found.went):,} went, {changed:,} changed"
        + (f" ({moved:,} of them have other addresses)" if moved else "")
        + f", {found.same:,} the same"
    )
    if changed:
        most = sorted(((int(mask.sum()), name) for name, mask in found.fields.items()), key=lambda t: (-t[0], t[1]))
        more = f" and {len(most) - 5} more columns" if len(most) > 5 else ""
        say("changed most: " + ", ".join(f"{name} {count:,}" for count, name in most[:5]) + more)
    if cut:
        say(f"shown are the first {shown} of {' and of '.join(cut)}; --all shows every one")
    if found.ignored:
        say(f"note: only one of the files names its {' and '.join(found.ignored)}; sockets are told by the rest")
    if moved > found.shared // 2 and moved > 3:
        say(
            f"note: {moved:,} of {found.shared:,} cookies that both have belong to other addresses: usually the files "
            "are of two hosts, or of one before and after a boot"
        )
