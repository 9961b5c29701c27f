"""Memory: how much the agent uses, and what it gives up before it uses too much.

    from 80 % of the limit   histories are not kept on: health figures, the table of a terminal
    from 90 %                the rows of this poll go to no sink; each counts them as dropped (`shed`)
    above it, three polls    the agent ends with 75, to be started anew

Used is the resident set. All queues before sinks together take an eighth of the limit; one whose size somebody named
may take up to half of it. What was freed in pieces between what is still queued is given back to the system before a
poll, from a quarter of the limit on.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Final

from xtcp.sinks.schemes import DEFAULT_BYTES

SHED: Final = "shed"
DEFAULT: Final = 512 << 20
GIVE_BACK_FROM: Final = 0.25
HISTORIES_FROM: Final = 0.8
ROWS_FROM: Final = 0.9
POLLS_ABOVE: Final = 3
LEAST_QUEUE: Final = 1 << 20

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_CGROUPS: Final = Path("/sys/fs/cgroup")


class Pressure(IntEnum):
    """What is given up."""

    NONE = 0
    HISTORIES = 1
    ROWS = 2


def resident() -> int:
    """Bytes of this process in memory; 0 where /proc does not say (proc_pid_statm(5))."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def limit_of_group(cgroups: Path = _CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int | None:
    """The least `memory.max` of this process's control group and those above it; None where there is none.

    Version 2 as the kernel has it (Documentation/admin-guide/cgroup-v2.rst), and version 1's `limit_in_bytes`.
    """
    found: list[int] = []
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        root = cgroups / "memory" if controllers else cgroups
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            try:
                text = (folder / name).read_text().strip()
            except OSError:
                text = ""
            # Version 1 says "none" by a number near 2**63.
            if text.isdecimal() and int(text) < 1 << 60:
                found.append(int(text))
            if folder == root:
                break
    return min(found, default=None)


def give_back() -> None:
    """Asks the C library to give what was freed back to the kernel (malloc_trim(3)), where it can."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return


class Memory:
    """Compares what is used with `limit`, bytes."""

    def __init__(self, limit: int, used: Callable[[], int] = resident, trim: Callable[[], None] = give_back) -> None:
        self.limit = limit
        self._used = used
        self._trim = trim
        self._above = 0

    @property
    def exhausted(self) -> bool:
        """Whether the agent has to end."""
        return self._above >= POLLS_ABOVE

    def begin_poll(self) -> None:
        """Gives back what it can, where that may matter."""
        if self._used() >= GIVE_BACK_FROM * self.limit:
            self._trim()

    def pressure(self) -> Pressure:
        """What is to be given up now."""
        used = self._used()
        if used >= ROWS_FROM * self.limit:
            return Pressure.ROWS
        return Pressure.HISTORIES if used >= HISTORIES_FROM * self.limit else Pressure.NONE

    def end_poll(self) -> None:
        """Counts polls in a row that end above the limit."""
        self._above = self._above + 1 if self._used() > self.limit else 0

    def queue_bytes(self, wanted: int, sinks: int) -> int:
        """What one of `sinks` queues may hold of the `wanted` bytes."""
        share = self.limit // 8 // max(sinks, 1) if wanted == DEFAULT_BYTES else self.limit // 2
        return max(LEAST_QUEUE, min(wanted, share))
