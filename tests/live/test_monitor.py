"""A real netlink monitor: what tcpdump and `xtcp-replay record` see of a poll is what the poll itself gave, row by row.

And what ss printed, live, is what passed there. Of a namespace with one of everything a TCP socket can be.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT, require_program, require_root
from tests.golden.test_shared_captures import unexplained
from tests.patience import patient
from tests.rows import Row, rows_by_dump
from tests.sockets import netns
from tests.sockets.zoo import open_zoo
from tests.sockets.zoo_keeping import Zoo
from xtcp_replay.reading.opening import Told, open_source

pytestmark = [pytest.mark.live, pytest.mark.root]

MONITOR = "nlmon0"
NOT_IN_SS_6_1 = ("rcv_wnd:", "rehash:", "no_pad_rx")
CONTEXT = {"timestamp_ns", "hostname", "netns", "poll_id", "dump"}


@pytest.fixture(scope="module")
def zoo() -> Iterator[str]:
    """A namespace with the zoo in it and a netlink monitor; a skip where the kernel has none."""
    require_root()

    def opened() -> Zoo:
        return open_zoo(own_namespace=True)

    with netns.namespace("monitor") as ns:
        made = netns.run_in(ns, ["ip", "link", "add", MONITOR, "type", "nlmon"])
        if made.returncode:
            pytest.skip(f"this kernel has no nlmon ({made.stderr.strip()})")
        assert netns.run_in(ns, ["ip", "link", "set", MONITOR, "up"]).returncode == 0
        with netns.keep(ns, opened, Zoo.told, timeout=patient(60)):
            yield ns


def environment() -> dict[str, str]:
    """For programs of this project and others."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}/agent:{ROOT}/replay", "LC_ALL": "C.UTF-8"}


def run(ns: str, *command: str | Path) -> str:
    """What it prints."""
    done = netns.run_in(ns, command, env=environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(module: str, *arguments: str | Path) -> tuple[str | Path, ...]:
    """The command of a module of this project."""
    return (sys.executable, "-m", module, *arguments)


@contextmanager
def recorder(ns: str, ready: str, *command: str | Path) -> Iterator[None]:
    """Runs a program that records until it is interrupted, from when it says that it is `ready` on."""
    process = subprocess.Popen(netns.command_in(ns, command), env=environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    try:
        while ready not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        yield
        time.sleep(1.5)
    finally:
        process.send_signal(signal.SIGINT)
        said += process.communicate(timeout=patient(20))[1]
    assert process.returncode == 0, said


@dataclass(frozen=True)
class Watched:
    """What two recorders kept of a poll and of two runs of ss, and what those gave themselves."""

    tcpdump: list[list[Row]]
    recorded: list[list[Row]]
    polled: list[Row]
    printed: list[str]


@pytest.fixture(scope="module")
def watched(zoo: str, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """All of it at the same time."""
    folder = tmp_path_factory.mktemp("monitor")
    tcpdump, ss = require_program("tcpdump", "tcpdump"), require_program("ss", "iproute2")
    by_tcpdump, by_record = folder / "tcpdump.pcap", folder / "record.pcapng"
    options = ("-s", "0", "-U", "-Z", "root", "--immediate-mode", "--time-stamp-precision=nano")
    with (
        recorder(zoo, "listening on", tcpdump, "-i", MONITOR, *options, "-w", by_tcpdump),
        recorder(zoo, "recording from", *python("xtcp_replay", "record", by_record, "--interface", MONITOR)),
    ):
        printed = [run(zoo, ss, "-tinmaeO", "--tos", "--inet-sockopt", family) for family in ("-4", "-6")]
        polled = run(zoo, *python("xtcp", "once", "--format", "json"))
    return Watched(
        dumps(by_tcpdump, Told(release=os.uname().release)),
        dumps(by_record),
        [without_context(json.loads(line)) for line in polled.splitlines()],
        printed,
    )


def dumps(capture: Path, told: Told | None = None) -> list[list[Row]]:
    """The rows of each dump of a capture, which is whole."""
    source = open_source(str(capture), told or Told())
    found = [[without_context(row) for row in dump] for dump in rows_by_dump(source.chunks())]
    assert source.damage == []
    return found


def without_context(row: Row) -> Row:
    """The row without what the source adds."""
    return {name: value for name, value in row.items() if name not in CONTEXT}


def test_both_recorders_see_the_same(watched: Watched) -> None:
    """Every dump, every row, every value; tcpdump wrote a pcap, we a pcapng."""
    assert len(watched.tcpdump) >= 3
    assert watched.tcpdump == watched.recorded


def test_what_passed_is_what_the_poll_gave(watched: Watched) -> None:
    """The capture of other programs holds the live rows, all of them and as they are."""
    assert len(watched.polled) > 150
    assert by_cookie(watched.polled) in [by_cookie(dump) for dump in watched.tcpdump]


def by_cookie(rows: Sequence[Row]) -> list[Row]:
    """In an order of their own."""
    return sorted(rows, key=lambda row: int(row["idiag_cookie"]))


def test_what_ss_printed_live_is_what_passed(watched: Watched) -> None:
    """ss asks twice; each answer is the dump that was captured, every value that it printed."""
    for said, rows in zip(watched.printed, watched.tcpdump, strict=False):
        assert len(said.splitlines()) - 1 == len(rows) > 70
        assert unexplained(said, rows, sys.byteorder, NOT_IN_SS_6_1) == []


def test_record_makes_a_monitor_of_its_own(zoo: str, tmp_path: Path) -> None:
    """`record --run ss` needs no preparation: its capture holds ss's dumps, and no monitor is left behind."""
    pytest.importorskip("pyroute2", reason="needs pyroute2")
    ss, capture = require_program("ss", "iproute2"), tmp_path / "x.pcapng"
    before = run(zoo, "ip", "-br", "link")
    run(zoo, *python("xtcp_replay", "record", capture, "--via", "nlmon", "--run", ss, "-tinmae"))
    found = dumps(capture)
    assert sum(map(len, found)) > 150
    assert {row["idiag_family"] for dump in found for row in dump} == {2, 10}
    assert run(zoo, "ip", "-br", "link") == before


def test_verify_of_what_passed(zoo: str, tmp_path: Path) -> None:
    """The reference decoder and ss read the capture as we do, in this machine's byte order."""
    capture = tmp_path / "x.pcapng"
    run(zoo, *python("xtcp_replay", "record", capture, "--interface", MONITOR, "--run", *python("xtcp", "once")))
    judges = ("--witness", "reference,ss", "--limit", "80")
    told = json.loads(run(zoo, *python("xtcp_replay", "verify", "--json", *judges, capture)))
    assert told["disagreements"] == 0
    assert told["sockets"] > 150
    asked = {account["witness"]: account["sockets"] for account in told["witnesses"] if account["installed"]}
    assert asked["ss"] >= 80
