"""Rows of a file: a source through the decoder to the output, with what the source and decode had to say.

Shared by `xtcp once --from` and `xtcp-replay decode`. Duplicates are removed only within a dump.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from xtcp.batch import Tally
from xtcp.cli.command import say
from xtcp.cli.output import Output, distinct_files, warn_of
from xtcp.cli.selection import Selection
from xtcp.decode.decoder import Decoder
from xtcp.errors import DamagedInput, UsageError
from xtcp.poll.unique import NEEDED_COLUMNS, Unique
from xtcp.schema.layout import size_of
from xtcp.schema.tcp_info import TCP_INFO
from xtcp.sources import Source

# Columns of the last four bytes of tcp_info, which kernels lay out in two ways.
_TWO_LAYOUTS = sorted({bits.name for tail in TCP_INFO.tails for field in tail.fields for bits in field.bits})
_STRICT = "With --strict nothing of a damaged file is written."
_LENIENT = "Leave --strict out to get everything that is whole."


def write_source(args: argparse.Namespace, chosen: Selection, source: Source, path: str) -> int:
    """Decodes all of `source`, the file at `path`, and writes its rows; returns the exit code.

    Raises `DamagedInput` with `--strict`, `UsageError` where `path` is also to be written.
    """
    distinct_files(("the input", path), ("-o", args.output))
    decoded = None if chosen.decoded is None else chosen.decoded | NEEDED_COLUMNS
    if args.strict:
        _insist(source, Decoder(decoded), path)
    tally = Tally()
    duplicates = dumps = 0
    with Output(args, chosen) as output:
        decoder = Decoder(decoded, md5_keys=args.md5_keys)
        unique = Unique()
        current: int | None = None
        for chunk in source.chunks():
            if chunk.context.dump != current:
                for batch in unique.end():
                    output.write(batch)
                duplicates += unique.removed
                dumps += 1
                unique, current = Unique(), chunk.context.dump
            decoded_batch = decoder.decode(chunk)
            tally.add(decoded_batch.tally)
            for batch in unique.add(decoded_batch):
                output.write(batch)
        for batch in unique.end():
            output.write(batch)
        duplicates += unique.removed
        output.end()
    code = warn_of(tally, source.damage)
    if not args.quiet:
        _summary(tally, dumps, duplicates)
        _note_two_layouts(tally, chosen)
    for message in tally.errors:
        say(f"warning: the captured kernel answered with errno {message.errno} {message.text}".rstrip())
    return code


def _insist(source: Source, decoder: Decoder, path: str) -> None:
    """Reads everything once and raises at the first thing that is not whole."""
    if path == "-" or (Path(path).exists() and not Path(path).is_file()):
        raise UsageError(
            "--strict reads its input twice, which a pipe cannot give.", "", "Save it to a file, and name that."
        )
    for chunk in source.chunks():
        tally = decoder.decode(chunk).tally
        if tally.quarantined or tally.damaged:
            fault = tally.faults[0]
            where = f"at offset {fault.offset} of a chunk of dump {chunk.context.dump}"
            raise DamagedInput(f"{path}: {fault.reason}, {where}.", _STRICT, _LENIENT)
    if source.damage:
        raise DamagedInput(source.damage[0], _STRICT, _LENIENT)
    source.damage.clear()


def _summary(tally: Tally, dumps: int, duplicates: int) -> None:
    parts = [f"{tally.rows - duplicates:,} sockets of {dumps} dump{'s' if dumps != 1 else ''}"]
    if duplicates:
        parts.append(f"{duplicates:,} duplicates removed")
    parts.append(f"{tally.messages:,} messages")
    if tally.unknown:
        parts.append("unknown attributes " + " ".join(f"{n}×{c:,}" for n, c in sorted(tally.unknown.items())))
    say(", ".join(parts))


def _note_two_layouts(tally: Tally, chosen: Selection) -> None:
    """Says why the columns at the end of tcp_info are absent, where they were asked for."""
    full = size_of(TCP_INFO, (7, 0))
    absent = [name for name in _TWO_LAYOUTS if chosen.decoded is None or name in chosen.decoded]
    if absent and tally.surplus[("2", full)] and full in tally.info_lengths:
        say(
            f"note: absent: {', '.join(absent)}. 6.18 and 7.0 lay them out differently and the file does not name its "
            "kernel; give --kernel-release"
        )
