"""The agent for a long time: with every far side stalled, or with churn and outages. As root: a network namespace.

    make bench ARGS="--stalled 10"     10 minutes, 118,800 sockets, nobody takes a row
    make soak                          15 minutes of churn and of outages; HOURS=24 for a day of it

What it holds: rows of all polls = rows offered to each sink = accepted + dropped by reason, nothing in flight at the
end, no traceback, descriptors and threads as many as after the warm-up; memory under a limit, and not growing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.bench.programs import ROOT, XTCP, Failed, environment
from tests.sockets.churn import Churn
from tests.sockets.farm import Farm
from tests.sockets.netns import command_in
from xtcp.amounts import duration
from xtcp.errors import ExitCode

MIB: Final = 1 << 20
STALLED_LIMIT_MIB: Final = 256.0
GROWTH_LIMIT_MIB_H: Final = 1.0
# The share of the time that the process has to reach what it stays at, and how much steadiness may differ from that.
WARM_UP: Final = 0.3
SPARE_DESCRIPTORS: Final = 8


@dataclass(frozen=True)
class Plan:
    """`minutes` of polls every `every_s` of `sockets`. `stalled`: nobody ever reads; else all read but for an outage of
    `outage_s` every `outage_every_s`. `churn` opens and closes connections meanwhile.
    """

    minutes: float
    sockets: int = 118_800
    every_s: float = 5.0
    stalled: bool = False
    churn: bool = False
    outage_s: float = 30.0
    outage_every_s: float = 120.0


@dataclass(frozen=True)
class Account:
    """A sink's ledger at the end, as the agent logged it."""

    name: str
    offered: int
    accepted: int
    dropped: int
    in_flight: int
    balanced: bool


@dataclass
class Endured:
    """What was seen: figures of the process once a second, its polls, and its accounts."""

    plan: Plan
    seconds: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    polled: list[int] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    code: int | None = None
    complaints: list[str] = field(default_factory=list)

    @property
    def peak_mib(self) -> float:
        """Most memory."""
        return max(self.rss)

    @property
    def growth_mib_h(self) -> float:
        """The slope of memory behind the warm-up, by least squares."""
        first = int(len(self.rss) * WARM_UP)
        times = np.array(self.seconds[first:]) / 3600
        return float(np.polyfit(times, np.array(self.rss[first:]), 1)[0]) if len(times) > 2 else 0.0

    @property
    def unaccounted(self) -> int:
        """Rows of polls that no account knows, or one knows too often, or that are neither accepted nor dropped."""
        rows = sum(self.polled)
        missing = 0
        for account in self.accounts:
            missing += abs(rows - account.offered)
            missing += abs(account.offered - account.accepted - account.dropped) if not account.in_flight else rows
            missing += not account.balanced
        return missing

    def faults(self) -> list[str]:
        """What does not hold; nothing else is said of a run in which all does."""
        out = [f"the agent ended with {self.code}"] * bool(self.code)
        out += [f"{self.unaccounted:,} rows unaccounted for"] * bool(self.unaccounted)
        out += [f"it said: {line}" for line in self.complaints[:5]]
        out += ["no poll ended"] * (not self.polled) + ["no account was told"] * (not self.accounts)
        steady = slice(int(len(self.rss) * WARM_UP), None)
        for name, counts in (("descriptors", self.descriptors), ("threads", self.threads)):
            behind = counts[steady]
            if behind and max(behind) - min(behind) > SPARE_DESCRIPTORS:
                out.append(f"{name} went from {min(behind)} to {max(behind)}")
        if self.plan.stalled and self.peak_mib > STALLED_LIMIT_MIB:
            out.append(f"{self.peak_mib:.0f} MiB of memory, {STALLED_LIMIT_MIB:.0f} are the limit")
        return out

    def lines(self) -> list[str]:
        """The figures, for people."""
        plan, polls = self.plan, f"{len(self.polled):,} polls, {sum(self.polled):,} rows"
        what = f"{plan.minutes:g} minutes {'stalled' if plan.stalled else 'with outages'}, {plan.sockets:,} sockets"
        slope = f"{self.growth_mib_h:+.1f} MiB an hour behind the warm-up (goal < {GROWTH_LIMIT_MIB_H:g}, over hours)"
        out = [
            f"{what}{' and churn' * plan.churn}: {polls}",
            f"memory: peak {self.peak_mib:.0f} MiB, {slope}",
            f"descriptors {min(self.descriptors)} to {max(self.descriptors)}, threads {max(self.threads)}",
        ]
        out += [
            f"{account.name}: {account.offered:,} offered = {account.accepted:,} accepted + {account.dropped:,} dropped"
            for account in self.accounts
        ]
        return [*out, f"{self.unaccounted:,} rows unaccounted for", *(f"FAULT: {text}" for text in self.faults())]


