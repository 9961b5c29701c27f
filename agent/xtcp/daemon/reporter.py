"""Reporter: what is said about a run. The log says it for machines, a terminal for people, systemd gets a line."""

from __future__ import annotations

import os
import signal
import traceback
from typing import TYPE_CHECKING, Any

from xtcp import __version__
from xtcp.daemon.clocks import NS
from xtcp.daemon.memory import SHED

if TYPE_CHECKING:
    from xtcp.daemon.log import Log
    from xtcp.daemon.notify import Notifier
    from xtcp.daemon.outlets import Outlets
    from xtcp.daemon.poller import Polled
    from xtcp.daemon.view import View
    from xtcp.settings.effective import Settings


class Reporter:
    """Says each thing once; a row that a sink dropped, a sink that went away, when it happens."""

    def __init__(self, log: Log, notifier: Notifier, view: View | None, outlets: Outlets) -> None:
        self._log = log
        self._notifier = notifier
        self._view = view
        self._outlets = outlets
        self._dropped: dict[tuple[str, str], int] = {}
        self._away: set[str] = set()

    def started(self, settings: Settings, *, run_id: str, served: str | None, memory_limit: int) -> None:
        """The agent works."""
        names = ", ".join(self._outlets.names)
        self._log.info(
            "started",
            version=__version__,
            run_id=run_id,
            kernel=os.uname().release,
            frequency=settings.frequency,
            destinations=names,
            metrics=served,
            memory_limit=memory_limit,
            config=settings.config,
        )
        for note in settings.resolved.notes:
            self._log.warning("setting_unknown", note=note)
        if self._view is not None:
            parts = [f"xtcp {__version__}: every {settings.frequency:g} s", f"rows to {names}"]
            parts += [f"metrics at {served}"] * (served is not None)
            self._view.say("; ".join([*parts, "Ctrl-C ends it"]))
        self._notifier.ready("waiting for the first poll")

    def polled(self, polled: Polled, number: int, settings: Settings, *, long: bool) -> None:
        """A poll has ended."""
        trailer, log = polled.trailer, self._log
        if polled.error is not None:
            log.error("kernel_refused", error=polled.error.what, exit_code=int(polled.error.exit_code))
        if long:
            log.warning("long_poll", seconds=trailer.seconds, frequency=settings.frequency)
        if trailer.suspended_ns:
            log.warning("host_slept", seconds=trailer.suspended_ns / NS)
        if polled.stepped_s:
            log.warning("clock_stepped", seconds=polled.stepped_s)
        if polled.shed:
            log.warning("shed", **polled.shed)
        if self._view is None:
            flags: dict[str, Any] = {"flags": ",".join(trailer.flags)} if trailer.flags else {}
            log.info("poll", poll_id=trailer.poll_id, sockets=trailer.delivered, seconds=trailer.seconds, **flags)
        else:
            used = os.times()
            self._view.end_poll(trailer, used.user + used.system, self._outlets.states())
        self._drops()
        self._changes()
        self._notifier.status(f"poll {number}: {trailer.line()}")

    def lost(self, error: Exception) -> None:
        """A poll was lost by a fault of this program."""
        text = "".join(traceback.format_exception(error)).rstrip()
        self._log.error("poll_lost", error=f"{type(error).__name__}: {error}", traceback=text)
        if self._view is not None:
            self._view.forget()

    def skipped(self, ticks: int, settings: Settings) -> None:
        """Ticks of the schedule passed while a poll ran, or the process was stopped."""
        if ticks:
            self._log.warning("ticks_skipped", count=ticks, frequency=settings.frequency)

    def switched(self, path: str | None, *, off: bool) -> None:
        """The file that stops polls came, or went."""
        self._log.warning("polls_switched_off" if off else "polls_switched_on", file=path)
        self._notifier.status(f"switched off by {path}" if off else "polling again")

    def reloading(self) -> None:
        """The configuration is read again."""
        self._notifier.reloading()

    def reloaded(self, changed: list[str], waiting: list[str]) -> None:
        """It was taken; `waiting` names settings that need a restart."""
        self._log.info("reloaded", changed=",".join(changed))
        if waiting:
            self._log.warning("restart_needed", settings=",".join(waiting))
        self._notifier.ready("reloaded")

    def reload_failed(self, error: Exception) -> None:
        """It was not."""
        self._log.error("reload_failed", error=str(error))
        self._notifier.ready("the new configuration is bad, the old stays")

    def _drops(self) -> None:
        """What sinks dropped since the last time, a line a minute for each reason."""
        errors = self._outlets.fan.errors()
        for balance in self._outlets.fan.ledger.snapshot():
            name = balance.name
            for reason, rows in balance.dropped.items():
                before = self._dropped.get((name, reason), 0)
                if rows > before and reason != SHED:
                    fields: dict[str, object] = {"sink": name, "reason": reason, "rows": rows - before}
                    fields |= {"error": errors[name].what} if name in errors else {}
                    self._log.write("warning", "rows_dropped", fields, about=f"{name} {reason}", most=1)
                self._dropped[name, reason] = rows

    def _changes(self) -> None:
        """Which sinks went away or came back since the last time."""
        errors = self._outlets.fan.errors()
        for state in self._outlets.states():
            name = state.balance.name
            if name not in self._outlets.names or state.up != (name in self._away):
                continue
            self._away.symmetric_difference_update({name})
            fields: dict[str, object] = {"sink": name, "queue_bytes": state.queue_bytes}
            if state.up:
                self._log.write("info", "sink_back", fields, about=name)
            else:
                fields |= {"error": errors[name].what} if name in errors else {}
                self._log.write("warning", "sink_away", fields, about=name)

    def ending(self) -> None:
        """What is left is sent."""
        self._notifier.stopping("sending what is left")

    def ended(self, by: int | None, polls: int, *, fault: bool) -> None:
        """Everything is closed; the ledger as it is for good."""
        self._drops()
        for balance in self._outlets.fan.ledger.snapshot():
            self._log.info("ledger", **balance.as_dict())
            if self._view is not None:
                self._view.say(balance.line())
        reason = f"signal {signal.Signals(by).name}" if by is not None else "fault" if fault else "done"
        self._log.info("ended", reason=reason, polls=polls)
        self._notifier.close()
