"""The collector at work: takes from its inputs in turn, until they end or somebody ends it.

It ends when every input has ended, after a time, after so many messages, after nothing came for a while, when no sink
takes rows any more, or when a signal asks for it; what was taken until then goes to the sinks. One thread does it all,
and takes what is there by the hundred: while it is at work the next datagrams wait in the kernel. Where few come it
lets some gather first, because one costs nearly as much as fifty.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xtcp.collect.arrivals import Input
from xtcp.collect.bounds import ROWS_PER_DATAGRAM, ROWS_PER_MESSAGE
from xtcp.collect.checkpoints import Checkpoints
from xtcp.collect.collector import Collector
from xtcp.collect.datagrams import Datagrams

if TYPE_CHECKING:
    from xtcp.sinks.fan_out import FanOut

# How long a signal may wait to be noticed.
LOOK_S: Final = 0.2
# How long datagrams gather in the kernel, where the last time were fewer than this (measured: 2 ms for one, 6 for 64).
GATHER_S: Final = 0.02
FEW: Final = 64
DRAIN_S: Final = 1.0


@dataclass(frozen=True)
class Limits:
    """When to end by itself, and how many rows a datagram may have."""

    seconds: float = math.inf
    idle_s: float = math.inf
    messages: float = math.inf
    rows_per_datagram: int = ROWS_PER_DATAGRAM


class Running:
    """`ended` is asked now and then whether to end; `tick` is called as often."""

    def __init__(
        self,
        inputs: Sequence[Input],
        collector: Collector,
        fan: FanOut,
        limits: Limits,
        *,
        ended: Callable[[], bool] = lambda: False,
        tick: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inputs = list(inputs)
        self._collector = collector
        self._fan = fan
        self._limits = limits
        self._ended = ended
        self._tick = tick
        self._clock = clock
        self._checkpoints = [Checkpoints(one, fan.ledger) for one in inputs if one.descriptor() is None]
        self._last = 0
        self._poll = select.poll()
        for one in self._inputs:
            descriptor = one.descriptor()
            if descriptor is not None:
                self._poll.register(descriptor, select.POLLIN)

    def run(self) -> None:
        """Until the end. Raises `XtcpError` for an input that fails."""
        begun = heard = self._clock()
        while self._inputs and not self._ended() and not self._fan.gone:
            now = self._clock()
            left = min(begun + self._limits.seconds - now, heard + self._limits.idle_s - now)
            if left <= 0 or self._collector.intake.messages >= self._limits.messages:
                break
            if self._turn(min(left, LOOK_S)) or not all(one.counts.joined for one in self._inputs):
                heard = self._clock()
            for one in self._checkpoints:
                one.tick()
            self._tick()
        self._drain()

    def settle(self) -> bool:
        """Once the sinks are closed: tells the inputs what has arrived; whether all of it has."""
        ends = [one.end() for one in self._checkpoints]
        return all(ends)

    def _drain(self) -> None:
        """Takes the datagrams that have come already; for about `DRAIN_S`, for more may come all the time."""
        until = self._clock() + DRAIN_S
        for one in self._inputs:
            while one.descriptor() is not None and not self._fan.gone:
                arrivals = one.take(0)
                if arrivals is None or not (len(arrivals.starts) or arrivals.cut):
                    break
                self._collector.take(arrivals, self._most_rows(one))
                # Behind the first look: a process that was stopped until now takes what waited for it all the same.
                if self._clock() >= until:
                    break

    def _most_rows(self, one: Input) -> int:
        return self._limits.rows_per_datagram if isinstance(one, Datagrams) else ROWS_PER_MESSAGE

    def _turn(self, wait_s: float) -> bool:
        """Takes from each input once; whether anything came."""
        came = 0
        listening = [one for one in self._inputs if one.descriptor() is not None]
        ready: set[int] = set()
        if listening:
            # Where others wait by themselves, there is no waiting here.
            alone = len(listening) == len(self._inputs)
            ready = {descriptor for descriptor, _ in self._poll.poll(wait_s * 1000 if alone else 0)}
            if ready and self._last < FEW:
                time.sleep(GATHER_S)
        for one in list(self._inputs):
            descriptor = one.descriptor()
            if descriptor is not None and descriptor not in ready:
                continue
            arrivals = one.take(0 if descriptor is not None else wait_s / len(self._inputs))
            if arrivals is None:
                self._inputs.remove(one)
                continue
            came += len(arrivals.starts)
            self._collector.take(arrivals, self._most_rows(one))
        self._last = came
        return came > 0
