"""Arguments to exit code: the verbs of `xtcp-replay`. Options, formats and exit codes are those of `xtcp`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from xtcp import __version__
from xtcp.cli.command import EXIT_CODES, Parser, run_command, say
from xtcp.cli.output import add_output_options, add_source_options, byte_order, selection

_EXAMPLES = """\
examples:
  xtcp-replay decode nlmon.pcap                         the sockets of all dumps in a capture, as a table
  xtcp-replay decode nlmon.pcapng --format json         one JSON object a line, with the column dump
  xtcp-replay decode old.pcap --kernel-release 6.18.2   what a pcap does not say of its host

a capture is made as root with
  modprobe nlmon; ip link add nlmon0 type nlmon; ip link set nlmon0 up
  tcpdump -i nlmon0 -s 0 -w FILE.pcap                   and, meanwhile: ss -tinmae
or without nlmon and without root with
  xtcp once --record FILE.pcapng
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line of `xtcp-replay`."""
    top = Parser(
        prog="xtcp-replay",
        description="Captures of the kernel's sock_diag messages, through the decoder that xtcp uses live.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"xtcp-replay {__version__}")
    verbs = top.add_subparsers(title="commands", dest="verb", metavar="COMMAND", parser_class=Parser)
    _add_decode(verbs)
    return top


def _add_decode(verbs: Any) -> None:
    decode = verbs.add_parser(
        "decode",
        help="the sockets in a capture",
        description="Decodes a pcap or pcapng of netlink messages (LINKTYPE_NETLINK), dump by dump.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    decode.add_argument("file", metavar="FILE", help="the capture; - for standard input")
    add_output_options(decode)
    add_source_options(decode.add_argument_group("what the capture does not say"))
    decode.set_defaults(handler=_decode)


def _decode(args: argparse.Namespace) -> int:
    from xtcp.cli.replayed import write_source
    from xtcp_replay.capture_file import CaptureFile

    chosen = selection(args)
    source = CaptureFile(args.file, order=byte_order(args.byte_order), release=args.kernel_release)
    code = write_source(args, chosen, source, args.file)
    if not args.quiet:
        for note in source.notes:
            say(f"note: {note}")
    return code


def run(argv: Sequence[str]) -> int:
    """Runs `xtcp-replay` with `argv` (without the program's name); returns the exit code."""
    return run_command(parser, argv)
