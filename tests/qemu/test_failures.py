"""Guests that fail, for real: none is taken for a pass, and nothing of one is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from qemu import cache
from qemu.boot import Failed
from tests.conftest import require_program
from xtcp.errors import ExitCode

ROOT = Path(__file__).resolve().parents[2]
GUEST = "s390x:bookworm"

pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass
class Boot:
    """How one ended."""

    code: int
    output: str
    told: str


@contextmanager
def booting(guest: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The program, ended at the end."""
    require_program("qemu-system-s390x", "qemu-system-misc")
    argv = [sys.executable, "-m", "qemu.boot", guest, *arguments]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.terminate()


def boot(guest: str, *arguments: str) -> Boot:
    """The program, run to its end."""
    with booting(guest, *arguments) as process:
        output, told = process.communicate()
        return Boot(process.returncode, output.decode(), told.decode())


def machines(parent: int) -> list[Path]:
    """Machines of qemu that a process has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:  # it has just ended
            continue
        if "Name:\tqemu-system" in text and f"\nPPid:\t{parent}\n" in text:
            found.append(status)
    return found


def started(process: subprocess.Popen[bytes]) -> Path:
    """The machine of a program, as soon as it runs."""
    while process.poll() is None:
        for found in machines(process.pid):
            return found
        time.sleep(0.1)
    raise AssertionError(process.communicate())


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No file in the cache or where temporary ones are that was not there before."""

    def files() -> set[Path]:
        return {path for path in cache.folder().iterdir() if path.name.startswith(("tmp", ".tmp"))}

    before = files()
    yield
    assert files() == before


def test_output_exit_code_and_files_come_out(tmp_path: Path) -> None:
    """Bytes as they are, standard error too, and the files of /out."""
    script = "uname -m; printf 'a\\r\\n\\tb'; echo problem >&2; mkdir /out/deep; uname -r >/out/deep/release; exit 7"
    done = boot(GUEST, "--out", str(tmp_path / "out"), "--", "sh", "-c", script)
    assert (done.code, done.output) == (7, "s390x\na\r\n\tbproblem\n"), done.told
    assert (tmp_path / "out/deep/release").read_text().endswith("-s390x\n")
    assert "the command ended with 7" in done.told


def test_every_congestion_control_is_there_and_a_monitor_can_be_made() -> None:
    """What the guests are for; a process that is left running holds nothing up."""
    script = "sleep 1000 & ip link add nlmon0 type nlmon && cat /proc/sys/net/ipv4/tcp_available_congestion_control"
    done = boot(GUEST, "--", "sh", "-c", script)
    assert done.code == ExitCode.OK, done.told
    assert {"reno", "cubic", "bbr", "dctcp", "vegas", "westwood"} <= set(done.output.split())


def test_a_kernel_that_panics() -> None:
    """Its last words are shown."""
    done = boot(GUEST, "--append", "rdinit=/nonexistent root=/dev/nothing", "--", "true")
    assert (done.code, done.output) == (Failed.GUEST, ""), done.told
    assert "Its kernel panicked: " in done.told
    assert "\n  " in done.told


def test_a_command_that_takes_all_memory() -> None:
    """The guest ends with it."""
    script = "print('begun', flush=True)\nkept = []\nwhile True: kept.append(bytearray(b'x' * (1 << 20)))"
    done = boot(GUEST, "--memory", "900", "--", "python3", "-c", script)
    assert (done.code, done.output) == (Failed.GUEST, "begun\n"), done.told
    assert "It ran out of memory; give it more: --memory." in done.told


@pytest.mark.parametrize("mib", [300, 500])
def test_memory_too_small_to_start_from(mib: int) -> None:
    """Too small for the archive, and for what is in it: some of the programs may be there, and what they run."""
    done = boot(GUEST, "--memory", str(mib), "--limit", "200", "--", "true")
    assert (done.code, done.output) == (Failed.GUEST, ""), done.told
    assert done.told.endswith("give it more: --memory.\n")


def test_a_command_that_does_not_end() -> None:
    """It is stopped at the limit, which is no more than that, and what it said before came through."""
    began = time.monotonic()
    done = boot(GUEST, "--limit", "60", "--", "sh", "-c", "echo begun; sleep 1000")
    assert (done.code, done.output) == (Failed.LIMIT, "begun\n"), done.told
    assert "reached its limit of 60 s" in done.told
    assert time.monotonic() - began < 120


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_machine_outlives_its_program(number: signal.Signals) -> None:
    """However it ends."""
    with booting(GUEST, "--", "sleep", "1000") as process:
        machine = started(process)
        process.send_signal(number)
        process.communicate()
        end = time.monotonic() + 10
        while machine.exists() and time.monotonic() < end:
            time.sleep(0.1)
        assert not machine.exists()
        if number is not signal.SIGKILL:
            assert process.returncode == 128 + number
