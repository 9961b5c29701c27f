"""This project's own captures: whole, as the manifest says, and equal to what ss made of the very same bytes."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.golden.test_shared_captures import unexplained
from tests.rows import rows_by_dump
from xtcp_replay.reading.capture_file import CaptureFile

PCAPS = ROOT / "pcaps"
CAPTURES: list[dict[str, Any]] = tomllib.loads((PCAPS / "manifest.toml").read_text())["capture"]
# What iproute2 6.1, which wrote the texts, does not print.
NOT_IN_SS_6_1 = ("rcv_wnd:", "rehash:")

pytestmark = pytest.mark.parametrize("row", CAPTURES, ids=[row["file"] for row in CAPTURES])


def test_every_value_of_ss(row: dict[str, Any]) -> None:
    """Each row of each dump has every value that ss printed of its bytes, and ss knows no socket that we do not."""
    capture = PCAPS / row["file"]
    source = CaptureFile(str(capture))
    dumps = rows_by_dump(source.chunks())
    assert source.damage == []
    assert len(dumps) == 2
    assert sum(map(len, dumps)) == row["rows"]
    for dump, family in zip(dumps, ("v4", "v6"), strict=True):
        said = (capture.parent / f"ss-{family}.txt").read_text()
        assert unexplained(said, dump, row["byte_order"], NOT_IN_SS_6_1) == []


def test_shows_what_it_should(row: dict[str, Any]) -> None:
    """States, families and congestion controls that every kernel has are there; the context comes from the file."""
    rows = [r for dump in rows_by_dump(CaptureFile(str(PCAPS / row["file"])).chunks()) for r in dump]
    states = {r["idiag_state"] for r in rows}
    assert {"ESTAB", "LISTEN", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT"} <= states
    assert {"CLOSE-WAIT", "LAST-ACK", "CLOSING"} <= states
    assert {"cubic", "bbr", "reno"} <= {r.get("cong") for r in rows}
    assert any(r["idiag_src"].startswith("::ffff:") for r in rows)
    assert any(r["idiag_src"].startswith("fe80:") and r["idiag_if"] for r in rows)
    for column in ("mark", "tclass", "md5sig", "cgroup_id", "ulp_mptcp_token_loc", "bbr_bw", "skv6only"):
        assert any(r.get(column) for r in rows), column
    assert any(r["idiag_rqueue"] for r in rows)
    assert any(r["idiag_wqueue"] for r in rows)
    assert all(r["timestamp_ns"] > 1_700_000_000_000_000_000 for r in rows)
    assert not any("unknown_attributes" in r or "tcp_info_surplus" in r or "damaged" in r for r in rows)
    if row["kernel"].startswith(("6.18", "6.19", "7.")):
        assert any("tcpi_accecn_opt_seen" in r for r in rows)


def test_is_the_file_of_the_manifest(row: dict[str, Any]) -> None:
    """The hash is that of the row, and its witnesses stand beside it."""
    capture = PCAPS / row["file"]
    assert hashlib.sha256(capture.read_bytes()).hexdigest() == row["sha256"]
    assert row["kernel"] in (capture.parent / "uname").read_text()


def test_no_capture_is_forgotten(row: dict[str, Any]) -> None:
    """Every capture in the folder has a row."""
    files = {str(path.relative_to(PCAPS)) for path in PCAPS.rglob("*.pcap*")}
    assert files == {r["file"] for r in CAPTURES}
    assert Path(row["file"]).suffix in {".pcap", ".pcapng"}
