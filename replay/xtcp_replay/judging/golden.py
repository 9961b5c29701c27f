"""Writing and checking golden files: what a capture decodes to now, against what it decoded to when it was judged.

Both decoders are held to the golden rows, the vectorised and the reference one, each in a pass of its own. Rows are
compared as they stream by; those that find no partner at once are held back by (dump, cookie), `HELD` at most. So
memory does not grow with the file.
"""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from xtcp.batch import Batch
from xtcp.chunk import Chunk
from xtcp.decode.decoder import Decoder
from xtcp.encode import make_encoder
from xtcp.errors import DamagedInput, UsageError
from xtcp.netlink.numbers import NLM_F_MULTI
from xtcp.sinks.capture_file import capture_error
from xtcp_replay.judging.golden_file import (
    PLAIN_LIMIT,
    Fields,
    GoldenFile,
    Summary,
    golden_path,
    is_twin,
    original_of,
    packed_path,
    sha256_of,
    told_by,
)
from xtcp_replay.judging.pairing import Pairing
from xtcp_replay.judging.plain_rows import decode_plainly
from xtcp_replay.reading.opening import ReplaySource, Told, open_source

HELD: Final = 4096
# Differences are counted without end, kept up to this many a decoder.
KEPT: Final = 1000

_ABSENT: Final = "absent"
_OURS, _GOLDEN = 0, 1
_WHOLE: Final = "the whole file"
# Of the first line: what is said about the file and not about its rows, and what a twin has otherwise.
_NOT_COMPARED: Final = frozenset({"golden", "capture", "bytes", "told"})
_NOT_OF_A_TWIN: Final = frozenset({"sha256", "byte_orders", "damage", "notes"})

NOTHING_TOLD: Final = Told()

Decode = Callable[[Chunk], Batch]
# A fresh one of each, with what it is called.
DECODERS: Final[dict[str, Callable[[], Decode]]] = {
    "the vectorised decoder": lambda: Decoder().decode,
    "the reference decoder": lambda: decode_plainly,
}


@dataclass(frozen=True)
class Difference:
    """One value, as JSON or `absent`: `ours` now, `golden` in the golden file, of the column `what` of a socket.

    A row that only one side has is a difference of `what` "row". `by` names the decoders that see it.
    """

    where: str
    what: str
    ours: str
    golden: str
    by: tuple[str, ...] = ()

    def __str__(self) -> str:
        by = "" if len(self.by) == len(DECODERS) else f" by {' and '.join(self.by)}"
        return f"{self.where}: {self.what} is {self.ours}{by}, golden {self.golden}"


@dataclass(frozen=True)
class Verdict:
    """What checking one capture found: `count` differences, of which `differences` are kept; and what the capture
    was read as.
    """

    capture: Path
    golden: Path
    count: int
    differences: tuple[Difference, ...]
    rows: int
    byte_orders: tuple[str, ...]
    releases: tuple[str, ...]
    damaged: bool


# --- writing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """A golden file: where it stands, whether anything changed, and what was read of the capture."""

    path: Path
    changed: bool
    summary: Summary


def write_golden(capture: Path, told: Told = NOTHING_TOLD, *, force: bool = False, strict: bool = False) -> Written:
    """Writes the golden file of `capture`.

    Raises `UsageError` where there is one that differs and `force` is not given, and for a twin; `DamagedInput` where
    nothing can be read, or with `strict` not all.
    """
    if is_twin(capture):
        raise UsageError(
            f"{capture} is a twin: its golden rows are those of {original_of(capture)}.",
            "",
            "Write that one's.",
        )
    summary = Summary(capture=capture.name, sha256=sha256_of(capture), bytes=capture.stat().st_size, told=told)
    there = golden_path(capture)
    try:
        with tempfile.TemporaryFile() as rows, tempfile.TemporaryDirectory(dir=capture.parent, prefix=".") as folder:
            rows.writelines(_lines(capture, told, Decoder().decode, summary))
            if strict and summary.is_damaged:
                raise DamagedInput(
                    f"{capture} is damaged: {' '.join(summary.damage) or 'messages in it are not whole'}",
                    "With --strict no golden rows of a damaged file are written.",
                    "Leave --strict out to write those of everything that is whole.",
                )
            made = Path(folder) / "plain"
            _write(made, summary, rows)
            return Written(*_put(made, there, force=force), summary)
    except OSError as error:
        raise capture_error(str(there), error) from error


def _write(made: Path, summary: Summary, rows: BinaryIO) -> None:
    rows.seek(0)
    with made.open("wb") as file:
        file.write(json.dumps(summary.as_dict()).encode() + b"\n")
        shutil.copyfileobj(rows, file)


def _put(made: Path, there: Path, *, force: bool) -> tuple[Path, bool]:
    """Puts the golden file `made` in the place of `there`, compressed where it is large."""
    plain = there.with_name(there.name.removesuffix(".gz"))
    target = packed_path(plain) if made.stat().st_size > PLAIN_LIMIT else plain
    if there.exists():
        if target == there and _same_text(made, there):
            return there, False
        if not force:
            raise UsageError(
                f"{there} is there and differs from what the capture decodes to now.",
                "",
                "See how: xtcp-replay golden check FILE. To write it anew: --force",
            )
    if target != plain:
        made = _packed(made)
    made.chmod(0o644)
    made.replace(target)
    if target != there:
        there.unlink(missing_ok=True)
    return target, True


def _packed(made: Path) -> Path:
    """A gzip of `made` beside it; without name and time, so always the same."""
    packed = made.with_name("packed")
    with made.open("rb") as plain, packed.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        shutil.copyfileobj(plain, file)
    return packed


