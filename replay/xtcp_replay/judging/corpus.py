"""A corpus: a folder of captures with a manifest, each with golden rows and a twin in the other byte order.

`manifest.toml` has a `[[capture]]` row for every capture in the folder and no other. `check_corpus` holds all of it:
hashes, numbers of rows, byte orders and kernels as the manifest says, golden rows by both decoders, twins by the golden
rows of what they were made from. Folders below that have a manifest of their own are theirs to check.
"""

from __future__ import annotations

import datetime as dt
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final, get_type_hints

from xtcp.errors import DamagedInput, ExitCode, XtcpError
from xtcp.netlink.byte_order import detect
from xtcp.sources.input_file import COMPRESSED, HEAD, PCAP, PCAPNG, UNKNOWN, input_error, kind_of
from xtcp_replay.judging.golden import Verdict, check_golden
from xtcp_replay.judging.golden_file import golden_path, is_golden_name, is_twin, sha256_of
from xtcp_replay.reading.mlab_archive import is_archive

MANIFEST: Final = "manifest.toml"
TEXT: Final = ".txt.gz"
"""What a witness said of a compressed capture."""
HEADER: Final = "# see README.md; pcaps/add.py writes the rows\n"


@dataclass(frozen=True)
class Row:
    """A row of the manifest; `file`, `golden` and `made_from` are paths inside the corpus.

    `made_from` names the capture that a twin was made from, `damaged` says that not all of the file can be read.
    """

    file: str
    kernel: str
    architecture: str
    byte_order: str
    rows: int
    tool: str
    date: dt.date
    sha256: str
    shows: str
    golden: str
    made_from: str = ""
    damaged: bool = False

    def as_toml(self) -> str:
        """The row as it stands in the manifest."""
        lines = ["[[capture]]"]
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                text = str(value) if isinstance(value, dt.date) else json.dumps(value, ensure_ascii=False)
                lines.append(f"{field.name} = {text}")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Report:
    """What checking one file found: `problems` in words, and the verdict on its rows, None where there is none.

    `code` is the exit code that follows from it.
    """

    path: Path
    problems: tuple[str, ...]
    verdict: Verdict | None = None
    code: ExitCode = ExitCode.FINDING


