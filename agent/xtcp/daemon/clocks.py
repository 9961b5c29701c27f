"""The clocks: each a function without arguments that gives ns, so that a test can put others in their place."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

NS: Final = 1_000_000_000

# A wall clock that runs ahead of the other by more than this in an interval was set; slewing by NTP is far slower.
STEP_NS: Final = NS
# Before it a host has no idea of the time: 2020-01-01.
NO_TIME_NS: Final = 1_577_836_800 * NS


def _boottime() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Clocks:
    """`monotonic` stands still while the host sleeps, `boottime` does not, `wall` is whatever somebody sets it to."""

    monotonic: Callable[[], int] = time.monotonic_ns
    boottime: Callable[[], int] = _boottime
    wall: Callable[[], int] = time.time_ns


REAL: Final = Clocks()


@dataclass(frozen=True)
class Moment:
    """All three clocks at once, ns."""

    monotonic: int
    boottime: int
    wall: int

    @classmethod
    def now(cls, clocks: Clocks) -> Moment:
        """Read one after the other."""
        return cls(clocks.monotonic(), clocks.boottime(), clocks.wall())

    def slept_since(self, before: Moment) -> int:
        """How long the host was suspended, ns."""
        slept = (self.boottime - before.boottime) - (self.monotonic - before.monotonic)
        # The two are read one after the other: a difference below a ms is none.
        return slept if slept > NS // 1000 else 0

    def stepped_since(self, before: Moment) -> int:
        """By how much somebody set the wall clock, ns; 0 for less than a step."""
        step = (self.wall - before.wall) - (self.boottime - before.boottime)
        return step if abs(step) > STEP_NS else 0
