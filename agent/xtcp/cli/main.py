"""The command line of `xtcp`: its verbs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from xtcp import __version__
from xtcp.cli import collect, columns, doctor, once, query, schema, validate
from xtcp.cli import run as service
from xtcp.cli.command import EXIT_CODES, Parser, run_command

_EXAMPLES = """\
examples:
  xtcp run                                        the agent: poll on a schedule, keep the rows, serve metrics
  xtcp once                                       the sockets of this host, as a table
  xtcp once --format json -o sockets.jsonl        all that the kernel tells of each
  xtcp query                                      the rows that the agent has kept, by SQL
  xtcp doctor                                     what this host can and cannot do
  xtcp COMMAND --help                             options and more examples

"""


def parser() -> argparse.ArgumentParser:
    """The whole command line of `xtcp`."""
    top = Parser(
        prog="xtcp",
        description="Every TCP socket of this host: captured from the kernel's sock_diag, decoded, delivered.",
        epilog=_EXAMPLES + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"xtcp {__version__}")
    verbs = top.add_subparsers(title="commands", dest="verb", metavar="COMMAND", parser_class=Parser)
    for module in (service, once, query, collect, schema, validate, doctor, columns):
        module.add_parser(verbs)
    return top


def run(argv: Sequence[str]) -> int:
    """Runs `xtcp` with `argv` (without the program's name); returns the exit code."""
    return run_command(parser, argv)
