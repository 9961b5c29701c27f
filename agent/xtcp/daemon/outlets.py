"""Outlets: the sinks of a run, and how a reload exchanges some of them while the others go on.

1. Destinations of a name that is new are opened; if one cannot be, those are closed again and everything is as before.
2. One whose options changed is closed and opened anew, for the two may share a file or a folder; if that fails, it is
   opened as it was.
3. Those that are not named any more are closed, after sending what they hold.

A destination keeps its account, so its counters go on. A poll has patience with destinations that work and are slower
than itself for a moment: `PATIENCE_SHARE` of the interval for all of them together, so that they cannot make it late.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from xtcp.errors import XtcpError
from xtcp.metrics.agent_state import SinkState
from xtcp.sinks.fan_out import FanOut
from xtcp.sinks.queued import Patience
from xtcp.sinks.sink import PATIENCE_S

if TYPE_CHECKING:
    from xtcp.daemon.memory import Memory
    from xtcp.sinks.destination import Destination

# A reload waits no longer for all that it closes: polls wait meanwhile.
RELOAD_S: Final = 2.0
PATIENCE_SHARE: Final = 0.3


class Outlets:
    """The sinks by destination; `fan` is what rows are offered to."""

    def __init__(self, destinations: Sequence[Destination], memory: Memory, interval_s: float) -> None:
        self._memory = memory
        self.patience = Patience(PATIENCE_SHARE * interval_s)
        self.fan = FanOut()
        self._open: dict[str, Destination] = {}
        self._accounts: dict[str, str] = {}
        try:
            for destination in destinations:
                self._add(destination, len(destinations))
        except BaseException:
            self.fan.close(0)
            raise

    @property
    def names(self) -> tuple[str, ...]:
        """The accounts of the sinks that are open."""
        return tuple(self._accounts.values())

    def pace(self, interval_s: float) -> None:
        """Another interval of polls."""
        self.patience.seconds = PATIENCE_SHARE * interval_s

    def exchange(self, destinations: Sequence[Destination]) -> None:
        """Opens and closes what is different. Raises `XtcpError` where one cannot be opened; the others go on."""
        wanted = {destination.name: destination for destination in destinations}
        opened: list[str] = []
        try:
            for name, destination in wanted.items():
                if name not in self._open:
                    self._add(destination, len(wanted))
                    opened.append(name)
        except BaseException:
            for name in opened:
                self._remove(name, 0)
            raise
        end = time.monotonic() + RELOAD_S
        failed: list[XtcpError] = []
        for name, before in list(self._open.items()):
            if name in wanted and before == wanted[name]:
                continue
            self._remove(name, max(0.0, end - time.monotonic()))
            if name in wanted:
                failed += self._reopen(wanted[name], before, len(wanted))
        if failed:
            raise failed[0]

    def states(self) -> tuple[SinkState, ...]:
        """Every account of the run, those of sinks that were closed by a reload included."""
        queues = self.fan.queues()
        errors = self.fan.errors()
        states = []
        for balance in self.fan.ledger.snapshot():
            queue = queues.get(balance.name)
            if queue is None:
                up = balance.name in self.names and balance.name not in errors
                states.append(SinkState(balance, up=up))
            else:
                states.append(SinkState(balance, queue.queued_bytes, queue.limit_bytes, queue.up))
        return tuple(states)

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        """Sends what there is, as long as the time allows."""
        self.fan.close(timeout_s)

    def _add(self, destination: Destination, among: int) -> None:
        passage = destination.passage
        bounded = replace(passage, queue_bytes=self._memory.queue_bytes(passage.queue_bytes, among))
        opening = replace(destination, passage=bounded)
        make = partial(opening.open, own_thread=True, wait=False, patience=self.patience)
        account = self.fan.add(destination.name, make)
        self._open[destination.name], self._accounts[destination.name] = destination, account

    def _remove(self, name: str, timeout_s: float) -> None:
        self.fan.remove(self._accounts.pop(name), timeout_s)
        del self._open[name]

    def _reopen(self, wanted: Destination, before: Destination, among: int) -> list[XtcpError]:
        """Opens a destination anew, or as it was; what kept it from that."""
        failed: list[XtcpError] = []
        for destination in (wanted, before):
            try:
                self._add(destination, among)
            except XtcpError as error:
                failed.append(error)
            else:
                break
        return failed