def is_corpus(folder: Path) -> bool:
    """Whether the folder has a manifest."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> list[Row]:
    """The rows of the manifest, none where there is no manifest. Raises `DamagedInput` for one that is wrong."""
    path = folder / MANIFEST
    if not path.exists():
        return []
    known = get_type_hints(Row)
    rows = []
    try:
        for row in tomllib.loads(path.read_text(encoding="utf-8")).get("capture", []):
            strange = row.keys() - known.keys()
            if strange:
                raise _wrong(path, f"a row has {', '.join(sorted(strange))}, which no row has")
            wrong = [name for name, value in row.items() if type(value) is not known[name]]
            if wrong:
                raise _wrong(path, f"{', '.join(wrong)} of a row is not what it is in other rows")
            rows.append(Row(**row))
    except OSError as error:
        raise input_error(str(path), error) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _wrong(path, f"it is no TOML: {error}") from error
    except (TypeError, AttributeError) as error:
        raise _wrong(path, "a row lacks something that every row has") from error
    return rows


def write_manifest(folder: Path, rows: list[Row]) -> None:
    """Writes the manifest of `folder`, rows by their file, a twin behind what it was made from."""
    ordered = sorted(rows, key=lambda row: (row.made_from or row.file, row.made_from))
    (folder / MANIFEST).write_text(HEADER + "".join(f"\n{row.as_toml()}" for row in ordered), encoding="utf-8")


def captures_in(folder: Path) -> list[Path]:
    """The captures, dumps and archives in `folder` and below, told by their content; not those of other corpora.

    Raises `DamagedInput` where there is none.
    """
    found = [path for path in _files(folder) if _is_capture(path)]
    if not found:
        raise DamagedInput(f"{folder}: there is no capture in it.", "Usually another folder was meant.")
    return found


def check_capture(capture: Path, golden: Path | None = None, problems: tuple[str, ...] = ()) -> Report:
    """Checks one capture against its golden file, or another one named; `problems` are known already."""
    try:
        verdict = check_golden(capture, golden)
    except XtcpError as error:
        return Report(capture, (*problems, str(error)), None, error.exit_code)
    return Report(capture, problems, verdict, ExitCode.FINDING if problems or verdict.count else ExitCode.OK)


def check_folder(folder: Path) -> Iterator[Report]:
    """A report a capture of a folder, by its manifest where it has one. Raises `DamagedInput` where there is none."""
    if is_corpus(folder):
        yield from check_corpus(folder)
    else:
        yield from map(check_capture, captures_in(folder))


def check_corpus(folder: Path) -> Iterator[Report]:
    """A report a file, as they are checked. Raises `DamagedInput` where the corpus is empty or has no manifest."""
    rows = read_manifest(folder)
    if not rows:
        raise DamagedInput(
            f"{folder / MANIFEST} has no capture.",
            "An empty corpus guards nothing.",
            "Add one: python pcaps/add.py FILE",
        )
    by_file = {row.file: row for row in rows}
    for row in rows:
        yield _check_row(folder, row, by_file)
    there = {str(path.relative_to(folder)) for path in captures_in(folder)}
    goldens = {str(path.relative_to(folder)) for path in _files(folder) if is_golden_name(path)}
    for name in sorted(there - by_file.keys()):
        yield Report(folder / name, ("it has no row in the manifest",))
    for name in sorted(goldens - {row.golden for row in rows}):
        yield Report(folder / name, ("it is the golden file of no capture in the manifest",))
    if len(by_file) < len(rows):
        yield Report(folder / MANIFEST, ("a capture has two rows",))


def _check_row(folder: Path, row: Row, rows: dict[str, Row]) -> Report:
    capture = folder / row.file
    if not capture.is_file():
        return Report(capture, ("it is in the manifest and not in the folder",), None, ExitCode.DAMAGED)
    problems = []
    golden = str(golden_path(capture).relative_to(folder))
    if row.golden != golden:
        problems.append(f"its golden file is {golden}, the manifest says {row.golden}")
    if sha256_of(capture) != row.sha256:
        problems.append("it is not the file of the manifest: its sha256 is another")
    if is_twin(capture) != bool(row.made_from):
        problems.append("twins stand in a folder named twin, and their row says what they were made from")
    if row.made_from:
        problems += _check_twin(row, rows.get(row.made_from))
    report = check_capture(capture, problems=tuple(problems))
    more = tuple(_compare(row, report.verdict)) if report.verdict is not None else ()
    code = report.code or (ExitCode.FINDING if more else ExitCode.OK)
    return replace(report, problems=(*report.problems, *more), code=code)


def _compare(row: Row, verdict: Verdict) -> Iterator[str]:
    for what, said, found in (
        ("rows", str(row.rows), (str(verdict.rows),)),
        ("byte order", row.byte_order, verdict.byte_orders),
        ("kernel", row.kernel, verdict.releases),
    ):
        if found != (said,):
            yield f"{what}: the manifest says {said}, the file {', '.join(found) or 'nothing'}"
    if verdict.damaged != row.damaged:
        yield "it is damaged" if verdict.damaged else "the manifest says it is damaged, and it is whole"


def _check_twin(row: Row, original: Row | None) -> list[str]:
    if original is None:
        return [f"what it was made from, {row.made_from}, is not in the manifest"]
    same = {name: getattr(row, name) for name in ("kernel", "architecture", "rows", "golden", "damaged")}
    other = {"little": "big", "big": "little"}.get(original.byte_order, "")
    if replace(original, **same) != original or row.byte_order != other:
        return [f"it is no twin of {row.made_from} by the manifest: byte order, or what should be the same"]
    return []


def _files(folder: Path) -> list[Path]:
    """The files in `folder` and below, but in other corpora; names that begin with a dot are left out."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not is_corpus(path):
            found += _files(path)
        elif path.is_file():
            found.append(path)
    return found


def _is_capture(path: Path) -> bool:
    if is_golden_name(path) or path.name.endswith(TEXT):
        return False
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise input_error(str(path), error) from error
    kind = kind_of(head)
    if kind in {PCAP, PCAPNG} or kind in COMPRESSED:
        return True
    return is_archive(head) or (kind == UNKNOWN and detect(head) is not None)


def _wrong(path: Path, what: str) -> DamagedInput:
    return DamagedInput(f"{path}: {what}.", "Usually it was edited by hand.", "See the rows of the others.")
