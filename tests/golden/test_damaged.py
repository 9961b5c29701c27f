"""pcaps/damaged/: of each file what is whole comes, what is not is told, and nothing is made up."""

from __future__ import annotations

import hashlib
import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.replay import make_damaged
from tests.replay.make_damaged import FOLDER, LARGEST, MANIFEST
from tests.replay.packed import zstandard
from tests.rows import Row, decoded, rows_of
from xtcp.errors import ExitCode
from xtcp_replay.cli.main import run
from xtcp_replay.reading.opening import open_source

FILES: list[dict[str, Any]] = tomllib.loads(MANIFEST.read_text(encoding="utf-8")).get("damaged", [])
# What a file says of a socket's dump, not of the socket; an archive has less of it, a pcap no kernel release.
ZSTD = b"\x28\xb5\x2f\xfd"
NOT_THE_SOCKETS = {"dump", "timestamp_ns", "hostname", "netns", "poll_id"}


def test_there_are_files() -> None:
    """Each with its row, none too large, none that nobody told of; a folder without any would guard nothing."""
    assert len(FILES) >= 40
    there = {path.name for path in FOLDER.iterdir()} - {MANIFEST.name}
    assert there == {file["file"] for file in FILES}
    assert all((FOLDER / name).stat().st_size <= LARGEST for name in there)


def test_they_are_what_makes_them() -> None:
    """`make_damaged.py` writes the same again; compressed bytes depend on the library, the rest on nothing."""
    made = make_damaged.make()
    assert [one.file for one in made] == [file["file"] for file in FILES]
    for one, file in zip(made, FILES, strict=True):
        content = (FOLDER / one.file).read_bytes()
        assert one.packed or one.content == content, one.file
        assert hashlib.sha256(content).hexdigest() == file["sha256"], one.file


@pytest.mark.parametrize("file", FILES, ids=[file["file"] for file in FILES])
def test_a_damaged_file(file: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Rows, exit code and words as the manifest has them; each row is as it was before, or is marked damaged."""
    path = str(readable(file))
    code = run(["decode", path, "--format", "json", "--kernel-release", "6.18.44"])
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert "Traceback" not in err
    assert (len(rows), code) == (file["rows"], file["exit_code"]), err
    for words in file["fault"]:
        assert words in err, err
    marked = [row for row in rows if "damaged" in row]
    assert bool(marked) is not file["rows_as_they_were"]
    known = originals(make_damaged.X86) + originals(file["made_from"])
    for row in rows:
        if row not in marked:
            assert {name: value for name, value in row.items() if name not in NOT_THE_SOCKETS} in known


@pytest.mark.parametrize("file", [f for f in FILES if f["exit_code"]], ids=lambda file: str(file["file"]))
def test_with_strict_nothing_of_it(file: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """`--strict`: no row, the same exit code."""
    assert run(["decode", str(readable(file)), "--format", "json", "--strict"]) == ExitCode.DAMAGED
    assert capsys.readouterr().out == ""


def readable(file: dict[str, Any]) -> Path:
    """Where it is; skips where what it is compressed with cannot be read."""
    path: Path = FOLDER / file["file"]
    if path.read_bytes().startswith(ZSTD):
        zstandard()
    return path


@cache
def originals(name: str) -> list[Row]:
    """The sockets of a capture of this project."""
    path = Path(make_damaged.ROOT, "pcaps", name)
    rows = rows_of(decoded(open_source(str(path)).chunks()))
    return [{name: value for name, value in row.items() if name not in NOT_THE_SOCKETS} for row in rows]
