"""When a dump is due: to the second, on a clock that only sleeping moves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.playing.clocks import Clock
from xtcp_replay.playing.pace import Pace

NS = 1_000_000_000
T0 = 1_700_000_000 * NS


def played(
    times: Sequence[float | None], speed: float | None = 1.0, longest_gap_s: float = 300
) -> tuple[list[float], list[float], Pace]:
    """Seconds slept, seconds along the timeline, and the pace, for dumps at `times` (s since the first)."""
    clock = Clock()
    pace = Pace(speed, longest_gap_s, clock=clock, sleep=clock.sleep)
    offsets = [pace.wait(None if at is None else T0 + int(at * NS)) / NS for at in times]
    return clock.slept, offsets, pace


@pytest.mark.parametrize(
    ("speed", "slept"), [(1.0, [30, 0.5, 29.5]), (10.0, [3, 0.05, 2.95]), (0.5, [60, 1, 59]), (None, [])]
)
def test_distances_of_the_capture(speed: float | None, slept: list[float]) -> None:
    """As captured, faster, slower, or without waiting; the timeline is the capture's in every case."""
    assert played([0, 30, 30.5, 60], speed)[:2] == (slept, [0, 30, 30.5, 60])


def test_a_step_back_does_not_wait_and_does_not_hurry() -> None:
    """A clock that was set back by an hour: what follows keeps its distances."""
    slept, offsets, pace = played([0, 10, -3590, -3580, -3570])
    assert slept == [10, 10, 10]
    assert offsets == [0, 10, 10, 20, 30]
    assert pace.back == 1


def test_a_long_gap_is_shortened() -> None:
    """A night, or a clock set forward; at twice the speed half of the rest."""
    slept, offsets, pace = played([0, 10, 40_000, 40_010], speed=2.0, longest_gap_s=60)
    assert slept == [5, 30, 5]
    assert offsets == [0, 10, 70, 80]
    assert pace.cut == 1


def test_dumps_without_a_time_come_with_the_one_before() -> None:
    """Raw dumps have none."""
    slept, offsets, pace = played([None, 0, None, 5])
    assert slept == [5]
    assert offsets == [0, 0, 0, 5]
    assert pace.untimed == 2


def test_being_late_is_made_up_for() -> None:
    """What took longer than the gap is followed at once; the next is due when it was due all along."""
    clock = Clock()
    pace = Pace(clock=clock, sleep=clock.sleep)
    for at, busy in ((0, 0.0), (10, 25.0), (20, 0.0), (40, 0.0)):
        pace.wait(T0 + at * NS)
        clock.now += busy
    assert clock.slept == [10, 5]


def test_a_sleep_that_ends_early_is_taken_up_again() -> None:
    """As one does that a signal interrupts."""
    clock = Clock()
    pace = Pace(clock=clock, sleep=lambda seconds: clock.sleep(max(seconds / 2, 0.01)))
    pace.wait(T0)
    pace.wait(T0 + NS)
    assert clock.now >= 1001


@pytest.mark.parametrize(
    ("times", "between"), [([0, 0.25, 30, 30.25, 60, 60.25], 29.75), ([0], 1), ([0, 0.1], 1), ([None], 1)]
)
def test_between_passes_is_the_longest_gap(times: list[float | None], between: float) -> None:
    """The interval of polls; a second at least."""
    clock = Clock()
    pace = Pace(clock=clock, sleep=clock.sleep)
    for _ in range(3):
        before = pace.offset_ns
        offsets = [pace.wait(None if at is None else T0 + int(at * NS)) for at in times]
        assert offsets[0] - before in (0, between * NS)
        pace.next_pass()
    span = 3 * max((at or 0) for at in times) + 2 * between
    assert clock.now == pytest.approx(1000 + span)
    assert pace.back == 0


@given(
    times=st.lists(st.none() | st.integers(0, 10_000_000), max_size=30),
    speed=st.none() | st.floats(0.01, 1000),
    longest=st.floats(0, 1000),
)
def test_never_back_never_beyond(times: list[int | None], speed: float | None, longest: float) -> None:
    """Whatever the times: the timeline never goes back nor leaps, and sleeping adds up to it."""
    slept, offsets, _ = played([None if at is None else at / 1000 for at in times], speed, longest)
    steps = [b - a for a, b in pairwise(offsets)]
    assert all(0 <= step <= longest + 1e-6 for step in steps)
    if speed is None:
        assert slept == []
    elif times:
        assert sum(slept) == pytest.approx(offsets[-1] / speed, abs=1e-4)
