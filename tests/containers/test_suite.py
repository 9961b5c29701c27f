"""The command's words, the list of the native tests, and the compiled files that it starts with."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from containers.verdict import listed_in
from tests.conftest import ROOT
from tests.libraries import library

library("docker")

from containers import suite  # noqa: E402
from xtcp.errors import ExitCode, UsageError  # noqa: E402


@pytest.mark.parametrize(("name", "said"), [("mips", "no architecture 'mips'"), ("x86-64", "no image of x86-64")])
def test_an_architecture_that_is_not_there(name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Which there are, exit code 2; nothing is built or started for it."""
    assert suite.main([name]) == ExitCode.USAGE
    assert said in capsys.readouterr().err


def test_a_command_is_what_follows_two_dashes() -> None:
    """Wherever the options are, and whatever options it has itself."""
    options = suite._options(["s390x", "--limit", "5", "--", "python3", "--limit", "--", "x"])
    assert (options.architecture, options.limit) == ("s390x", 5)
    assert options.command == ["python3", "--limit", "--", "x"]
    assert suite._options(["s390x"]).command == []


def test_every_image_has_what_it_is_built_from() -> None:
    """Beside this program."""
    for name in suite.SUITES:
        assert (ROOT / "containers" / name / "Dockerfile").is_file()


def test_compiled_files_are_found(tmp_path: Path) -> None:
    """A module of the userland is not compiled again, though all compiled files are looked for elsewhere."""
    module = tmp_path / "lib" / "module.py"
    module.parent.mkdir()
    module.write_text("print(__cached__)")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run([sys.executable, "-m", "compileall", "-q", module.parent], env=plain, check=True)
    with tarfile.open(tmp_path / "userland.tar", "w") as tar:
        tar.add(module.parent, f".{module.parent}")
    prefix = tmp_path / "prefix"
    suite._seed(tmp_path / "userland.tar", prefix)
    (seeded,) = prefix.rglob("*.pyc")
    before = seeded.stat().st_mtime_ns
    environment = {**plain, "PYTHONPYCACHEPREFIX": str(prefix), "PYTHONPATH": str(module.parent)}
    done = subprocess.run(
        [sys.executable, "-c", "import module"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(seeded)
    assert seeded.stat().st_mtime_ns == before


def test_the_native_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the markers leave, and the others with their markers."""
    monkeypatch.setattr(suite, "ROOT", tmp_path)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\naddopts = --import-mode=importlib\npythonpath = {ROOT}\n")
    (tmp_path / "test_a.py").write_text(
        "import pytest\ndef test_it(): pass\n@pytest.mark.live\ndef test_kernel(): pass\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with suite._native_listing(tmp_path / "native.jsonl"):
        pass
    listed = listed_in(tmp_path / "native.jsonl")
    assert listed.selected == {"test_a.py::test_it"}
    assert listed.deselected == {"test_a.py::test_kernel": ["live"]}


def test_native_tests_that_cannot_be_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to compare with: the reason is told."""
    monkeypatch.setattr(suite, "ROOT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "test_a.py").write_text("import nothing_of_that_name\n")
    with (
        pytest.raises(UsageError, match="nothing_of_that_name"),
        suite._native_listing(tmp_path / "native.jsonl"),
    ):
        pass
