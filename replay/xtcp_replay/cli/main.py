"""Arguments to exit code: the verbs of `xtcp-replay`. Options, formats and exit codes are those of `xtcp`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from xtcp import __version__
from xtcp.cli.command import EXIT_CODES, Parser, run_command
from xtcp_replay.cli import convert, decode, diff, golden, info, record, scrub, send, show, verify

_VERBS = (info, decode, show, verify, golden, diff, send, scrub, convert, record)
_EXAMPLES = """\
from a host to a test, step by step (docs/replay.md):
  xtcp-replay record odd.pcapng --run ss -tinmae        there, as root; without root and nlmon: --via polls --count 2
  xtcp-replay info odd.pcapng                           what is in it; then decode, show
  xtcp-replay verify odd.pcapng                         do ss, pyroute2 and tshark read the same?
  xtcp-replay scrub odd.pcapng clean.pcapng             without what names the host
  xtcp-replay golden write clean.pcapng                 from now on: xtcp-replay golden check clean.pcapng

a capture by other means, as root
  modprobe nlmon; ip link add nlmon0 type nlmon; ip link set nlmon0 up
  tcpdump -i nlmon0 -s 0 -w FILE.pcap                   and, meanwhile: ss -tinmae

"""


def parser() -> argparse.ArgumentParser:
    """The whole command line of `xtcp-replay`."""
    top = Parser(
        prog="xtcp-replay",
        description="Captures of the kernel's sock_diag messages, through the decoder that xtcp uses live.",
        epilog=_EXAMPLES + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"xtcp-replay {__version__}")
    verbs = top.add_subparsers(title="commands", dest="verb", metavar="COMMAND", parser_class=Parser)
    for module in _VERBS:
        module.add_parser(verbs)
    return top


def run(argv: Sequence[str]) -> int:
    """Runs `xtcp-replay` with `argv` (without the program's name); returns the exit code."""
    return run_command(parser, argv)
