"""Retention: which old files go, so that a folder neither grows without end nor keeps rows for ever.

A file is old when its partition's hour and its own time of writing both lie further back than `age_s`: a replay of old
polls is not removed as soon as it is written, nor what a clock dated 1970 while it was set. Over `size` bytes in all,
drafts counted in, the oldest partitions go first; a draft never goes.

A wall clock that leaps ahead makes everything old at once. So after a leap of more than an hour, seen against the
monotonic clock, nothing is removed by age before the new time has held for an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from xtcp.sinks.folders.local_folder import Stored
from xtcp.sinks.folders.partitions import ours

_S: Final = 1_000_000_000
LEAP_S: Final = 3600.0


@dataclass(frozen=True)
class Keep:
    """How long, and how many bytes of, files are kept; None: without a limit."""

    age_s: float | None = None
    size: int | None = None


EVERYTHING: Final = Keep()


def surplus(files: Iterable[Stored], keep: Keep, now_ns: int | None) -> Iterator[str]:
    """The paths of `files` to remove, the oldest first. `now_ns` is the wall clock, None where it is not believed."""
    dated = []
    total = 0
    for stored in files:
        total += stored.size
        kind = ours(stored.path)
        if kind is not None and not kind.temporary:
            end = stored.modified_ns if kind.end_ns is None else kind.end_ns
            dated.append((end, kind.name, stored))
    for end, _, stored in sorted(dated, key=lambda item: item[:2]):
        too_old = (
            keep.age_s is not None
            and now_ns is not None
            and max(end, stored.modified_ns) < now_ns - int(keep.age_s * _S)
        )
        if too_old or (keep.size is not None and total > keep.size):
            total -= stored.size
            yield stored.path


class BelievedClock:
    """The wall clock (`wall`, ns) as long as it keeps step with the monotonic one (`monotonic`, s)."""

    def __init__(self, wall: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = self._now_offset()
        self._new: tuple[float, float] | None = None

    def _now_offset(self) -> float:
        return self._wall() / _S - self._monotonic()

    def now_ns(self) -> int | None:
        """Now; None within an hour after a leap ahead."""
        offset = self._now_offset()
        if offset - self._offset < LEAP_S:
            self._offset, self._new = offset, None
            return self._wall()
        if self._new is None or abs(offset - self._new[0]) >= LEAP_S:
            self._new = offset, self._monotonic()
        if self._monotonic() - self._new[1] < LEAP_S:
            return None
        self._offset, self._new = offset, None
        return self._wall()
