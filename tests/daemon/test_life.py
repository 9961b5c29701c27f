"""The agent's life as a process: signals, reloads, restarts, what a person sees."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.running import ENVIRONMENT, XTCP, three_parts, xtcp
from tests.conftest import require_program, require_root
from tests.daemon.child import Child
from tests.libraries import require
from tests.patience import patient

pytestmark = pytest.mark.live

FAST = ("--frequency", "50ms", "--dest", "null:")
# Of the line of a poll 120 a minute are written: where all of them count, so many do not come while a test goes on.
SEEN = f"{patient(150):.0f}ms"


def polls_in(path: Path) -> set[int]:
    """The polls whose rows are in a file."""
    return {json.loads(line)["poll_id"] for line in path.read_text().splitlines()}


def test_it_ends_by_itself() -> None:
    """--max-loops 2: two polls, the ledger, 0; nothing on standard output."""
    with Child("--frequency", "1s", "--max-loops", "2", "--dest", "null:") as child:
        assert child.ended() == 0
        events = [line["event"] for line in child.events if line["level"] == "info"]
        assert events == ["started", "poll", "poll", "ledger", "ended"]
        assert child.rows == b""


def test_rows_on_standard_output_and_nothing_else() -> None:
    """With stdout: as a destination every line is a row."""
    with (
        socket.create_server(("127.0.0.1", 0)),
        Child("--frequency", "100ms", "--max-loops", "2", "--dest", "stdout:") as child,
    ):
        assert child.ended() == 0
        rows = [json.loads(line) for line in child.rows.decode().splitlines()]
    assert len({row["poll_id"] for row in rows}) == 2
    assert all(row["hostname"] for row in rows)


def test_who_reads_standard_output_has_gone() -> None:
    """`| head` ends it quietly: no traceback, 0."""
    run = f"{' '.join(XTCP)} run --listen off --nice 0 --frequency 20ms --dest stdout:"
    finished = subprocess.run(
        ["bash", "-c", f"{run} | head -n 1; echo ${{PIPESTATUS[0]}}"],
        env=ENVIRONMENT,
        capture_output=True,
        timeout=patient(30),
        check=False,
    )
    assert finished.stdout.splitlines()[-1] == b"0", finished
    assert b"Traceback" not in finished.stderr


# --- row 78: the end ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_fault_78_a_signal_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    """No more polls, everything that was taken is written, the ledger is told, 0."""
    rows = tmp_path / "rows.json"
    with Child("--frequency", SEEN, "--dest", f"file:{rows}") as child:
        child.wait_for("poll", 3)
        child.signal(number)
        assert child.ended(10) == 0
        assert child.named("ended")[0]["reason"] == f"signal {number.name}"
        (account,) = child.named("ledger")
        polls = {line["poll_id"] for line in child.named("poll")}
    written = [json.loads(line) for line in rows.read_text().splitlines()]
    assert polls >= {row["poll_id"] for row in written}
    assert (account["accepted"], account["dropped"], account["in_flight"]) == (len(written), {}, 0)


def test_fault_78_a_poll_under_way_is_broken_off() -> None:
    """A kernel that does not answer holds the end up for one receive, not for the deadline; the trailer says why."""
    with Child("--dest", "null:", scripted="deaf") as child:
        child.until(lambda: "asked" in child.lines, "request")
        began = time.monotonic()
        child.signal(signal.SIGTERM)
        assert child.ended(10) == 0
        assert time.monotonic() - began < patient(5)
        (poll,) = child.named("poll")
    assert poll["flags"] == "shutdown"


def test_fault_78_the_end_takes_no_longer_than_a_container_has(tmp_path: Path) -> None:
    """Far sides that take nothing cost 8 s all together: Docker kills after 10. What they held is dropped, and
    counted.
    """
    pipes = [tmp_path / f"pipe{number}" for number in range(4)]
    for path in pipes:
        os.mkfifo(path)
    # Open at the other end, and never read: writing stalls when the pipe is full.
    readers = [os.open(path, os.O_RDONLY | os.O_NONBLOCK) for path in pipes]
    try:
        dests = [part for path in pipes for part in ("--dest", f"file:{path}")]
        with Child("--frequency", "100ms", *dests, "--dest", "null:", scripted="3000") as child:
            child.wait_for("poll", 3)
            began = time.monotonic()
            child.signal(signal.SIGTERM)
            code = child.ended(12)
            assert time.monotonic() - began < patient(10)
            *accounts, null = child.named("ledger")
            assert code == 0, child.lines[-5:]
        assert all(account["balanced"] and not account["in_flight"] for account in accounts), accounts
        assert all(account["dropped"]["closed"] > 0 for account in accounts)
        assert not null["dropped"]
    finally:
        for reader in readers:
            os.close(reader)


def test_fault_78_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    """Whoever does not want to wait for the far side does not."""
    full = tmp_path / "pipe"
    os.mkfifo(full)
    reader = os.open(full, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with Child("--frequency", "100ms", "--dest", f"file:{full}", scripted="3000") as child:
            child.wait_for("poll", 3)
            began = time.monotonic()
            # Two that come before the process gets to see the first are one.
            while child.running:
                assert time.monotonic() - began < patient(3)
                child.signal(signal.SIGTERM)
                time.sleep(0.3)
            assert child.ended() == 128 + signal.SIGTERM
    finally:
        os.close(reader)


def test_fault_78_as_process_1_of_a_container() -> None:
    """Without an init: the kernel gives process 1 only signals that it has a handler for."""
    require_root()
    unshare = require_program("unshare", "util-linux", whole=True)
    with Child(*FAST, before=[unshare, "--pid", "--fork", "--kill-child", "--mount-proc"]) as child:
        child.wait_for("poll", 2)
        inside = int(Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()[0])
        assert "NSpid:" in (status := Path(f"/proc/{inside}/status").read_text())
        assert status.split("NSpid:")[1].split("\n")[0].split()[-1] == "1"
        os.kill(inside, signal.SIGTERM)
        assert child.ended(10) == 0
        assert child.named("ended")[0]["reason"] == "signal SIGTERM"


# --- row 79: SIGHUP ---


def test_fault_79_a_good_configuration_is_taken(tmp_path: Path) -> None:
    """Destinations that stay are not touched, new ones are opened, old ones closed with all they held."""
    stays, goes, comes = tmp_path / "stays.json", tmp_path / "goes.json", tmp_path / "comes.json"
    config = tmp_path / "xtcp.toml"
    config.write_text(f'frequency = "{SEEN}"\ndest = ["file:{stays}", "file:{goes}"]\n')
    with socket.create_server(("127.0.0.1", 0)), Child("--config", config) as child:
        child.wait_for("poll", 3)
        new = f"{patient(120):.0f}ms"
        config.write_text(f'frequency = "{new}"\ndest = ["file:{stays}", "file:{comes}"]\nnlmsg_seq = 7\n')
        child.signal(signal.SIGHUP)
        told = child.wait_for("reloaded")
        assert told["changed"] == "dest,frequency"
        assert child.wait_for("restart_needed")["settings"] == "nlmsg_seq"
        polls = len(child.named("poll"))
        child.wait_for("poll", polls + 3)
        child.signal(signal.SIGTERM)
        assert child.ended() == 0
        every = [line["poll_id"] for line in child.named("poll") if line["sockets"]]
        accounts = {line["sink"]: line for line in child.named("ledger")}
    assert set(accounts) == {f"file:{path}" for path in (stays, goes, comes)}
    assert not any(account["in_flight"] or account["dropped"] for account in accounts.values())
    ids = {
        path: {json.loads(line)["poll_id"] for line in path.read_text().splitlines()} for path in (stays, goes, comes)
    }
    # The file that stays was not emptied, and the other two have what is before and behind the reload.
    assert sorted(ids[stays]) == every
    assert ids[goes] | ids[comes] == ids[stays] and not ids[goes] & ids[comes]


@pytest.mark.parametrize(
    "content", ['dest = "null:"\nfrequency = "soon"\n', "this is no TOML", 'dest = "file:/nowhere/at/all/x.json"\n']
)
def test_fault_79_a_bad_configuration_changes_nothing(tmp_path: Path, content: str) -> None:
    """The old one stays, whole, polls go on, and what is wrong is logged with its place."""
    rows = tmp_path / "rows.json"
    config = tmp_path / "xtcp.toml"
    config.write_text(f'frequency = "{SEEN}"\ndest = "file:{rows}"\n')
    with socket.create_server(("127.0.0.1", 0)), Child("--config", config) as child:
        child.wait_for("poll", 2)
        config.write_text(content)
        child.signal(signal.SIGHUP)
        assert child.wait_for("reload_failed")["error"]
        polls = len(child.named("poll"))
        child.wait_for("poll", polls + 3)
        config.write_text(f'frequency = "{patient(120):.0f}ms"\ndest = "file:{rows}"\n')
        child.signal(signal.SIGHUP)
        child.wait_for("reloaded")
        child.signal(signal.SIGTERM)
        assert child.ended() == 0
        every = [line["poll_id"] for line in child.named("poll") if line["sockets"]]
    assert sorted(polls_in(rows)) == every


def test_fault_80_a_restart_has_a_new_id_and_begins_anew(tmp_path: Path) -> None:
    """Each start has a run id of its own; what the run before left in the state directory does not keep it from it."""
    ids = []
    for _ in range(2):
        arguments = ("--max-loops", "1", "--state-dir", tmp_path, "--frequency", "1s")
        with Child(*arguments) as child:
            assert child.ended() == 0, child.lines
            ids.append(child.named("started")[0]["run_id"])
    assert len(set(ids)) == 2
    require("duckdb")
    counted = xtcp("query", "--dir", tmp_path, "--format", "csv", "SELECT count(DISTINCT poll_id) AS n FROM polls")
    assert counted.stdout.split() == [b"n", b"2"], counted.stderr


# --- what a person sees ---


def test_the_kernel_refuses_to_begin_with(tmp_path: Path) -> None:
    """A family of sockets that may not be opened: three parts, no traceback, and no log in between."""
    require_root()
    code = (
        "import sys, socket\n"
        "from xtcp.cli.main import run\n"
        "class Refused(socket.socket):\n"
        "    def __init__(self, family=-1, *rest, **named):\n"
        "        if family == socket.AF_NETLINK: raise OSError(97, 'no')\n"
        "        super().__init__(family, *rest, **named)\n"
        "socket.socket = Refused\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    finished = subprocess.run(
        [XTCP[0], "-c", code, "run", "--listen", "off", "--dest", f"file:{tmp_path / 'x.json'}"],
        env=ENVIRONMENT,
        capture_output=True,
        timeout=patient(30),
        check=False,
    )
    three_parts(finished, 69, "EAFNOSUPPORT", "AF_NETLINK")


def test_nice_and_limits_are_taken() -> None:
    """The process gives way by itself, with all its threads: 15, as xTCP's unit had it."""
    with Child(*FAST, "--nice", "15", "--memory-limit", "300M") as child:
        child.wait_for("poll")
        found = []
        for path in Path(f"/proc/{child.pid}/task").iterdir():
            with suppress(ProcessLookupError):  # the thread that reads a dump goes with it
                found.append(os.getpriority(os.PRIO_PROCESS, int(path.name)))
        assert len(found) >= 2 and set(found) == {15}
        assert child.named("started")[0]["memory_limit"] == 300 << 20


def test_help_is_quick_and_without_numpy() -> None:
    """The table of settings costs nothing to show."""
    code = (
        "import sys\n"
        "from xtcp.cli.main import run\n"
        "run(['run', '--help'])\n"
        "run(['validate', '--help'])\n"
        "assert 'numpy' not in sys.modules\n"
    )
    subprocess.run([XTCP[0], "-c", code], env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=True)
    assert xtcp("run", "--help").returncode == 0
