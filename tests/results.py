"""XTCP_RESULTS=FILE: what became of every test, a JSON line each, to compare two machines by.

A pytest plugin. A line has `test` (pytest's node id; the path for a module that was not even collected), `outcome`
(passed, skipped, failed, or error where it was not the test itself that failed), `reason` and `seconds`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

import pytest

_SKIPPED = "Skipped: "


class Results:
    """Writes a line as soon as a test has ended, so that a run that is killed leaves those before."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = path.open("w", encoding="utf-8")
        self._running: dict[str, dict[str, Any]] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that is skipped or broken has no tests to tell of."""
        if report.outcome != "passed":
            outcome = "skipped" if report.outcome == "skipped" else "error"
            self._write({"test": report.nodeid, "outcome": outcome, "reason": _reason(report), "seconds": 0.0})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Set-up, test and tear-down, of which the worst counts."""
        line = self._running.setdefault(
            report.nodeid, {"test": report.nodeid, "outcome": "passed", "reason": "", "seconds": 0.0}
        )
        line["seconds"] = round(line["seconds"] + report.duration, 3)
        if report.outcome == "failed":
            line["outcome"] = "failed" if report.when == "call" else "error"
            line["reason"] = _reason(report)
        elif report.outcome == "skipped" and line["outcome"] == "passed":
            line["outcome"], line["reason"] = "skipped", _reason(report)
        if report.when == "teardown":
            self._write(self._running.pop(report.nodeid))

    def pytest_unconfigure(self) -> None:
        """At the end: a test that has not ended is told of, too."""
        for line in self._running.values():
            self._write({**line, "outcome": "error", "reason": "it did not end"})
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix(_SKIPPED)
    crash = getattr(report.longrepr, "reprcrash", None)  # of the last exception of a chain
    lines = (crash.message if crash is not None else str(report.longrepr)).splitlines() or [""]
    told = [line.removeprefix("E").strip() for line in lines if line.startswith("E  ")]
    return str((told[-1:] or lines)[0])


def pytest_configure(config: pytest.Config) -> None:
    """Only where a file is named, and in xdist's controller alone."""
    name = os.environ.get("XTCP_RESULTS")
    if name and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Results(Path(name)), "xtcp-results")
