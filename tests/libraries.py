"""Libraries that a machine may lack: what needs one is skipped there, and the reason names it.

A pytest plugin. Three ways lead to such a skip, each only for a library of `OPTIONAL` that is not installed:
a test module whose import fails for it; a test that ends with its ModuleNotFoundError, the product's error made of it
included; and a test marked `needs("pyarrow")`, which would otherwise see nothing but an exit code. Whatever else fails
to import is an error, and in CI every one of these skips is (`tests.conftest.EXPECTED_SKIPS`).
"""

from __future__ import annotations

import importlib
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pytest

# As `import` calls it, and as pip does. Not NumPy nor hypothesis: without these there is nothing to test.
OPTIONAL: Final = {
    "bcrypt": "bcrypt",
    "chdb": "chdb",
    "confluent_kafka": "confluent-kafka",
    "docker": "docker",
    "duckdb": "duckdb",
    "flask": "flask",
    "flask_cors": "flask-cors",
    "google": "protobuf",
    "h11": "h11",
    "moto": "moto[s3]",
    "prometheus_client": "prometheus-client",
    "pyarrow": "pyarrow",
    "pyroute2": "pyroute2",
    "scapy": "scapy",
    "uvicorn": "uvicorn",
    "yaml": "pyyaml",
    "zstandard": "zstandard",
}


def is_here(name: str) -> bool:
    """Whether a library of `OPTIONAL` is installed, whatever a test has put into `sys.modules`."""
    return any(finder.find_spec(name, None) is not None for finder in sys.meta_path)


def reason(name: str) -> str:
    """What a skip for that library says."""
    return f"no {OPTIONAL[name]} here (pip install {shlex.quote(OPTIONAL[name])})"


def missing(error: BaseException | None) -> str | None:
    """The library that `error`, or what it was raised from, did not find, if it is one that a machine may lack."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            name = error.name.partition(".")[0]
            if name in OPTIONAL and not is_here(name):
                return name
        error = error.__cause__
    return None


def require(name: str) -> None:
    """A skip where that library is not installed. It is not imported: chdb's would change this process's allocator."""
    if not is_here(name):
        pytest.skip(reason(name), allow_module_level=True)


def library(name: str) -> Any:
    """The module of that name, or a skip."""
    require(name.partition(".")[0])
    return importlib.import_module(name)


class _Module(pytest.Module):
    """A module of tests that is skipped whole if it imports what is not here."""

    def collect(self) -> Sequence[pytest.Item | pytest.Collector]:
        try:
            return list(super().collect())
        except Exception as failure:
            name = missing(failure)
            if name is None:
                raise
        pytest.skip(reason(name), allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Any, parent: Any) -> pytest.Module:
    """Every module of tests is collected so."""
    return _Module.from_parent(parent, path=module_path)


def pytest_configure(config: pytest.Config) -> None:
    """The marker."""
    config.addinivalue_line("markers", "needs(libraries…): skipped where one of them is not installed")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before anything is made for a test that needs a library which is not here."""
    for marker in item.iter_markers("needs"):
        for name in marker.args:
            if not is_here(name):
                pytest.skip(reason(name))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A test that failed for a library which is not here was skipped."""
    outcome: Any = yield
    report: pytest.TestReport = outcome.get_result()
    if report.outcome == "failed" and call.excinfo is not None and (name := missing(call.excinfo.value)) is not None:
        path, line, _ = item.location
        report.outcome = "skipped"
        report.longrepr = (path, (line or 0) + 1, f"Skipped: {reason(name)}")
