"""Measures a poll against the kernel's own cost, ss, pyroute2 and tshark. As root: it makes network namespaces.

    make bench ARGS=--quick
    make bench ARGS="--write --json figures.json"

Three farms by default: 1,000, 20,000 and 118,800 sockets, some minutes each. Let the machine rest meanwhile: the
ratios bear a slow machine, not one whose other processes come and go. docs/performance.md says what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ in (None, ""):  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import goals, large, report
from tests.bench.cases import BY_NAME, FLOOR
from tests.bench.programs import ROOT, Failed
from tests.bench.rounds import on_farm

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES = (1_000, 20_000, 118_800)
PAGE = ROOT / "docs" / "performance.md"
NO_ROOT = 77


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints; returns 1 where a program failed, 77 without root. A missed goal is a result, no failure."""
    arguments = _arguments(argv)
    if arguments.large is not None:
        return _large(arguments.large)
    if os.geteuid() != 0:
        print("The bench needs root, for network namespaces of its own. Try: sudo make bench", file=sys.stderr)
        return NO_ROOT
    if arguments.stalled is not None:
        return _stalled(arguments.stalled)
    facts = report.machine()
    try:
        runs = [on_farm(sockets, arguments.rounds, arguments.only) for sockets in arguments.sockets]
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    verdicts = goals.judge(runs)
    results = report.text(facts, runs, verdicts, arguments.rounds)
    print(results, end="")
    if arguments.json is not None:
        raw = {
            "machine": facts,
            "rounds": arguments.rounds,
            "runs": [run.as_dict() for run in runs],
            "goals": [vars(verdict) for verdict in verdicts],
        }
        arguments.json.write_text(json.dumps(raw, indent=1) + "\n")
    if arguments.write:
        report.write(results, PAGE)
    return 0


def _large(gigabytes: float) -> int:
    """One large capture; 1 where it failed or memory grew."""
    facts = report.machine()
    try:
        result = large.large(int(gigabytes * large.GB))
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{report.facts_line(facts)}\n\n{result.line()}")
    return 0 if result.met is not False else 1


def _stalled(minutes: float) -> int:
    """Every far side stalled; 1 where something does not hold."""
    from tests.bench import endurance

    print(report.facts_line(report.machine()) + "\n")
    endured = endurance.endure(endurance.Plan(minutes, stalled=True))
    print("\n".join(endured.lines()))
    return 1 if endured.faults() else 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    summary, _, rest = str(__doc__).partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sockets", type=_sizes, help="farms, N,… (1000,20000,118800)")
    parser.add_argument("--rounds", type=_count, help="rounds a farm (11)")
    parser.add_argument("--quick", action="store_true", help="a first impression: 1000,20000 in 3 rounds")
    parser.add_argument(
        "--only", type=_names, default=tuple(BY_NAME), metavar="CASE,…", help=f"of: {', '.join(BY_NAME)}"
    )
    parser.add_argument(
        "--large", type=float, metavar="GB", help="instead: decode a capture of so many GB in constant memory"
    )
    parser.add_argument(
        "--stalled", type=float, metavar="MINUTES", help="instead: the agent with every far side stalled, for so long"
    )
    parser.add_argument("--write", action="store_true", help="put the results into docs/performance.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single figure to FILE")
    arguments = parser.parse_args(argv)
    arguments.sockets = arguments.sockets or (SIZES[:2] if arguments.quick else SIZES)
    arguments.rounds = arguments.rounds or (3 if arguments.quick else 11)
    return arguments


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(map(_count, text.split(",")))


def _names(text: str) -> tuple[str, ...]:
    """Cases in their own order, the floor always with them."""
    chosen = {FLOOR, *text.split(",")}
    if unknown := chosen - set(BY_NAME):
        raise argparse.ArgumentTypeError(f"no such case: {', '.join(sorted(unknown))} (of: {', '.join(BY_NAME)})")
    return tuple(name for name in BY_NAME if name in chosen)


if __name__ == "__main__":
    sys.exit(main())
