"""What `xtcp once` and `xtcp-replay decode` share: options for format and columns, writing rows, the exit code.

Standard output carries rows only; summary, notes and warnings go to standard error.
"""

from __future__ import annotations

import argparse
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from xtcp.cli.command import say
from xtcp.cli.selection import Selection, select
from xtcp.errors import ExitCode, UsageError
from xtcp.schema.columns import ext_of
from xtcp.sinks.text_file import TextFile

if TYPE_CHECKING:
    from xtcp.batch import Batch, Tally
    from xtcp.encode import Encoder
    from xtcp.schema.model import Order

FORMATS: Final = ("table", "json", "csv", "null")


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """`--format`, `--columns`, `--attributes`, `-o`, `--quiet`."""
    rows = parser.add_argument_group("rows")
    rows.add_argument(
        "--format",
        choices=FORMATS,
        default="table",
        help="table for people, json (an object a line), csv, null (decode, print the summary alone); default: table",
    )
    rows.add_argument("--columns", metavar="NAME,…", help="columns in this order (all of them: xtcp columns)")
    rows.add_argument(
        "--attributes", metavar="all|NAME,…", help="attributes by their INET_DIAG name: info, cong, skmeminfo …"
    )
    rows.add_argument(
        "-o", "--output", metavar="FILE", default="-", help="write rows to FILE instead of standard output"
    )
    rows.add_argument("--md5-keys", action="store_true", help="do not blank the keys in the column md5sig")
    rows.add_argument("-q", "--quiet", action="store_true", help="no summary, only warnings")


def add_source_options(group: argparse._ArgumentGroup) -> None:
    """What a file cannot say itself: `--kernel-release`, `--byte-order`; and `--strict`."""
    group.add_argument(
        "--kernel-release", metavar="RELEASE", type=_release, default="", help="uname -r of the captured host"
    )
    group.add_argument(
        "--byte-order", choices=("little", "big"), help="its byte order (default: found from the messages)"
    )
    group.add_argument("--strict", action="store_true", help="write no row at all of a damaged file")


def _release(text: str) -> str:
    from xtcp.schema.layout import kernel_release

    if text and kernel_release(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no kernel release; it is what uname -r prints, like 6.12.9")
    return text


def distinct_files(*named: tuple[str, str | None]) -> None:
    """Raises `UsageError` where two of the options (name, path) name one file: one would destroy the other."""
    seen: dict[str | tuple[int, int], str] = {}
    for option, path in named:
        if path is None or path == "-":
            continue
        # A file that is there is known by what it is: it may have two names.
        file: str | tuple[int, int]
        try:
            status = Path(path).stat()
            file = status.st_dev, status.st_ino
            if not stat.S_ISREG(status.st_mode):
                continue
        except OSError:
            file = os.path.realpath(path)
        other = seen.setdefault(file, option)
        if other != option:
            raise UsageError(
                f"{other} and {option} name the same file, {path}.", "One would overwrite the other.", "Name two files."
            )


def terminal_width() -> int | None:
    """Columns of the terminal that standard output is; None where it is something else."""
    return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None


def byte_order(name: str | None) -> Order | None:
    """`--byte-order` as the schema writes it."""
    return None if name is None else "<" if name == "little" else ">"


def selection(args: argparse.Namespace) -> Selection:
    """The columns that the options ask for, and what must be decoded to show them. Raises `UsageError`."""
    from xtcp.encode import make_encoder

    chosen = select(args.columns, args.attributes)
    if args.format == "null":
        return chosen
    shown = None if args.format == "table" and args.columns is None else chosen.shown
    reads = make_encoder(args.format, shown).reads
    if reads is None:
        return chosen
    return Selection(shown, reads, ext_of(reads) if args.attributes is None else chosen.ext)


class Output:
    """Rows as text to `args.output`; a context manager that closes the file."""

    def __init__(self, args: argparse.Namespace, chosen: Selection) -> None:
        from xtcp.encode import make_encoder

        self._file: TextFile | None = None
        self._encoder: Encoder | None = None
        if args.format == "null":
            if args.output != "-":
                raise UsageError(
                    "--format null writes no rows, so there is nothing for -o", "", "Leave one of them out."
                )
            return
        self._file = TextFile(args.output)
        width = terminal_width() if args.output == "-" else None
        self._encoder = make_encoder(args.format, chosen.shown, width)
        self._file.write(self._encoder.begin())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, batch: Batch) -> None:
        """The rows of `batch`."""
        if self._encoder is not None and self._file is not None:
            for text in self._encoder.encode(batch):
                self._file.write(text)

    def end(self) -> None:
        """What the format puts behind the last row."""
        if self._encoder is not None and self._file is not None:
            self._file.write(self._encoder.end())
            self._file.flush()


def warn_of(tally: Tally, damage: list[str]) -> ExitCode:
    """Says what of the input could not be decoded; the exit code that follows from it."""
    for text in damage:
        say(f"warning: {text}")
    for fault in tally.faults[:5]:
        say(f"warning: {fault.length} bytes set aside at offset {fault.offset} of their chunk: {fault.reason}")
    counts = [f"{tally.quarantined:,} quarantined"] * bool(tally.quarantined)
    counts += [f"{tally.damaged:,} kept up to a damaged attribute"] * bool(tally.damaged)
    if counts:
        more = ", the first 5 are shown" if len(tally.faults) > 5 else ""
        say(f"warning: not all messages are whole: {', '.join(counts)}{more}")
    if damage or tally.quarantined or tally.damaged:
        return ExitCode.DAMAGED
    return ExitCode.OK
