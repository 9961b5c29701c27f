"""Pace: when the next dump is due, by the times of the capture and a monotonic clock.

The timeline is the capture's, mended: where time goes back it stands still, a gap longer than the longest allowed is
cut to that, and a dump without a time comes with the one before it. `offset_ns` is how far along it a dump is. Playing
divides it by the speed; the times that `--rewrite-time` writes follow it as it is. Being late is made up for by not
waiting, so nothing drifts.

Passes of a loop follow each other at the longest gap of the one before, the usual interval of a capture of polls, and
at no less than a second, so that a capture of one dump does not become a flood.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

LONGEST_GAP_S: Final = 300.0
LEAST_BETWEEN_PASSES_NS: Final = 1_000_000_000

_NAP_S: Final = 0.25
_NS: Final = 1_000_000_000


def doze(seconds: float) -> None:
    """Sleeps so long at most: a signal that the kernel gave to another thread ends no sleep, and acts after it."""
    time.sleep(min(seconds, _NAP_S))


class Pace:
    """`speed` times as fast as it was captured; None: without waiting.

    `cut` counts gaps that were too long, `back` steps back in time, `untimed` dumps without a time. `clock` gives
    seconds that never go back, `sleep` waits so many or fewer.
    """

    def __init__(
        self,
        speed: float | None = 1.0,
        longest_gap_s: float = LONGEST_GAP_S,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = doze,
    ) -> None:
        self.offset_ns = self.cut = self.back = self.untimed = 0
        self._speed = speed
        self._longest_ns = int(longest_gap_s * _NS)
        self._clock = clock
        self._sleep = sleep
        self._started: float | None = None
        self._last_ns: int | None = None
        self._between_ns = 0
        self._longest_seen_ns = 0

    def wait(self, time_ns: int | None) -> int:
        """Waits until the dump of `time_ns` (ns since 1970) is due; returns how far along the timeline it is, ns."""
        self.offset_ns += self._between_ns + self._gap(time_ns)
        self._between_ns = 0
        if self._speed is not None:
            self._wait_for(self.offset_ns / self._speed / _NS)
        return self.offset_ns

    def next_pass(self) -> None:
        """The capture begins again."""
        self._between_ns = min(max(self._longest_seen_ns, LEAST_BETWEEN_PASSES_NS), self._longest_ns)
        self._last_ns = None

    def _gap(self, time_ns: int | None) -> int:
        if time_ns is None:
            self.untimed += 1
            return 0
        gap = 0 if self._last_ns is None else time_ns - self._last_ns
        self._last_ns = time_ns
        if gap < 0:
            self.back += 1
            gap = 0
        elif gap > self._longest_ns:
            self.cut += 1
            gap = self._longest_ns
        self._longest_seen_ns = max(self._longest_seen_ns, gap)
        return gap

    def _wait_for(self, due_s: float) -> None:
        if self._started is None:
            self._started = self._clock() - due_s
        while (left := self._started + due_s - self._clock()) > 0:
            self._sleep(left)
