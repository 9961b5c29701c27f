"""The results as tables, in Markdown that reads well on a terminal too; and their place in docs/performance.md."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from tests.bench.cases import BY_NAME, CASES, FLOOR
from tests.bench.goals import KIB, Verdict
from tests.bench.sample import Measured

BEGIN: Final = "<!-- results: written by make bench ARGS=--write -->"
END: Final = "<!-- end of results -->"


def machine() -> dict[str, str]:
    """What the figures depend on."""
    load, _, _ = os.getloadavg()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": f"{os.uname().release} {os.uname().machine}",
        "Python": platform.python_version(),
        "NumPy": version("numpy"),
        "ss": _first_line("ss", "-V"),
        "pyroute2": _version("pyroute2"),
        "tshark": _first_line("tshark", "--version"),
        "load before": f"{load:.1f}",
    }


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _first_line(*argv: str) -> str:
    """A program's version, the digits of its first line."""
    try:
        said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.partition("\n")[0]
    except FileNotFoundError:
        return "none"
    found = re.search(r"\d[\w.]+", said)
    return found[0] if found else said


def facts_line(facts: dict[str, str]) -> str:
    """`machine` as a sentence."""
    return ", ".join(f"{name} {value}" if name != "date" else value for name, value in facts.items()) + "."


def text(facts: dict[str, str], runs: Sequence[Measured], verdicts: Sequence[Verdict], rounds: int) -> str:
    """Machine, goals, and a table for each farm."""
    largest = max(run.expected for run in runs)
    parts = [
        facts_line(facts),
        f"Medians of {rounds} rounds; goals at {largest:,} sockets:",
        _table(["goal", "measured", ""], [_verdict(verdict) for verdict in verdicts]),
    ]
    for run in runs:
        parts.append(f"{run.expected:,} sockets:")
        header = ["", "wall ms", "CPU ms", "wall ÷ floor", "CPU ÷ floor", "peak RSS MiB", "rounds"]
        parts.append(_table(header, [_row(run, case.name) for case in CASES if case.name in run.samples]))
        parts += [f"Not measured: {BY_NAME[name].title}: {why}." for name, why in run.missing.items()]
    return "\n\n".join(parts) + "\n"


def _verdict(verdict: Verdict) -> list[str]:
    if verdict.figure is None:
        return [verdict.goal, "", "not measured"]
    digits = 0 if verdict.figure >= 20 else 2
    figure = f"{verdict.figure:,.{digits}f} {verdict.unit}"
    return [verdict.goal, figure, "met" if verdict.met else "**missed**"]


def _row(run: Measured, case: str) -> list[str]:
    wall, cpu, peak = (run.median(case, figure) for figure in ("wall", "cpu", "peak_kib"))
    return [
        BY_NAME[case].title,
        _number(wall and wall * 1e3, 1),
        _number(cpu and cpu * 1e3, 1),
        _number(run.ratio(case, FLOOR, "wall"), 2),
        _number(run.ratio(case, FLOOR, "cpu"), 2),
        _number(peak and peak / KIB, 1),
        str(sum(sample is not None for sample in run.samples[case])),
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    """Markdown with padded cells, the first column to the left, figures to the right."""
    widths = [max(3, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    return "\n".join([line(header), line(rule), *map(line, rows)])


def write(results: str, path: Path) -> None:
    """Puts the results between the two marks. Raises ValueError where `path` does not have them."""
    page = path.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} lacks the marks {BEGIN} and {END}, between which results go")
    path.write_text(f"{before}{begin}\n\n{results}\n{end}{after}", encoding="utf-8")
