"""An agent whose clocks, kernel and signals are the test's."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.fake_kernel import SEQ, Datagram, ScriptedDiag, done, row
from xtcp.daemon.agent import Agent
from xtcp.daemon.clocks import NS, Clocks
from xtcp.daemon.endpoint import Endpoint
from xtcp.daemon.log import Log
from xtcp.daemon.memory import Memory
from xtcp.daemon.notify import Notifier
from xtcp.daemon.signals import Signals
from xtcp.metrics.agent_state import Verdict
from xtcp.settings.effective import Settings, load, reloaded
from xtcp.sources.live import LiveDump

START_WALL = 1_800_000_000 * NS
START = 1_000_000 * NS

Steps = Sequence[bytes | Datagram | OSError]


@dataclass
class Time:
    """Clocks that stand still unless they are moved."""

    monotonic: int = START
    boottime: int = 2 * START
    wall: int = START_WALL

    def clocks(self) -> Clocks:
        """For an agent."""
        return Clocks(lambda: self.monotonic, lambda: self.boottime, lambda: self.wall)

    def pass_(self, seconds: float) -> None:
        """All three go on."""
        for name in ("monotonic", "boottime", "wall"):
            setattr(self, name, getattr(self, name) + round(seconds * NS))

    def sleep(self, seconds: float) -> None:
        """The host is suspended."""
        self.boottime += round(seconds * NS)
        self.wall += round(seconds * NS)

    def set_wall(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self.wall += round(seconds * NS)


@dataclass
class Kernel:
    """Answers each dump: two sockets, after `takes` seconds, unless `answers` has something else for it.

    An answer is the steps of `ScriptedSocket`, or an exception that opening raises. `begun` are the times of dumps.
    """

    time: Time
    takes: float = 0.1
    answers: Iterator[Steps | Exception] = field(default_factory=lambda: iter(()))
    begun: list[int] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    families: list[int] = field(default_factory=list)
    before: Callable[[], None] = lambda: None

    def make_dump(self, *arguments: Any, **named: Any) -> LiveDump:
        """A `LiveDump` of the script."""
        self.before()
        self.begun.append(self.time.monotonic)
        self.sequences.append(named.get("seq", 0))
        self.families.append(arguments[0].family)
        answer = next(self.answers, None)
        if isinstance(answer, Exception):
            raise answer
        self.time.pass_(self.takes)
        steps = [row(1) + row(2), done()] if answer is None else answer
        named |= {"open_socket": lambda: ScriptedDiag(steps), "seq": SEQ, "overlap": False, "one_call": False}
        return LiveDump(*arguments, **named)


class World:
    """Makes an agent of settings written as flags, and runs it."""

    def __init__(
        self,
        *,
        memory: Memory | None = None,
        answers: Iterable[Steps | Exception] = (),
        takes: float = 0.1,
        flags: Mapping[str, str] | None = None,
        make_endpoint: Callable[[Settings, Callable[[], Verdict]], Endpoint | None] = lambda _settings, _judge: None,
        **more: str | list[str],
    ) -> None:
        self.time = Time()
        self.kernel = Kernel(self.time, takes, iter(answers))
        self.signals = Signals()
        self._stream = io.StringIO()
        self.log = Log(self._stream, least="debug", machine=True, clock=lambda: self.time.monotonic / NS)
        given: dict[str, str | list[str]] = {
            "dest": ["null:"],
            "listen": ["off"],
            "nice": ["0"],
            **(flags or {}),
            **more,
        }
        self.flags = {name: [value] if isinstance(value, str) else value for name, value in given.items()}
        self.configuration: dict[str, str] = {}
        self.waits: list[float] = []
        self.on_wait: Callable[[], None] = lambda: None
        self.agent = Agent(
            load(self.flags, {}),
            read_again=self._read_again,
            signals=self.signals,
            log=self.log,
            notifier=Notifier({}),
            clocks=self.time.clocks(),
            wait=self._wait,
            make_dump=self.kernel.make_dump,
            memory=memory or Memory(512 << 20, used=lambda: 0),  # what pytest itself uses is not the agent's
            make_endpoint=make_endpoint,
            host="a host of the tests",
        )

    def run(self) -> int:
        """The agent, to its end."""
        return self.agent.run()

    def _read_again(self, before: Settings) -> tuple[Settings, list[str]]:
        """The same flags, and the variables that the test has put into `configuration` since."""
        return reloaded(before, self.flags, self.configuration)

    def _wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time.pass_(seconds)
        self.on_wait()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was logged."""
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]

    def named(self, event: str) -> list[dict[str, Any]]:
        """The lines of one event."""
        return [line for line in self.events if line["event"] == event]

    def begun(self) -> list[float]:
        """When polls began, seconds since the first."""
        return [(at - self.kernel.begun[0]) / NS for at in self.kernel.begun]

    def pauses(self) -> list[float]:
        """Seconds between the beginnings of two polls, to the ms."""
        return [round(b - a, 3) for a, b in pairwise(self.begun())]
