"""When polls begin: at once, then on a grid of ticks that no step of the wall clock moves.

The grid lies on the monotonic clock, its phase is a hash of the host's id, so that a fleet that starts at once does
not send at once. A poll takes the tick it begins after; the ticks that pass while it runs, or while the process is
stopped, are skipped and counted: polls neither overlap nor queue up. All times are ns.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

from xtcp.daemon.clocks import NS


def host_id() -> str:
    """What tells this host from all others: its machine-id (machine-id(5)), else its name."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            text = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text and text != "uninitialized":
            return text
    return os.uname().nodename


def phase(host: str, interval: int) -> int:
    """Where in the interval a host's ticks lie, the same after every start."""
    digest = blake2b(host.encode("utf-8", "surrogateescape"), digest_size=8, person=b"xtcp poll").digest()
    return int.from_bytes(digest, "little") % interval


class Schedule:
    """The ticks of one host; `due` is when the next poll begins."""

    def __init__(self, interval_s: float, host: str, now: int) -> None:
        self._host = host
        self._interval = self._phase = 1
        self._tick: int | None = None
        self.due = now
        self.skipped = 0
        self._set(interval_s)

    @property
    def interval(self) -> int:
        """Ns between two ticks."""
        return self._interval

    def change(self, interval_s: float, now: int) -> None:
        """Another interval from now on; the next poll is at its first tick."""
        self._set(interval_s)
        if self._tick is not None:
            self._go_to(self._first_after(now))

    def begin(self, now: int) -> None:
        """A poll begins: the tick it was due at is taken, those that have passed meanwhile are skipped."""
        if self._tick is None:
            # The first poll took none. Half an interval is the least there is between it and the second.
            self._go_to(self._first_after(now + self._interval // 2 - 1))
        else:
            following = max(self._first_after(now), self._tick + 1)
            self.skipped += following - self._tick - 1
            self._go_to(following)

    def end(self, now: int) -> int:
        """The poll is over; returns how many ticks passed while it ran."""
        if self._tick is None:
            return 0
        passed = max(0, self._first_after(now) - self._tick)
        self.skipped += passed
        self._go_to(self._tick + passed)
        return passed

    def _set(self, interval_s: float) -> None:
        self._interval = max(1, round(interval_s * NS))
        self._phase = phase(self._host, self._interval)

    def _go_to(self, tick: int) -> None:
        self._tick = tick
        self.due = self._phase + tick * self._interval

    def _first_after(self, now: int) -> int:
        return (now - self._phase) // self._interval + 1
