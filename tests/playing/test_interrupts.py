"""Ctrl-C and SIGTERM: between two batches, at once elsewhere, and at once the second time."""

from __future__ import annotations

import signal

import pytest

from xtcp_replay.playing.interrupts import Interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_outside_it_acts_at_once(number: signal.Signals) -> None:
    """As in a read, or while waiting."""
    interrupts = Interrupts()
    with interrupts.handled(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def guarded(interrupts: Interrupts, signals: int, done: list[str]) -> None:
    """A block in which so many signals come."""
    with interrupts:
        done.append("begun")
        for _ in range(signals):
            signal.raise_signal(signal.SIGINT)
        done.append("ended")


def test_inside_it_waits_for_the_end() -> None:
    """The block is done whole; and the signal acts once."""
    interrupts = Interrupts()
    done: list[str] = []
    with interrupts.handled():
        guarded(interrupts, 0, done)
        with pytest.raises(KeyboardInterrupt):
            guarded(interrupts, 1, done)
        guarded(interrupts, 0, done)
    assert done == ["begun", "ended"] * 3


def test_a_second_one_does_not_wait() -> None:
    """A block may hang on a reader that stands still."""
    interrupts = Interrupts()
    done: list[str] = []
    with interrupts.handled(), pytest.raises(KeyboardInterrupt):
        guarded(interrupts, 2, done)
    assert done == ["begun"]


def test_handlers_are_given_back() -> None:
    """Those of before."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupts().handled():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
