"""The command `xtcp-replay send`: rows where they were sent, a ledger that adds up after every fault, exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import ENVIRONMENT, REPLAY, shell, xtcp_replay
from tests.conftest import ROOT
from tests.patience import fewer, patient
from tests.replay.made import dump, pcap, row, saved
from tests.zoos import WITH_TWINS
from xtcp.errors import ExitCode, Temporary
from xtcp.ledger import Account
from xtcp.sinks import destination, null, schemes
from xtcp_replay.cli.main import run
from xtcp_replay.playing.player import Player

MANY = 300 * fewer(200)
LINE = re.compile(
    r"^(.+): ([\d,]+) offered = "
    r"([\d,]+) accepted \+ ([\d,]+) dropped(?: \(.*?\))? \+ 0 in flight(?:; [\d,]+ bytes)?$",
    re.MULTILINE,
)


@pytest.fixture
def small(tmp_path: Path) -> str:
    """Two dumps, three sockets and two; one comes twice."""
    return saved(tmp_path, pcap([*dump((1, 2, 2, 3)), *dump((4, 5), family=10)]))


@pytest.fixture
def large(tmp_path: Path) -> str:
    """A dump that as text fills any pipe."""
    rows = [b"".join(row(1000 * i + j) for j in range(1, 301)) for i in range(MANY // 300)]
    return saved(tmp_path, pcap(rows), "large.pcap")


def ledger_of(err: str) -> dict[str, tuple[int, int, int]]:
    """Offered, accepted and dropped of each sink, as printed; checks that they add up."""
    found = {}
    for name, *counts in LINE.findall(err):
        offered, accepted, dropped = (int(text.replace(",", "")) for text in counts)
        assert offered == accepted + dropped
        found[name] = (offered, accepted, dropped)
    return found


@pytest.mark.parametrize("path", WITH_TWINS, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("form", ["json", "csv"])
def test_the_same_rows_as_decode(path: Path, form: str, tmp_path: Path) -> None:
    """Byte for byte, of our captures of both byte orders; and the ledger counts the lines."""
    sent, decoded = tmp_path / f"sent.{form}", tmp_path / "decoded"
    assert run(["decode", str(path), "--format", form, "-o", str(decoded), "-q"]) == 0
    arguments = ["send", str(path), "--dest", f"file:{sent}", "--speed", "max", "--ledger", str(tmp_path / "ledger")]
    assert run([*arguments, "-q"]) == 0
    assert sent.read_bytes() == decoded.read_bytes() != b""
    ledger = json.loads((tmp_path / "ledger").read_text())
    assert ledger["balanced"] is True
    assert ledger["sinks"][0]["accepted"] == len(decoded.read_text().splitlines()) - (form == "csv")


@pytest.mark.external
def test_the_same_rows_as_decode_of_others_captures(captures: Path, tmp_path: Path) -> None:
    """Of captures that others made, three dumps in one of them."""
    for name in ("6_6_44/tcp_100_sockets.pcap", "6_10_3/6_10_3_tcp_1000_sockets.pcap"):
        path = str(captures / name)
        run(["decode", path, "--format", "json", "-o", str(tmp_path / "decoded"), "-q"])
        run(["send", path, "--dest", f"file:{tmp_path}/sent", "--speed", "max", "-q"])
        assert (tmp_path / "sent").read_bytes() == (tmp_path / "decoded").read_bytes() != b""


def test_several_destinations_and_the_summary(small: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Rows alone on standard output; summary and a line a sink on standard error."""
    csv = tmp_path / "rows.csv"
    arguments = ["--dest", "stdout:", "--dest", f"file:{csv}", "--dest", "null:", "--dest", "null:"]
    assert run(["send", small, *arguments, "--speed", "max"]) == ExitCode.OK
    out, err = capfd.readouterr()
    assert sorted(json.loads(line)["idiag_cookie"] for line in out.splitlines()) == [1, 2, 3, 4, 5]
    assert len(csv.read_text().splitlines()) == 6
    assert re.match(r"5 rows of 2 dumps: [\d.]+ s, [\d,]+ rows/s, 1 duplicate removed\n", err)
    assert err.count("5 offered = 5 accepted + 0 dropped + 0 in flight") == 4
    assert "null (2): " in err


