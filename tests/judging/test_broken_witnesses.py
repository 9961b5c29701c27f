"""Witnesses that are not there, hang, crash, or say what no witness would: told, and the others are heard."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import require_program
from tests.judging.result import Result, of
from tests.patience import fewer, patient
from tests.zoos import LITTLE, ROWS
from xtcp.errors import ExitCode
from xtcp_replay.cli.main import run
from xtcp_replay.judging import verify as verifying
from xtcp_replay.judging.verify import PROGRAMS, Witnesses, verify
from xtcp_replay.judging.witnesses import programs
from xtcp_replay.judging.witnesses.programs import output_of
from xtcp_replay.judging.witnesses.ss import Ss
from xtcp_replay.judging.witnesses.testimony import WitnessFailed
from xtcp_replay.reading.opening import open_source

ZOO = str(LITTLE)
SOCKETS = ROWS[LITTLE]


def fake(folder: Path, script: str, name: str = "ss") -> str:
    """A program of that name, a shell script, before all others in a PATH; the path itself."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def fake_ss(folder: Path, script: str) -> str:
    """An ss that tells its version and options, and is well until it has read its first, made-up socket."""
    real = require_program("ss", "iproute2")
    return fake(
        folder,
        f"""case "$1" in -V|--help) exec {real} "$1";; esac
if [ ! -e {folder}/asked ]; then touch {folder}/asked; exec {real} "$@"; fi
{script.replace("REAL", real)}""",
    )


def test_what_is_not_installed_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Not an error, unless it was named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(["verify", ZOO]) == ExitCode.OK
    assert "tshark     not installed" in capsys.readouterr().out
    assert run(["verify", ZOO, "--witness", "reference,tshark"]) == ExitCode.CONFIGURATION
    err = capsys.readouterr().err
    assert "tshark is not installed" in err and "apt-get install tshark" in err


def test_pyroute2_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The line to install it."""
    monkeypatch.setitem(PROGRAMS, "pyroute2", lambda: None)
    assert run(["verify", ZOO, "--witness", "pyroute2"]) == ExitCode.CONFIGURATION
    assert "pip install" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("sleep 900", "did not end within 0.7 s"),
        ("sleep 900 & exec sleep 900", "did not end within 0.7 s"),
        ("echo one two three", "what is no socket: line 1"),
        ("echo oh >&2; exit 3", "ended with exit code 3: oh"),
        ("kill -SEGV $$", "was ended by SIGSEGV"),
        ("exec yes ESTAB", "writes without end"),
        ("exec head -c 2000000 /dev/urandom", "what is no socket"),
    ],
)
def test_a_broken_ss_is_reported(
    monkeypatch: pytest.MonkeyPatch, verified: Callable[..., Result], tmp_path: Path, script: str, what: str
) -> None:
    """A hang, a crash, garbage, output without end: exit code 69, soon, with what others found."""
    ss = Ss(fake_ss(tmp_path, script))
    if "0.7 s" in what:
        ss._timeout_s = 0.7
    monkeypatch.setattr(programs, "MOST_OUTPUT", 1 << 22)
    monkeypatch.setitem(PROGRAMS, "ss", lambda: ss)
    begun = time.monotonic()
    code, result, _ = verified(ZOO, "--witness", "reference,ss")
    assert time.monotonic() - begun < patient(20)
    assert code == ExitCode.UNAVAILABLE
    assert what in of(result, "ss")["failure"]
    assert of(result, "ss")["sockets"] == 0
    assert of(result, "reference")["sockets"] == SOCKETS


def test_a_broken_ss_is_not_asked_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What it said before stands; one that hangs costs its time once a file."""
    path = fake_ss(tmp_path, f"echo x >>{tmp_path}/calls; [ $(wc -l <{tmp_path}/calls) -lt 3 ] && exec REAL $@; exit 9")
    monkeypatch.setattr(verifying, "BLOCK", 20)
    monkeypatch.setitem(PROGRAMS, "ss", lambda: Ss(path))
    (account,) = verify(open_source(ZOO), Witnesses(["ss"])).accounts
    assert account.failure == "it ended with exit code 9"
    assert account.sockets == 40
    assert (tmp_path / "calls").read_text().count("x") == 3


@pytest.mark.parametrize("script", ["exit 1", "echo hello", "echo 'State Recv-Q'"])
def test_something_else_that_is_called_ss(
    monkeypatch: pytest.MonkeyPatch, verified: Callable[..., Result], tmp_path: Path, script: str
) -> None:
    """It has to read a made-up socket first."""
    fake(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path))
    code, result, _ = verified(ZOO, "--witness", "reference,ss")
    assert code == ExitCode.UNAVAILABLE
    assert of(result, "ss")["failure"]
    assert of(result, "reference")["sockets"] == SOCKETS


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        (r"s/ mss:/ mss:1/", "mss", "ours 32768, theirs 132768"),
        (r"s/ cubic / /", "cong", "ours cubic, theirs nothing"),
        (r"s/ rto:/ rta:5 rto:/", "rta", "ours nothing, theirs rta:5"),
    ],
)
def test_an_ss_that_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, verified: Callable[..., Result], tmp_path: Path, change: str, field: str, said: str
) -> None:
    """Another value, none, or a new token: disagreements by socket and field."""
    path = fake_ss(tmp_path, f"REAL $@ | sed '{change}'")
    monkeypatch.setitem(PROGRAMS, "ss", lambda: Ss(path))
    code, result, _ = verified(ZOO, "--witness", "ss", "--limit", str(fewer(SOCKETS)))
    assert code == ExitCode.FINDING
    found = of(result, "ss")["found"]
    assert (field, said) in {(f["field"], f"ours {f['ours']}, theirs {f['theirs']}") for f in found}


def test_an_ss_that_loses_sockets(
    monkeypatch: pytest.MonkeyPatch, verified: Callable[..., Result], tmp_path: Path
) -> None:
    """Those that are left find their message by cookie; the lost ones are named."""
    path = fake_ss(tmp_path, "REAL $@ | sed '3,4d'")
    monkeypatch.setitem(PROGRAMS, "ss", lambda: Ss(path))
    code, result, _ = verified(ZOO, "--witness", "ss")
    assert code == ExitCode.FINDING
    found = of(result, "ss")["found"]
    assert {(f["field"], f["ours"], f["theirs"]) for f in found} == {("socket", "there", "nothing")}
    assert len(found) == 2


@pytest.mark.parametrize("script", ["exit 2", "echo 4.0.17; sleep 60", "echo 4.0.17; echo a"])
def test_a_broken_tshark_is_reported(
    monkeypatch: pytest.MonkeyPatch, verified: Callable[..., Result], tmp_path: Path, script: str
) -> None:
    """As ss."""
    fake(tmp_path, script, "tshark")
    for tool in ("sh", "sleep"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "TIMEOUT_S", 0.3)
    code, result, _ = verified(ZOO, "--witness", "tshark")
    assert code == ExitCode.UNAVAILABLE
    assert of(result, "tshark")["failure"]


def test_output_of_a_program() -> None:
    """What it writes; a program that is not there fails."""
    assert output_of(["/bin/sh", "-c", "echo $GIVEN; echo no >&2"], more={"GIVEN": "ö"}) == "ö\n"
    with pytest.raises(WitnessFailed, match="cannot be run"):
        output_of(["/no/such/program"])
