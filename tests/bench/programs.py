"""The cases that are whole processes, from their start to their end, measured by wait4.

Each writes to a file, as someone would who keeps the result; what it wrote is counted afterwards, so that no case is
quick by leaving sockets out. Whoever calls this must be a small process: a child's peak of memory begins with that of
the process that started it, so a smaller one cannot be told.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.bench.cases import AGENT
from tests.bench.sample import Sample

ROOT: Final = Path(__file__).resolve().parents[2]
XTCP: Final = (sys.executable, "-m", "xtcp")
TSHARK_FIELD: Final = "netlink-sock_diag.inet_sport"
TIMEOUT_S: Final = 600.0


class TooSlow(Exception):
    """A process was ended at its time limit."""


class Failed(Exception):
    """A process ended with another exit code than 0, or did not give every socket."""


@dataclass(frozen=True)
class Program:
    """`argv` with its standard output in `written`; `count` are the sockets in `reads`, the file that it leaves."""

    argv: tuple[str, ...]
    written: Path
    reads: Path
    count: Callable[[Path], int] | None = None
    says_itself: bool = False  # its output is a Sample that leaves its own start out


def programs(folder: Path, pcap: Path) -> dict[str, Program]:
    """By name of the case; files go to `folder`."""
    out, rows = folder / "output", folder / "rows"
    pyroute2 = (sys.executable, "-m", "tests.bench.pyroute2_poll")
    tshark = ("tshark", "-n", "-r", str(pcap), "-T", "fields", "-e", TSHARK_FIELD)
    return {
        "help": Program((*XTCP, "--help"), out, out),
        "null": Program((*XTCP, "once", "--quiet", "--format", "null", "--trailer", str(rows)), out, rows, count_rows),
        "json": Program((*XTCP, "once", "--quiet", "--format", "json", "-o", str(rows)), out, rows, count_lines),
        AGENT: Program(
            (
                *XTCP,
                "run",
                *("--frequency=1s", "--max-loops=3", "--listen=off", "--nice=0", "--log-format=json"),
                f"--dest=file:{rows}?format=envelopes",
            ),
            out,
            out.with_suffix(".err"),
            count_polled,
        ),
        "ss": Program(("ss", "-tinmaOH"), out, out, count_lines),
        "tshark": Program(tshark, out, out, count_ports),
        "pyroute2": Program(pyroute2, out, out, says_itself=True),
    }


def not_here() -> dict[str, str]:
    """Of the cases that this machine has no program for: what to do."""
    missing = {}
    for name, package in (("ss", "iproute2"), ("tshark", "tshark")):
        if shutil.which(name) is None:
            missing[name] = f"no {name} (apt-get install {package})"
    if shutil.which("java") is None or shutil.which("mvn") is None:
        missing["to-kafka"] = "no java or mvn (apt-get install openjdk-17-jre-headless maven)"
    if importlib.util.find_spec("pyroute2") is None:
        missing["pyroute2"] = "no pyroute2 (pip install pyroute2)"
    return missing


def environment() -> dict[str, str]:
    """Where our packages are found, in a set-up virtual environment or without one."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "agent", ROOT / "replay")))}


def record(pcap: Path) -> None:
    """A capture of this namespace. Raises `Failed`."""
    _run((*XTCP, "once", "--quiet", "--format", "null", "--record", str(pcap)), pcap.with_suffix(".out"), TIMEOUT_S)


def measure(program: Program) -> Sample:
    """One run. Raises `TooSlow` or `Failed`."""
    sample = _run(program.argv, program.written, TIMEOUT_S)
    if program.says_itself:
        return replace(Sample.of(json.loads(program.reads.read_text())), peak_kib=sample.peak_kib)
    return sample if program.count is None else replace(sample, rows=program.count(program.reads))


def _run(argv: tuple[str, ...], written: Path, timeout: float) -> Sample:
    errors = written.with_suffix(".err")
    with written.open("wb") as output, errors.open("wb") as complaints:
        begin = time.perf_counter()
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=complaints, env=environment(), cwd=ROOT
        )
        killer = threading.Timer(timeout, os.kill, (process.pid, signal.SIGKILL))
        killer.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        late = not killer.is_alive()
        killer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode and late:
        raise TooSlow(f"took more than {timeout:g} s")
    if process.returncode:
        said = errors.read_text(errors="replace").strip()
        raise Failed(f"{' '.join(argv)} ended with {process.returncode}: {said}")
    inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = usage.ru_maxrss if usage.ru_maxrss > inherited else None
    return Sample(wall, usage.ru_utime + usage.ru_stime, peak_kib=peak)


def count_lines(path: Path) -> int:
    """Lines of a file of any size."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def count_rows(trailer: Path) -> int:
    """Rows of a poll by its trailer."""
    return int(json.loads(trailer.read_text())["rows"])


def count_polled(log: Path) -> int:
    """Rows of the last poll by the agent's log."""
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return int([event["sockets"] for event in events if event["event"] == "poll"][-1])


def count_ports(path: Path) -> int:
    """Ports in tshark's output: a line a packet, commas between; a request's is 0, an end has none."""
    with path.open("rb") as file:
        return sum(port not in (b"", b"0") for line in file for port in line.strip().split(b","))
