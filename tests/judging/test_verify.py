"""The command `xtcp-replay verify` finds faults of the decoder, and tells what could not be compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import ROOT, require_program
from tests.judging.result import Result, of
from tests.patience import SLOWNESS, fewer
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
from xtcp_replay.judging.verify import Witnesses, verify
from xtcp_replay.reading.opening import open_source

ZOO = str(LITTLE)
SOCKETS = ROWS[LITTLE]
ZOO_BIG = str(BIG)
# Of each dump, for other programs.
MOST = fewer(60)


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
