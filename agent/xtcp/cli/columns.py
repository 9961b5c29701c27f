"""`xtcp columns`: the table of columns."""

from __future__ import annotations

import argparse
import fnmatch
import shutil
import sys
import textwrap
from typing import Any

from xtcp.errors import ExitCode, UsageError
from xtcp.schema.columns import BY_NAME, COLUMNS
from xtcp.sinks.text_file import TextFile
from xtcp.spelling import meant

_EXAMPLES = """\
examples:
  xtcp columns                                    all of them
  xtcp columns 'tcpi_*rtt*'                       those that a pattern fits
"""


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    parser = verbs.add_parser(
        "columns",
        help="every column with type, unit, since which kernel, meaning",
        description="The columns of every output, in their order.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("pattern", nargs="*", help="names, or patterns like 'tcpi_*' (default: all)")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """Prints the table; returns the exit code."""
    for pattern in args.pattern:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in BY_NAME):
            raise UsageError(f"no column matches {pattern!r}", meant(pattern, BY_NAME), "All of them: xtcp columns")
    found = [c for c in COLUMNS if not args.pattern or any(fnmatch.fnmatchcase(c.name, p) for p in args.pattern)]
    rows = [
        (c.name, c.kind.name if c.kind.name != "u32[2], low word first" else "u64", c.unit, c.since, c.meaning)
        for c in found
    ]
    heads = ("name", "type", "unit", "since", "meaning")
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(4)]
    out = TextFile("-")
    room = shutil.get_terminal_size((0, 0)).columns if sys.stdout.isatty() else 0
    left = sum(widths) + 2 * len(widths)
    for row in (heads, *rows):
        start = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + "  "
        first, *more = textwrap.wrap(row[4], room - left) if room - left >= 30 else [row[4]]
        out.write(f"{start}{first}\n" + "".join(f"{' ' * left}{line}\n" for line in more))
    return ExitCode.OK
