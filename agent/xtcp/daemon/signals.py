"""Signals: what the agent is asked to do from outside, and the one place where it waits.

    SIGTERM, SIGINT   end: take no more polls, send what is there; the second time at once
    SIGHUP            read the configuration again; where the terminal has gone away, end

The handlers note what came and no more; a waiting agent wakes by a socket that Python writes the number to. Process 1
of a container gets no signal that it has no handler for, so they are installed first of all.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from xtcp.errors import ExitCode

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """What came so far; use it inside `handled`. `when_ending` is called by the handler of the first that ends it."""

    def __init__(self) -> None:
        self.when_ending: Callable[[], None] = lambda: None
        self.ended_by: int | None = None
        self._ended_at = 0.0
        self._hangups = 0
        self._terminal = _controlling_terminal()
        self._reader: socket.socket | None = None

    @property
    def ending(self) -> bool:
        """Whether the agent was asked to end."""
        return self.ended_by is not None

    @property
    def reload_wanted(self) -> bool:
        """Whether a SIGHUP came that `take_reload` has not taken."""
        return self._hangups > 0

    def take_reload(self) -> bool:
        """Whether to read the configuration again; several hangups are one."""
        # One that comes between these lines is taken with those before it, for the reading comes later.
        if not self._hangups:
            return False
        self._hangups = 0
        return True

    @property
    def ending_for_s(self) -> float:
        """How long ago the agent was asked to end; 0 if nobody has."""
        return time.monotonic() - self._ended_at if self.ending else 0.0

    def wait(self, seconds: float) -> None:
        """Returns after `seconds`, or sooner when a signal comes."""
        if self.ending or self.reload_wanted or seconds <= 0:
            return
        assert self._reader is not None
        ready, _, _ = select.select([self._reader], [], [], seconds)
        if ready:
            self._drain()

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Installs the handlers; puts back what was there before."""
        self._reader, writer = socket.socketpair()
        self._reader.setblocking(False)
        writer.setblocking(False)
        before = {number: signal.signal(number, self._ended) for number in _ENDING}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._hung_up)
        wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
            self._reader.close()
            writer.close()

    def _drain(self) -> None:
        assert self._reader is not None
        try:
            while self._reader.recv(64):
                pass
        except BlockingIOError:
            return

    def _ended(self, number: int, _frame: FrameType | None) -> None:
        if self.ended_by is not None:
            # What could not be sent is lost; whoever sends a second one wants just that.
            os._exit(ExitCode.INTERRUPTED if number == signal.SIGINT else 128 + number)
        self._end(number)

    def _end(self, number: int) -> None:
        self.ended_by, self._ended_at = number, time.monotonic()
        self.when_ending()

    def _hung_up(self, number: int, _frame: FrameType | None) -> None:
        if self._terminal is not None and not _alive(self._terminal):
            if not self.ending:
                self._end(number)
        else:
            self._hangups += 1


def _controlling_terminal() -> int | None:
    """The descriptor of the terminal that the agent was started on, None where it was started by a manager."""
    for stream in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None and stream.isatty():
                return stream.fileno()
        except (OSError, ValueError):
            continue
    return None


def _alive(terminal: int) -> bool:
    try:
        os.tcgetpgrp(terminal)
    except OSError:
        return False
    return True
