"""`xtcp-replay verify`, run in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial

import pytest

from tests.judging.result import Result
from xtcp_replay.cli.main import run
from xtcp_replay.judging.verify import PROGRAMS
from xtcp_replay.judging.witnesses.testimony import Witness

FIND = dict(PROGRAMS)


@pytest.fixture
def verified(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs the command with --json; returns exit code, the object, and standard error."""

    def runs(*arguments: str) -> Result:
        code = run(["verify", *arguments, "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else {}, err

    return runs


@cache
def found(name: str) -> Witness | None:
    """One of the other programs, found once."""
    return FIND[name]()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without looking again what the programs are."""
    for name in PROGRAMS:
        monkeypatch.setitem(PROGRAMS, name, partial(found, name))
