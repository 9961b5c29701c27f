"""What systemd is told, by a real socket; the shipped unit by systemd's own judge."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, require_program
from tests.daemon.child import Child
from tests.patience import patient
from xtcp.daemon.notify import Notifier

UNIT = ROOT / "agent" / "systemd" / "xtcp.service"


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket that listens as systemd does, and its name as systemd writes it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@xtcp-test-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name[1:] if name.startswith("@") else name)
        listener.settimeout(patient(10))
        yield listener, name


def received(listener: socket.socket, wanted: str) -> list[str]:
    """Messages up to the first that begins with `wanted`."""
    messages: list[str] = []
    while not messages or not messages[-1].startswith(wanted):
        messages.append(listener.recv(4096).decode())
    return messages


def until_silence(listener: socket.socket) -> list[bytes]:
    """What comes until nothing does for the socket's timeout."""
    messages: list[bytes] = []
    while True:
        try:
            messages.append(listener.recv(4096))
        except TimeoutError:
            return messages


@pytest.mark.live
def test_a_life_as_systemd_sees_it(manager: tuple[socket.socket, str], tmp_path: Path) -> None:
    """READY, a status a poll, RELOADING with its time and READY again, STOPPING; the watchdog is fed meanwhile."""
    listener, name = manager
    config = tmp_path / "xtcp.toml"
    # A socket keeps some ten messages, and what finds no room is lost: few come while this test is not looking.
    config.write_text(f'frequency = "{patient(500):.0f}ms"\n')
    environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": f"{patient(2_000_000):.0f}"}
    with Child("--config", config, "--dest", "null:", environment=environment) as child:
        assert received(listener, "READY=1")[0] == "READY=1\nSTATUS=waiting for the first poll"
        assert re.match(r"STATUS=poll \d+: \S+ sockets? in ", received(listener, "STATUS=poll")[-1])
        assert received(listener, "WATCHDOG=1")
        child.signal(signal.SIGHUP)
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", received(listener, "RELOADING=1")[-1])
        assert received(listener, "READY=1")[-1] == "READY=1\nSTATUS=reloaded"
        config.write_text("nonsense")
        child.signal(signal.SIGHUP)
        assert "the old stays" in received(listener, "READY=1")[-1]
        child.signal(signal.SIGTERM)
        assert received(listener, "STOPPING=1")
        assert child.ended() == 0


def test_fault_77_the_watchdog_is_fed_by_progress_not_by_time(tmp_path: Path) -> None:
    """Nothing is sent by time alone: without progress the watchdog starves, whatever the clock says."""
    now = [100.0]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "12000000"}
        notifier = Notifier(environ, clock=lambda: now[0])
        assert notifier.feed_every_s == 4
        now[0] += 1000
        with pytest.raises(BlockingIOError):
            listener.recv(100)
        notifier.progress()
        assert listener.recv(100) == b"WATCHDOG=1"
        # Ten thousand batches a second are not ten thousand messages.
        for _ in range(100):
            notifier.progress()
        with pytest.raises(BlockingIOError):
            listener.recv(100)
        now[0] += 3
        notifier.progress()
        assert listener.recv(100) == b"WATCHDOG=1"
        notifier.close()
        notifier.progress()


@pytest.mark.live
def test_fault_77_an_agent_that_hangs_in_a_poll_is_not_fed(tmp_path: Path) -> None:
    """A poll that never comes to an end sends no WATCHDOG=1: systemd will start the agent anew."""
    root = Path(__file__).resolve().parent.parent.parent
    script = (
        "import sys, time\n"
        "import xtcp.daemon.poller as poller\n"
        "def hang(self, *_):\n"
        "    print('hanging', file=sys.stderr, flush=True)\n"
        "    time.sleep(60)\n"
        "poller.Poller.poll = hang\n"
        "from xtcp.cli.main import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    from tests.cli.running import ENVIRONMENT, XTCP

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        environment = {
            **ENVIRONMENT,
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "200000",
            "PYTHONPATH": f"{ENVIRONMENT['PYTHONPATH']}:{root}",
        }
        command = [XTCP[0], "-c", script, "run", "--listen", "off", "--dest", "null:", "--nice", "0"]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                assert any("hanging" in line for line in iter(process.stderr.readline, ""))
                listener.settimeout(0.6)
                assert not [message for message in until_silence(listener) if message.startswith(b"WATCHDOG")]
            finally:
                process.kill()


def test_without_a_manager_nothing_happens() -> None:
    """No NOTIFY_SOCKET, one that is gone, another process's watchdog: silence."""
    Notifier({}).ready("x")
    gone = Notifier({"NOTIFY_SOCKET": "/nowhere/at/all"})
    gone.ready("x")
    other = Notifier({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"})
    assert other.feed_every_s == float("inf")
    gone.close()
    other.close()


def verified(tmp_path: Path, command: str = "/bin/true") -> Path:
    """The unit with a program that is there."""
    path = tmp_path / "xtcp.service"
    path.write_text(UNIT.read_text().replace("/usr/bin/xtcp", command))
    return path


def test_the_unit_is_one(tmp_path: Path) -> None:
    """systemd-analyze finds nothing wrong, and no more exposure than 1.6."""
    program = require_program("systemd-analyze", "systemd")
    path = verified(tmp_path)
    finished = subprocess.run([program, "verify", "--man=no", path], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr.strip()) == (0, "")
    judged = subprocess.run(
        [program, "security", "--offline=true", "--threshold=16", path], capture_output=True, text=True, check=False
    )
    assert judged.returncode == 0, judged.stdout[-400:]


def test_the_drop_in_for_marks_is_one(tmp_path: Path) -> None:
    """What the unit's head says about CAP_NET_ADMIN is a drop-in that systemd takes, with little more exposure."""
    program = require_program("systemd-analyze", "systemd")
    path = verified(tmp_path)
    lines = [line.removeprefix("#   ") for line in UNIT.read_text().splitlines() if line.startswith("#   ")]
    added = lines[lines.index("[Service]") + 1 :]
    path.write_text(path.read_text().replace("[Install]", "[Service]\n" + "\n".join(added) + "\n[Install]"))
    for command in (["verify", "--man=no"], ["security", "--offline=true", "--threshold=20"]):
        finished = subprocess.run([program, *command, path], capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stdout[-300:] + finished.stderr


def test_the_unit_has_xtcps_limits() -> None:
    """CPUWeight, IOWeight and Nice are those of xTCP; memory is less, and the agent sheds before it."""
    settings = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line and line[0] != "#")
    assert (settings["CPUWeight"], settings["IOWeight"], settings["Nice"]) == ("50", "50", "15")
    assert (settings["MemoryHigh"], settings["MemoryMax"], settings["Type"]) == ("480M", "512M", "notify")
    assert int(settings["TimeoutStopSec"]) > 8.5
    assert settings["ExecStart"].startswith("/usr/bin/xtcp run ")