def endure(plan: Plan) -> Endured:
    """Opens the farm and the far sides, runs the agent, and looks at it. Raises `Failed`, and as `Farm`."""
    with ExitStack() as stack:
        if plan.churn:
            ns = stack.enter_context(Churn(plan.sockets, churners=1, pool=500)).ns
        else:
            ns = stack.enter_context(Farm(plan.sockets)).ns
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xtcp-soak-")))
        far = stack.enter_context(_started(command_in(ns, [sys.executable, "-m", "tests.bench.far_sides", folder])))
        stack.callback(far.kill)
        assert far.stdout is not None
        destinations = [line.strip() for line in iter(far.stdout.readline, "\n")]
        if not destinations:
            raise Failed("the far sides did not start; the traceback is on standard error")
        destinations += [f"store:{folder}/store", "null:"]
        log = folder / "agent.log"
        with log.open("wb") as errors:
            agent = stack.enter_context(_started(command_in(ns, _agent(plan, destinations)), errors))
            stack.callback(agent.kill)
            endured = _watch(plan, agent, far)
        _read_log(endured, log)
        return endured


def _agent(plan: Plan, destinations: Sequence[str]) -> list[str]:
    options = [f"--frequency={plan.every_s:g}s", "--listen=off", "--nice=0", "--log-format=json"]
    return [*XTCP, "run", *options, *(f"--dest={destination}" for destination in destinations)]


def _started(argv: Sequence[str], errors: Any = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment(), cwd=ROOT, text=True
    )


def _watch(plan: Plan, agent: subprocess.Popen[str], far: subprocess.Popen[str]) -> Endured:
    endured = Endured(plan)
    began = time.monotonic()
    stopped = False
    while (passed := time.monotonic() - began) < plan.minutes * 60:
        out = plan.stalled or passed % plan.outage_every_s > plan.outage_every_s - plan.outage_s
        if out != stopped:
            far.send_signal(signal.SIGSTOP if out else signal.SIGCONT)
            stopped = out
        if agent.poll() is not None:
            break
        _look(endured, agent.pid, passed)
        time.sleep(1.0)
    if stopped and not plan.stalled:
        far.send_signal(signal.SIGCONT)
    agent.send_signal(signal.SIGTERM)
    endured.code = agent.wait(30)
    return endured


def _look(endured: Endured, process: int, passed: float) -> None:
    proc = Path("/proc", str(process))
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    endured.seconds.append(passed)
    endured.rss.append(int(status["VmRSS"].split()[0]) * 1024 / MIB)
    endured.threads.append(int(status["Threads"]))
    endured.descriptors.append(len(list((proc / "fd").iterdir())))


def _read_log(endured: Endured, log: Path) -> None:
    for line in log.read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            endured.complaints.append(line)
            continue
        if event["event"] == "poll":
            endured.polled.append(event["sockets"])
        elif event["event"] == "ledger":
            figures = (event["offered"], event["accepted"], sum(event["dropped"].values()), event["in_flight"])
            endured.accounts.append(Account(event["sink"], *figures, event["balanced"]))


def main() -> int:
    """`make soak`; how long as `15m`, `24h`. Returns 1 where something does not hold."""
    if os.geteuid() != 0:
        print("A soak needs root, for a network namespace of its own. Try: sudo make soak", file=sys.stderr)
        return ExitCode.PERMISSION
    try:
        seconds = duration(sys.argv[1] if len(sys.argv) > 1 else "15m")
    except ValueError as error:
        print(error, file=sys.stderr)
        return ExitCode.USAGE
    endured = endure(Plan(seconds / 60, sockets=20_000, churn=True))
    print("\n".join(endured.lines()))
    return 1 if endured.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
