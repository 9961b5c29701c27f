"""Several pytest processes run each test of a suite once, the files that take longest first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from containers.sharing import SECONDS
from tests.conftest import ROOT

FILE = """\
import pathlib, pytest, time

@pytest.fixture(scope="module")
def module():
    yield
    with open("{log}", "a") as log:
        log.write("{name} end\\n")

@pytest.mark.parametrize("number", range(3))
def test(module, number):
    with open("{log}", "a") as log:
        log.write(f"{name} {{number}}\\n")
    time.sleep(0.05)
"""
NAMES = [f"{folder}/test_{letter}.py" for folder in ("one", "two") for letter in "abc"]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Six files of three tests in two folders."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    (tmp_path / "sharing").mkdir()
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(FILE.format(log=tmp_path / "log", name=name))
    return tmp_path


def start(suite: Path, *options: str) -> subprocess.Popen[str]:
    """A pytest process for it."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "containers.sharing", *options]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "XTCP"))},
        "PYTHONPATH": str(ROOT),
        "XTCP_SHARING": str(suite / "sharing"),
    }
    return subprocess.Popen(command, cwd=suite, env=environment, stdout=subprocess.PIPE, text=True)


def finished(running: subprocess.Popen[str]) -> str:
    """What it printed; it must have been content."""
    out, _ = running.communicate()
    assert running.returncode == 0, out
    return out


def test_each_test_once(suite: Path) -> None:
    """And what a file has set up is torn down when the file is done."""
    running = [start(suite), start(suite)]
    for each in running:
        finished(each)
    lines = (suite / "log").read_text().splitlines()
    assert sorted(lines) == sorted(f"{name} {what}" for name in NAMES for what in (0, 1, 2, "end"))


def test_the_longest_first(suite: Path) -> None:
    """Those that nobody knows yet before all others."""
    (suite / "sharing" / SECONDS).write_text(json.dumps({name: float(at) for at, name in enumerate(NAMES[1:])}))
    finished(start(suite))
    order = [line.split()[0] for line in (suite / "log").read_text().splitlines() if line.endswith("end")]
    assert order == [NAMES[0], *reversed(NAMES[1:])]


def test_options_that_end_a_run(suite: Path) -> None:
    """As without it."""
    (suite / NAMES[0]).write_text("def test():\n    assert False\n\ndef test_other():\n    assert False\n")
    running = start(suite, "-x")
    out, _ = running.communicate()
    assert running.returncode == 1 and "1 failed" in out and "stopping after 1 failures" in out
