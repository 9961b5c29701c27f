"""`xtcp-replay decode`: the sockets in captures, as `xtcp once` would have written them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtcp.cli.command import say
from xtcp.cli.output import add_output_options, selection
from xtcp.errors import UsageError
from xtcp_replay.cli.filters import add_filter_options, filters
from xtcp_replay.cli.reading import add_reading_options, open_named

if TYPE_CHECKING:
    from xtcp_replay.reading.opening import ReplaySource

_EXAMPLES = """\
examples:
  xtcp-replay decode nlmon.pcap                         the sockets of all dumps in a capture, as a table
  xtcp-replay decode nlmon.pcapng --format json         one JSON object a line, with the column dump
  xtcp-replay decode mon.pcap tue.pcap.zst dump.bin     several files; dumps are numbered on
  xtcp-replay decode day.pcapng --since +600 --states established --port 443 --prefix 2001:db8::/32,10.0.0.0/8
  xtcp-replay decode old.pcap --kernel-release 6.18.2   what a pcap does not say of its host
"""


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    parser = verbs.add_parser(
        "decode",
        help="the sockets in captures",
        description="Decodes captures of netlink messages (LINKTYPE_NETLINK), raw dumps and archives, dump by dump.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="captures, raw dumps, archives; - for standard input")
    add_output_options(parser)
    add_filter_options(parser)
    add_reading_options(parser)
    parser.set_defaults(handler=_decode)


def _decode(args: argparse.Namespace) -> int:
    from xtcp.cli.replayed import write_sources

    chosen = selection(args)
    keep = filters(args)
    inputs = open_all(args, args.files)
    code = write_sources(args, chosen, inputs, keep)
    if not args.quiet:
        if keep.untimed:
            say(f"note: of those filtered out {keep.untimed:,} have no time to be judged by")
        several = len(inputs) > 1
        for path, source in inputs:
            if several:
                say(f"{path}: {_numbers(source)}")
            for note in source.notes:
                say(f"note: {path}: {note}" if several else f"note: {note}")
    return code


def open_all(args: argparse.Namespace, paths: Sequence[str]) -> list[tuple[str, ReplaySource]]:
    """(path, source) of each, to be read in this order: dumps are numbered on from file to file.

    Raises where one is not there or may not be read, before anything of the others is.
    """
    from xtcp.sources.input_file import open_raw

    if list(paths).count("-") > 1:
        raise UsageError("standard input is named twice.", "It can be read once.", "Name it once.")
    opened: list[tuple[str, ReplaySource]] = []
    for path in paths:
        # A pipe would lose its writer.
        if path != "-" and not (Path(path).is_fifo() or Path(path).is_socket()):
            open_raw(path).close()
        source = open_named(args, path)
        if opened:
            source.contents.after = opened[-1][1].contents
        opened.append((path, source))
    return opened


def _numbers(source: ReplaySource) -> str:
    """Which dumps are a file's."""
    contents = source.contents
    first, last = contents.before + 1, contents.before + contents.numbered
    if first > last:
        return "no dump"
    return f"dump {first:,}" if first == last else f"dumps {first:,} to {last:,}"
