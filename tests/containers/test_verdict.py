"""What is good and what is not, on results as the suite writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from containers.verdict import LACKS, Lack, Listed, Verdict, judge, listed_in, outcomes_of, table
from xtcp.errors import UsageError

NATIVE = [f"tests/unit/test_a.py::test_{number}" for number in range(20)]
STORE = [f"tests/store/test_b.py::test_{number}" for number in range(2)]
LIVE = "tests/live/test_c.py::test_0"
NO_ARROW = "no pyarrow here (pip install pyarrow)"

Judged = Callable[..., Verdict]


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    """The verdict on two files of results, read as after a run."""

    def read(*lines: dict[str, object], architecture: str = "s390x") -> Verdict:
        listing = tmp_path / "native.jsonl"
        tests: list[tuple[str, list[str] | None]] = [(test, None) for test in NATIVE + STORE]
        tests.append((LIVE, ["live", "parametrize"]))
        listing.write_text("".join(json.dumps({"test": test, "deselected": why}) + "\n" for test, why in tests))
        files = [tmp_path / "results-0.jsonl", tmp_path / "results-1.jsonl"]
        for number, file in enumerate(files):
            file.write_text("".join(json.dumps(line) + "\n" for line in lines[number::2]))
        return judge(architecture, listed_in(listing), outcomes_of(files), ["root", "live"])

    return read


def line(test: str, outcome: str = "passed", reason: str = "") -> dict[str, object]:
    """A line of results."""
    return {"test": test, "outcome": outcome, "reason": reason, "seconds": 0.1}


def all_but(number: int) -> list[dict[str, object]]:
    """Results of all tests but the first few; the store's were not collected for want of Arrow."""
    return [*map(line, NATIVE[number:]), line("tests/store/test_b.py", "skipped", NO_ARROW)]


def test_good(judged: Judged) -> None:
    """Every test ran, is left out by a marker, or lacks a library of the list."""
    verdict = judged(*all_but(0))
    assert verdict.good, verdict.faults
    assert (verdict.native, verdict.ran, verdict.passed) == (23, 20, 20)
    assert verdict.skipped == {NO_ARROW: 2} and verdict.left_out == {"marked live": 1}
    text = table(verdict)
    assert "s390x: 20 of the 23 native tests ran; good" in text
    assert f"{NO_ARROW}" in text and "live" in text


def test_beside_the_native_results(judged: Judged, tmp_path: Path) -> None:
    """If they are known."""
    (tmp_path / "native").write_text("".join(json.dumps(line(test)) + "\n" for test in [*NATIVE, *STORE, LIVE]))
    words = table(judged(*all_but(0)), outcomes_of([tmp_path / "native"])).split()
    at = words.index("passed")
    assert words[at : at + 3] == ["passed", "23", "20"]


def test_a_failure(judged: Judged) -> None:
    """It is named, with its reason."""
    verdict = judged(line(NATIVE[0], "failed", "assert 1 == 2"), *all_but(1))
    assert not verdict.good
    assert f"FAILED {NATIVE[0]}: assert 1 == 2" in table(verdict)


def test_a_module_that_could_not_be_collected(judged: Judged) -> None:
    """It fails, and its tests are not told one by one."""
    verdict = judged(*map(line, NATIVE), line("tests/store/test_b.py", "error", "SyntaxError"))
    assert [outcome.reason for outcome in verdict.failed] == ["SyntaxError"] and not verdict.faults


@pytest.mark.parametrize(
    "reason", ["needs a little-endian machine", "big-endian", "no hypothesis here (pip install hypothesis)", ""]
)
def test_another_reason_to_skip(judged: Judged, reason: str) -> None:
    """The byte order before all others."""
    verdict = judged(line(NATIVE[0], "skipped", reason), *all_but(1))
    assert verdict.faults == [f"1 skipped for a reason that is not in the list: {reason}"]
    assert "NOT good" in table(verdict)


def test_a_test_that_is_nowhere(judged: Judged) -> None:
    """It did not run, and nobody said why: a process that died, for one."""
    verdict = judged(*all_but(1))
    assert verdict.faults == [f"neither ran nor skipped: {NATIVE[0]}"]


def test_too_few(judged: Judged) -> None:
    """A library that is rightly not there does not excuse everything."""
    verdict = judged(*(line(test, "skipped", NO_ARROW) for test in NATIVE[1:]), *all_but(0)[:1], *all_but(0)[-1:])
    assert verdict.faults == ["too few: 1 ran of 22 that are there natively (80% must)"]


def test_nothing(judged: Judged) -> None:
    """No result is no success."""
    verdict = judged()
    assert not verdict.good and any(fault.startswith("too few: 0 ran") for fault in verdict.faults)


def test_of_two_results_the_worse_counts(judged: Judged) -> None:
    """Whichever process had it."""
    verdict = judged(line(NATIVE[0], "failed", "here"), line(NATIVE[0]), *all_but(1))
    assert len(verdict.failed) == 1 and verdict.passed == 19


def test_a_lack_is_of_one_architecture() -> None:
    """What has a build for s390x may not be missing there."""
    lack = Lack("zstandard", frozenset({"ppc64"}), "no wheel")
    assert lack.explains("ppc64", "no zstandard here (pip install zstandard)")
    assert not lack.explains("s390x", "no zstandard here (pip install zstandard)")
    assert not lack.explains("ppc64", "no zstandard-like order of bytes")
    program = Lack("tshark", frozenset({"ppc64"}), "no distribution")
    assert program.explains("ppc64", "needs tshark (apt-get install tshark)")


def test_the_list_names_each_once() -> None:
    """With a why."""
    assert len({lack.name for lack in LACKS}) == len(LACKS)
    assert all(lack.why and lack.architectures for lack in LACKS)


def test_no_native_tests() -> None:
    """An empty collection is a fault of its own."""
    assert not judge("s390x", Listed(frozenset(), {}), [], []).good


def test_results_of_a_run_that_was_killed(tmp_path: Path) -> None:
    """The whole lines count, the cut one does not; what is no file of results, or not there, is said."""
    line = '{"test": "a::b", "outcome": "passed", "reason": "", "seconds": 1.0}\n'
    (tmp_path / "cut").write_text(line + line[:20])
    assert [outcome.test for outcome in outcomes_of([tmp_path / "cut"])] == ["a::b"]
    (tmp_path / "text").write_text("passed\n")
    for name in ("text", "absent"):
        with pytest.raises(UsageError, match=name):
            outcomes_of([tmp_path / name])
