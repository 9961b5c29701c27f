"""Rows of a file: a source through the decoder to the output, with what the source and decode had to say.

Shared by `xtcp once --from` and `xtcp-replay decode`. Duplicates are removed only within a dump.
"""

from __future__ import annotations

import argparse

from xtcp.batch import Tally
from xtcp.cli.output import Output, say, warn_of
from xtcp.cli.selection import Selection
from xtcp.decode.decoder import Decoder
from xtcp.errors import DamagedInput
from xtcp.poll.unique import NEEDED_COLUMNS, Unique
from xtcp.schema.layout import size_of
from xtcp.schema.tcp_info import TCP_INFO
from xtcp.sources import Source


def write_source(args: argparse.Namespace, chosen: Selection, source: Source) -> int:
    """Decodes all of `source` and writes its rows; returns the exit code. Raises `DamagedInput` with `--strict`."""
    decoded = None if chosen.decoded is None else chosen.decoded | NEEDED_COLUMNS
    if args.strict:
        _insist(source, Decoder(decoded))
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
    for message in tally.errors:
        say(f"warning: the captured kernel answered with errno {message.errno} {message.text}".rstrip())
    return code


def _insist(source: Source, decoder: Decoder) -> None:
    """Reads everything once and raises at the first thing that is not whole."""
    for chunk in source.chunks():
        tally = decoder.decode(chunk).tally
        if tally.quarantined or tally.damaged:
            fault = tally.faults[0]
            raise DamagedInput(f"damaged: {fault.reason}, at offset {fault.offset} of dump {chunk.context.dump}")
    if source.damage:
        raise DamagedInput(source.damage[0], "", "Without --strict all whole messages before it are decoded.")
    source.damage.clear()


def _summary(tally: Tally, dumps: int, duplicates: int) -> None:
    parts = [f"{tally.rows - duplicates:,} sockets of {dumps} dump{'s' if dumps != 1 else ''}"]
    if duplicates:
        parts.append(f"{duplicates:,} duplicates removed")
    parts.append(f"{tally.messages:,} messages")
    if tally.unknown:
        parts.append("unknown attributes " + " ".join(f"{n}×{c:,}" for n, c in sorted(tally.unknown.items())))
    say(", ".join(parts))
    full = size_of(TCP_INFO, (7, 0))
    if tally.surplus[("2", full)] and full in tally.info_lengths:
        say(
            "note: tcpi_accecn_fail_mode, tcpi_accecn_opt_seen, tcpi_ecn_mode and tcpi_options2 are absent: 6.18 and "
            "7.0 lay them out differently and this file does not say its kernel; give --kernel-release"
        )