def test_quiet_says_nothing(small: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Where nothing went wrong."""
    assert run(["send", small, "--dest", "null:", "--speed", "max", "-q"]) == ExitCode.OK
    assert capfd.readouterr() == ("", "")


def test_hosts_loops_and_new_times(small: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As a load test does it; every name is sent as often as every other."""
    path = tmp_path / "rows.json"
    options = ["--hosts", "3", "--loop", "2", "--rewrite-time", "--speed", "max", "--host", "edge"]
    before = time.time_ns()
    assert run(["send", small, "--dest", f"file:{path}", *options]) == ExitCode.OK
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 5 * 3 * 2
    for name in ("edge-0001", "edge-0002", "edge-0003"):
        assert sorted(r["idiag_cookie"] for r in rows if r["hostname"] == name) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    times = [r["timestamp_ns"] for r in rows]
    assert times == sorted(times)
    # Four dumps in 3 ms of the capture and a second between the passes.
    assert len(set(times)) == 4 and times[0] >= before
    assert times[-1] - times[0] == pytest.approx(1.006e9, abs=1e5)
    assert "30 rows of 4 dumps as 3 hosts, played 2 times: " in capfd.readouterr().err


def test_filters_choose_rows(small: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The same options as decode's."""
    assert run(["send", small, "--dest", "stdout:", "--dump", "2", "--speed", "max"]) == ExitCode.OK
    out, err = capfd.readouterr()
    assert [json.loads(line)["idiag_cookie"] for line in out.splitlines()] == [4, 5]
    assert "2 rows of 1 dump: " in err and ", 3 filtered out" in err


def test_files_one_behind_the_other(small: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Dumps are numbered on, as decode does, in each pass alike; what is no capture is passed over, and said."""
    other = saved(tmp_path, pcap(dump((9,))), "other.pcap")
    arguments = [small, str(ROOT / "README.md"), other, "--dest", "stdout:", "--speed", "max"]
    assert run(["send", *arguments, "--loop", "2"]) == ExitCode.DAMAGED
    out, err = capfd.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(r["dump"], r["idiag_cookie"]) for r in rows][4:6] == [(2, 5), (3, 9)]
    assert rows[:6] == rows[6:]
    assert err.count("README.md") == 1


def test_at_its_own_pace(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A real clock, once: 20 dumps, 3 ms apart."""
    path = saved(tmp_path, pcap([packet for cookie in range(1, 21) for packet in dump((cookie,))]))
    started = time.monotonic()
    assert run(["send", path, "--dest", "null:"]) == ExitCode.OK
    assert time.monotonic() - started >= 0.057
    assert "20 rows of 20 dumps" in capfd.readouterr().err


def test_a_full_disk_is_75_and_the_others_go_on(small: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Rows dropped with their reason, what happened in words, the rest delivered."""
    arguments = ["--dest", "file:/dev/full", "--dest", f"file:{tmp_path}/rows.json"]
    assert run(["send", small, *arguments, "--speed", "max"]) == ExitCode.TEMPORARY
    err = capfd.readouterr().err
    assert "0 accepted + 5 dropped (ENOSPC 5) + 0 in flight" in err
    assert "warning: file:/dev/full: rows were dropped: /dev/full: No space left on device." in err
    assert ledger_of(err) == {"file:/dev/full": (5, 0, 5), f"file:{tmp_path}/rows.json": (5, 5, 0)}
    assert len((tmp_path / "rows.json").read_text().splitlines()) == 5
    assert "Traceback" not in err


def test_a_full_disk_alone_ends_it(large: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A device that has failed for good, and nobody else to send to: nothing more is read."""
    assert run(["send", large, "--dest", "file:/dev/full", "--speed", "max", "--loop", "0"]) == ExitCode.TEMPORARY
    assert 0 < ledger_of(capfd.readouterr().err)["file:/dev/full"][0] < 60_000


def test_damage_and_a_full_disk(small: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Damaged input is 3; lost rows weigh more; with --strict no destination is touched."""
    cut = saved(tmp_path, Path(small).read_bytes()[:-30], "cut.pcap")
    rows = tmp_path / "rows.json"
    assert run(["send", cut, "--dest", f"file:{rows}", "--speed", "max"]) == ExitCode.DAMAGED
    assert len(rows.read_text().splitlines()) == 5
    assert "warning: the file is cut" in capfd.readouterr().err
    assert run(["send", cut, "--dest", "file:/dev/full", "--speed", "max"]) == ExitCode.TEMPORARY
    assert run(["send", small, cut, "--dest", f"file:{tmp_path}/new", "--strict"]) == ExitCode.DAMAGED
    assert not (tmp_path / "new").exists()


def test_an_error_midway_leaves_a_ledger(
    small: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What ends it comes behind the ledger of what was sent before."""
    real = Player.play

    def fails(self: Player, source: Any) -> None:
        real(self, source)
        raise Temporary("The disk went away.", "", "")

    monkeypatch.setattr(Player, "play", fails)
    assert run(["send", small, "--dest", "null:", "--speed", "max"]) == ExitCode.TEMPORARY
    err = capfd.readouterr().err
    assert ledger_of(err)["null"] == (5, 5, 0)
    assert err.endswith("xtcp-replay: The disk went away.\n")


def test_a_fault_of_ours(small: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """An exception in a sink: the traceback, 70, the other sink whole, the ledger balanced."""

    class Broken(null.Null):
        def accept(self, batch: Any) -> None:
            raise ZeroDivisionError("for this test")

    real = schemes.SCHEMES["null"]
    monkeypatch.setattr(null, "broken", lambda _destination: Broken, raising=False)
    broken = schemes.Scheme("broken:", "", {}, "xtcp.sinks.null:broken")
    monkeypatch.setattr(destination, "SCHEMES", {"null": real, "broken": broken})
    assert run(["send", small, "--dest", "broken:", "--dest", "null:", "--speed", "max"]) == ExitCode.INTERNAL
    err = capfd.readouterr().err
    assert ledger_of(err) == {"broken": (5, 0, 5), "null": (5, 5, 0)}
    assert "(fault 5)" in err and "ZeroDivisionError: for this test" in err and "Please report" in err


def test_a_ledger_that_does_not_add_up_is_70(
    small: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A sink that forgets rows without any error."""

    def forgets(self: Account, rows: int, size: int = 0) -> None:
        """Nothing is accepted."""

    monkeypatch.setattr(Account, "accept", forgets)
    assert run(["send", small, "--dest", "null:", "--speed", "max"]) == ExitCode.INTERNAL
    assert "NOT BALANCED, 5 rows unaccounted for" in capfd.readouterr().err


def test_readers_that_leave(large: str, tmp_path: Path) -> None:
    """`| head -1` ends quietly, and still writes the ledger; beside another destination the other is whole."""
    finished = shell(
        """
        $REPLAY send $1 --dest stdout: --speed max --ledger $2/alone | head -1; echo ${PIPESTATUS[0]}
        $REPLAY send $1 --dest stdout: --dest file:$2/rows --speed max --ledger $2/both | head -1; echo ${PIPESTATUS[0]}
        """,
        large,
        tmp_path,
    )
    lines = finished.stdout.splitlines()
    assert [lines[1], lines[3]] == [b"0", b"0"]
    (alone,) = json.loads((tmp_path / "alone").read_text())["sinks"]
    assert alone["balanced"] and set(alone["dropped"]) == {"EPIPE"}
    gone, file = json.loads((tmp_path / "both").read_text())["sinks"]
    assert gone["balanced"] and set(gone["dropped"]) == {"EPIPE"}
    assert file["accepted"] == MANY == (tmp_path / "rows").read_bytes().count(b"\n")
    err = finished.stderr.decode()
    assert err.count("offered") == 2, err


@pytest.fixture
def playing(tmp_path: Path, small: str) -> Iterator[subprocess.Popen[str]]:
    """A send without end into tmp_path/rows, that has sent rows already."""
    rows = tmp_path / "rows"
    command = [*REPLAY, "send", small, "--dest", f"file:{rows}", "--loop", "0", "--speed", "max"]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        _until(lambda: rows.exists() and rows.stat().st_size > 10_000, process)
        yield process
        process.kill()


def _until(there: Any, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + patient(20)
    while not there():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)


def _sleeps(process: subprocess.Popen[str]) -> bool:
    """Whether it waits in the kernel, as for a reader; a signal wakes it before `send_signal` returns."""
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_with_a_ledger(playing: subprocess.Popen[str], tmp_path: Path, number: int) -> None:
    """Ctrl-C ends cleanly: 130, and the file has exactly the rows that the ledger says."""
    playing.send_signal(number)
    _, err = playing.communicate(timeout=patient(20))
    assert playing.returncode == ExitCode.INTERRUPTED
    ((offered, accepted, dropped),) = ledger_of(err).values()
    assert offered == accepted == (tmp_path / "rows").read_bytes().count(b"\n")
    assert dropped == 0
    assert "Traceback" not in err


def test_interrupted_while_it_waits(small: str, tmp_path: Path) -> None:
    """Between two dumps a Ctrl-C does not wait for the next."""
    rows = tmp_path / "rows"
    command = [*REPLAY, "send", small, "--dest", f"file:{rows}", "--speed", "0.00001x"]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        _until(lambda: rows.exists() and rows.stat().st_size, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=patient(10))
    assert process.returncode == ExitCode.INTERRUPTED
    assert list(ledger_of(err).values()) == [(3, 3, 0)]


def test_interrupted_before_a_reader_that_stands_still(large: str) -> None:
    """The first Ctrl-C waits for the batch, the second does not; what is half out is dropped."""
    command = [*REPLAY, "send", large, "--dest", "stdout:", "--speed", "max"]
    read, write = os.pipe()
    with (
        subprocess.Popen(command, env=ENVIRONMENT, stdout=write, stderr=subprocess.PIPE, text=True) as process,
        os.fdopen(read, "rb", 0) as reader,
    ):
        os.close(write)
        reader.read(1)
        _until(lambda: _sleeps(process), process)
        process.send_signal(signal.SIGINT)
        # Of two that come before Python has acted, one is left.
        _until(lambda: _sleeps(process), process)
        time.sleep(0.1)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=patient(10))
    assert process.returncode == ExitCode.INTERRUPTED
    ((offered, accepted, dropped),) = ledger_of(err).values()
    assert accepted == 0 < offered == dropped
    assert "(closed" in err


def test_standard_input(small: str, tmp_path: Path) -> None:
    """Read once, as it comes; twice cannot be."""
    with Path(small).open("rb") as file:
        finished = xtcp_replay("send", "-", "--dest", "stdout:", "--speed", "max", stdin=file)
    assert finished.returncode == 0
    assert len(finished.stdout.splitlines()) == 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--dest is missing"),
        (["--dest", "upd:localhost:1"], "there is no destination upd:"),
        (["--dest", "stdout:", "--dest", "stdout:?format=csv"], "named twice"),
        (["--dest", "stdout:", "--ledger", "-"], "named twice"),
        (["--dest", "file:FILE"], "name the same file"),
        (["--dest", "file:a", "--dest", "file:./a?format=csv"], "name the same file"),
        (["--dest", "file:a", "--ledger", "a"], "name the same file"),
        (["--dest", "null:", "--speed", "0"], "no speed"),
        (["--dest", "null:", "--speed", "fast"], "no speed"),
        (["--dest", "null:", "--speed", "nanx"], "no speed"),
        (["--dest", "null:", "--max-gap", "-1"], "no number of seconds"),
        (["--dest", "null:", "--loop", "-1"], "no number of times"),
        (["--dest", "null:", "--hosts", "0"], "no number of hosts"),
        (["--dest", "null:", "--hosts", "2", "--host-pattern", "same"], "one name"),
        (["--dest", "null:", "--states", "open"], "there is no state"),
        (["-", "--dest", "file:a", "--loop", "2"], "once only"),
        (["none.pcap", "--dest", "file:a"], "none.pcap: No such file"),
    ],
)
def test_wrong_usage_is_2_and_touches_nothing(
    small: str,
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Said before any file is emptied."""
    monkeypatch.chdir(tmp_path)
    Path("a").write_text("precious")
    content = Path(small).read_bytes()
    assert run(["send", small, *[text.replace("FILE", small) for text in arguments]]) == ExitCode.USAGE
    out, err = capfd.readouterr()
    assert out == "" and says in err and "Traceback" not in err
    assert Path("a").read_text() == "precious" and Path(small).read_bytes() == content


def test_help_is_quick_and_shows_destinations(capfd: pytest.CaptureFixture[str]) -> None:
    """Examples, the table of destinations; without NumPy."""
    code = "import sys; from xtcp_replay.cli.main import run; run(['send', '--help']); print('numpy' in sys.modules)"
    command = [REPLAY[0], "-c", code]
    out = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout
    assert "examples:" in out and "file:PATH[?format=json|csv|" in out
    assert out.endswith("False\n")


def _read_terminal(master: int, process: subprocess.Popen[bytes]) -> str:
    text = b""
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:  # EIO: the other side is closed
            break
        if not piece:
            break
        text += piece
    process.wait()
    return text.decode()


def test_progress_on_a_terminal(small: str) -> None:
    """A line that is written over, and gone at the end; none with --no-progress."""
    shown = []
    for more in ([], ["--no-progress"]):
        master, slave = os.openpty()
        command = [*REPLAY, "send", small, "--dest", "null:", "--speed", "5x", "--loop", "3", *more]
        with subprocess.Popen(command, env={**ENVIRONMENT, "TERM": "xterm"}, stderr=slave) as process:
            os.close(slave)
            shown.append(_read_terminal(master, process))
        os.close(master)
    assert re.search(r"\r\d+ rows of \d+ dumps?, [\d,]+ rows/s, \d+ s", shown[0])
    assert "\r" not in shown[1].replace("\r\n", "\n")
