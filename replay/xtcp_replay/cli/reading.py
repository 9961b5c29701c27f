"""The options with which every verb reads its files, and the files as sources."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from xtcp.cli.command import say
from xtcp.cli.output import add_source_options, byte_order

if TYPE_CHECKING:
    from xtcp_replay.reading.opening import ReplaySource, Told


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """`--kernel-release`, `--byte-order`, `--strict`."""
    add_source_options(parser.add_argument_group("what a file does not say"))


def told(args: argparse.Namespace) -> Told:
    """What the options say about the files."""
    from xtcp_replay.reading.opening import Told

    return Told(order=byte_order(args.byte_order), release=args.kernel_release)


def open_named(args: argparse.Namespace, path: str) -> ReplaySource:
    """The file at `path` with what the options say about it."""
    from xtcp_replay.reading.opening import open_source

    return open_source(path, told(args))


def say_notes(source: ReplaySource) -> None:
    """The notes of a source that has been read, on standard error."""
    for note in source.notes:
        say(f"note: {note}")
