"""Agent: polls on a schedule until it is told to end.

Everything happens on one thread, in one order: a wait, a reload if one was asked for, a poll, what follows from it.
Sinks and the endpoint have threads of their own, and none of them can hold this one up.

Faults of this program cost a poll, not the agent: the poll is counted as lost, the next one comes after a pause that
doubles. More than `MOST_FAULTS` in a minute end it with 70. A kernel that refuses the first poll ends it at once, with
the exit code of its errno; later refusals are counted.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xtcp import __version__
from xtcp.daemon.clocks import NS, REAL, Clocks
from xtcp.daemon.figures import Figures
from xtcp.daemon.memory import DEFAULT, SHED, Memory, limit_of_group
from xtcp.daemon.outlets import Outlets
from xtcp.daemon.poller import Observer, Polled, Poller
from xtcp.daemon.schedule import Schedule, host_id
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

MOST_FAULTS: Final = 5
FAULT_WINDOW_NS: Final = 60 * NS
LONGEST_PAUSE_S: Final = 60
_LONGEST_WAIT_S: Final = 3600.0

# Refusals that no later poll can be spared: of the kernel's modules, of permissions, of this machine.
_LASTING: Final = (ExitCode.UNAVAILABLE, ExitCode.PERMISSION, ExitCode.CONFIGURATION)


class Agent:
    """Runs once, inside `signals.handled()`. `read_again` gives the settings of a reload, and those that wait for a
    restart; `taken` hears of those that hold from now on. `make_endpoint` opens /metrics. `wait` waits some seconds, or
    until a signal comes.
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
        self._make_endpoint = make_endpoint
        self._clocks = clocks
        self._wait = signals.wait if wait is None else wait
        self._give_way()
        self.memory = memory or Memory(settings.memory_limit or limit_of_group() or DEFAULT)
        self.figures = Figures(clocks.wall())
        self.snapshot: HealthSnapshot | None = None
        self._health = Health(settings.port_groups)
        self.schedule = Schedule(settings.frequency, host or host_id(), clocks.monotonic())
        self.outlets = Outlets(settings.dest, self.memory)
        self.poller = Poller(
            settings,
            self.outlets.fan,
            self.memory,
            ending=lambda: signals.ending,
            progress=notifier.progress,
            clocks=clocks,
            make_dump=make_dump,
        )
        self._endpoint: Endpoint | None = None
        self._faults: deque[int] = deque()
        self._failed_in_a_row = 0
        self._not_before = 0
        self._disabled = False
        self._fatal: XtcpError | None = None
        self._dropped: dict[tuple[str, str], int] = {}
        self._away: set[str] = set()

    def run(self) -> int:
        """Until the end; the exit code. Raises what ended it, after everything was sent and closed."""
        try:
            self._endpoint = self._make_endpoint(self.settings, self.verdict)
            self._started()
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
        left = max(self.schedule.due, self._not_before) - self._clocks.monotonic()
        if left > 0:
            # To wait for what is due is progress, after a poll that was none it is not.
            if not self._failed_in_a_row:
                self._notifier.progress()
            self._wait(min(left / NS, self._notifier.feed_every_s, _LONGEST_WAIT_S))
            return
        self.schedule.begin(self._clocks.monotonic())
        try:
            if not self._switched_off():
                self._poll()
        except Exception as error:  # noqa: BLE001 - a fault costs the poll, not the agent
            self._faulted(error)
        skipped = self.schedule.end(self._clocks.monotonic())
        self.figures.overruns = self.schedule.skipped
        if skipped:
            self._log.warning("ticks_skipped", count=skipped, frequency=self.settings.frequency)

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
        self._failed_in_a_row = 0
        self._notifier.progress()
        self._judge(polled)
        if self._fatal is not None:
            return
        self._report(polled, long=long)
        self._publish()

    def _judge(self, polled: Polled) -> None:
        """Whether a poll ends the agent."""
        error = polled.error
        if error is not None:
            if self.figures.polls == 1 and error.exit_code in _LASTING and not polled.trailer.rows:
                self._fatal = error
            else:
                self._log.error("kernel_refused", error=error.what, exit_code=int(error.exit_code))
        if self.memory.exhausted:
            self._fatal = Temporary(
                f"More than {self.memory.limit >> 20} MiB of memory were in use after each of the last polls.",
                "Usually a limit is too low for the number of sockets and destinations, or a destination is away.",
                "Raise --memory-limit, or give the destinations smaller queues (?queue=8M).",
            )

    def _faulted(self, error: Exception) -> None:
        """A poll was lost."""
        now = self._clocks.monotonic()
        self.figures.faulted()
        self._failed_in_a_row += 1
        pause_s = min(1 << min(self._failed_in_a_row - 1, 16), LONGEST_PAUSE_S)
        self._not_before = now + pause_s * NS
        self._faults.append(now)
        while self._faults[0] < now - FAULT_WINDOW_NS:
            self._faults.popleft()
        text = "".join(traceback.format_exception(error)).rstrip()
        self._log.error("poll_lost", error=f"{type(error).__name__}: {error}", traceback=text)
        # What the figures have of this poll is a part, and they may be what failed.
        self._health = Health(self.settings.port_groups)
        if self._view is not None:
            self._view.forget()
        if len(self._faults) > MOST_FAULTS:
            self._fatal = XtcpError(
                f"{len(self._faults)} polls failed within a minute, the last by {type(error).__name__}: {error}.",
                "This is a fault of xtcp.",
                "Please report it with the log.",
            )

    def _switched_off(self) -> bool:
        path = self.settings.disable_file
        off = path is not None and Path(path).exists()
        if off != self._disabled:
            self._disabled = off
            self._log.warning("polls_switched_off" if off else "polls_switched_on", file=path)
            self._notifier.status(f"switched off by {path}" if off else "polling again")
            self._publish()
        return off

    def _over(self) -> bool:
        settings = self.settings
        if settings.max_loops and self.figures.polls >= settings.max_loops:
            return True
        return self._signals.ending or self._fatal is not None or self.outlets.fan.gone

    # --- what is said ---

    def _started(self) -> None:
        names = ", ".join(self.outlets.names)
        served = None if self._endpoint is None else self._endpoint.url
        self._log.info(
            "started",
            version=__version__,
            run_id=self.figures.run_id,
            kernel=os.uname().release,
            frequency=self.settings.frequency,
            destinations=names,
            metrics=served,
            memory_limit=self.memory.limit,
            config=self.settings.config,
        )
        for note in self.settings.resolved.notes:
            self._log.warning("setting_unknown", note=note)
        if self._view is not None:
            parts = [f"xtcp {__version__}: every {self.settings.frequency:g} s", f"rows to {names}"]
            parts += [f"metrics at {served}"] * (served is not None)
            self._view.say("; ".join([*parts, "Ctrl-C ends it"]))
        self._publish()
        self._notifier.ready("waiting for the first poll")

    def _give_way(self) -> None:
        """Lets the scheduler prefer others; a manager may have seen to it, and forbid it to us.

        Linux has it by thread, and a thread has what the one had that began it: this comes before all others.
        """
        if os.getpriority(os.PRIO_PROCESS, 0) < self.settings.nice:
            try:
                os.setpriority(os.PRIO_PROCESS, 0, self.settings.nice)
            except PermissionError as error:
                self._log.warning("not_nice", nice=self.settings.nice, error=str(error))

    def _report(self, polled: Polled, *, long: bool) -> None:
        """Lines about a poll, for whoever reads them."""
        trailer, log = polled.trailer, self._log
        seconds = trailer.seconds
        fields: dict[str, object] = {"poll_id": trailer.poll_id, "sockets": trailer.delivered, "seconds": seconds}
        fields |= {"flags": ",".join(trailer.flags)} if trailer.flags else {}
        if long:
            log.warning("long_poll", seconds=seconds, frequency=self.settings.frequency)
        if trailer.suspended_ns:
            log.warning("host_slept", seconds=trailer.suspended_ns / NS)
        if polled.stepped_s:
            log.warning("clock_stepped", seconds=polled.stepped_s)
        if polled.shed:
            log.warning("shed", limit=self.memory.limit, **polled.shed)
        states = self.outlets.states()
        if self._view is None:
            log.info("poll", **fields)
        else:
            used = os.times()
            self._view.end_poll(trailer, used.user + used.system, states)
        self._report_sinks()
        self._notifier.status(f"poll {self.figures.polls}: {trailer.line()}")

    def _report_sinks(self) -> None:
        """What sinks dropped since the last time, and which of them went away or came back."""
        errors = self.outlets.fan.errors()
        for state in self.outlets.states():
            name = state.balance.name
            for reason, rows in state.balance.dropped.items():
                before = self._dropped.get((name, reason), 0)
                if rows > before and reason != SHED:
                    fields: dict[str, object] = {"sink": name, "reason": reason, "rows": rows - before}
                    fields |= {"error": errors[name].what} if name in errors else {}
                    self._log.write("warning", "rows_dropped", fields, about=f"{name} {reason}", most=1)
                self._dropped[name, reason] = rows
            if name in self.outlets.names and state.up == (name in self._away):
                event = "sink_back" if state.up else "sink_away"
                fields = {"sink": name, "queue_bytes": state.queue_bytes}
                fields |= {"error": errors[name].what} if name in errors and not state.up else {}
                self._log.write("info" if state.up else "warning", event, fields, about=name)
                self._away.symmetric_difference_update({name})

    def _publish(self) -> None:
        if self._endpoint is None:
            return
        try:
            self._endpoint.publish(self.state(), self.snapshot)
        except XtcpError as error:
            self._log.error("metrics_file", error=error.what)

    # --- a reload ---

    def _reload(self) -> None:
        """Reads the configuration again: all of it is taken, or nothing."""
        self._notifier.reloading()
        figures = self.figures
        try:
            settings, waiting = self._read_again(self.settings)
            if self._endpoint is not None:
                self._endpoint.reload()
            self.outlets.exchange(settings.dest)
        except XtcpError as error:
            self._log.error("reload_failed", error=str(error))
            figures.reload = replace(figures.reload, successful=False)
        else:
            changed = self.settings.changed(settings)
            self._take(settings)
            self._log.info("reloaded", changed=",".join(changed))
            if waiting:
                self._log.warning("restart_needed", settings=",".join(waiting))
            figures.reload = Reload(successful=True, success_wall_ns=self._clocks.wall())
        self._publish()
        self._notifier.ready("reloaded" if figures.reload.successful else "the new configuration is bad, the old stays")

    def _take(self, settings: Settings) -> None:
        before, self.settings = self.settings, settings
        self._taken(settings)
        self.poller.settings = settings
        if settings.frequency != before.frequency:
            self.schedule.change(settings.frequency, self._clocks.monotonic())
        if settings.groups != before.groups:
            self._health = Health(settings.port_groups)
        self.memory.limit = settings.memory_limit or limit_of_group() or DEFAULT

    # --- the end ---

    def _end(self) -> None:
        """Sends what there is, within `PATIENCE_S`, and closes everything."""
        self._notifier.stopping("sending what is left")
        self.outlets.close(PATIENCE_S)
        self._publish()
        if self._endpoint is not None:
            self._endpoint.stop()
            self._endpoint = None
        self._report_sinks()
        by = self._signals.ended_by
        reason = "signal " + signal.Signals(by).name if by is not None else "fault" if self._fatal else "done"
        for balance in self.outlets.fan.ledger.snapshot():
            self._log.info("ledger", **balance.as_dict())
            if self._view is not None:
                self._view.say(balance.line())
        self._log.info("ended", reason=reason, polls=self.figures.polls)
        self._notifier.close()

    def _code(self) -> int:
        """The exit code. Raises the error that ended the agent, or that no row may vanish by."""
        fan = self.outlets.fan
        lost = [balance.line() for balance in fan.ledger.snapshot() if not balance.balanced or balance.in_flight]
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
        return ExitCode.OK if fan.error is None else ExitCode.TEMPORARY
