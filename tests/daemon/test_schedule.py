"""When polls begin, with clocks that the test turns."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from xtcp.daemon.clocks import NS, Moment
from xtcp.daemon.schedule import Schedule, host_id, phase

INTERVAL = 30 * NS


def spaced(schedule: Schedule, takes: list[float], start: int) -> list[int]:
    """The beginnings of polls that take so many seconds each, each begun when it is due."""
    now, begun = start, []
    for seconds in takes:
        now = max(now, schedule.due)
        begun.append(now)
        schedule.begin(now)
        now += round(seconds * NS)
        schedule.end(now)
    return begun


def test_the_first_poll_is_at_once_then_the_grid() -> None:
    """After the first, all lie at the host's phase; the second comes no sooner than half an interval."""
    start = 12_345 * NS + 678
    begun = spaced(Schedule(30, "host", start), [1.0] * 50, start)
    assert begun[0] == start
    assert NS * 15 - 1 <= begun[1] - begun[0] <= NS * 45
    assert {at % INTERVAL for at in begun[1:]} == {phase("host", INTERVAL)}
    assert {b - a for a, b in pairwise(begun[1:])} == {INTERVAL}


def test_a_week_of_polls_in_a_moment() -> None:
    """No drift: after a week the last poll lies on the grid, and none was skipped."""
    start = 77 * NS
    schedule = Schedule(30, "host", start)
    begun = spaced(schedule, [2.5] * (7 * 24 * 120), start)
    assert begun[-1] % INTERVAL == phase("host", INTERVAL)
    assert schedule.skipped == 0


def test_fault_74_a_long_poll_skips_ticks_and_never_overlaps() -> None:
    """A poll of 100 s at 30 s skips three ticks, counts them, and the next begins at a tick behind its end."""
    start = 1000 * NS
    schedule = Schedule(30, "host", start)
    begun = spaced(schedule, [1, 100, 1, 1], start)
    assert schedule.skipped == 3
    assert begun[2] - begun[1] == 4 * INTERVAL
    assert begun[2] >= begun[1] + 100 * NS


def test_fault_74_always_longer_than_the_interval() -> None:
    """Polls that never keep up follow each other at ticks, and every tick left out is counted."""
    start, takes = 1000 * NS, 95.0
    schedule = Schedule(30, "host", start)
    begun = spaced(schedule, [takes] * 10, start)
    assert all(b - a >= takes * NS for a, b in pairwise(begun))
    ticks = (begun[-1] - begun[1]) // INTERVAL
    assert schedule.skipped >= ticks - 8


def test_a_process_that_was_stopped_catches_up_once() -> None:
    """Stopped for an hour, it takes one poll at once and counts the ticks that passed."""
    start = 1000 * NS
    schedule = Schedule(30, "host", start)
    spaced(schedule, [1, 1], start)
    late = schedule.due + 3600 * NS
    schedule.begin(late)
    schedule.end(late + NS)
    assert schedule.skipped == 120
    assert schedule.due > late + NS
    assert schedule.due - late <= INTERVAL


def test_fault_75_a_fleet_is_spread() -> None:
    """10,000 hosts lie even over the interval, within 10 % of it in each tenth, and the same after every start."""
    random.seed(75)
    hosts = [f"{random.getrandbits(128):032x}" for _ in range(10_000)]
    tenths = Counter(phase(host, INTERVAL) * 10 // INTERVAL for host in hosts)
    assert sorted(tenths) == list(range(10))
    assert all(900 <= count <= 1100 for count in tenths.values()), tenths
    assert [phase(host, INTERVAL) for host in hosts[:100]] == [phase(host, INTERVAL) for host in hosts[:100]]


def test_fault_75_names_one_after_the_other_are_spread_too() -> None:
    """Hosts without a machine-id are told by their names, which differ in a digit."""
    phases = sorted(phase(f"edge-{n:04}", INTERVAL) for n in range(1000))
    assert max(b - a for a, b in pairwise(phases)) < INTERVAL / 50


def test_another_interval_from_now_on() -> None:
    """A reload moves the next tick, and the ticks before are not counted as skipped."""
    start = 1000 * NS
    schedule = Schedule(30, "host", start)
    spaced(schedule, [1, 1], start)
    now = schedule.due - 20 * NS
    schedule.change(5, now)
    assert now < schedule.due <= now + 5 * NS
    assert schedule.skipped == 0


def test_this_host_has_an_id() -> None:
    """From machine-id or the name, the same each time."""
    assert host_id() and host_id() == host_id()


@pytest.mark.parametrize(("seconds", "expected"), [(0, 0), (3600, 3600), (-3600, -3600), (0.5, 0)])
def test_steps_of_the_wall_clock(seconds: float, expected: float) -> None:
    """What somebody set is seen to the ns; what NTP slews is none."""
    before = Moment(NS, NS, 5 * NS)
    after = Moment(31 * NS, 31 * NS, 35 * NS + round(seconds * NS))
    assert after.stepped_since(before) == expected * NS


def test_sleep_is_no_step() -> None:
    """A host that was suspended has slept, its wall clock is right."""
    before, after = Moment(NS, NS, 5 * NS), Moment(2 * NS, 7202 * NS, 7206 * NS)
    assert after.slept_since(before) == 7200 * NS
    assert after.stepped_since(before) == 0
