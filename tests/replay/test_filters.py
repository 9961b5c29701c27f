"""Which rows `--dump`, `--since`, `--until`, `--states`, `--port` and `--prefix` let pass, judged by their text."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import xtcp_replay
from tests.replay.made import T0, dump, pcap, saved
from tests.zoos import ORIGINALS
from xtcp.cli.command import Parser
from xtcp.errors import ExitCode, UsageError
from xtcp_replay.cli.filters import When, add_filter_options, filters
from xtcp_replay.cli.main import run

ZOO = [str(path) for path in ORIGINALS]
Row = dict[str, Any]
NS = 1_000_000_000


@cache
def rows_of_the_zoo() -> list[Row]:
    """All of them."""
    finished = xtcp_replay("decode", *ZOO, "--format", "json")
    return [json.loads(line) for line in finished.stdout.splitlines()]


@pytest.fixture
def rows(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[Row]]:
    """The rows of `decode ARGUMENTS`; what it said stays to be read."""

    def decode(*arguments: str) -> list[Row]:
        assert run(["decode", *arguments, "--format", "json"]) == ExitCode.OK
        out, rows.said = capsys.readouterr()  # type: ignore[attr-defined]
        return [json.loads(line) for line in out.splitlines()]

    rows = decode
    return decode


def address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """As the filter sees it."""
    found = ipaddress.ip_address(text)
    return getattr(found, "ipv4_mapped", None) or found


def inside(row: Row, *nets: str) -> bool:
    """Whether a side of a row's connection is in one of `nets`."""
    sides = [address(row[name]) for name in ("idiag_src", "idiag_dst")]
    return any(side in ipaddress.ip_network(net) for side in sides for net in nets)


CASES: dict[str, tuple[list[str], Callable[[Row], bool]]] = {
    "dump": (["--dump", "2"], lambda r: r["dump"] == 2),
    "dumps": (["--dump", "2-3,9"], lambda r: r["dump"] in {2, 3}),
    "state": (["--states", "established"], lambda r: r["idiag_state"] == "ESTAB"),
    "states": (["--states", "LISTEN,time-wait"], lambda r: r["idiag_state"] in {"LISTEN", "TIME-WAIT"}),
    "syn-recv": (["--states", "syn-recv"], lambda r: r["idiag_state"] in {"SYN-RECV", "NEW-SYN-RECV"}),
    "port": (["--port", "0"], lambda r: 0 in {r["idiag_sport"], r["idiag_dport"]}),
    "ports": (
        ["--port", ":1-35000,40000-50000"],
        lambda r: any(1 <= p <= 35000 or 40000 <= p <= 50000 for p in (r["idiag_sport"], r["idiag_dport"])),
    ),
    "v4": (["--prefix", "127.0.0.1"], lambda r: inside(r, "127.0.0.1/32")),
    "v4 by mapped": (["--prefix", "::ffff:127.0.0.0/104"], lambda r: inside(r, "127.0.0.0/8")),
    "v6": (["--prefix", "::1/128"], lambda r: inside(r, "::1/128")),
    "all of v6": (["--prefix", "::/0"], lambda r: inside(r, "::/0")),
    "all of v4": (["--prefix", "0.0.0.0/0"], lambda r: inside(r, "0.0.0.0/0")),
    "odd length": (["--prefix", "96.0.0.0/3,fe80::/9"], lambda r: inside(r, "96.0.0.0/3", "fe80::/9")),
    "several": (
        ["--dump", "2,4", "--states", "connected", "--prefix", "::1"],
        lambda r: r["dump"] in {2, 4} and r["idiag_state"] not in {"LISTEN", "UNCONN"} and inside(r, "::1/128"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_rows_that_pass(rows: Any, case: str) -> None:
    """Of the sockets of real kernels, of either byte order, exactly those; the summary says how many did not."""
    options, wanted = CASES[case]
    every = rows_of_the_zoo()
    found = rows(*ZOO, *options)
    assert found == [row for row in every if wanted(row)]
    assert 0 < len(found) < len(every)
    assert f"{len(found):,} sockets of 4 dumps, {len(every) - len(found):,} filtered out" in rows.said


def test_columns_that_are_not_shown(rows: Any) -> None:
    """What a filter looks at is decoded and does not come out."""
    found = rows(
        *ZOO, "--columns", "tcpi_rtt", "--states", "established", "--port", "1-65535", "--prefix", "127.0.0.0/8"
    )
    assert found and {name for row in found for name in row} == {"tcpi_rtt"}


def test_times(rows: Any, tmp_path: Path) -> None:
    """By the request of the dump, both ends included: seconds, RFC 3339 with any offset, or from the start."""
    path = saved(tmp_path, pcap([*dump((1,)), *dump((2,)), *dump((3,))], nano=True))
    second = T0 + 3_000_000
    assert [row["timestamp_ns"] for row in rows(path)] == [T0, second, T0 + 6_000_000]
    at = f"{second // NS}.{second % NS:09}"
    for options, cookies in (
        (["--since", at], [2, 3]),
        (["--until", at], [1, 2]),
        (["--since", at, "--until", at], [2]),
        (["--since", "2023-11-14T22:13:20.126456789Z"], [2, 3]),
        (["--since", "2023-11-14T22:13:20.126456790Z"], [3]),
        (["--until", "2023-11-15T03:43:20.126456788+05:30"], [1]),
        (["--until", "2023-11-15"], [1, 2, 3]),
        (["--since", "2023-11-15"], []),
        (["--since", "+0.003"], [2, 3]),
        (["--until", "+0"], [1]),
        (["--since", "+0.0030001", "--until", "+60"], [3]),
    ):
        assert [row["idiag_cookie"] for row in rows(path, *options)] == cookies, options


def test_dumps_without_a_time(rows: Any, tmp_path: Path) -> None:
    """A raw dump has none: its rows pass neither option, and that is told."""
    path = saved(tmp_path, b"".join(dump((1, 2))[1:]), "dump.bin")
    assert rows(path, "--since", "0") == []
    assert "of those filtered out 2 have no time" in rows.said
    assert len(rows(path)) == 2


@pytest.mark.parametrize(
    "options",
    [
        ["--dump", "0"],
        ["--dump", "3-2"],
        ["--dump", ","],
        ["--port", "65536"],
        ["--port", "http"],
        ["--prefix", "10.0.0.0/33"],
        ["--prefix", "fe80::1%2"],
        ["--since", "yesterday"],
        ["--since", "2026-13-01"],
        ["--until", "2026-11-24T12:00:00.5.5Z"],
        ["--states", "estab-lished"],
    ],
)
def test_what_cannot_be_meant(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 and what can be."""
    assert run(["decode", ZOO[0], *options]) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err and options[0].removeprefix("--").rstrip("s")[:4] in err


def test_as_other_verbs_use_it() -> None:
    """Options to a function of a batch; without options it needs nothing and is not active."""
    parser = Parser()
    add_filter_options(parser)
    nothing = filters(parser.parse_args([]))
    assert (nothing.active, nothing.columns) == (False, frozenset())
    some = filters(parser.parse_args(["--port", "443", "--since", "+1.5"]))
    assert (some.active, some.columns) == (True, frozenset({"idiag_sport", "idiag_dport"}))
    assert parser.parse_args(["--since", "+1.5"]).since == When(1_500_000_000, from_start=True)
    with pytest.raises(UsageError):
        filters(parser.parse_args(["--states", "nosuch"]))
