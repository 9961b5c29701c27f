"""The fault list is whole: every row of docs/faults.md has a test of its number."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import ROOT


def test_every_row_has_a_test() -> None:
    """Rows 1, 2, 4–48 and 59–95 are there, and each number occurs in the name of a test."""
    rows = {int(n) for n in re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "faults.md").read_text(), re.MULTILINE)}
    tests = "\n".join(path.read_text() for path in Path(ROOT / "tests").rglob("test_*.py"))
    shown = {int(n) for n in re.findall(r"def test_fault_(\d+)_", tests)}
    assert rows == {1, 2, *range(4, 49), *range(59, 96)}
    assert rows <= shown, f"no test for {sorted(rows - shown)}"
