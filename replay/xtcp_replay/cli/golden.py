"""`xtcp-replay golden write|check`: the expected rows beside a capture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtcp.cli.command import Parser, say
from xtcp.errors import ExitCode, UsageError
from xtcp.sinks.text_file import TextFile
from xtcp_replay.cli.reading import add_reading_options

if TYPE_CHECKING:
    from xtcp_replay.judging.corpus import Report

_DESCRIPTION = """\
The golden file of a capture, FILE.golden.jsonl beside FILE, holds what it must decode to: a line that sums up what was
read, then a JSON object a row. Write it once, look at it, keep it with the capture; from then on check says what
changed.
"""
_EXAMPLES = """\
examples:
  xtcp-replay golden write odd.pcap                writes odd.pcap.golden.jsonl
  xtcp-replay golden check odd.pcap                decodes again with both decoders, lists each value that differs
  xtcp-replay golden check captures/               every capture in a folder; with a manifest.toml, all that it says
"""
_WRITE_EXAMPLES = """\
examples:
  xtcp-replay golden write odd.pcap
  xtcp-replay golden write --kernel-release 6.18.2 odd.pcap      what the file does not say is kept in the golden file
  xtcp-replay golden write --force odd.pcap                      in place of one that differs
"""
_CHECK_EXAMPLES = """\
examples:
  xtcp-replay golden check odd.pcap other.pcapng
  xtcp-replay golden check pcaps/                                a folder: all captures in it and below
  xtcp-replay golden check --golden odd.pcap.golden.jsonl converted.pcapng

exit codes:
  0  as golden                          1  something differs
  2  wrong usage, no such capture       3  a capture is damaged, or a golden file is missing or damaged
"""
_SHOWN = 20


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    options = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    parser = verbs.add_parser(
        "golden", help="write or check the expected rows of a capture", description=_DESCRIPTION, epilog=_EXAMPLES,
        **options,
    )  # fmt: skip
    both = parser.add_subparsers(
        title="commands", dest="what", metavar="write|check", required=True, parser_class=Parser
    )

    write = both.add_parser("write", help="write golden files", epilog=_WRITE_EXAMPLES, **options)
    write.add_argument("files", metavar="FILE", nargs="+", help="a capture, raw dump or archive, or a folder of them")
    write.add_argument("--force", action="store_true", help="replace golden files that differ")
    write.add_argument("-q", "--quiet", action="store_true", help="only warnings")
    add_reading_options(write)
    write.set_defaults(handler=_write)

    check = both.add_parser("check", help="check against golden files", epilog=_CHECK_EXAMPLES, **options)
    check.add_argument("files", metavar="FILE", nargs="+", help="a capture with its golden file, or a folder of them")
    check.add_argument("--golden", metavar="GOLDEN", help="the golden file of another capture that has the same rows")
    check.add_argument("--all", action="store_true", help=f"list every difference, not the first {_SHOWN} of a file")
    check.add_argument("-q", "--quiet", action="store_true", help="only what differs")
    check.set_defaults(handler=_check)


def _write(args: argparse.Namespace) -> int:
    from xtcp_replay.cli.reading import told
    from xtcp_replay.judging.corpus import captures_in
    from xtcp_replay.judging.golden import write_golden
    from xtcp_replay.judging.golden_file import is_twin

    code = ExitCode.OK
    for path in _named(args.files):
        for capture in [c for c in captures_in(path) if not is_twin(c)] if path.is_dir() else [path]:
            written = write_golden(capture, told(args, str(capture)), force=args.force, strict=args.strict)
            summary = written.summary
            if not args.quiet:
                done = "written" if written.changed else "there already, and the same"
                say(f"{written.path}: {done}, {_counted(summary.tally.rows, 'row')}")
            for text in summary.damage:
                say(f"warning: {capture}: {text}")
            if summary.is_damaged:
                say(f"warning: {capture} is not whole; its golden rows are those that can be read")
                code = ExitCode.DAMAGED
    return code


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _named(files: list[str]) -> list[Path]:
    if "-" in files:
        raise UsageError(
            "A golden file stands beside its capture; standard input has no place.", "", "Save it to a file."
        )
    return [Path(file) for file in files]


def _check(args: argparse.Namespace) -> int:
    """Checks all that is named, whatever is wrong with one of them; the worst of them is the exit code."""
    from xtcp_replay.judging.corpus import check_capture, check_folder

    paths = _named(args.files)
    if args.golden is not None and (len(paths) > 1 or paths[0].is_dir()):
        raise UsageError("--golden is for one capture.", "", "Name one FILE.")
    code, captures, rows = ExitCode.OK, 0, 0
    for path in paths:
        golden = None if args.golden is None else Path(args.golden)
        for report in check_folder(path) if path.is_dir() else [check_capture(path, golden)]:
            _tell(args, report)
            captures += 1
            rows += report.verdict.rows if report.verdict is not None else 0
            code = max(code, report.code)
    if not args.quiet:
        say(
            f"{_counted(captures, 'capture')}, {_counted(rows, 'row')}"
            + (", all as golden" if code == ExitCode.OK else "")
        )
    return code


def _tell(args: argparse.Namespace, report: Report) -> None:
    """What differs, on standard output; the rest on standard error."""
    out = TextFile("-")
    for problem in report.problems:
        out.write(f"{report.path}: {problem}\n")
    verdict = report.verdict
    if verdict is None:
        return
    shown = verdict.differences if args.all else verdict.differences[:_SHOWN]
    for difference in shown:
        out.write(f"{report.path}: {difference}\n")
    out.flush()
    if verdict.count > len(shown):
        say(
            f"{report.path}: {verdict.count - len(shown):,} more differences"
            + ("" if args.all else "; --all lists them")
        )
    if any(difference.what == "sha256" for difference in verdict.differences):
        say(f"{report.path}: this is not the file that {verdict.golden} was written from: its hash is another")
    if not args.quiet and report.code == ExitCode.OK:
        say(f"{report.path}: {_counted(verdict.rows, 'row')} as golden")
