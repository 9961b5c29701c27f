"""Records captures of this kernel with their witnesses: `make capture` (root), or `python pcaps/record.py`.

In a network namespace of its own it opens one of everything a TCP socket can be (tests/sockets/zoo.py) and records it
twice: `zoo.pcapng` by `xtcp once --record`, IPv4 and IPv6 each by a dump of its own; and, where the kernel has a
netlink monitor, `nlmon.pcap.gz` by tcpdump (where there is none by `xtcp-replay record`), which saw ss ask for both
families and xtcp for all of TCP at once, then for MPTCP. Both are added to the corpus (see add.py) as
RELEASE-MACHINE/FILE; beside them missing.txt, what this kernel could not show.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "agent"), str(ROOT / "replay")]

from pcaps.add import CORPUS, SS_OPTIONS, Facts, add  # noqa: E402 - a script finds the repository first
from tests.sockets import netns  # noqa: E402
from tests.sockets.zoo import open_zoo  # noqa: E402
from tests.sockets.zoo_keeping import Zoo  # noqa: E402
from xtcp.cli.command import Parser, run_command, say  # noqa: E402
from xtcp.errors import ExitCode, Temporary, Unavailable, UsageError  # noqa: E402
from xtcp_replay.judging.golden_file import GoldenFile  # noqa: E402

SHOWS: Final = (
    "one of everything: states, congestion controls, queues, timers, options, TLS, MPTCP subflows, MD5, marks"
)
ASKED: Final = "ss for IPv4 and for IPv6, xtcp for both at once and for MPTCP"
_PATIENCE_S: Final = 60.0
_MONITOR: Final = "nlmon0"


@dataclass(frozen=True)
class Recorded:
    """What one run recorded: `files` are paths inside the corpus, with `rows` each; `missing` is what was not there."""

    files: tuple[str, ...]
    rows: tuple[int, ...]
    missing: dict[str, str]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = Parser(prog="record.py", description="Records captures of this kernel with their witnesses.")
    top.add_argument("--corpus", metavar="DIR", type=Path, default=CORPUS, help="where to (default: pcaps)")
    top.set_defaults(handler=_record, verb="record")
    return top


def _record(args: argparse.Namespace) -> int:
    recorded = record(args.corpus)
    for name, rows in zip(recorded.files, recorded.rows, strict=True):
        say(f"{name}: {rows:,} rows")
    return ExitCode.OK


def record(corpus: Path = CORPUS) -> Recorded:
    """Records; replaces what an earlier run of the same kernel wrote. Raises `XtcpError` where that is not possible."""
    if os.geteuid() != 0:
        raise UsageError("Sockets of every kind need root.", "They live in a network namespace of their own.", "")
    corpus.mkdir(parents=True, exist_ok=True)
    uname = os.uname()
    facts = Facts(
        shows=SHOWS,
        tool="xtcp once --record",
        architecture=uname.machine,
        uname=f"{uname.sysname} {uname.release} {uname.version} {uname.machine}",
    )
    by = ""
    with tempfile.TemporaryDirectory() as work:
        zoo, monitored = Path(work, "zoo.pcapng"), Path(work, "nlmon.pcap.gz")
        with (
            netns.namespace("zoo") as ns,
            netns.keep(ns, partial(open_zoo, True), Zoo.told, timeout=_PATIENCE_S) as told,
        ):
            missing = dict(told[1])
            _run_in(ns, _xtcp("once", "--format", "null", "--record", str(zoo)))
            try:
                by = _watch(ns, monitored, missing)
            except Unavailable as error:
                missing[monitored.name] = error.what
        rows = [add(zoo, facts, corpus=corpus, again=True)]
        if monitored.exists():
            shows = f"{SHOWS}; asked by {ASKED}"
            seen = replace(facts, shows=shows, tool=by, kernel=uname.release)
            rows.append(add(monitored, seen, corpus=corpus, again=True))
    for row in rows:
        cut = [dump["dump"] for dump in GoldenFile(corpus / row.golden).head["dumps"] if not dump["complete"]]
        if cut:
            raise Temporary(
                f"{row.file}: dumps {cut} have no end.", "Usually the recorder ended early.", "Record again."
            )
    text = "".join(f"{what}: {why}\n" for what, why in sorted(missing.items()))
    ((corpus / rows[0].file).parent / "missing.txt").write_text(text)
    return Recorded(tuple(row.file for row in rows), tuple(row.rows for row in rows), missing)


def _xtcp(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "xtcp", *arguments]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}/agent:{ROOT}/replay", "LC_ALL": "C.UTF-8"}


def _run_in(ns: str, command: Sequence[str], *, may_lack: bool = False) -> bool:
    """Whether it did what it is for; with `may_lack` the kernel may not have that."""
    done = netns.run_in(ns, command, env=_environment())
    sys.stderr.write(done.stderr)
    if done.returncode == ExitCode.UNAVAILABLE and may_lack:
        return False
    if done.returncode:
        raise Temporary(f"{' '.join(map(str, command))} ended with {done.returncode}.", done.stderr.strip())
    return True


# --- a netlink monitor ---------------------------------------------------------------------------------------------


def _watch(ns: str, capture: Path, missing: dict[str, str]) -> str:
    """Has the dumps of other programs captured; returns by what, adds to `missing`. Raises `Unavailable` without a
    monitor.
    """
    made = netns.run_in(ns, ["ip", "link", "add", _MONITOR, "type", "nlmon"])
    if made.returncode:
        raise Unavailable(f"this kernel has no nlmon: {' '.join(made.stderr.split())}")
    _run_in(ns, ["ip", "link", "set", _MONITOR, "up"])
    plain = capture.with_suffix("")
    witness = shutil.which("ss")
    with _capturing(ns, plain) as by:
        for family in ("-4", "-6") if witness else ():
            _run_in(ns, [witness or "", *SS_OPTIONS, family])
        _run_in(ns, _xtcp("once", "--format", "null"))
        if not _run_in(ns, _xtcp("once", "--format", "null", "--mptcp"), may_lack=True):
            missing["dump of MPTCP"] = "this kernel has no mptcp_diag"
    with plain.open("rb") as file, capture.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        shutil.copyfileobj(file, packed)
    return f"{by}; asked by {ASKED if witness else 'xtcp'}"


@contextmanager
def _capturing(ns: str, file: Path) -> Iterator[str]:
    """tcpdump where there is one, else `xtcp-replay record`, until the context ends; gives its name and version."""
    program = shutil.which("tcpdump")
    if program:
        command = [program, "-i", _MONITOR, "-s", "0", "-w", str(file), "-U", "-Z", "root"]
        command += ["--immediate-mode", "--time-stamp-precision=nano"]
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"tcpdump version ([\d.]+)", said)
        by, ready = f"tcpdump {found[1] if found else ''}".strip(), "listening on"
    else:
        command = [sys.executable, "-m", "xtcp_replay", "record", str(file), "--interface", _MONITOR]
        by, ready = "xtcp-replay record", "recording from"
    process = subprocess.Popen(netns.command_in(ns, command), env=_environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        told = ""
        while ready not in told:
            line = process.stderr.readline()
            if not line:
                raise Temporary(f"{command[0]} captures nothing: {told.strip()}")
            told += line
        yield by
        _wait_until_written(file)
    finally:
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=_PATIENCE_S)[1]
    dropped = re.search(r"([1-9]\d*) packets? dropped", told)
    if dropped:
        raise Temporary(f"The monitor lost {dropped[0]}.", "", "Record once more.")


def _wait_until_written(file: Path) -> None:
    """Until the file has not grown for a second: what it is to hold has passed already."""
    size, since = -1, time.monotonic()
    while time.monotonic() - since < 1.0:
        now = file.stat().st_size
        if now != size:
            size, since = now, time.monotonic()
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(run_command(parser, sys.argv[1:]))
