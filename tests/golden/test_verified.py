"""Every capture that is here, through `xtcp-replay verify`: other programs, which nobody here wrote, read the same.

Our own captures always, and those that others made, with all witnesses that are installed: nothing unexplained.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT, captures_folder
from tests.replay.packed import zstandard
from tests.zoos import ORIGINALS
from xtcp.errors import DamagedInput
from xtcp_replay.judging.corpus import read_manifest
from xtcp_replay.judging.known_faults import BEYOND_LIMIT, DAMAGED, MPTCP
from xtcp_replay.judging.verify import OWN, PROGRAMS, Verdict, Witnesses, verify
from xtcp_replay.reading.opening import Told, open_source

PCAPS = ROOT / "pcaps"
SHARED = captures_folder() or ROOT / "no captures"
# Under emulation one of each byte order does: it is the other programs that take the time.
OURS = [
    pytest.param(path, marks=[] if path in ORIGINALS else pytest.mark.slow, id=str(path.relative_to(PCAPS)))
    for path in (PCAPS / row.file for row in read_manifest(PCAPS))
]
THEIRS = sorted(
    path for pattern in ("*.pcap", "*.pcapng", "*.bin", "*.jsonl.zst") for path in SHARED.glob(f"*/{pattern}")
)
# A request alone, and an end of a dump alone.
NO_SOCKETS = {"netlink_sock_diag_request_single_packet_v4.pcap", "netlink_sock_diag_response_dump_done.pcap"}
# Of each dump, for other programs: what keeps the suite quick. Without it they agree as well (docs/witnesses.md).
LIMIT = 100


@pytest.fixture(scope="module")
def witnesses() -> Witnesses:
    """All that are installed."""
    return Witnesses()


def assert_verified(verdict: Verdict, limit: int | None) -> None:
    """All sockets were compared, by all who are here, and nothing is unexplained."""
    assert [str(found) for account in verdict.accounts for found in account.found] == []
    assert verdict.disagreements == 0
    assert verdict.rows
    for account in verdict.accounts:
        assert account.failure == ""
        if account.missing:
            continue
        unasked = account.unasked.total()
        assert account.sockets + unasked == verdict.rows
        assert set(account.unasked) <= ({BEYOND_LIMIT} if limit else set()) | {DAMAGED, MPTCP}
        assert account.values >= 8 * account.sockets


def release_of(path: Path) -> str:
    """The kernel that a folder of captures is named after."""
    return "6.1.0-50-s390x" if path.parent.name.startswith("s390x") else path.parent.name.replace("_", ".")


def test_captures_are_there() -> None:
    """A folder without captures is a failure, not a success."""
    assert OURS
    assert not SHARED.is_dir() or len(THEIRS) > 25


@pytest.mark.parametrize("path", OURS)
def test_our_captures(witnesses: Witnesses, path: Path) -> None:
    """Whole, and every socket by every witness; these have one of everything, and both byte orders."""
    source = open_source(str(path))
    verdict = verify(source, witnesses)
    assert source.damage == []
    assert_verified(verdict, None)


@pytest.mark.parametrize("path", sorted(PCAPS.glob("damaged/*.damaged")), ids=lambda path: path.name)
def test_our_damaged_files(path: Path) -> None:
    """What is whole in them is read alike, by our own decoders and by pyroute2; some hold nothing that can be read."""
    if path.name.startswith("zstd"):
        zstandard()
    names = ["pyroute2"] if PROGRAMS["pyroute2"]() else []
    try:
        verdict = verify(open_source(str(path)), Witnesses([*OWN, *names]))
    except DamagedInput:
        return
    assert [str(found) for account in verdict.accounts for found in account.found] == []
    assert not verdict.failed


@pytest.mark.external
@pytest.mark.parametrize("path", THEIRS or [SHARED], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_captures_that_others_made(captures: Path, witnesses: Witnesses, path: Path) -> None:
    """All sockets by our own decoders, the first of each dump by other programs."""
    if path.suffix == ".zst":
        zstandard()
    source = open_source(str(path), Told(release=release_of(path)) if path.parent.name != "m-lab" else Told())
    verdict = verify(source, witnesses, limit=LIMIT)
    if path.name in NO_SOCKETS:
        assert verdict.rows == 0
        return
    assert (source.damage != []) == ("snap1500" in path.name)
    assert_verified(verdict, LIMIT)
    own = [account for account in verdict.accounts if account.witness in OWN]
    assert len(own) == len(OWN)
    assert all(account.sockets == verdict.rows for account in own)
