"""The suite's own plugins, in a pytest of their own: which skips a missing library makes, and what results say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.cli.running import ENVIRONMENT
from tests.conftest import ROOT
from tests.patience import patient

WITHOUT_DUCKDB = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == "duckdb" else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""
TESTS = """
import time
import pytest

def test_passes(): time.sleep(0.01)
def test_imports(): import duckdb.experimental
def test_imports_for_somebody_else():
    try:
        import duckdb
    except ImportError as error:
        raise ValueError("not here") from error
@pytest.mark.needs("duckdb")
def test_needs(): raise AssertionError
def test_imports_another(): import no_such_library
def test_fails(): assert 1 == 2
@pytest.fixture
def broken(): raise OSError("no disk")
def test_of_a_fixture(broken): pass
@pytest.mark.skip(reason="no kernel")
def test_skipped(): pass
@pytest.mark.timeout(7)
def test_time(request): assert request.node.get_closest_marker("timeout").args == (21.0,)
"""
NO_DUCKDB = ("skipped", "no duckdb here (pip install duckdb)")


def test_skips_and_results(tmp_path: Path) -> None:
    """A library of the list is a skip that names it, of a test or of a module; all else is what it was."""
    (tmp_path / "conftest.py").write_text(WITHOUT_DUCKDB)
    (tmp_path / "test_a.py").write_text(TESTS)
    (tmp_path / "test_b.py").write_text("import duckdb\n\ndef test_never(): pass\n")
    results = tmp_path / "results"
    plugins = [option for name in ("libraries", "patience", "results") for option in ("-p", f"tests.{name}")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "-p", "no:cacheprovider", "--rootdir", tmp_path, "-q", tmp_path],
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT), "XTCP_RESULTS": str(results), "XTCP_SLOWNESS": "3"},
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert {line["test"].rpartition("::")[2]: (line["outcome"], line["reason"]) for line in lines} == {
        "test_b.py": NO_DUCKDB,
        "test_passes": ("passed", ""),
        "test_imports": NO_DUCKDB,
        "test_imports_for_somebody_else": NO_DUCKDB,
        "test_needs": NO_DUCKDB,
        "test_imports_another": ("failed", "ModuleNotFoundError: No module named 'no_such_library'"),
        "test_fails": ("failed", "assert 1 == 2"),
        "test_of_a_fixture": ("error", "OSError: no disk"),
        "test_skipped": ("skipped", "no kernel"),
        "test_time": ("passed", ""),
    }
    assert [line["seconds"] >= 0.01 for line in lines if line["test"].endswith("test_passes")] == [True]
