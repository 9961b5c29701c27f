"""The copy of the repository that containers see."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from containers.tree import copied
from xtcp.errors import Temporary


def written(folder: Path, files: dict[str, str]) -> Path:
    """Files with these contents, an hour old."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        os.utime(path, (path.stat().st_mtime - 3600,) * 2)
    return folder


def times(folder: Path) -> dict[str, int]:
    """When each file was changed."""
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_only_what_changed_has_another_time(tmp_path: Path) -> None:
    """A second clone, with one file changed, one gone, one new."""
    first = written(tmp_path / "first", {"a/same": "1", "a/changed": "2", "gone": "3"})
    copy = copied(first, tmp_path / "copy")
    before = times(copy)
    assert set(before) == {"a/same", "a/changed", "gone"}
    shutil.rmtree(first)
    second = written(tmp_path / "second", {"a/same": "1", "a/changed": "4", "new": "5"})
    assert copied(second, copy) == copy
    after = times(copy)
    assert set(after) == {"a/same", "a/changed", "new"}
    assert after["a/same"] == before["a/same"]
    assert after["a/changed"] != before["a/changed"]
    assert (copy / "a" / "changed").read_text() == "4"


def test_modes_are_copied_and_what_tools_made_is_not(tmp_path: Path) -> None:
    """A script stays one, also where its mode alone changed; caches and environments stay behind."""
    source = written(tmp_path / "source", {"script": "#!/bin/sh\n", "a/__pycache__/b": "", "x": ""})
    for folder in (".git", ".venv", ".mypy_cache", ".hypothesis", "build"):
        written(source / folder, {"file": ""})
    copy = copied(source, tmp_path / "copy")
    assert set(times(copy)) == {"script", "x"}
    (source / "script").chmod(0o755)
    copied(source, copy)
    assert os.access(copy / "script", os.X_OK)


def test_a_copy_that_cannot_be_made_leaves_the_last_one(tmp_path: Path) -> None:
    """A file that cannot be read: an error of three parts, and no half of a copy."""
    source = written(tmp_path / "source", {"x": "1"})
    copy = copied(source, tmp_path / "copy")
    os.mkfifo(source / "y")
    with pytest.raises(Temporary, match="cannot be copied"):
        copied(source, copy)
    assert set(times(copy)) == {"x"}
    assert not copy.with_name("copy.new").exists()


def test_a_copy_that_was_broken_off_is_no_trouble(tmp_path: Path) -> None:
    """What a killed run left is replaced."""
    source = written(tmp_path / "source", {"x": "1"})
    written(tmp_path / "copy.new", {"y": "1"})
    assert set(times(copied(source, tmp_path / "copy"))) == {"x"}
