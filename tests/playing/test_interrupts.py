"""Ctrl-C and SIGTERM: between two batches, at once elsewhere, and at once the second time."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from tests.patience import patient
from xtcp_replay.playing.interrupts import Interrupts
from xtcp_replay.playing.pace import Pace


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


def test_one_that_another_thread_got_ends_the_waiting_for_a_dump() -> None:
    """The kernel may give a signal to any thread; Python acts in the main one, whose sleep goes on."""

    def take_it() -> None:
        time.sleep(0.2)  # the main thread sleeps by now
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    def wait() -> None:
        other.start()
        pace.wait(1_000_000_000)

    pace, other = Pace(speed=1 / patient(20)), threading.Thread(target=take_it)
    pace.wait(0)
    begin = time.monotonic()
    with Interrupts().handled(), pytest.raises(KeyboardInterrupt):
        wait()
    other.join()
    assert time.monotonic() - begin < patient(10)
