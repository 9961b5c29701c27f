"""`xtcp-replay verify`: do other decoders read the same in a capture?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from xtcp.cli.command import say
from xtcp.cli.output import warn_of
from xtcp.errors import ExitCode, XtcpError
from xtcp.sinks.text_file import TextFile
from xtcp.spelling import meant, visible
from xtcp_replay.cli.reading import add_reading_options, open_named

if TYPE_CHECKING:
    from xtcp_replay.judging.account import Account
    from xtcp_replay.judging.verify import Verdict
    from xtcp_replay.reading.opening import ReplaySource

_NAMES: Final = ("reference", "lockstep", "templates", "ss", "pyroute2", "tshark")
_SHOWN: Final = 20
_DESCRIPTION = """\
Decodes captures with the decoder that xtcp uses live, and compares every value with what others read in the same
bytes: the plain reference decoder, and, where they are installed, ss, pyroute2 and tshark. Each disagreement is listed
by socket and field. Those that are known faults of the others (docs/witnesses.md) are counted apart.
"""
_EXAMPLES = """\
examples:
  xtcp-replay verify nlmon.pcap
  xtcp-replay verify *.pcap --json                   one JSON object a file
  xtcp-replay verify nlmon.pcap --witness ss,tshark  these two alone, which must be installed
  xtcp-replay verify big.pcap.zst --limit 1000       other programs see 1000 sockets of each dump

exit codes:
  0  all agree                           1  a disagreement that nothing explains
  2  wrong usage                         3  damaged input, or nothing in it to compare
 69  a witness crashed or hung          78  a witness that was named is not installed
"""


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    parser = verbs.add_parser(
        "verify",
        help="compare with other decoders",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="captures, raw dumps, archives; - for standard input")
    parser.add_argument(
        "--witness",
        dest="witnesses",
        metavar="NAME,…",
        type=_names,
        help=f"ask only these: {', '.join(_NAMES)}",
    )
    parser.add_argument(
        "--limit", metavar="N", type=_limit, help="ask other programs about the first N sockets of each dump"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a file")
    parser.add_argument(
        "--all", action="store_true", help=f"list every disagreement, not the first {_SHOWN} of each witness"
    )
    add_reading_options(parser)
    parser.set_defaults(handler=_verify)


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in _NAMES:
            hint = meant(name, _NAMES)
            raise argparse.ArgumentTypeError(f"there is no witness {name!r}" + (f". {hint}" if hint else ""))
    return names


def _limit(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of sockets")
    return int(text)


def _verify(args: argparse.Namespace) -> int:
    from xtcp_replay.judging.verify import Witnesses, verify

    out = TextFile("-")
    witnesses = Witnesses(args.witnesses)
    codes: set[int] = set()
    rows = values = disagreements = 0
    for number, path in enumerate(args.files):
        source = open_named(args, path)
        try:
            verdict = verify(source, witnesses, limit=args.limit)
        except XtcpError as error:
            # The other files have their turn; one alone ends as every command does.
            if len(args.files) == 1:
                raise
            say(f"error: {error}")
            codes.add(error.exit_code)
            continue
        if len(args.files) > 1 and (source.damage or verdict.tally.quarantined or verdict.tally.damaged):
            say(f"{path}:")
        damaged = warn_of(verdict.tally, source.damage) != ExitCode.OK
        codes.update(_codes(path, verdict, damaged))
        if damaged and args.strict:
            say(f"warning: {path} is damaged; with --strict nothing of it is shown")
        elif args.json:
            out.write(json.dumps(_as_dict(args, path, source, verdict), ensure_ascii=False) + "\n")
        else:
            out.write("\n" * bool(number) + "\n".join(_lines(args, path, verdict)) + "\n")
        rows += verdict.rows
        values += verdict.values
        disagreements += verdict.disagreements
    if len(args.files) > 1:
        say(f"{len(args.files)} files: " + _summary(rows, values, disagreements))
    return ExitCode.FINDING if ExitCode.FINDING in codes else max(codes, default=ExitCode.OK)


def _codes(path: str, verdict: Verdict, damaged: bool) -> Iterator[int]:
    """The exit codes that a file gives reason to; says so where nobody could compare anything."""
    if verdict.disagreements:
        yield ExitCode.FINDING
    if verdict.failed:
        yield ExitCode.UNAVAILABLE
    if not verdict.sockets:
        what = "it has no socket in it" if not verdict.rows else "no witness could be asked about its sockets"
        say(f"warning: {path}: nothing was compared: {what}")
    if damaged or not verdict.sockets:
        yield ExitCode.DAMAGED


def _summary(rows: int, values: int, disagreements: int, where: str = "") -> str:
    found = f"{disagreements:,} disagreement{'s' if disagreements != 1 else ''}" if disagreements else "no disagreement"
    return f"{rows:,} sockets{where}, {values:,} values compared, {found}"


def _as_dict(args: argparse.Namespace, path: str, source: ReplaySource, verdict: Verdict) -> dict[str, object]:
    return {
        "file": path,
        "sockets": verdict.rows,
        "dumps": verdict.dumps,
        "limit": args.limit,
        "values": verdict.values,
        "disagreements": verdict.disagreements,
        "witnesses": [account.as_dict() for account in verdict.accounts],
        "damage": source.damage,
        "notes": source.notes,
    }


def _lines(args: argparse.Namespace, path: str, verdict: Verdict) -> Iterator[str]:
    """The result for people: a line, a table of the witnesses, remarks, disagreements."""
    name = "standard input" if path == "-" else visible(path)
    dumps = f" of {verdict.dumps} dumps" if verdict.dumps > 1 else ""
    yield f"{name}: " + _summary(verdict.rows, verdict.values, verdict.disagreements, dumps)
    yield from _table(verdict.accounts)
    for account in verdict.accounts:
        yield from _remarks(args, account)
    for account in verdict.accounts:
        shown = account.found if args.all else account.found[:_SHOWN]
        yield from (f"  {account.witness}: {found}" for found in shown)
        if account.count > len(shown):
            more = "" if args.all else "; --all lists them"
            yield f"  {account.witness}: {account.count - len(shown):,} more disagreements{more}"


def _table(accounts: list[Account]) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("witness", "version", "sockets", "values", "disagreements", "explained")]
    for account in accounts:
        if account.missing:
            rows.append((account.witness, "not installed", "-", "-", "-", "-"))
            continue
        counts = (account.sockets, account.values, account.count, account.explained.total())
        rows.append((account.witness, account.version or "-", *(f"{count:,}" for count in counts)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        yield "  " + "  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]), *cells])


def _remarks(args: argparse.Namespace, account: Account) -> Iterator[str]:
    """What to know of one witness' numbers."""
    from xtcp_replay.judging.known_faults import BEYOND_LIMIT, BY_NAME

    if account.failure:
        yield f"  {account.witness} failed: {account.failure}"
    for name, count in sorted(account.explained.items()):
        fault = BY_NAME[name]
        yield f"  {count:,} × {name}: {fault.what}: {fault.why}"
    if account.twins:
        yield f"  {account.witness} reads this host's byte order only: {account.twins:,} sockets through their twins"
    for why, count in sorted(account.unasked.items()):
        limit = f" of {args.limit:,} a dump" if why == BEYOND_LIMIT else ""
        yield f"  {account.witness} was not asked about {count:,} sockets: {why}{limit}"
    for note in account.notes:
        yield f"  {account.witness}: {note}"
