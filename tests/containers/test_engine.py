"""A private engine comes, answers, and goes with all that it started; one that answers is used as it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, require_root
from tests.containers.conftest import require_dockerd
from tests.libraries import library

library("docker")

from containers import engine as module  # noqa: E402
from containers.engine import answering, engine, mounts_below, processes_of  # noqa: E402
from xtcp.errors import ConfigurationError, ExitCode  # noqa: E402

PROGRAM = """\
import os, sys, time
from pathlib import Path
from containers.engine import engine
from xtcp.errors import XtcpError
if sys.argv[2:]:
    os.setuid(int(sys.argv[2]))
try:
    with engine(Path(sys.argv[1])) as client:
        print(client.version()["Version"], flush=True)
        time.sleep(60)
except XtcpError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


@pytest.fixture(autouse=True)
def _no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever engine this machine has."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a private engine keeps its images; afterwards nothing of it is left."""
    require_root()
    require_dockerd()
    where = tmp_path / "docker"
    yield where
    place = module._place(where)
    assert not place.exists()
    assert nothing_runs(where)
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{place.name}"))


def nothing_runs(folder: Path) -> bool:
    """Whether no process and no mount of its engine is left."""
    place = module._place(folder)
    return not processes_of(place) and not mounts_below(place, folder)


@pytest.mark.root
def test_comes_answers_goes(folder: Path) -> None:
    """The engine of this test, not another."""
    with engine(folder) as client:
        assert client.ping()
        assert client.info()["DockerRootDir"] == str(folder)
        assert processes_of(module._place(folder))


@pytest.mark.root
def test_goes_after_an_exception(folder: Path) -> None:
    """And the exception is the caller's."""
    with pytest.raises(ZeroDivisionError), engine(folder):
        print(1 / 0)


@pytest.mark.root
def test_goes_after_ctrl_c(folder: Path) -> None:
    """Which the engine itself does not get."""
    with child(folder) as running:
        running.send_signal(signal.SIGINT)
        assert running.wait(90) == -signal.SIGINT


@pytest.mark.root
def test_goes_when_its_user_is_killed(folder: Path) -> None:
    """No process or mount is left at once; the rest goes when the next begins."""
    with child(folder) as running:
        running.kill()
    assert within(90, lambda: nothing_runs(folder))
    with engine(folder):
        pass


@pytest.mark.root
def test_an_engine_that_answers_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And goes on when its user has done."""
    with engine(folder) as first:
        address = f"unix://{module._place(folder)}/docker.sock"
        monkeypatch.setenv("DOCKER_HOST", address)
        with engine(folder.parent / "other") as second:
            assert second.info()["ID"] == first.info()["ID"]
        assert first.ping()
    assert not (folder.parent / "other").exists()


@pytest.mark.root
def test_one_that_does_not_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it said is told."""
    folder.mkdir()
    (folder / "containerd").write_text("in the way")
    with pytest.raises(ConfigurationError, match=r"dockerd did not start(?s:.*)containerd"), engine(folder):
        pass


def test_no_dockerd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install, exit code 78."""
    monkeypatch.setattr(module, "_PROGRAMS", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"apt-get install docker\.io"), engine(tmp_path):
        pass


@pytest.mark.root
def test_not_root(tmp_path: Path) -> None:
    """Exit code 77, and what to do."""
    require_root()
    require_dockerd()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), "65534"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.PERMISSION, done.stderr
    assert "only root can start one" in done.stderr and "Run this as root" in done.stderr


def test_only_an_engine_of_this_machine() -> None:
    """One elsewhere sees neither these files nor the kernel's table of foreign programs."""
    assert answering("tcp://127.0.0.1:1") is None
    assert answering("unix:///nowhere") is None


def child(folder: Path) -> subprocess.Popen[str]:
    """A process that has an engine."""
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert running.stdout is not None
    assert running.stdout.readline().strip()
    return running


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether it comes true."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()
