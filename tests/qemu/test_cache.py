"""What was built once: built by one, whole or not at all, and forgotten when there is something newer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qemu import cache

ROOT = Path(__file__).resolve().parents[2]

_SLOW_BUILD = """
import sys, time
from pathlib import Path
from qemu import cache

def build(folder):
    (folder / "half").touch()
    with open(sys.argv[1], "a") as log:
        log.write("begun\\n")
    time.sleep(float(sys.argv[2]))
    (folder / "whole").touch()

print(sorted(path.name for path in cache.built("thing", "key", build).iterdir()))
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "xtcp"


def makes(text: str) -> Callable[[Path], None]:
    """A build of one file."""

    def build(folder: Path) -> None:
        (folder / "made").write_text(text)

    return build


def started(log: Path, seconds: float) -> subprocess.Popen[str]:
    """Another process that wants an entry which takes that long to build."""
    argv = [sys.executable, "-c", _SLOW_BUILD, str(log), str(seconds)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "agent")))}
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment)


def test_built_once_and_found_again(home: Path) -> None:
    """The second time nothing is built."""
    entry = cache.built("thing", "key", makes("first"))
    assert cache.built("thing", "key", makes("second")) == entry
    assert (entry / "made").read_text() == "first"
    assert entry.parent == home


def test_what_is_older_goes_what_is_called_alike_stays() -> None:
    """Other ingredients make another entry of the same name, in its place."""
    old = cache.built("thing", "old", makes(""))
    alike = [cache.built(name, "old", makes("")) for name in ("thing-more", "some-thing", "thing-0123456789abcdef")]
    new = cache.built("thing", "new", makes(""))
    assert new != old
    assert not old.exists()
    assert all(entry.is_dir() for entry in [new, *alike])


def test_a_build_that_fails_leaves_nothing(home: Path) -> None:
    """What it raised comes through, and the next one begins with an empty folder."""
    kept = cache.built("thing", "old", makes(""))

    def fails(folder: Path) -> None:
        (folder / "half").touch()
        raise RuntimeError("no disk")

    with pytest.raises(RuntimeError, match="no disk"):
        cache.built("thing", "new", fails)
    assert [path for path in home.iterdir() if not path.name.endswith(".lock")] == [kept]
    assert [path.name for path in cache.built("thing", "new", makes("")).iterdir()] == ["made"]


def test_of_several_processes_one_builds(tmp_path: Path) -> None:
    """The others wait for it, and all have the same."""
    log = tmp_path / "log"
    processes = [started(log, 0.5) for _ in range(4)]
    assert [process.communicate()[0] for process in processes] == ["['half', 'whole']\n"] * 4
    assert log.read_text() == "begun\n"


def test_a_build_that_was_killed_is_no_entry(tmp_path: Path) -> None:
    """The next process that wants it builds it anew."""
    log = tmp_path / "log"
    killed = started(log, 600)
    while not log.exists() or not log.read_text():
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert started(log, 0).communicate()[0] == "['half', 'whole']\n"
    assert log.read_text() == "begun\nbegun\n"


def test_who_waits_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """The second goes in when the first has left."""
    inside = threading.Event()

    def second() -> None:
        with cache.alone("tree"):
            inside.set()

    thread = threading.Thread(target=second)
    said = ""
    with cache.alone("tree"):
        thread.start()
        end = time.monotonic() + 10
        while "waiting" not in said and time.monotonic() < end:
            time.sleep(0.01)
            said += capsys.readouterr().err
        assert said == "waiting for another process that has tree\n"
        assert not inside.is_set()
    thread.join(10)
    assert inside.is_set()
