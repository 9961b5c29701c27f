"""`xtcp doctor`: what this host can and cannot do, from a real dump of it."""

from __future__ import annotations

import argparse
import json
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from xtcp.errors import ExitCode
from xtcp.sinks.text_file import TextFile

if TYPE_CHECKING:
    from xtcp.poll.examination import Examination

_WIDTH: Final = 100
_EXAMPLES = """\
examples:
  xtcp doctor                                     what works here, and what privileges would add
  xtcp doctor --json | jq .capabilities           the same for programs
"""


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    parser = verbs.add_parser(
        "doctor",
        help="kernel, attributes, capabilities and limits of this host",
        description="Looks at this host: kernel, attributes it sends, what privileges would add, limits.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="the same as one JSON object")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """Prints what was found; returns 0, or the exit code of what keeps a poll from working."""
    from xtcp.poll.examination import examine

    found = examine()
    TextFile("-").write((json.dumps(found.as_dict(), indent=1) if args.json else _text(found)) + "\n")
    if found.error is not None:
        raise found.error
    return ExitCode.OK


def _text(found: Examination) -> str:
    lines: list[str] = []
    for title, rows in found.sections():
        lines.append(title)
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            first, *more = wrap(value, _WIDTH - width - 4) or [""]
            lines += [f"  {name.ljust(width)}  {first}", *(f"  {'':{width}}  {line}" for line in more)]
        lines.append("")
    return "\n".join(lines[:-1])
