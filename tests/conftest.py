"""What all tests share: where captures are, what a skip must say, and that CI meets no skip it does not expect.

Hypothesis profiles: `ci` is the same modest set of examples each time, `deep` (HYPOTHESIS_PROFILE=deep) searches.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import libraries, patience, results
from tests.patience import fewer

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]

settings.register_profile(
    "ci", max_examples=fewer(20), derandomize=True, deadline=None, database=None, suppress_health_check=_SLOW
)
settings.register_profile("deep", max_examples=2000, deadline=None, suppress_health_check=_SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

ROOT = Path(__file__).resolve().parent.parent

# In CI everything is installed and run as root; only what this kernel or Python cannot have may be skipped there.
EXPECTED_SKIPS = (
    r"the captures are not here",
    r"this kernel has no \w+",
    r"TLS_INFO_\* is not in this kernel's BTF",
    r"no atheris for this Python",
)


def pytest_configure(config: pytest.Config) -> None:
    """The plugins of this suite, here because the root of the repository has no conftest.py to name them in."""
    for plugin in (libraries, patience, results):
        config.pluginmanager.register(plugin)


def pytest_itemcollected(item: pytest.Item) -> None:
    """What takes the captures that others made is external; so is what is there for one of them."""
    folder, callspec = captures_folder(), getattr(item, "callspec", None)
    parameters = callspec.params.values() if callspec is not None else ()
    theirs = any(isinstance(value, Path) and folder in value.parents for value in parameters)
    if theirs or "captures" in getattr(item, "fixturenames", ()):
        item.add_marker("external")


def captures_folder() -> Path | None:
    """The folder of captures that others made: $XTCP_CAPTURES, or shared/captures beside the repository."""
    named = os.environ.get("XTCP_CAPTURES")
    folder = Path(named) if named else ROOT.parent / "shared" / "captures"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def captures() -> Path:
    """The captures that others made, or a skip."""
    folder = captures_folder()
    if folder is None:
        pytest.skip("the captures are not here (set XTCP_CAPTURES to their folder)")
    return folder


@pytest.fixture
def namespace() -> Iterator[str]:
    """The name of a fresh network namespace with loopback up; needs root and ip."""
    require_root()
    require_program("ip", "iproute2")
    from tests.sockets import netns

    with netns.namespace() as name:
        yield name


def require_root() -> None:
    """Skips unless the tests run as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a network namespace of its own")


def require_program(name: str, package: str, *, whole: bool = False) -> str:
    """The path of a program, or a skip that names Debian's package; `whole` not busybox's, which has fewer options."""
    found = shutil.which(name)
    if found is None or (whole and Path(found).resolve().name == "busybox"):
        pytest.skip(f"needs {name} (apt-get install {package})")
    return found


def ss_of(messages: Path, *options: str) -> str:
    """What ss makes of stored netlink messages: the independent witness."""
    program = require_program("ss", "iproute2")
    return subprocess.run(
        [program, *options],
        env={**os.environ, "TCPDIAG_FILE": str(messages), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI (XTCP_CI=1) a skip that is not expected fails the run."""
    if os.environ.get("XTCP_CI") != "1":
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    unexpected = []
    for report in reporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(re.search(pattern, reason) for pattern in EXPECTED_SKIPS):
            unexpected.append(f"{report.nodeid}: {reason}")
    if unexpected:
        print("\nskips that CI does not expect:\n  " + "\n  ".join(unexpected))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
