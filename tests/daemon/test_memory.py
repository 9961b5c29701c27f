"""How much memory there is, where the control groups say it, and what is given up when."""

from __future__ import annotations

from mmap import mmap
from pathlib import Path

import pytest

from xtcp.daemon.memory import Memory, Pressure, limit_of_group, resident


def group(tmp_path: Path, membership: str, **limits: str) -> int | None:
    """The limit that a tree of control groups gives; `limits` by path, `__` for a slash."""
    for name, text in limits.items():
        path = tmp_path / "cgroup" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(path.name.replace("_", ".", 1)).write_text(text + "\n")
    (tmp_path / "self").write_text(membership + "\n")
    return limit_of_group(tmp_path / "cgroup", tmp_path / "self")


def test_the_least_limit_of_all_groups_above(tmp_path: Path) -> None:
    """A service's own, or that of its slice: whichever is less."""
    own = {"system__xtcp__memory_max": "max", "system__memory_max": "536870912", "memory_max": "max"}
    assert group(tmp_path, "0::/system/xtcp", **own) == 512 << 20
    assert group(tmp_path, "0::/system/xtcp", **own | {"system__xtcp__memory_max": "1000"}) == 1000


def test_no_limit(tmp_path: Path) -> None:
    """None in the groups, none at all, no groups."""
    assert group(tmp_path, "0::/", memory_max="max") is None
    assert limit_of_group(tmp_path / "nothing", tmp_path / "nowhere") is None


def test_version_1(tmp_path: Path) -> None:
    """The older controller, whose "none" is a number near 2**63."""
    path = tmp_path / "cgroup" / "memory" / "docker" / "memory.limit_in_bytes"
    path.parent.mkdir(parents=True)
    (tmp_path / "self").write_text("5:memory:/docker\n4:cpu:/docker\n")
    path.write_text("268435456\n")
    assert limit_of_group(tmp_path / "cgroup", tmp_path / "self") == 256 << 20
    path.write_text("9223372036854771712\n")
    assert limit_of_group(tmp_path / "cgroup", tmp_path / "self") is None


def test_resident_memory_is_this_process() -> None:
    """It grows with what is used."""
    before = resident()
    with mmap(-1, 64 << 20) as fresh:  # what was used and freed before may be given again without growing
        fresh.write(b"\1" * len(fresh))
        assert resident() - before > 48 << 20


@pytest.mark.parametrize(
    ("used", "pressure"),
    [(0, Pressure.NONE), (79, Pressure.NONE), (80, Pressure.HISTORIES), (89, Pressure.HISTORIES), (90, Pressure.ROWS)],
)
def test_what_is_given_up_when(used: int, pressure: Pressure) -> None:
    """Histories from 80 %, rows from 90 %."""
    assert Memory(100, used=lambda: used).pressure() is pressure


def test_freed_memory_is_given_back_where_it_matters() -> None:
    """Only from a quarter of the limit on: it costs time."""
    asked: list[int] = []
    for used in (24, 25):
        Memory(100, used=lambda used=used: used, trim=lambda: asked.append(1)).begin_poll()  # type: ignore[misc]
    assert asked == [1]
    Memory(1).begin_poll()
