"""Poller: one poll, from the kernel to the sinks.

Each batch is shown to the observers and offered to the sinks on the thread that polls; nothing there waits. What ends
a poll early is said by its trailer: `shutdown`, `deadline` (of the whole poll, decoding and all), `shed` where rows
went to no sink for want of memory, `clock` where somebody set the wall clock since the poll before. An exception
leaves the sinks with a trailer, too.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final, Protocol

from xtcp.daemon.clocks import NO_TIME_NS, NS, REAL, Clocks, Moment
from xtcp.daemon.memory import SHED, Memory, Pressure
from xtcp.decode.decoder import Decoder
from xtcp.metrics.agent_state import rows_by_family
from xtcp.netlink.arena import SLOT
from xtcp.netlink.socket import DiagSocket
from xtcp.poll.live import LivePoll, Wanted
from xtcp.poll.one_pass import OnePass, verify
from xtcp.sources.live import Limits, LiveDump

if TYPE_CHECKING:
    from xtcp.batch import Batch, Tally
    from xtcp.errors import XtcpError
    from xtcp.poll.trailer import Trailer
    from xtcp.settings.effective import Settings

_BOTH: Final = (int(socket.AF_INET), int(socket.AF_INET6))


class Observer(Protocol):
    """Looks at the rows of a poll on their way; may not keep its arrays as its own."""

    def observe(self, batch: Batch) -> None:
        """A batch of unique rows."""
        ...


class Receiver(Protocol):
    """What the rows of a poll are offered to: a `FanOut`."""

    def accept(self, batch: Batch) -> None:
        """All rows of `batch`."""
        ...

    def refuse(self, rows: int, reason: str) -> None:
        """Rows that are given to nobody."""
        ...

    def end_poll(self, trailer: Trailer) -> None:
        """The end of the poll."""
        ...


@dataclass(frozen=True)
class Polled:
    """A poll that came to an end: its trailer, the first error of the kernel, what was counted beside; `slot` is the
    buffer of a datagram, bytes, that the next one has.
    """

    trailer: Trailer
    error: XtcpError | None
    tally: Tally
    rows: Counter[tuple[str, str]]
    shed: Counter[str]
    stepped_s: float
    slot: int


class Poller:
    """Takes polls, one after the other. `progress` is called after each batch; `make_dump` is for tests.

    `ending`, asked all the time, breaks a poll off.
    """

    def __init__(
        self,
        settings: Settings,
        receiver: Receiver,
        memory: Memory,
        *,
        ending: Callable[[], bool],
        progress: Callable[[], None] = lambda: None,
        clocks: Clocks = REAL,
        make_dump: Callable[..., LiveDump] = LiveDump,
    ) -> None:
        self.settings = settings
        self._receiver = receiver
        self._memory = memory
        self._ending = ending
        self._progress = progress
        self._clocks = clocks
        self._make_dump = make_dump
        self._decoder = Decoder()
        self._slot = SLOT
        self._sequence = None if settings.nlmsg_seq is None else count(settings.nlmsg_seq)
        self._before: Moment | None = None
        self._until = 0
        self.one_pass: OnePass | None = None

    def poll(self, observers: Sequence[Observer] = ()) -> Polled:
        """One poll. Raises what is a fault of this program, after the sinks were told of its end."""
        now = Moment.now(self._clocks)
        slept = stepped = 0
        if self._before is not None:
            slept, stepped = now.slept_since(self._before), now.stepped_since(self._before)
        self._before = now
        self._until = now.monotonic + round(self.settings.deadline * NS)
        self._memory.begin_poll()
        live = LivePoll(
            self._wanted(),
            self._decoder,
            make_dump=partial(
                self._dump,
                open_socket=partial(DiagSocket, wait_s=self.settings.timeout),
                stop=lambda: self._broken_off() is not None,
            ),
            slot=self._slot,
            broken_off=self._broken_off,
        )
        rows: Counter[tuple[str, str]] = Counter()
        shed: Counter[str] = Counter()

        def finished(trailer: Trailer) -> Trailer:
            for flag, applies in (("shed", shed[SHED] > 0), ("clock", bool(stepped) or now.wall < NO_TIME_NS)):
                trailer = trailer.flagged(flag) if applies else trailer
            return replace(trailer, suspended_ns=slept)

        try:
            for batch in live:
                rows += rows_by_family(batch)
                self._give(batch, observers, shed)
                self._progress()
            assert live.trailer is not None
            trailer = finished(live.trailer)
        except Exception:
            self._receiver.end_poll(finished(live.cut_short("error")))
            raise
        self._receiver.end_poll(trailer)
        self._memory.end_poll()
        self._slot = live.next_slot
        if live.error is not None:
            # The kernel may have lost a module, or gained one: look again which request it takes.
            self.one_pass = None
        return Polled(trailer, live.error, live.tally, rows, shed, stepped / NS, self._slot)

    def _give(self, batch: Batch, observers: Sequence[Observer], shed: Counter[str]) -> None:
        """A batch to observers and sinks, as far as memory allows."""
        pressure = self._memory.pressure()
        if pressure is Pressure.NONE:
            for observer in observers:
                observer.observe(batch)
        elif observers:
            shed["histories"] += batch.rows
        if pressure is Pressure.ROWS:
            self._receiver.refuse(batch.rows, SHED)
            shed[SHED] += batch.rows
        else:
            self._receiver.accept(batch)

    def _wanted(self) -> Wanted:
        """Which dumps to take: one pass of both families where it gives the same as two."""
        settings = self.settings
        limits = Limits(deadline_s=settings.deadline)
        if settings.ipv4 != settings.ipv6:
            return Wanted((_BOTH[0] if settings.ipv4 else _BOTH[1],), limits=limits)
        if self.one_pass is None:
            self.one_pass = verify()
        return Wanted((0,) if self.one_pass.works else _BOTH, limits=limits)

    def _broken_off(self) -> str | None:
        if self._ending():
            return "shutdown"
        return "deadline" if self._clocks.monotonic() > self._until else None

    def _dump(self, *arguments: object, **named: object) -> LiveDump:
        if self._sequence is not None:
            # A sequence number has 32 bits; 0 is the kernel's own.
            named["seq"] = (next(self._sequence) - 1) % ((1 << 32) - 1) + 1
        return self._make_dump(*arguments, **named)
