"""The command `xtcp-replay verify` finds faults of the decoder, and tells of witnesses that are broken or missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import ROOT, require_program
from tests.patience import SLOWNESS, fewer, patient
from tests.replay.made import done, dump, pcap, request, row, saved
from tests.zoos import BIG, LITTLE, ROWS
from xtcp.chunk import NATIVE, Chunk
from xtcp.decode.assembly import Assembly
from xtcp.decode.decoder import Decoder
from xtcp.decode.reference import decode as decode_plainly
from xtcp.errors import ExitCode
from xtcp_replay.cli.main import run
from xtcp_replay.judging import account as accounts
from xtcp_replay.judging import verify as verifying
from xtcp_replay.judging.verify import PROGRAMS, Witnesses, verify
from xtcp_replay.judging.witnesses import programs
from xtcp_replay.judging.witnesses.programs import output_of
from xtcp_replay.judging.witnesses.ss import Ss
from xtcp_replay.judging.witnesses.testimony import Witness, WitnessFailed
from xtcp_replay.reading.opening import open_source

ZOO = str(LITTLE)
SOCKETS = ROWS[LITTLE]
ZOO_BIG = str(BIG)
# Of each dump, for other programs.
MOST = fewer(60)

FIND = dict(PROGRAMS)

Result = tuple[int, dict[str, Any], str]


@pytest.fixture
def verified(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs the command with --json; returns exit code, the object, and standard error."""

    def runs(*arguments: str) -> Result:
        code = run(["verify", *arguments, "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else {}, err

    return runs


@cache
def found(name: str) -> Witness | None:
    """One of the other programs, found once."""
    return FIND[name]()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without looking again what the programs are."""
    for name in PROGRAMS:
        monkeypatch.setitem(PROGRAMS, name, partial(found, name))


def of(result: dict[str, Any], name: str) -> dict[str, Any]:
    """A witness' part of the result."""
    return next(witness for witness in result["witnesses"] if witness["witness"] == name)


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


# --- what is right and what is wrong ---


def test_all_agree(quick: None, verified: Callable[..., Result]) -> None:
    """Every witness that is here compared every socket; values are those of all together."""
    limited = () if SLOWNESS == 1 else ("--limit", str(MOST))
    code, result, err = verified(ZOO, *limited)
    assert code == ExitCode.OK
    assert (result["sockets"], result["dumps"], result["disagreements"]) == (SOCKETS, 2, 0)
    here = [witness for witness in result["witnesses"] if witness["installed"]]
    assert all(witness["sockets"] + sum(witness["unasked"].values()) == SOCKETS for witness in here)
    assert all(not witness["failure"] and (limited or not witness["unasked"]) for witness in here)
    assert result["values"] == sum(witness["values"] for witness in here) > 60_000
    assert err == ""


def wrong(monkeypatch: pytest.MonkeyPatch, column: str) -> None:
    """The vectorised decoder, in all its ways, reads one too many in `column`."""
    right = Assembly.finish

    def finish(self: Assembly) -> Any:
        columns, valid = right(self)
        if column in columns:
            values: NDArray[Any] = columns[column]
            values[valid.get(column, slice(None))] += 1
        return columns, valid

    monkeypatch.setattr(Assembly, "finish", finish)


@pytest.mark.parametrize(
    ("column", "seen_by"),
    [
        ("idiag_inode", {"reference", "ss", "pyroute2", "tshark"}),
        pytest.param("tcpi_rtt", {"reference", "ss", "pyroute2"}, marks=pytest.mark.slow),
        pytest.param("skmem_rcvbuf", {"reference", "ss", "tshark"}, marks=pytest.mark.slow),
        pytest.param("tcpi_fastopen_client_fail", {"reference"}, marks=pytest.mark.slow),
        # pyroute2 reads the low half of the byte, which is the other one on a big-endian host.
        ("tcpi_snd_wscale", {"reference", "ss", *(["pyroute2"] if NATIVE == "<" else [])}),
    ],
)
@pytest.mark.parametrize("capture", [ZOO, ZOO_BIG], ids=["little", "big"])
def test_a_wrong_decoder_is_found(
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
    verified: Callable[..., Result],
    capture: str,
    column: str,
    seen_by: set[str],
) -> None:
    """One column read wrong: each witness that reads it says so, by socket and field, and no other does."""
    wrong(monkeypatch, column)
    # Those with a window scale stand behind the ones that listen.
    code, result, _ = verified(capture, "--limit", "60" if "wscale" in column else str(MOST))
    assert code == ExitCode.FINDING
    here = {witness["witness"] for witness in result["witnesses"] if witness["installed"]}
    finding = {witness["witness"] for witness in result["witnesses"] if witness["disagreements"]}
    assert finding == seen_by & here
    found = of(result, "reference")["found"][0]
    assert found["field"] == column
    assert int(found["ours"]) == int(found["theirs"]) + 1
    assert found["dump"] == 1 and f"cookie {found['cookie']}" in found["socket"]


BITS_CHANGE_PLACES = """
field = next(f for f in TCP_INFO.fields if f.name == "_wscale")
object.__setattr__(field, "bits", field.bits[::-1])
"""
MEMBERS_CHANGE_PLACES = """
fields = {f.name: f for f in SK_MEMINFO.fields}
fields["skmem_rcvbuf"], fields["skmem_sndbuf"] = fields["skmem_sndbuf"], fields["skmem_rcvbuf"]
object.__setattr__(SK_MEMINFO, "fields", tuple(fields.values()))
"""


@pytest.mark.parametrize(
    ("change", "capture", "seen_by"),
    [
        pytest.param(BITS_CHANGE_PLACES, ZOO_BIG, {"ss", "pyroute2"}, id="bits"),
        pytest.param(MEMBERS_CHANGE_PLACES, ZOO, {"ss", "tshark"}, id="members", marks=pytest.mark.slow),
    ],
)
def test_a_fault_that_our_decoders_share_is_found(change: str, capture: str, seen_by: set[str]) -> None:
    """The reference decoder reads the same wrong table; programs that nobody here wrote do not."""
    program = f"""
import sys
from xtcp.schema.inet_diag import SK_MEMINFO
from xtcp.schema.tcp_info import TCP_INFO
{change}
from xtcp_replay.cli.main import run
sys.exit(run(["verify", {capture!r}, "--json", "--limit", "50"]))
"""
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'agent'}:{ROOT / 'replay'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    result = json.loads(finished.stdout)
    here = {witness["witness"] for witness in result["witnesses"] if witness["installed"]}
    finding = {witness["witness"] for witness in result["witnesses"] if witness["disagreements"]}
    assert finding == seen_by & here
    assert finished.returncode == (ExitCode.FINDING if finding else ExitCode.OK)


def test_a_fault_of_one_way_through_the_decoder_is_found(
    monkeypatch: pytest.MonkeyPatch, verified: Callable[..., Result]
) -> None:
    """Templates, lockstep and the second pass are compared with each other, and the tally too."""
    decode = Decoder.decode
    calls = 0

    def second_is_wrong(self: Any, chunk: Any) -> Any:
        nonlocal calls
        batch = decode(self, chunk)
        if self._use_templates:
            calls += 1
            if calls % 2 == 0:
                batch.columns["idiag_uid"][0] += 1
                batch.tally.repeated += 7
        return batch

    monkeypatch.setattr(Decoder, "decode", second_is_wrong)
    code, result, _ = verified(ZOO, "--witness", "reference,lockstep,templates")
    assert code == ExitCode.FINDING
    assert [witness["witness"] for witness in result["witnesses"]] == ["reference", "lockstep", "templates"]
    assert [witness["disagreements"] for witness in result["witnesses"]] == [0, 0, 4]
    assert {found["field"] for found in of(result, "templates")["found"]} == {"tally.repeated", "idiag_uid"}


def test_rows_that_only_one_decoder_has(monkeypatch: pytest.MonkeyPatch, verified: Callable[..., Result]) -> None:
    """A row too few is a disagreement of the field row."""

    def one_less(chunk: Chunk) -> Any:
        rows, tally = decode_plainly(chunk)
        return rows[:-1], tally

    monkeypatch.setattr(verifying, "decode_plainly", one_less)
    code, result, _ = verified(ZOO, "--witness", "reference")
    assert code == ExitCode.FINDING
    found = of(result, "reference")["found"]
    assert [(f["field"], f["ours"], f["theirs"]) for f in found] == [("row", "there", "nothing")] * 2


def test_text_lists_disagreements(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A table of the witnesses, then each disagreement by socket and field; the first twenty unless --all is given."""
    wrong(monkeypatch, "idiag_uid")
    arguments = ["verify", ZOO, "--witness", "reference"]
    assert run(arguments) == ExitCode.FINDING
    out = capsys.readouterr().out
    assert f"zoo.pcapng: {SOCKETS} sockets of 2 dumps, " in out and f", {SOCKETS} disagreements" in out
    assert "reference: dump 1, " in out and ": idiag_uid: ours 1, theirs 0" in out
    assert f"{SOCKETS - 20} more disagreements; --all lists them" in out
    assert run([*arguments, "--all"]) == ExitCode.FINDING
    assert capsys.readouterr().out.count("idiag_uid: ours") == SOCKETS


def test_disagreements_without_end_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept is bounded, what is counted is not."""
    monkeypatch.setattr(accounts, "KEPT", 5)
    wrong(monkeypatch, "idiag_uid")
    verdict = verify(open_source(ZOO), Witnesses(["reference"]))
    assert (verdict.disagreements, len(verdict.accounts[0].found)) == (SOCKETS, 5)


def test_blocks_and_limits(quick: None, monkeypatch: pytest.MonkeyPatch, verified: Callable[..., Result]) -> None:
    """Asked block by block, or of the first sockets of each dump alone, the answers are the same."""
    require_program("ss", "iproute2")
    whole = of(verified(ZOO, "--witness", "ss")[1], "ss")
    monkeypatch.setattr(verifying, "BLOCK", SOCKETS // fewer(31))
    pieces = of(verified(ZOO, "--witness", "ss")[1], "ss")
    assert pieces == whole
    code, result, _ = verified(ZOO, "--witness", "ss,reference", "--limit", "9")
    assert code == ExitCode.OK
    assert of(result, "ss")["sockets"] == 18
    assert of(result, "ss")["unasked"] == {"beyond --limit": SOCKETS - 18}
    assert of(result, "reference")["sockets"] == SOCKETS


def test_the_other_byte_order_goes_through_its_twin(capsys: pytest.CaptureFixture[str]) -> None:
    """ss reads its host's order only; that it was given twins is said."""
    require_program("ss", "iproute2")
    other = ZOO_BIG if np.little_endian else ZOO
    assert run(["verify", other, "--witness", "ss"]) == ExitCode.OK
    assert "sockets through their twins" in capsys.readouterr().out


def test_known_faults_are_counted_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """With their number, name and reason; they are no disagreement."""
    require_program("ss", "iproute2")
    assert run(["verify", ZOO, "--witness", "ss"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "× ss-timer-fraction: 6146 ms are printed as `6.146ms`" in out


# --- witnesses that are not there, or broken ---


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


# --- what cannot be compared ---


@pytest.mark.parametrize("datagrams", [[request()], [request(), done()]])
def test_no_socket_is_no_pass(
    quick: None, verified: Callable[..., Result], tmp_path: Path, datagrams: list[bytes]
) -> None:
    """Nothing compared is said, with exit code 3."""
    code, result, err = verified(saved(tmp_path, pcap(datagrams)))
    assert code == ExitCode.DAMAGED
    assert result["sockets"] == 0
    assert "nothing was compared" in err


def test_no_socket_that_a_witness_can_be_asked_about(verified: Callable[..., Result], tmp_path: Path) -> None:
    """Nor is it a pass where no witness could be asked."""
    require_program("ss", "iproute2")
    path = saved(tmp_path, pcap([request(), row(7, family=0), done()]))
    code, result, err = verified(path, "--witness", "ss")
    assert code == ExitCode.DAMAGED
    assert of(result, "ss")["unasked"] == {"neither IPv4 nor IPv6": 1}
    assert "no witness could be asked" in err


def test_damage_is_said_and_the_rest_compared(verified: Callable[..., Result], tmp_path: Path) -> None:
    """What is whole is compared; --strict shows nothing of such a file."""
    whole = pcap(dump((1, 2, 3)))
    code, result, err = verified(path := saved(tmp_path, whole[:-10]), "--witness", "reference")
    assert code == ExitCode.DAMAGED
    assert (result["sockets"], result["disagreements"]) == (3, 0)
    assert err.startswith("warning:")
    code, result, _ = verified(path, "--witness", "reference", "--strict")
    assert (code, result) == (ExitCode.DAMAGED, {})


def test_one_bad_file_of_several(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The others have their turn; a finding outweighs damage."""
    bad = saved(tmp_path, b"no capture", "bad.pcap")
    assert run(["verify", bad, ZOO, "--witness", "reference"]) == ExitCode.DAMAGED
    out, err = capsys.readouterr()
    assert f"{SOCKETS} sockets of 2 dumps" in out
    assert f"2 files: {SOCKETS} sockets" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--witness", "sss"], "there is no witness 'sss'. Did you mean ss"),
        (["--witness", ""], "there is no witness ''"),
        (["--limit", "0"], "'0' is no number of sockets"),
        (["--limit", "many"], "'many' is no number of sockets"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], options: list[str], said: str) -> None:
    """Names that do not exist, numbers that are none."""
    assert run(["verify", ZOO, *options]) == ExitCode.USAGE
    assert said in capsys.readouterr().err
