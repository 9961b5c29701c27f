"""What a run of the suite on another architecture proves, beside what there is natively.

Every test that is collected natively must be accounted for: it ran there, it was skipped for a reason of the list
below, or it carries a marker that the run leaves out. Nothing is passed over: a test that is in none of these fails
the run, as does a failed test, any other reason to skip, and too few tests that ran at all.

The list, the only one in this repository: what has no build for an architecture, so that its tests are not there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from xtcp.errors import UsageError

BIG_ENDIAN: Final = frozenset({"s390x", "ppc64"})
PPC64: Final = frozenset({"ppc64"})
ENOUGH: Final = 0.8  # of the tests that the markers leave


@dataclass(frozen=True)
class Lack:
    """A library or program without a build for some architectures, and why."""

    name: str
    architectures: frozenset[str]
    why: str

    def explains(self, architecture: str, reason: str) -> bool:
        """Whether a skip for that `reason` is for the want of it."""
        named = re.match(r"(?:no|needs) (\S+)(?: here)? \((?:pip|apt-get) install ", reason)
        return architecture in self.architectures and named is not None and named[1] == self.name


LACKS: Final = (
    Lack("pyarrow", BIG_ENDIAN, "Arrow has wheels for little-endian machines only"),
    Lack("duckdb", BIG_ENDIAN, "no wheel, and Debian has no package"),
    Lack("chdb", BIG_ENDIAN, "ClickHouse is built for little-endian machines only"),
    Lack("moto[s3]", PPC64, "it needs compiled wheels, none of which there are for it"),
    Lack("bcrypt", PPC64, "no wheel; its source needs Rust's compiler"),
    Lack("confluent-kafka", PPC64, "no wheel of librdkafka"),
    Lack("flask", PPC64, "it needs markupsafe's wheel"),
    Lack("flask-cors", PPC64, "it needs flask"),
    Lack("pyyaml", PPC64, "no wheel"),
    *(
        Lack(program, PPC64, "no distribution has programs for it")
        for program in (
            "capinfos", "openssl", "prometheus", "promtool", "protoc", "systemd-analyze", "tshark",
        )
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a test, or of a module that could not be collected."""

    test: str
    outcome: str
    reason: str
    seconds: float


@dataclass(frozen=True)
class Listed:
    """The tests that there are natively: those that the markers leave, and the others with the markers they have."""

    selected: frozenset[str]
    deselected: Mapping[str, Sequence[str]]


@dataclass
class Verdict:
    """A run, compared with the native tests."""

    architecture: str
    native: int
    passed: int = 0
    failed: list[Outcome] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def ran(self) -> int:
        """Tests that ran to an end, good or bad."""
        return self.passed + len(self.failed)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.failed and not self.faults


def judge(architecture: str, listed: Listed, outcomes: Iterable[Outcome], markers: Sequence[str]) -> Verdict:
    """Compares what came of a run that left `markers` out with the tests that there are."""
    verdict = Verdict(architecture, len(listed.selected) + len(listed.deselected))
    for test, names in listed.deselected.items():
        folder = "/".join(test.split("/")[:2])
        verdict.left_out[next((f"marked {marker}" for marker in markers if marker in names), folder)] += 1
    left = set(listed.selected)
    for outcome in outcomes:
        covered = {outcome.test} & left
        if "::" not in outcome.test:  # a module that was not collected stands for all of its tests
            covered = {test for test in left if test.startswith(outcome.test + "::")}
        left -= covered
        if outcome.outcome == "passed":
            verdict.passed += 1
        elif outcome.outcome == "skipped":
            verdict.skipped[outcome.reason] += len(covered)
        else:
            verdict.failed.append(outcome)
    verdict.faults += _faults(verdict, left, len(listed.selected))
    return verdict


def _faults(verdict: Verdict, missing: set[str], selected: int) -> Iterator[str]:
    for reason, count in verdict.skipped.items():
        if not any(lack.explains(verdict.architecture, reason) for lack in LACKS):
            yield f"{count} skipped for a reason that is not in the list: {reason}"
    for test in sorted(missing):
        yield f"neither ran nor skipped: {test}"
    if verdict.ran < ENOUGH * selected or not verdict.ran:
        yield f"too few: {verdict.ran} ran of {selected} that are there natively ({ENOUGH:.0%} must)"


def outcomes_of(files: Iterable[Path]) -> list[Outcome]:
    """The results of all these files, each written by `tests.results`; of a test told of twice, the worst."""
    order = ("skipped", "passed", "failed", "error")
    worst: dict[str, Outcome] = {}
    for line in _lines(files):
        outcome = Outcome(line["test"], line["outcome"], line["reason"], line["seconds"])
        known = worst.get(outcome.test)
        if known is None or order.index(outcome.outcome) > order.index(known.outcome):
            worst[outcome.test] = outcome
    return list(worst.values())


def listed_in(file: Path) -> Listed:
    """The tests that `containers.listing` has written to that file."""
    lines = list(_lines([file]))
    return Listed(
        selected=frozenset(line["test"] for line in lines if line["deselected"] is None),
        deselected={line["test"]: line["deselected"] for line in lines if line["deselected"] is not None},
    )


def _lines(files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Every whole line: of a run that was killed the last may be cut."""
    for file in files:
        try:
            with file.open(encoding="utf-8") as lines:
                yield from (json.loads(line) for line in lines if line.endswith("\n"))
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{file}: {error}.",
                "Usually it is not a file of results, or the run that writes it never began.",
                "Write one: XTCP_RESULTS=FILE make test",
            ) from error


def table(verdict: Verdict, native: Sequence[Outcome] = ()) -> str:
    """The counts for people, side by side with the native ones, which may be known in part only."""
    name = verdict.architecture
    natively = Counter(outcome.outcome for outcome in native)
    rows = [
        ("", "natively", name),
        ("tests", f"{verdict.native:,}", f"{verdict.native:,}"),
        ("passed", f"{natively['passed']:,}" if native else "-", f"{verdict.passed:,}"),
        ("failed", f"{natively['failed'] + natively['error']:,}" if native else "-", f"{len(verdict.failed):,}"),
        ("skipped", f"{natively['skipped']:,}" if native else "-", f"{verdict.skipped.total():,}"),
    ]
    rows += [(f"  {reason}", "", f"{count:,}") for reason, count in verdict.skipped.most_common()]
    rows += [(f"left out: {why}", "", f"{count:,}") for why, count in verdict.left_out.most_common()]
    width = max(len(row[0]) for row in rows)
    lines = [f"{first:<{width}}  {second:>8}  {third:>8}".rstrip() for first, second, third in rows]
    lines += [f"FAILED {outcome.test}: {outcome.reason}" for outcome in verdict.failed]
    lines += [f"WRONG {fault}" for fault in verdict.faults]
    word = "good" if verdict.good else "NOT good"
    lines.append(f"{name}: {verdict.ran:,} of the {verdict.native:,} native tests ran; {word}")
    return "\n".join(lines)
