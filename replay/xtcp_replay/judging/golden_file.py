"""The golden file beside a capture: what it must decode to, as text, so that a diff in git can be read.

1. `FILE.golden.jsonl` stands beside FILE: a line that sums up what was read (`Summary`), then a line a row, as
   `decode --format json` writes it, in the order of the file, rows that come twice twice. Keys of MD5SIG are zeroed.
   Above `PLAIN_LIMIT` bytes it is `FILE.golden.jsonl.gz`.
2. The same capture gives the same bytes on every host.
3. A capture in a folder `twin` is the one of its name in the folder above, in the other byte order: it has that
   one's golden file.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from xtcp.batch import Batch, Tally
from xtcp.errors import DamagedInput
from xtcp.schema.model import Order
from xtcp.sources.input_file import input_error
from xtcp_replay.reading.opening import Told

SUFFIX: Final = ".golden.jsonl"
TWIN: Final = "twin"
FORMAT: Final = 1
PLAIN_LIMIT: Final = 1 << 20
LONGEST_LINE: Final = 8 << 20

ORDER_NAMES: Final[dict[Order, str]] = {"<": "little", ">": "big"}
_ORDERS: Final[dict[str, Order]] = {name: order for order, name in ORDER_NAMES.items()}
_BEGIN: Final = b'{"golden":'
_WRITE_AGAIN: Final = "Write it again: xtcp-replay golden write --force FILE, and look at its diff."

Fields = dict[str, Any]


@dataclass
class Summary:
    """What was read of a capture, added up batch by batch; `as_dict` is the golden file's first line.

    `dumps` has by number the rows and whether the dump is complete. `words` are damage and notes of the source.
    """

    capture: str = ""
    sha256: str = ""
    bytes: int = 0
    told: Told = field(default_factory=Told)
    byte_orders: list[str] = field(default_factory=list)
    releases: list[str] = field(default_factory=list)
    dumps: dict[int, Fields] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    faults: Counter[str] = field(default_factory=Counter)
    damage: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, batch: Batch, *, single: bool) -> None:
        """One more batch; `single`: its messages are no part of a dump, so no NLMSG_DONE is to come."""
        context, tally = batch.context, batch.tally
        self.tally.add(tally)
        self.faults.update(fault.reason for fault in tally.faults)
        _append_new(self.byte_orders, ORDER_NAMES[context.order])
        _append_new(self.releases, context.release)
        dump = self.dumps.setdefault(context.dump or 0, {"dump": context.dump or 0, "rows": 0, "complete": False})
        dump["rows"] += batch.rows
        dump["complete"] |= single or tally.done is not None or bool(tally.errors)

    @property
    def is_damaged(self) -> bool:
        """Whether anything of the capture could not be read."""
        return bool(self.damage or self.tally.quarantined or self.tally.damaged)

    def as_dict(self) -> Fields:
        """The first line; what is empty is there too, so that a change is one word in a diff."""
        tally = self.tally
        told = {
            "byte_order": ORDER_NAMES[self.told.order] if self.told.order else None,
            "kernel_release": self.told.release or None,
            "hostname": self.told.hostname,
            "netns": self.told.netns,
        }
        return {
            "golden": FORMAT,
            "capture": self.capture,
            "sha256": self.sha256,
            "bytes": self.bytes,
            "told": {name: value for name, value in told.items() if value is not None},
            "byte_orders": self.byte_orders,
            "kernel_releases": self.releases,
            "dumps": list(self.dumps.values()),
            "rows": tally.rows,
            "messages": tally.messages,
            "control": dict(sorted(tally.control.items())),
            "quarantined": tally.quarantined,
            "damaged": tally.damaged,
            "repeated_attributes": tally.repeated,
            "unknown_attributes": dict(sorted(tally.unknown.items())),
            "longer_than_known": {f"{path}:{length}": n for (path, length), n in sorted(tally.surplus.items())},
            "tcp_info_lengths": {str(length): n for length, n in sorted(tally.info_lengths.items())},
            "faults": dict(sorted(self.faults.items())),
            "kernel_errors": [error.errno for error in tally.errors],
            "damage": self.damage,
            "notes": self.notes,
        }


def _append_new(values: list[str], value: str) -> None:
    if value and value not in values:
        values.append(value)


def told_by(head: Fields) -> Told:
    """What was said about the capture when its golden file was written."""
    told = head["told"]
    return Told(
        order=_ORDERS.get(told.get("byte_order", "")),
        release=told.get("kernel_release", ""),
        hostname=told.get("hostname"),
        netns=told.get("netns"),
    )


def is_twin(capture: Path) -> bool:
    """Whether `capture` has the golden file of the capture of its name in the folder above."""
    return capture.absolute().parent.name == TWIN and original_of(capture).exists()


def original_of(twin: Path) -> Path:
    """The capture that has the golden file of a twin."""
    folder = twin.parent
    return (folder.parent if folder.name == TWIN else folder / "..") / twin.name


def golden_path(capture: Path) -> Path:
    """Where the golden file of `capture` stands, or would: the compressed one only where that is there."""
    beside = original_of(capture) if is_twin(capture) else capture
    plain = beside.with_name(capture.name + SUFFIX)
    packed = packed_path(plain)
    return packed if packed.exists() and not plain.exists() else plain


def packed_path(plain: Path) -> Path:
    """The name of a golden file too large for plain text."""
    return plain.with_name(plain.name + ".gz")


def is_golden_name(path: Path) -> bool:
    """Whether a name is that of a golden file."""
    return path.name.removesuffix(".gz").endswith(SUFFIX)


def is_golden(path: str) -> bool:
    """Whether the file at `path` begins as a golden file does; never for standard input, pipes and folders."""
    if not Path(path).is_file():
        return False
    try:
        with _open_text(Path(path)) as file:
            return file.read(len(_BEGIN)) == _BEGIN
    except (OSError, EOFError, zlib.error):
        return False


@contextmanager
def _open_text(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not packed:
            yield file
        else:
            with gzip.GzipFile(fileobj=file) as text:
                yield text


class GoldenFile:
    """A golden file for reading: `head` is its first line. `rows` gives (line number, line) one by one.

    Raises `DamagedInput` where the file is missing, cut, or no golden file; `UsageError` and others of `open`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise DamagedInput(
                f"{path} is not there.",
                "Usually the golden rows of this capture were never written, or the capture was renamed.",
                "Write them, and look at them: xtcp-replay golden write FILE",
            )
        first = next(self._lines(), (1, b""))[1]
        if not first.startswith(_BEGIN):
            raise self.damaged("its first line is not that of a golden file")
        self.head = self.parsed(1, first)
        if self.head.get("golden") != FORMAT:
            raise self.damaged(f"its format is {self.head.get('golden')}, and only {FORMAT} is known")
        if not _is_head(self.head):
            raise self.damaged("its first line lacks what must stand there")

    def rows(self) -> Iterator[tuple[int, bytes]]:
        """Each row's line number and text. Raises `DamagedInput` where there are not as many as promised."""
        promised, count = self.head["rows"], 0
        for number, line in self._lines():
            if number == 1:
                continue
            count += 1
            yield number, line
        if count != promised:
            which = "it is cut" if count < promised else "it has too many"
            raise self.damaged(f"{which}: {count:,} rows are there, its first line says {promised:,}")

    def parsed(self, number: int, line: bytes) -> Fields:
        """The object of a line."""
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise self.damaged(f"line {number} is no JSON object")
        return value

    def damaged(self, what: str) -> DamagedInput:
        """The refusal of this file."""
        return DamagedInput(
            f"{self.path}: {what}.", "Usually it was edited by hand, or a merge or a copy went wrong.", _WRITE_AGAIN
        )

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        number = 0
        try:
            with _open_text(self.path) as file:
                while line := file.readline(LONGEST_LINE):
                    number += 1
                    if not line.endswith(b"\n"):
                        raise self.damaged(f"line {number} has no end")
                    yield number, line
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise self.damaged(f"its gzip is cut or damaged behind line {number}") from error
        except OSError as error:
            raise input_error(str(self.path), error) from error


def _is_head(head: Fields) -> bool:
    kinds = {"rows": int, "sha256": str, "told": dict, "dumps": list, "capture": str}
    right = all(isinstance(head.get(name), kind) for name, kind in kinds.items())
    return right and all(isinstance(value, str) for value in head["told"].values())


def sha256_of(path: Path) -> str:
    """The hash of a file, read in pieces. Raises as `open_input`."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise input_error(str(path), error) from error
