"""The bench measures what it says: every case, every goal, on a farm so small that it takes seconds. No time is judged.

That figures are reckoned rightly is tested on made ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import goals, report
from tests.bench.cases import CASES
from tests.bench.sample import Measured, Sample
from tests.conftest import ROOT, require_program, require_root


@pytest.mark.root
@pytest.mark.live
@pytest.mark.slow
def test_every_figure_is_there(tmp_path: Path) -> None:
    """One round on two farms: a sample of each case that this machine has a program for, all sockets, all goals."""
    require_root()
    require_program("ip", "iproute2")
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, ROOT / "tests/bench/run.py", "--sockets=100,200", "--rounds=1", f"--json={figures}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    raw = json.loads(figures.read_text())
    assert [run["sockets"] for run in raw["runs"]] == [100, 200]
    for run in raw["runs"]:
        assert run["expected"] == run["sockets"] + 2
        assert set(run["samples"]) | set(run["missing"]) == {case.name for case in CASES}
        for name, samples in run["samples"].items():
            (sample,) = samples
            assert sample["wall"] > 0 and sample["cpu"] >= 0, name
            assert sample["rows"] in (None, run["expected"]), name
    missing = raw["runs"][0]["missing"]
    assert set(missing) <= {"ss", "tshark", "pyroute2", "to-kafka"}
    unknown = {goal["goal"] for goal in raw["goals"] if goal["figure"] is None}
    assert len(raw["goals"]) == len(goals.GOALS)
    assert len(unknown) == len(set(missing) - {"to-kafka"}), unknown
    for case in CASES:
        assert case.title in done.stdout


def made(expected: int, factor: float = 1.0) -> Measured:
    """Two rounds in which every case takes a second, the second round twice as long; `factor` is for the poll alone."""
    samples = {case.name: [Sample(1.0, 1.0, 51_200), Sample(2.0, 2.0, 51_200)] for case in CASES}
    samples["poll"] = [Sample(factor, factor), Sample(2 * factor, 2 * factor)]
    return Measured(expected, expected, samples, {})


def test_ratios_are_taken_within_a_round() -> None:
    """A round in which everything is slow changes no ratio; a case left out of a round is not compared there."""
    run = made(1000, factor=0.5)
    assert run.ratio("poll", "floor", "wall") == 0.5
    assert run.ratio("ss", "poll", "wall") == 2.0
    assert run.median("floor", "wall") == 1.5
    late = Measured(1000, 1000, {**run.samples, "ss": [None, Sample(6.0, 6.0)]}, {})
    assert late.ratio("ss", "poll", "wall") == 6.0
    assert late.ratio("tshark", "nothing", "wall") is None


def test_goals_are_judged_at_the_largest_farm() -> None:
    """Limits that may not be passed, one that must be reached, and growth between two farms."""
    small, large = made(20_000), made(118_800, factor=0.25)
    large = Measured(118_800, 118_800, {**large.samples, "json": [Sample(2.5, 1.0, 61_200)] * 2}, {})
    verdicts = {verdict.goal: verdict for verdict in goals.judge([large, small])}
    figures = {goal: verdict.figure for goal, verdict in verdicts.items()}
    assert figures["poll: wall ≤ 0.9 × the floor"] == 0.25
    assert verdicts["poll: wall ≤ 0.9 × the floor"].met
    assert verdicts["poll ≥ 4 × faster than ss"].met
    assert verdicts["poll ≥ 100 × faster than pyroute2"].met is False
    assert verdicts["json to a file ≤ 2 s"].met is False
    assert figures["json: RSS grows ≤ 50 bytes a socket"] == pytest.approx(10_000 * 1024 / 98_800)
    unknown = [verdict.goal for verdict in goals.judge([small]) if verdict.met is None]
    assert unknown == ["json: RSS grows ≤ 50 bytes a socket"]


def test_results_go_between_the_marks(tmp_path: Path) -> None:
    """Writing twice leaves one table and the prose around it; a page without marks is refused and left alone."""
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{report.BEGIN}\nfigures of last year\n{report.END}\nafter\n")
    for _ in range(2):
        results = report.text({"date": "2026-01-01", "cores": "2"}, [made(200)], goals.judge([made(200)]), 2)
        report.write(results, page)
    written = page.read_text()
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    assert written.count("200 sockets:") == 2
    assert "last year" not in written
    assert "| json to a file ≤ 2 s" in written
    page.write_text("prose alone\n")
    with pytest.raises(ValueError, match="lacks the marks"):
        report.write("x", page)
    assert page.read_text() == "prose alone\n"


def test_the_page_has_the_marks() -> None:
    """What `make bench ARGS=--write` writes to."""
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert page.count(report.BEGIN) == page.count(report.END) == 1
