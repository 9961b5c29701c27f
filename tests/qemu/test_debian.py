"""Debian's packages that are not to be had: the reason is apt's own, not that some program failed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from qemu import debian
from qemu.architectures import architecture
from tests.conftest import require_program
from xtcp.errors import Unavailable

S390X: Final = architecture("s390x")


@pytest.fixture
def no_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror without any suite, on this machine."""
    require_program("apt-get", "apt")
    require_program("mmdebstrap", "mmdebstrap")
    if not debian.keys().is_file():
        pytest.skip("needs Debian's keys (apt-get install debian-archive-keyring)")
    (tmp_path / "mirror").mkdir()
    monkeypatch.setattr(debian, "mirror", lambda: f"file://{tmp_path}/mirror")


@pytest.mark.usefixtures("no_mirror")
@pytest.mark.parametrize(
    "fetch",
    [
        lambda folder: debian.unpacked(S390X, "nosuite", ["bash"], folder),
        lambda folder: debian.kernel_packages(S390X, "nosuite", folder),
    ],
    ids=["packages", "kernel"],
)
def test_a_suite_that_the_mirror_does_not_have(fetch: Callable[[Path], object], tmp_path: Path) -> None:
    """Whichever program apt is started by, its reason comes out, with what to look at."""
    with pytest.raises(Unavailable) as met:
        fetch(tmp_path)
    said = str(met.value)
    assert "nosuite for s390x" in said and "not to be had" in said
    assert "nosuite Release' does not have a Release file" in said
    assert "apt-get update" in said.splitlines()[-1]
