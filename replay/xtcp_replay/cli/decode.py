"""`xtcp-replay decode`: the sockets in a capture, as `xtcp once` would have written them."""

from __future__ import annotations

import argparse
from typing import Any

from xtcp.cli.output import add_output_options, selection
from xtcp_replay.cli.reading import add_reading_options, open_named, say_notes

_EXAMPLES = """\
examples:
  xtcp-replay decode nlmon.pcap                         the sockets of all dumps in a capture, as a table
  xtcp-replay decode nlmon.pcapng --format json         one JSON object a line, with the column dump
  xtcp-replay decode old.pcap --kernel-release 6.18.2   what a pcap does not say of its host
"""


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    parser = verbs.add_parser(
        "decode",
        help="the sockets in a capture",
        description="Decodes a pcap or pcapng of netlink messages (LINKTYPE_NETLINK), dump by dump.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="the capture; - for standard input")
    add_output_options(parser)
    add_reading_options(parser)
    parser.set_defaults(handler=_decode)


def _decode(args: argparse.Namespace) -> int:
    from xtcp.cli.replayed import write_source

    chosen = selection(args)
    source = open_named(args, args.file)
    code = write_source(args, chosen, source, args.file)
    if not args.quiet:
        say_notes(source)
    return code
