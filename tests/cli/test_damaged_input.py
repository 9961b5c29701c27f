"""Input that is cut, damaged or something else: exit 3, what it is, how to get it right, and all that is whole."""

from __future__ import annotations

import gzip
import json
import random
import sys
from pathlib import Path

import pytest

from tests.cli.running import capture_of, three_parts, xtcp, xtcp_replay
from xtcp.cli.main import run
from xtcp.errors import ExitCode
from xtcp_replay.cli.main import run as run_replay

GARBAGE = random.Random(7).randbytes(3000)
NOT_A_DUMP = {
    "empty": (b"", "an empty file", "ss -tinaD"),
    "text": (b"State Recv-Q Send-Q\n", "a text file", "ss -tinaD"),
    "garbage": (b"\xff" + GARBAGE, "an unknown kind", "ss -tinaD"),
    "zeros": (bytes(500), "zero bytes", "ss -tinaD"),
    "gzip": (gzip.compress(bytes(100)), "gzip", "gzip -dc"),
    "a capture": (b"\xd4\xc3\xb2\xa1" + bytes(40), "a pcap capture", "xtcp-replay decode"),
    "a capture, ng": (b"\x0a\x0d\x0d\x0a" + bytes(40), "a pcapng capture", "xtcp-replay decode"),
}


def cookies(text: str) -> list[int]:
    """Of JSON lines."""
    return [json.loads(line)["idiag_cookie"] for line in text.splitlines()]


@pytest.mark.parametrize(("content", "kind", "advice"), NOT_A_DUMP.values(), ids=list(NOT_A_DUMP))
def test_not_a_dump(content: bytes, kind: str, advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message says what the file is and what to do with it."""
    path = tmp_path / "input"
    path.write_bytes(content)
    for strict in ([], ["--strict"]):
        assert run(["once", "--from", str(path), "--format", "json", *strict]) == ExitCode.DAMAGED
        out, err = capsys.readouterr()
        assert out == ""
        assert str(path) in err and kind in err and advice in err
        assert "Traceback" not in err


def test_fault_34_cut_dump(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole rows before the cut are written, the place is named, exit 3; with --strict there is no row."""
    dump.write_bytes(dump.read_bytes()[:-30])
    command = ["once", "--from", str(dump), "--format", "json"]
    assert run(command) == ExitCode.DAMAGED
    out, err = capsys.readouterr()
    assert cookies(out) == [1, 2]
    assert f"{dump}: at byte 744" in err and "cut in a message" in err
    assert run([*command, "--strict"]) == ExitCode.DAMAGED
    out, err = capsys.readouterr()
    assert out == ""
    assert "cut in a message" in err and "Leave --strict out" in err


def test_damage_inside_a_dump(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row with a broken attribute is kept up to there, counted, exit 3; with --strict there is no row."""
    content = bytearray(dump.read_bytes())
    content[16 + 72 : 16 + 74] = b"\x01\x00"
    dump.write_bytes(content)
    command = ["once", "--from", str(dump), "--format", "json"]
    assert run(command) == ExitCode.DAMAGED
    out, err = capsys.readouterr()
    assert sorted(cookies(out)) == [1, 2, 3]
    assert "warning: not all messages are whole: 1 kept up to a damaged attribute\n" in err
    assert run([*command, "--strict"]) == ExitCode.DAMAGED
    out, err = capsys.readouterr()
    assert out == ""
    assert str(dump) in err and "offset" in err and "Leave --strict out" in err


def test_a_dump_without_its_end(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without NLMSG_DONE nobody knows whether it is all: exit 3."""
    dump.write_bytes(dump.read_bytes()[:-20])
    assert run(["once", "--from", str(dump), "--format", "json"]) == ExitCode.DAMAGED
    out, err = capsys.readouterr()
    assert cookies(out) == [1, 2, 3]
    assert "without its NLMSG_DONE" in err


def test_wrong_byte_order(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The order is found without help; the wrong one given is refused, and the message names it."""
    command = ["once", "--from", str(dump), "--format", "json", "--byte-order"]
    assert run([*command, sys.byteorder]) == ExitCode.OK
    capsys.readouterr()
    wrong = {"little": "big", "big": "little"}[sys.byteorder]
    assert run([*command, wrong]) == ExitCode.DAMAGED
    out, err = capsys.readouterr()
    assert out == ""
    assert f"byte order given is {wrong}" in err


def test_strict_needs_a_file_that_can_be_read_twice(dump: Path) -> None:
    """A pipe is refused with the reason, rather than called empty at its second reading."""
    finished = xtcp("once", "--from", "-", "--strict", input=dump.read_bytes())
    three_parts(finished, ExitCode.USAGE, "--strict", "Save it to a file")
    assert finished.stdout == b""


def test_fault_39_capture_of_another_link_type(tmp_path: Path) -> None:
    """Named by its name, and how to capture the right one."""
    finished = xtcp_replay("decode", capture_of(tmp_path / "eth.pcap", link_type=1))
    three_parts(finished, ExitCode.DAMAGED, "eth.pcap", "1 (ETHERNET)", "modprobe nlmon")
    assert finished.stdout == b""


def test_fault_40_and_34_captures_that_are_not_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cut by a snaplen or by the end of the file: whole rows, exit 3, and how to do better."""
    snapped = capture_of(tmp_path / "snap.pcap", snaplen=16 + 372 + 40)
    assert run_replay(["decode", str(snapped), "--format", "json"]) == ExitCode.DAMAGED
    out, err = capsys.readouterr()
    assert cookies(out) == [1]
    assert "snaplen" in err and "tcpdump -s 0" in err
    cut = capture_of(tmp_path / "cut.pcap", cut=10)
    assert run_replay(["decode", str(cut), "--format", "json"]) == ExitCode.DAMAGED
    out, err = capsys.readouterr()
    assert cookies(out) == [1, 2]
    assert "cut" in err
    for path in (snapped, cut):
        assert run_replay(["decode", str(path), "--format", "json", "--strict"]) == ExitCode.DAMAGED
        assert capsys.readouterr().out == ""


def test_a_raw_dump_given_to_replay(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Is read as well, also compressed."""
    for content in (dump.read_bytes(), gzip.compress(dump.read_bytes())):
        dump.write_bytes(content)
        assert run_replay(["decode", str(dump), "--format", "json"]) == ExitCode.OK
        assert cookies(capsys.readouterr().out) == [1, 2, 3]
