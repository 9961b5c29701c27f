"""Every fuzz target holds on its corpus, and on the first mutations of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import run
from tests.fuzz.targets import CORPUS, REPLAY, TARGETS, corpus_of
from tests.libraries import library
from tests.patience import patient

NAMES = sorted(folder.name for folder in CORPUS.iterdir())


def needs(name: str) -> None:
    """Skips the targets that need more than NumPy."""
    if name in REPLAY:
        library("scapy")


def test_every_target_has_a_corpus() -> None:
    """A target without one would pass by doing nothing."""
    assert {*TARGETS, *REPLAY} == set(NAMES)
    assert all(corpus_of(name) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_corpus(name: str) -> None:
    """The inputs of the repository break no promise."""
    needs(name)
    for path in corpus_of(name):
        (TARGETS | REPLAY)[name](path.read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_mutations(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do a third of a second's mutations of them: the loop that runs where there is no Atheris."""
    needs(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "MEMORY_MB", 1 << 20)  # of the whole test run, not of this target
    monkeypatch.setattr(run, "SECONDS_AN_INPUT", round(patient(run.SECONDS_AN_INPUT)))
    assert run.plain(name, 0.3, seed=1) > len(corpus_of(name))
    assert not list(tmp_path.iterdir())


def test_a_broken_promise_is_kept_and_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop notices: a target that fails leaves its input behind."""
    monkeypatch.chdir(tmp_path)

    def broken(data: bytes) -> None:
        raise AssertionError(len(data))

    monkeypatch.setitem(TARGETS, "payloads", broken)
    with pytest.raises(AssertionError):
        run.plain("payloads", 0.1)
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == corpus_of("payloads")[0].read_bytes()


@pytest.mark.fuzz
def test_the_command_says_what_it_ran(tmp_path: Path) -> None:
    """`make fuzz` in small: a process for the target, its executions told, exit code 0, nothing left behind."""
    command = [sys.executable, run.__file__, "--minutes", "0.02", "--target", "byte_order"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^byte_order: [1-9][\d,]* executions in 1 s$", done.stdout, re.MULTILINE)
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []
    unknown = subprocess.run([*command[:-1], "decodr"], capture_output=True, text=True, check=False)
    assert unknown.returncode == 2
    assert "decoder" in unknown.stderr
