"""What was to be reached, and whether it was. The goals are ratios within one run, and limits of single processes.

They are meant for 118,800 sockets and judged at the largest farm of a run; growth from the middle of two or three.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.cases import AGENT, ENCODE, ENVELOPES, FLOOR, MANY, POLL, REPLAY, REPLAYED
from tests.bench.sample import Measured

KIB: Final = 1024


@dataclass(frozen=True)
class Verdict:
    """A goal in words, the figure with its unit, None where it was not measured, and whether the goal is met."""

    goal: str
    figure: float | None
    unit: str
    met: bool | None


@dataclass(frozen=True)
class Goal:
    """`limit` is not to be passed, or where `least` is set must be reached; `figure` takes farms by size."""

    text: str
    unit: str
    limit: float
    figure: Callable[[Sequence[Measured]], float | None]
    least: bool = False

    def judge(self, runs: Sequence[Measured]) -> Verdict:
        """The verdict on farms by size."""
        figure = self.figure(runs)
        if figure is None:
            return Verdict(self.text, None, self.unit, None)
        return Verdict(self.text, figure, self.unit, figure >= self.limit if self.least else figure <= self.limit)


def _peak_mib(runs: Sequence[Measured]) -> float | None:
    peak = runs[-1].median("json", "peak_kib")
    return None if peak is None else peak / KIB


def _growth(runs: Sequence[Measured]) -> float | None:
    """Bytes of peak RSS that `xtcp once --format json` takes for each socket more, from about `MANY` to the most.

    The smaller farm is the one nearest to `MANY`; None where there is only one farm.
    """
    largest = runs[-1]
    smaller = [run for run in runs if run.expected < largest.expected]
    if not smaller:
        return None
    start = min(smaller, key=lambda run: abs(run.expected - MANY))
    most, least = largest.median("json", "peak_kib"), start.median("json", "peak_kib")
    if most is None or least is None:
        return None
    return (most - least) * KIB / (largest.expected - start.expected)


def _agent_mib(runs: Sequence[Measured]) -> float | None:
    peak = runs[-1].median(AGENT, "peak_kib")
    return None if peak is None else peak / KIB


def _per_record(case: str, scale: float) -> Callable[[Sequence[Measured]], float | None]:
    """CPU a record, in seconds times `scale`."""

    def figure(runs: Sequence[Measured]) -> float | None:
        cpu = runs[-1].median(case, "cpu")
        return None if cpu is None else cpu / runs[-1].expected * scale

    return figure


GOALS: Final = (
    Goal("poll: CPU ≤ 1.1 × the floor", "×", 1.1, lambda runs: runs[-1].ratio(POLL, FLOOR, "cpu")),
    Goal("poll: wall ≤ 0.9 × the floor", "×", 0.9, lambda runs: runs[-1].ratio(POLL, FLOOR, "wall")),
    Goal("poll ≥ 4 × faster than ss", "×", 4, lambda runs: runs[-1].ratio("ss", POLL, "wall"), least=True),
    Goal(
        "poll ≥ 100 × faster than pyroute2", "×", 100, lambda runs: runs[-1].ratio("pyroute2", POLL, "wall"), least=True
    ),
    Goal(
        "replay ≥ 15 × faster than tshark", "×", 15, lambda runs: runs[-1].ratio("tshark", REPLAY, "wall"), least=True
    ),
    Goal("replay ≤ 1.5 × decoding the same chunks", "×", 1.5, lambda runs: runs[-1].ratio(REPLAY, REPLAYED, "wall")),
    Goal("poll + envelopes to a file ≤ 3 µs of CPU a record", "µs", 3, _per_record(ENVELOPES, 1e6)),
    Goal("encoder ≤ 1,000 ns a record", "ns", 1000, _per_record(ENCODE, 1e9)),
    Goal("agent with envelopes: peak RSS ≤ 96 MiB", "MiB", 96, _agent_mib),
    Goal("json to a file ≤ 2 s", "s", 2, lambda runs: runs[-1].median("json", "wall")),
    Goal("json: peak RSS ≤ 96 MiB", "MiB", 96, _peak_mib),
    Goal("json: RSS grows ≤ 50 bytes a socket", "bytes", 50, _growth),
    Goal("xtcp --help ≤ 0.15 s", "s", 0.15, lambda runs: runs[-1].median("help", "wall")),
)


def judge(runs: Sequence[Measured]) -> list[Verdict]:
    """All goals, at the largest farm."""
    by_size = sorted(runs, key=lambda run: run.expected)
    return [goal.judge(by_size) for goal in GOALS]
