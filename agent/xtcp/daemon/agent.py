"""Agent: polls on a schedule until it is told to end.

Everything happens on one thread, in one order: a wait, a reload if one was asked for, a poll, what follows from it.
Sinks and the endpoint have threads of their own, and none of them can hold this one up.

Faults of this program cost a poll, not the agent (`supervision`). A kernel that refuses the first poll ends it at once,
with the exit code of its errno; later refusals are counted.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xtcp.daemon.clocks import NS, REAL, Clocks
from xtcp.daemon.figures import Figures
from xtcp.daemon.memory import DEFAULT, Memory, limit_of_group
from xtcp.daemon.outlets import Outlets
from xtcp.daemon.poller import Observer, Polled, Poller
from xtcp.daemon.reporter import Reporter
from xtcp.daemon.schedule import Schedule, host_id
from xtcp.daemon.supervision import Supervision
from xtcp.errors import ExitCode, Temporary, XtcpError
from xtcp.health.health import Health
from xtcp.health.snapshot import HealthSnapshot
from xtcp.metrics.agent_state import AgentState, Reload, Verdict
from xtcp.sinks.sink import PATIENCE_S
from xtcp.sources.live import LiveDump

if TYPE_CHECKING:
    from xtcp.daemon.endpoint import Endpoint
    from xtcp.daemon.log import Log
    from xtcp.daemon.notify import Notifier
    from xtcp.daemon.signals import Signals
    from xtcp.daemon.view import View
    from xtcp.settings.effective import Settings

_LONGEST_WAIT_S: Final = 3600.0
_LEAST_PATIENCE_S: Final = 1.0

# Refusals that no later poll can be spared: of the kernel's modules, of permissions, of this machine.
_LASTING: Final = (ExitCode.UNAVAILABLE, ExitCode.PERMISSION, ExitCode.CONFIGURATION)


class Agent:
    """Runs once, inside `signals.handled()`. Raises `XtcpError` where something cannot be opened.

    `read_again` gives the settings of a reload, and the names of those that wait for a restart; `taken` hears of those
    that hold from now on. `make_endpoint` opens /metrics. `wait` waits some seconds, or until a signal comes.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        read_again: Callable[[Settings], tuple[Settings, list[str]]],
        signals: Signals,
        log: Log,
        notifier: Notifier,
        view: View | None = None,
        make_endpoint: Callable[[Settings, Callable[[], Verdict]], Endpoint | None] = lambda _settings, _judge: None,
        clocks: Clocks = REAL,
        wait: Callable[[float], None] | None = None,
        make_dump: Callable[..., LiveDump] = LiveDump,
        memory: Memory | None = None,
        host: str | None = None,
        taken: Callable[[Settings], None] = lambda _settings: None,
    ) -> None:
        self.settings = settings
        self._read_again = read_again
        self._taken = taken
        self._signals = signals
        self._log = log
        self._notifier = notifier
        self._view = view
        self._clocks = clocks
        self._wait = signals.wait if wait is None else wait
        self._give_way()
        self.memory = memory or Memory(settings.memory_limit or limit_of_group() or DEFAULT)
        self.figures = Figures(clocks.wall())
        self.snapshot: HealthSnapshot | None = None
        self._health = Health(settings.port_groups)
        self.schedule = Schedule(settings.frequency, host or host_id(), clocks.monotonic())
        self._disabled = False
        # Before any destination is opened: a file would be emptied for nothing where the port is another's.
        self._endpoint = make_endpoint(settings, self.verdict)
        try:
            self.outlets = Outlets(settings.dest, self.memory, settings.frequency)
        except BaseException:
            self._stop_endpoint()
            raise
        self.poller = Poller(
            settings,
            self.outlets.fan,
            self.memory,
            ending=lambda: signals.ending,
            progress=notifier.progress,
            clocks=clocks,
            make_dump=make_dump,
        )
        signals.when_ending = self.outlets.patience.end
        self._reporter = Reporter(log, notifier, view, self.outlets)
        self._supervision = Supervision()
        self._fatal: XtcpError | None = None

    def run(self) -> int:
        """Until the end; the exit code. Raises what ended it, after everything was sent and closed."""
        try:
            self._reporter.started(
                self.settings,
                run_id=self.figures.run_id,
                served=None if self._endpoint is None else self._endpoint.url,
                memory_limit=self.memory.limit,
            )
            self._publish()
            while not self._over():
                self._turn()
        finally:
            self._end()
        return self._code()

    def state(self) -> AgentState:
        """The agent at this moment; any thread may ask."""
        return self.figures.state(
            self.settings,
            self.outlets.states(),
            memory_limit=self.memory.limit,
            suppressed=self._log.suppressed,
            verdict=self.verdict(),
        )

    def verdict(self) -> Verdict:
        """Whether the agent works, at this moment; any thread may ask."""
        now, interval = self._clocks.monotonic(), self.schedule.interval
        return self.figures.verdict(now, interval, self.settings.deadline, disabled=self._disabled)

    # --- a turn: a wait, a reload, a poll ---

    def _turn(self) -> None:
        if self._signals.take_reload():
            self._reload()
        left = max(self.schedule.due, self._supervision.not_before) - self._clocks.monotonic()
        if left > 0:
            # To wait for what is due is progress, unless nothing comes of it.
            if self._supervision.progressing:
                self._notifier.progress()
            self._wait(min(left / NS, self._notifier.feed_every_s, _LONGEST_WAIT_S))
            return
        self.schedule.begin(self._clocks.monotonic())
        try:
            if not self._switched_off():
                self._poll()
        except Exception as error:  # noqa: BLE001 - a fault costs the poll, not the agent
            self._lost(error)
        skipped = self.schedule.end(self._clocks.monotonic())
        self.figures.overruns = self.schedule.skipped
        self._reporter.skipped(skipped, self.settings)

    def _poll(self) -> None:
        observers: list[Observer] = [self._health, *([self._view] if self._view is not None else [])]
        self.figures.begun_at = self.figures.begun_at or self._clocks.monotonic()
        polled = self.poller.poll(observers)
        trailer = polled.trailer
        # Rows that were not observed are missing in the figures, whatever became of them.
        self.snapshot = self._health.end_poll(trailer.flagged("shed") if polled.shed else trailer)
        long = self.figures.polled(polled, self.schedule.interval, self._clocks.monotonic())
        if self.poller.one_pass is not None:
            self.figures.features["one_pass"] = self.poller.one_pass.works
        self._supervision.good()
        self._notifier.progress()
        self._fatal = self._judged(polled)
        if self._fatal is None:
            self._reporter.polled(polled, self.figures.polls, self.settings, long=long)
            self._publish()

    def _judged(self, polled: Polled) -> XtcpError | None:
        """What ends the agent after this poll, None for nothing."""
        error = polled.error
        first = self.figures.polls == 1 and not polled.trailer.rows
        if error is not None and first and error.exit_code in _LASTING:
            return error
        if self.memory.exhausted:
            return Temporary(
                f"More than {self.memory.limit >> 20} MiB of memory were in use after each of the last polls.",
                "Usually a limit is too low for the number of sockets and destinations, or a destination is away.",
                "Raise --memory-limit, or give the destinations smaller queues (?queue=8M).",
            )
        return None

    def _lost(self, error: Exception) -> None:
        """A poll broke."""
        self.figures.faulted()
        self._reporter.lost(error)
        # What the figures have of this poll is a part, and they may be what failed.
        self._health = Health(self.settings.port_groups)
        self._fatal = self._supervision.fault(error, self._clocks.monotonic())

    def _switched_off(self) -> bool:
        path = self.settings.disable_file
        off = path is not None and Path(path).exists()
        if off != self._disabled:
            self._disabled = off
            self.figures.begin_anew(self._clocks.monotonic())
            self._reporter.switched(path, off=off)
            self._publish()
        return off

    def _over(self) -> bool:
        settings = self.settings
        if settings.max_loops and self.figures.polls >= settings.max_loops:
            return True
        return self._signals.ending or self._fatal is not None or self.outlets.fan.gone

    def _publish(self) -> None:
        if self._endpoint is None:
            return
        try:
            self._endpoint.publish(self.state(), self.snapshot)
        except XtcpError as error:
            self._log.error("metrics_file", error=error.what)

    def _give_way(self) -> None:
        """Lets the scheduler prefer others; a manager may have seen to it, and forbid it to us.

        Linux has it by thread, and a thread has what the one had that began it: this comes before all others.
        """
        if os.getpriority(os.PRIO_PROCESS, 0) < self.settings.nice:
            try:
                os.setpriority(os.PRIO_PROCESS, 0, self.settings.nice)
            except PermissionError as error:
                self._log.warning("not_nice", nice=self.settings.nice, error=str(error))

    # --- a reload ---

    def _reload(self) -> None:
        """Reads the configuration again: all of it is taken, or nothing."""
        self._reporter.reloading()
        before = self.settings
        try:
            settings, waiting = self._read_again(before)
            if self._endpoint is not None:
                self._endpoint.reload()
            self.outlets.exchange(settings.dest)
            self._take(settings)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new one, the old one works
            self.figures.reload = replace(self.figures.reload, successful=False)
            self._reporter.reload_failed(error)
        else:
            self.figures.reload = Reload(successful=True, success_wall_ns=self._clocks.wall())
            self._reporter.reloaded(before.changed(settings), waiting)
        self._publish()

    def _take(self, settings: Settings) -> None:
        before, self.settings = self.settings, settings
        self._taken(settings)
        self.poller.settings = settings
        if settings.frequency != before.frequency:
            self.schedule.change(settings.frequency, self._clocks.monotonic())
            self.outlets.pace(settings.frequency)
        if settings.groups != before.groups:
            self._health = Health(settings.port_groups)
        self.memory.limit = settings.memory_limit or limit_of_group() or DEFAULT

    # --- the end ---

    def _end(self) -> None:
        """Sends what there is, within `PATIENCE_S` of the signal, and closes everything."""
        self._reporter.ending()
        self.outlets.close(max(_LEAST_PATIENCE_S, PATIENCE_S - self._signals.ending_for_s))
        self._stop_endpoint()
        self._reporter.ended(self._signals.ended_by, self.figures.polls, fault=self._fatal is not None)

    def _stop_endpoint(self) -> None:
        if self._endpoint is not None:
            self._endpoint.stop()

    def _code(self) -> int:
        """The exit code. Raises the error that ended the agent, or that no row may vanish by."""
        fan = self.outlets.fan
        balances = fan.ledger.snapshot()
        lost = [balance.line() for balance in balances if not balance.balanced or balance.in_flight]
        if lost:
            raise XtcpError(
                f"The ledger does not add up: {'; '.join(lost)}", "This is a fault of xtcp.", "Please report it."
            )
        if self._fatal is not None:
            raise self._fatal
        by = self._signals.ended_by
        if by is not None:
            return ExitCode.INTERRUPTED if by == signal.SIGINT and self._view is not None else ExitCode.OK
        if fan.gone and fan.error is None:
            # Who reads nothing but standard output, and leaves, wants to hear nothing more: `| head`.
            raise BrokenPipeError
        if fan.error is not None and fan.error.exit_code is ExitCode.INTERNAL:
            raise fan.error
        return ExitCode.TEMPORARY if any(balance.dropped for balance in balances) else ExitCode.OK
