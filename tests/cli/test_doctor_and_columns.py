"""`xtcp doctor` on this host, with and without privileges; `xtcp columns`."""

from __future__ import annotations

import json
import os

import pytest

from tests.cli.running import as_nobody
from tests.conftest import require_root
from xtcp.cli.main import run
from xtcp.errors import ExitCode
from xtcp.poll import examination
from xtcp.poll.examination import Examination
from xtcp.schema.columns import COLUMNS
from xtcp.schema.inet_diag import ATTRIBUTES

SECTIONS = ["host", "poll", "attributes", "capabilities", "limits"]


@pytest.mark.live
def test_doctor_in_words_and_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    """Every section and every attribute; the JSON has the same facts; exit 0."""
    assert run(["doctor"]) == ExitCode.OK
    text = capfd.readouterr().out
    assert [line for line in text.splitlines() if line and not line.startswith(" ")] == SECTIONS
    assert run(["doctor", "--json"]) == ExitCode.OK
    facts = json.loads(capfd.readouterr().out)
    assert set(facts) == {*SECTIONS, "error"}
    assert facts["error"] is None
    assert os.uname().release in facts["host"]["kernel"] and os.uname().release in text
    assert facts["poll"]["sock_diag"] == "works"
    for attribute in (a for a in ATTRIBUTES if a.body is not None):
        assert attribute.name in text
        assert f"{attribute.number:2} {attribute.name}" in facts["attributes"]
    assert facts["attributes"][" 2 INET_DIAG_INFO"].startswith("seen in ")
    assert max(map(len, text.splitlines())) <= 100


def test_doctor_in_a_hundred_columns(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel with every congestion control has more than fit into a line: they go on below, none is lost."""
    names = [f"control{number}" for number in range(30)]
    monkeypatch.setattr(examination, "examine", lambda: Examination(limits={"all": " ".join(names), "none": ""}))
    assert run(["doctor"]) == ExitCode.OK
    lines = capfd.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert " ".join(lines[lines.index("limits") + 1 : -1]).split() == ["all", *names]
    assert all(line.startswith("        control") for line in lines[lines.index("limits") + 2 : -1])
    assert lines[-1].strip() == "none"


@pytest.mark.live
@pytest.mark.root
def test_fault_55_doctor_without_any_capability() -> None:
    """As nobody: it works, and says which are missing and what each would add."""
    require_root()
    finished = as_nobody("doctor", "--json")
    assert finished.returncode == ExitCode.OK, finished.stderr
    facts = json.loads(finished.stdout)
    assert facts["poll"]["sock_diag"] == "works"
    assert facts["capabilities"]["CAP_NET_ADMIN"].startswith("missing: the columns mark, md5sig")
    assert all(text.startswith("missing: ") for text in facts["capabilities"].values())
    assert facts["attributes"]["15 INET_DIAG_MARK"] == "not seen, needs CAP_NET_ADMIN"
    polled = as_nobody("once", "--format", "json")
    assert polled.returncode == ExitCode.OK
    assert b"CAP_NET_ADMIN" in polled.stderr
    assert polled.stdout
    assert all("mark" not in json.loads(line) for line in polled.stdout.splitlines())


def test_columns_lists_every_column(capfd: pytest.CaptureFixture[str]) -> None:
    """One line each, in the order of every output, with type and meaning; not cut where there is no terminal."""
    assert run(["columns"]) == ExitCode.OK
    head, *lines = capfd.readouterr().out.splitlines()
    assert head.split() == ["name", "type", "unit", "since", "meaning"]
    assert [line.split()[0] for line in lines] == [column.name for column in COLUMNS]
    assert all(line.endswith(column.meaning) for line, column in zip(lines, COLUMNS, strict=True))


def test_columns_by_pattern(capfd: pytest.CaptureFixture[str]) -> None:
    """Names and patterns, several of them, each column once."""
    assert run(["columns", "tcpi_*rtt", "cong", "*min_rtt"]) == ExitCode.OK
    _, *lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["tcpi_rtt", "tcpi_rcv_rtt", "tcpi_min_rtt", "cong", "bbr_min_rtt"]
