"""The options with which every verb reads its files, and the files as sources or as bytes."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from xtcp.amounts import size
from xtcp.cli.command import argument, say
from xtcp.cli.output import add_source_options, byte_order
from xtcp.errors import UsageError
from xtcp_replay.cli.progress import progress

if TYPE_CHECKING:
    from xtcp_replay.reading.findings import Findings
    from xtcp_replay.reading.input_bytes import InputBytes
    from xtcp_replay.reading.opening import ReplaySource, Told


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """`--kernel-release`, `--byte-order`, `--host`, `--strict`, `--max-bytes`, `--no-progress`."""
    group = parser.add_argument_group("reading")
    add_source_options(group)
    group.add_argument(
        "--host",
        dest="hosts",
        metavar="[FILE=]NAME",
        type=_host,
        action="append",
        default=[],
        help="name of the captured host, of one FILE of several or of all",
    )
    group.add_argument(
        "--max-bytes",
        metavar="SIZE",
        type=argument(_max_bytes),
        help="read no more of a compressed file than expands to SIZE, like 500M or 2T (default: 64G)",
    )
    group.add_argument("--no-progress", action="store_true", help="no progress bar on a terminal")


def _host(text: str) -> tuple[str | None, str]:
    """(file, name); a name has no `=`, a file may."""
    file, given, name = text.rpartition("=")
    if not name or (given and not file):
        raise argparse.ArgumentTypeError(f"{text!r} is neither NAME nor FILE=NAME")
    return (file if given else None), name


def _max_bytes(text: str) -> int:
    """A size by whose beginning a file can still be told."""
    from xtcp.sources.input_file import HEAD

    value = size(text)
    if value < HEAD:
        raise ValueError(f"{text!r} is too little to tell a file by; give {HEAD} or more")
    return value


def told(args: argparse.Namespace, path: str) -> Told:
    """What the options say about the file at `path`. Raises `UsageError` for a `--host` of a file that is not read."""
    from xtcp_replay.reading.told import MAX_BYTES, Told

    return Told(
        order=byte_order(args.byte_order),
        release=args.kernel_release,
        hostname=_hostname(args, path),
        max_bytes=MAX_BYTES if args.max_bytes is None else args.max_bytes,
    )


def _hostname(args: argparse.Namespace, path: str) -> str | None:
    """The last `--host` for the file at `path`, or for all; a file is known by its path or its name alone."""
    named = getattr(args, "files", None) or [path]
    known = {name for file in [*named, path] for name in (file, Path(file).name)}
    hostname: str | None = None
    for file, name in sorted(args.hosts, key=lambda host: host[0] is not None):
        if file is None or file in {path, Path(path).name}:
            hostname = name
        elif file not in known and hasattr(args, "files"):
            raise UsageError(f"--host {file}={name} names a file that is not read.", "", "Name it as it is given.")
    return hostname


def open_named(args: argparse.Namespace, path: str) -> ReplaySource:
    """The file at `path` with what the options say about it, and a progress bar for its reading."""
    from xtcp_replay.reading.opening import open_source

    return open_source(path, told(args, path), progress(args, path))


def open_named_bytes(args: argparse.Namespace, path: str, damage: Findings) -> AbstractContextManager[InputBytes]:
    """The content of the file at `path`, decompressed, with a progress bar for its reading."""
    from xtcp_replay.reading.opening import open_bytes

    return open_bytes(path, told(args, path), damage, progress(args, path))


def say_notes(source: ReplaySource) -> None:
    """The notes of a source that has been read, on standard error."""
    for note in source.notes:
        say(f"note: {note}")
