"""`xtcp once` on this host: what the options ask the kernel for, on sockets that the test opened."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Opened
from tests.cli.running import xtcp
from xtcp.cli.main import run
from xtcp.errors import ExitCode
from xtcp_replay.cli.main import run as run_replay

pytestmark = pytest.mark.live


@pytest.fixture
def rows(capfd: pytest.CaptureFixture[str]) -> Any:
    """Runs a command that gives JSON; its rows."""

    def of(arguments: list[str | Path], program: Any = run) -> list[dict[str, Any]]:
        assert program([*map(str, arguments), "--format", "json"]) == ExitCode.OK
        return [json.loads(line) for line in capfd.readouterr().out.splitlines()]

    return of


def cookies(found: list[dict[str, Any]]) -> set[int]:
    """Of rows."""
    assert len({row["idiag_cookie"] for row in found}) == len(found)
    return {row["idiag_cookie"] for row in found}


def test_families(opened: Opened, rows: Any) -> None:
    """Both by default and with both options, one with one; the one-pass request and the newer give the same sockets."""
    for options, wanted, others in (
        ([], opened.every, frozenset()),
        (["-4", "-6"], opened.every, frozenset()),
        (["-4"], opened.ipv4, opened.ipv6),
        (["-6"], opened.ipv6, opened.ipv4),
    ):
        found = cookies(rows(["once", "-q", *options]))
        assert wanted <= found
        assert not others & found


def test_states(opened: Opened, rows: Any) -> None:
    """Only rows of the states asked for, by ss's names."""
    listening = rows(["once", "-q", "--states", "listening"])
    assert {row["idiag_state"] for row in listening} == {"LISTEN"}
    assert {opened.listen4, opened.listen6} <= cookies(listening)
    established = rows(["once", "-q", "--states", "established"])
    assert {row["idiag_state"] for row in established} == {"ESTAB"}
    assert opened.established4 | opened.established6 <= cookies(established)


def test_attributes(opened: Opened, rows: Any) -> None:
    """Only the columns of the attributes named, beside those of every message."""
    for row in rows(["once", "-q", "-4", "--states", "established", "--attributes", "cong"]):
        assert "cong" in row and "idiag_src" in row
        assert not {"tcpi_rtt", "skmem_drops", "tos"} & set(row)
    (row,) = (r for r in rows(["once", "-q", "-4"]) if r["idiag_cookie"] == opened.listen4)
    assert {"cong", "tcpi_rtt", "skmem_drops", "tos"} <= set(row)


def test_trailer_adds_up(opened: Opened, rows: Any, tmp_path: Path) -> None:
    """messages = rows + quarantined + control, and the rows written are rows − duplicates."""
    path = tmp_path / "trailer.json"
    written = rows(["once", "-q", "--trailer", path])
    trailer = json.loads(path.read_text())
    assert trailer["messages"] == trailer["rows"] + trailer["quarantined"] + trailer["control"]
    assert trailer["rows"] - trailer["duplicates"] == len(written)
    assert trailer["flags"] == []
    assert trailer["byte_order"] == sys.byteorder
    assert {row["poll_id"] for row in written} == {trailer["poll_id"]}
    assert trailer["wall_start_ns"] <= min(row["timestamp_ns"] for row in written) <= trailer["wall_end_ns"]


@pytest.mark.parametrize("suffix", ["pcap", "pcapng"])
def test_record_and_read_again(opened: Opened, rows: Any, tmp_path: Path, suffix: str) -> None:
    """A capture holds the rows of the poll that wrote it, for xtcp-replay and, its frames taken off, for --from."""
    capture = tmp_path / f"host.{suffix}"
    live = rows(["once", "-q", "--record", capture])
    again = rows(["decode", capture, "-q", "--kernel-release", os.uname().release], run_replay)
    constant = {"timestamp_ns", "hostname", "netns", "poll_id", "dump"}

    def bare(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{name: value for name, value in row.items() if name not in constant} for row in found]

    assert opened.every <= cookies(live)
    assert bare(again) == bare(live)
    assert {row["dump"] for row in again} == {1, 2}
    if suffix == "pcapng":
        assert {(row["hostname"], row["netns"]) for row in again} == {(row["hostname"], row["netns"]) for row in live}
        return
    stripped = tmp_path / "host.bin"
    stripped.write_bytes(messages_of(capture.read_bytes()))
    raw = rows(["once", "-q", "--from", stripped, "--kernel-release", os.uname().release])
    assert bare(raw) == bare(live)


def messages_of(pcap: bytes) -> bytes:
    """The replies in a pcap of this host: frames, cooked headers and requests taken off."""
    at, found = 24, b""
    while at < len(pcap):
        length = int.from_bytes(pcap[at + 8 : at + 12], sys.byteorder)
        datagram = pcap[at + 16 + 16 : at + 16 + length]
        flags = int.from_bytes(datagram[6:8], sys.byteorder)
        found += b"" if flags & 1 else datagram
        at += 16 + length
    return found


def test_from_standard_input(dump: Path) -> None:
    """`--from -` reads what a pipe brings."""
    finished = xtcp("once", "--from", "-", "--format", "json", input=dump.read_bytes())
    assert finished.returncode == ExitCode.OK
    assert [json.loads(line)["idiag_cookie"] for line in finished.stdout.splitlines()] == [1, 2, 3]
