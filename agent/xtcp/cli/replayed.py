"""Rows of files: sources through the decoder to the output, with what sources and decode had to say.

Shared by `xtcp once --from` and `xtcp-replay decode`. Duplicates are removed only within a dump.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from xtcp.batch import Batch, Tally
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


class RowFilter(Protocol):
    """Chooses rows: a batch to those of its rows that are wanted. `columns` must be decoded for it; `active`: it may
    leave rows out.
    """

    columns: frozenset[str]
    active: bool

    def __call__(self, batch: Batch, /) -> Batch:
        """The rows that are wanted."""
        ...


def write_source(args: argparse.Namespace, chosen: Selection, source: Source, path: str) -> int:
    """Decodes all of `source`, the file at `path`, and writes its rows; returns the exit code.

    Raises `DamagedInput` with `--strict`, `UsageError` where `path` is also to be written.
    """
    return write_sources(args, chosen, [(path, source)])


def write_sources(
    args: argparse.Namespace, chosen: Selection, inputs: Sequence[tuple[str, Source]], keep: RowFilter | None = None
) -> int:
    """The same for several files (path, source), one behind the other; of their rows those that `keep` lets pass.

    Of several files those that cannot be read are passed over, which is damage.
    """
    for path, _ in inputs:
        distinct_files(("the input", path), ("-o", args.output))
    decoded = None if chosen.decoded is None else chosen.decoded | NEEDED_COLUMNS | (keep.columns if keep else set())
    if args.strict:
        for path, source in inputs:
            insist(source, Decoder(decoded), path)
    rows = _Rows(keep)
    damage: list[str] = []
    with Output(args, chosen) as output:
        decoder = Decoder(decoded, md5_keys=args.md5_keys)
        for path, source in inputs:
            try:
                for batch in rows.of(source, decoder):
                    output.write(batch)
            except DamagedInput as error:
                if len(inputs) == 1:
                    raise
                damage.append(error.what)
            damage += source.damage if len(inputs) == 1 else [f"{path}: {text}" for text in source.damage]
        output.end()
    code = warn_of(rows.tally, damage)
    if not args.quiet:
        rows.summary()
        _note_two_layouts(rows.tally, chosen)
    for message in rows.tally.errors:
        say(f"warning: the captured kernel answered with errno {message.errno} {message.text}".rstrip())
    return code


class _Rows:
    """Batches of sources as they are to be written, and what they were before that."""

    def __init__(self, keep: RowFilter | None) -> None:
        self.tally = Tally()
        self._keep = keep
        self._written = self._duplicates = self._dumps = 0

    def of(self, source: Source, decoder: Decoder) -> Iterator[Batch]:
        """The rows of `source`, each socket once a dump, those that `keep` lets pass."""
        unique = Unique()
        current: int | None = None
        for chunk in source.chunks():
            if chunk.context.dump != current:
                yield from self._kept(unique.end())
                self._duplicates += unique.removed
                self._dumps += 1
                unique, current = Unique(), chunk.context.dump
            batch = decoder.decode(chunk)
            self.tally.add(batch.tally)
            yield from self._kept(unique.add(batch))
        yield from self._kept(unique.end())
        self._duplicates += unique.removed

    def _kept(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            kept = batch if self._keep is None else self._keep(batch)
            self._written += kept.rows
            if kept.rows:
                yield kept

    def summary(self) -> None:
        """Says what was written, and what was not."""
        tally = self.tally
        left_out = tally.rows - self._duplicates - self._written
        parts = [f"{self._written:,} sockets of {self._dumps:,} dump{'s' if self._dumps != 1 else ''}"]
        if left_out or (self._keep is not None and self._keep.active):
            parts.append(f"{left_out:,} filtered out")
        if self._duplicates:
            parts.append(f"{self._duplicates:,} duplicates removed")
        parts.append(f"{tally.messages:,} messages")
        if tally.unknown:
            parts.append("unknown attributes " + " ".join(f"{n}×{c:,}" for n, c in sorted(tally.unknown.items())))
        say(", ".join(parts))


def insist(source: Source, decoder: Decoder, path: str) -> None:
    """Reads all of `source`, the file at `path`, and raises `DamagedInput` at the first thing that is not whole."""
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
        text = source.damage[0]
        raise DamagedInput(text if text.startswith(path) else f"{path}: {text}", _STRICT, _LENIENT)
    source.damage.clear()


def _note_two_layouts(tally: Tally, chosen: Selection) -> None:
    """Says why the columns at the end of tcp_info are absent, where they were asked for."""
    full = size_of(TCP_INFO, (7, 0))
    absent = [name for name in _TWO_LAYOUTS if chosen.decoded is None or name in chosen.decoded]
    if absent and tally.surplus[("2", full)] and full in tally.info_lengths:
        say(
            f"note: absent: {', '.join(absent)}. 6.18 and 7.0 lay them out differently and the file does not name its "
            "kernel; give --kernel-release"
        )
