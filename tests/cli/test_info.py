"""`xtcp-replay info` counts what is there, for people and for programs, of whole files and of damaged ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Finished, here, xtcp_replay
from tests.replay.made import cooked, done, dump, pcap, pcap_header, record, request, row, saved
from tests.rows import rows_by_dump
from tests.zoos import ORIGINALS
from xtcp.errors import ExitCode
from xtcp_replay.cli.main import run
from xtcp_replay.judging.inventory import MAX_VALUES, OTHER, Inventory, _count, take_inventory
from xtcp_replay.reading.opening import open_source

CAPTURES = ORIGINALS
Info = Callable[..., Finished]


@pytest.fixture
def ask(capsysbinary: pytest.CaptureFixture[bytes]) -> Info:
    """`xtcp-replay info ARGUMENTS`."""
    return partial(here, run, capsysbinary, "info")


def said(ask: Info, path: str | Path) -> Any:
    """What `info --json` says of one file."""
    finished = ask("--json", path)
    assert finished.returncode in {0, ExitCode.DAMAGED}, finished.stderr
    return json.loads(finished.stdout)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.parent.name)
def test_counts_are_those_of_the_rows(ask: Info, path: Path) -> None:
    """Counted again from the rows that decode gives, one by one."""
    dumps = rows_by_dump(open_source(str(path)).chunks())
    rows = [r for rows in dumps for r in rows]
    info = said(ask, path)
    assert info["sockets"] == len(rows)
    assert info["dumps"] == len(dumps) == 2
    assert [d["sockets"] for d in info["dumps_described"]] == [len(rows) for rows in dumps]
    assert info["states"] == Counter(r["idiag_state"] for r in rows)
    assert info["families"] == Counter("inet" if r["idiag_family"] == 2 else "inet6" for r in rows)
    assert info["congestion_controls"] == Counter(r["cong"] for r in rows if "cong" in r)
    lengths = Counter(str(r["tcp_info_len"]) for r in rows if "tcp_info_len" in r)
    assert info["tcp_info_lengths"] == lengths
    numbers = Counter(str(n) for r in rows for n in range(64) if r["attributes"] >> n & 1)
    assert info["attributes"] == numbers
    assert info["messages"] == len(rows) + sum(info["control"].values())
    assert (info["damage"], info["quarantined"], info["damaged"]) == ([], 0, 0)
    assert all(d["complete"] and d["asked"] for d in info["dumps_described"])
    assert path.parent.name.startswith(*info["kernel_releases"])


def test_noise_and_missing_ends_are_told(ask: Info, tmp_path: Path) -> None:
    """Other families, a dump without its request, one without its end, one that nobody answered."""
    packets = [cooked(b"noise...", 0), cooked(b"noise...", 16)]
    packets += [
        cooked(row(1, seq=7) + done(seq=7)),
        cooked(request(seq=8)),
        cooked(row(2, seq=8)),
        cooked(request(seq=9)),
    ]
    path = saved(tmp_path, pcap_header() + b"".join(record(p) for p in packets))
    info = said(ask, path)
    assert info["netlink_families"] == {"sock_diag": 4, "route": 1, "generic": 1}
    facts = [(d["request_seen"], d["done_seen"], d["complete"], d["sockets"]) for d in info["dumps_described"]]
    assert facts == [(False, True, False, 1), (True, False, False, 1), (True, False, False, 0)]
    text = ask(path).stdout.decode()
    assert "3 incomplete" in text
    assert "request not seen" in text and "no NLMSG_DONE" in text
    assert "sock_diag 4, route 1, generic 1; 2 requests" in text


def test_damage_is_told(ask: Info, tmp_path: Path) -> None:
    """Exit code 3, where and what; nothing on standard output with --strict."""
    whole = pcap(dump([1, 2, 3]))
    path = saved(tmp_path, whole[:-10])
    finished = ask(path)
    assert finished.returncode == ExitCode.DAMAGED
    assert b"damage     the file is cut" in finished.stdout
    assert said(ask, path)["damage"]
    strict = ask(path, "--strict")
    assert (strict.returncode, strict.stdout) == (ExitCode.DAMAGED, b"")
    assert b"is damaged" in strict.stderr


def test_several_files_and_standard_input(ask: Info, tmp_path: Path) -> None:
    """A file that is none does not hide the others; the exit code is the worst."""
    good = saved(tmp_path, pcap(dump([1])), "good.pcap")
    text = saved(tmp_path, b"no capture", "bad.pcap")
    finished = ask("--json", good, text, good)
    assert finished.returncode == ExitCode.DAMAGED
    assert [json.loads(line)["sockets"] for line in finished.stdout.splitlines()] == [1, 1]
    assert b"bad.pcap is a text file" in finished.stderr
    with Path(good).open("rb") as file:
        assert b"standard input\n  format     pcap" in xtcp_replay("info", "-", stdin=file).stdout


def test_a_hostile_file_cannot_make_lists_grow() -> None:
    """Names that never end are counted together from some number on."""
    inventory = Inventory()
    for number in range(MAX_VALUES + 100):
        _count(inventory.congestion, str(number), 1)
    assert len(inventory.congestion) == MAX_VALUES + 1
    assert inventory.congestion[OTHER] == 100


def test_an_empty_capture(ask: Info, tmp_path: Path) -> None:
    """Nothing but its header: no sockets, no dumps, and no failure."""
    path = saved(tmp_path, pcap_header())
    inventory = take_inventory(open_source(path))
    assert inventory.rows == 0
    finished = ask(path)
    assert finished.returncode == 0
    assert b"sockets    0" in finished.stdout