def _same_text(one: Path, other: Path) -> bool:
    try:
        a, b = GoldenFile(one), GoldenFile(other)
        return a.head == b.head and all(x[1] == y[1] for x, y in zip(a.rows(), b.rows(), strict=True))
    except (DamagedInput, ValueError):
        return False


# --- checking ------------------------------------------------------------------------------------------------------


def check_golden(capture: Path, golden: Path | None = None) -> Verdict:
    """Decodes `capture` twice and compares with its golden file, or with another one named.

    Raises `DamagedInput` where the golden file is missing or damaged, or nothing of the capture can be read;
    `UsageError` where there is no capture.
    """
    sha256 = sha256_of(capture)
    file = GoldenFile(golden or golden_path(capture))
    twin = is_twin(capture) or golden not in {None, golden_path(capture)}
    # Rows that came twice differ twice, in the same words.
    found: dict[Difference, set[str]] = {}
    count = 0
    summary = Summary()
    for name, decoder in DECODERS.items():
        summary = Summary(capture=capture.name, sha256=sha256, bytes=capture.stat().st_size)
        comparison = _Comparison(file, summary, twin=twin)
        comparison.run(capture, decoder())
        count = max(count, comparison.count)
        for difference in comparison.found:
            found.setdefault(difference, set()).add(name)
    return Verdict(
        capture=capture,
        golden=file.path,
        count=max(count, len(found)),
        differences=tuple(replace(d, by=tuple(n for n in DECODERS if n in by)) for d, by in found.items()),
        rows=summary.tally.rows,
        byte_orders=tuple(summary.byte_orders),
        releases=tuple(summary.releases),
        damaged=summary.is_damaged,
    )


class _Comparison:
    """One decoder's rows against a golden file's."""

    def __init__(self, file: GoldenFile, summary: Summary, *, twin: bool) -> None:
        self.found: list[Difference] = []
        self.count = 0
        self._file = file
        self._summary = summary
        self._twin = twin

    def run(self, capture: Path, decode: Decode) -> None:
        told = told_by(self._file.head)
        if self._twin:
            told = replace(told, order=None)
        pairing = Pairing(self._compare_rows)
        golden = self._file.rows()
        gave_up = False
        for step, line in enumerate(_lines(capture, told, decode, self._summary)):
            number, expected = next(golden, (0, b""))
            if line == expected or gave_up:
                continue
            if expected:
                pairing.add(_GOLDEN, step, self._file.parsed(number, expected))
            pairing.add(_OURS, step, json.loads(line))
            gave_up = pairing.held > HELD
        for number, expected in golden:
            if not gave_up:
                pairing.add(_GOLDEN, -number, self._file.parsed(number, expected))
                gave_up = pairing.held > HELD
        if gave_up:
            self._differ(_WHOLE, "rows", f"others or in another order, more than {HELD:,}", "as they came then")
        elif pairing.reordered and not pairing.held:
            self._differ(_WHOLE, "order of rows", "another", "as they came then")
        else:
            for row in pairing.alone(_OURS):
                self._differ(_socket(row), "the row", "there", _ABSENT)
            for row in pairing.alone(_GOLDEN):
                self._differ(_socket(row), "the row", _ABSENT, "there")
        self._compare_heads()

    def _compare_rows(self, ours: Fields, golden: Fields) -> None:
        for column in dict.fromkeys((*golden, *ours)):
            self._compare(_socket(golden), column, ours, golden)

    def _compare_heads(self) -> None:
        ours, golden = json.loads(json.dumps(self._summary.as_dict())), self._file.head
        for name in dict.fromkeys((*golden, *ours)):
            if name not in _NOT_COMPARED and not (self._twin and name in _NOT_OF_A_TWIN):
                self._compare(_WHOLE, name, ours, golden)

    def _compare(self, where: str, what: str, ours: Fields, golden: Fields) -> None:
        # As text: 1, 1.0 and true are equal, and not the same.
        now, then = (json.dumps(side[what]) if what in side else _ABSENT for side in (ours, golden))
        if now != then:
            self._differ(where, what, now, then)

    def _differ(self, where: str, what: str, ours: str, golden: str) -> None:
        self.count += 1
        if len(self.found) < KEPT:
            self.found.append(Difference(where, what, ours, golden))


def _socket(row: Fields) -> str:
    ends = " → ".join(f"{row.get(f'idiag_{end}')}:{row.get(f'idiag_{end[0]}port')}" for end in ("src", "dst"))
    return f"dump {row.get('dump')}, {ends}, cookie {row.get('idiag_cookie')}"


# --- both ----------------------------------------------------------------------------------------------------------


def _lines(capture: Path, told: Told, decode: Decode, summary: Summary) -> Iterator[bytes]:
    """The line of each row of the capture; adds up `summary`, which is complete at the end."""
    source = open_source(str(capture), told)
    encoder = make_encoder("json")
    for chunk in source.chunks():
        batch = decode(chunk)
        summary.add(batch, single=_is_single(chunk))
        for text in encoder.encode(batch):
            yield from text.encode().splitlines(keepends=True)
    summary.damage, summary.notes = words_of(source, capture)


def _is_single(chunk: Chunk) -> bool:
    """Whether the first message says that it is no part of a dump."""
    head = chunk.data[chunk.starts[0] : chunk.ends[0]][:8].tobytes() if len(chunk.starts) else b""
    return len(head) == 8 and not struct.unpack_from(chunk.context.order + "H", head, 6)[0] & NLM_F_MULTI


def words_of(source: ReplaySource, capture: Path) -> tuple[list[str], list[str]]:
    """Damage and notes of a source that was read, the file named without its folder."""
    damage, notes = ([text.replace(str(capture), capture.name) for text in t] for t in (source.damage, source.notes))
    return damage, notes
