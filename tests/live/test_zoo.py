"""This kernel's sockets, one of everything: what a poll says against what was set, against ss, and against itself."""

from __future__ import annotations

import json
import math
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import as_nobody
from tests.conftest import ROOT, require_root, ss_of
from tests.golden.test_shared_captures import unexplained
from tests.patience import patient
from tests.rows import Row, decoded, rows_of
from tests.sockets import netns
from tests.sockets.zoo import open_zoo
from tests.sockets.zoo_keeping import Expected, Zoo
from xtcp.schema.columns import columns_needing
from xtcp.schema.layout import kernel_release
from xtcp.sources.dump_file import DumpFile
from xtcp_replay.reading.opening import open_source

pytestmark = [pytest.mark.live, pytest.mark.root]

# What iproute2 6.1 does not print, of what kernels send; later releases do, and then it is compared.
NOT_IN_SS_6_1 = ("rcv_wnd:", "rehash:", "no_pad_rx")
# Only a kernel may be the reason that something is missing in the zoo of a namespace of our own.
KERNEL_LACKS = (
    r"not in tcp_available_congestion_control",
    r"the kernel does not take net\.ipv4\.tcp_ecn=3",
    r"dumped by kernel 6\.8 and later only",
    r"this kernel (has no|does not know)",
    r"shown of a connection that an interface encrypts",
    r"no cgroup2 mount shows",
)
STATES = {
    "ESTAB", "LISTEN", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSE-WAIT", "LAST-ACK",
    "CLOSING",
}  # fmt: skip
WITHOUT_CAPABILITY = set(columns_needing("CAP_NET_ADMIN", kernel_release(os.uname().release)))


def xtcp(ns: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the command in the namespace."""
    command: list[str | Path] = [sys.executable, "-m", "xtcp", *arguments]
    environment = {"PYTHONPATH": f"{ROOT}/agent:{ROOT}/replay", "PATH": "/usr/sbin:/usr/bin:/bin"}
    return netns.run_in(ns, command, env=environment)


def once(ns: str, *arguments: str | Path) -> list[Row]:
    """The rows of `xtcp once --format json`."""
    done = xtcp(ns, "once", "--format", "json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


Told = tuple[str, list[Expected], dict[str, str]]
"""The name of a namespace with the zoo open in another process, what is expected there, what is missing and why."""


class Zoos:
    """One zoo after the other: TIME-WAIT lasts a minute, and in that a guest may be done with a few tests only."""

    YOUNG_S = 25.0

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._opened_at = 0.0
        self._told: Told | None = None

    def current(self, youngest_s: float = math.inf) -> Told:
        """The one that is open, if it is not older than that."""
        if self._told is None or time.monotonic() - self._opened_at > youngest_s:
            self.close()
            ns = self._stack.enter_context(netns.namespace("zoo"))
            kept = netns.keep(ns, partial(open_zoo, True), Zoo.told, timeout=patient(60))
            self._told = (ns, *self._stack.enter_context(kept))
            self._opened_at = time.monotonic()
        return self._told

    def close(self) -> None:
        """Ends the one that is open."""
        self._stack.close()


@pytest.fixture(scope="module")
def zoos() -> Iterator[Zoos]:
    """For all tests here."""
    require_root()
    made = Zoos()
    yield made
    made.close()


@pytest.fixture
def young_zoo(zoos: Zoos) -> Told:
    """One in which every state is still there."""
    return zoos.current(Zoos.YOUNG_S)


@pytest.fixture
def zoo(zoos: Zoos) -> Told:
    """One of any age."""
    return zoos.current()


def mistakes(wanted: Expected, row: Row, hidden: set[str]) -> list[str]:
    """What `row` says otherwise than what was set."""
    found = []
    exact: dict[str, Any] = {"idiag_state": wanted.state, "idiag_family": wanted.family, **wanted.equals}
    if wanted.cookie is not None:
        exact["idiag_cookie"] = wanted.cookie
    if wanted.inode is not None:
        exact["idiag_inode"] = wanted.inode
    if wanted.uid is not None:
        exact["idiag_uid"] = wanted.uid
    found += [f"{n}: {row.get(n)} is not {v}" for n, v in exact.items() if n not in hidden and row.get(n) != v]
    found += [f"{n}: {row.get(n)} < {v}" for n, v in wanted.at_least.items() if not row.get(n, -1) >= v]
    found += [f"{n}: {row.get(n)} lacks {v}" for n, v in wanted.bits.items() if row.get(n, 0) & v != v]
    found += [f"{n} is absent" for n in wanted.present if n not in hidden and n not in row]
    return [f"{wanted.shows}: {text}" for text in found]


def find(wanted: Expected, rows: list[Row]) -> Row | None:
    """The row of an expected socket, by both ends and state."""
    for row in rows:
        ends = ((row["idiag_src"], row["idiag_sport"]), (row["idiag_dst"], row["idiag_dport"]))
        same = ends == (wanted.local, wanted.peer) and row["idiag_state"] in {wanted.state, "BOUND-INACTIVE"}
        if same and wanted.cookie in {None, row["idiag_cookie"]}:
            return row
    return None


def judge(expected: list[Expected], rows: list[Row], hidden: set[str]) -> list[str]:
    """All mistakes of all expected TCP rows."""
    found: list[str] = []
    for wanted in expected:
        if wanted.protocol != 6:
            continue
        row = find(wanted, rows)
        if row is None:
            found.append(f"{wanted.shows}: no row for {wanted.local} {wanted.peer} {wanted.state}")
        elif not wanted.bound_inactive:
            found += mistakes(wanted, row, hidden)
    return found


@pytest.mark.parametrize("form", ["one pass", "two dumps"])
def test_everything_a_socket_can_be(young_zoo: Told, form: str, tmp_path: Path) -> None:
    """Every socket of the zoo has a row with the values that were set, by either request."""
    ns, expected, _ = young_zoo
    rows = once(ns) if form == "one pass" else once(ns, "--record", tmp_path / "x.pcap")
    assert judge(expected, rows, set()) == []
    assert len({row["idiag_cookie"] for row in rows}) == len(rows)


def test_nothing_is_missing_but_what_the_kernel_lacks(zoo: Told) -> None:
    """A guest's kernel has nearly all, and a fault of ours is no reason."""
    _, _, missing = zoo
    allowed = re.compile("|".join(KERNEL_LACKS))
    assert {what: why for what, why in missing.items() if not allowed.search(why)} == {}


def test_all_states_and_congestion_controls(young_zoo: Told) -> None:
    """Ten states, and every congestion control that this kernel names, in both families."""
    ns, _, missing = young_zoo
    rows = once(ns)
    controls = netns.run_in(ns, ["cat", "/proc/sys/net/ipv4/tcp_available_congestion_control"]).stdout.split()
    for family in (socket.AF_INET, socket.AF_INET6):
        seen = [row for row in rows if row["idiag_family"] == family]
        assert {row["idiag_state"] for row in seen} >= STATES
        assert {row["cong"] for row in seen if "cong" in row} == set(controls)
        assert any(row.get("mark") for row in seen)
        assert any(row.get("ulp_mptcp_token_loc") for row in seen)
        assert any(row.get("ulp_tls_version") == 0x0304 for row in seen) or "tls v4" in missing
    if (kernel_release(os.uname().release) or (0, 0)) >= (7, 0):
        assert max(row.get("tcpi_accecn_opt_seen", 0) for row in rows) == 3
        assert max(row.get("tcpi_received_ce_bytes", 0) for row in rows) > 1000


def test_nobody_sees_all_but_marks_and_keys(young_zoo: Told) -> None:
    """Without any privilege everything comes but mark and md5sig, and standard error says so."""
    ns, expected, _ = young_zoo
    done = netns.inside(ns, as_nobody, "once", "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert judge(expected, rows, WITHOUT_CAPABILITY) == []
    assert not any(row.keys() & WITHOUT_CAPABILITY for row in rows)
    assert b"CAP_NET_ADMIN" in done.stderr


def test_ss_says_the_same_of_the_same_bytes(zoo: Told, tmp_path: Path) -> None:
    """A recording, its messages given to ss: every value that ss shows is the row's."""
    ns, _, _ = zoo
    capture = tmp_path / "zoo.pcapng"
    written = once(ns, "--record", capture)
    source = open_source(str(capture))
    replayed: list[Row] = []
    texts: list[str] = []
    for number, chunk in enumerate(source.chunks()):
        raw = tmp_path / f"{number}.bin"
        raw.write_bytes(b"".join(chunk.data[s:e].tobytes() for s, e in zip(chunk.starts, chunk.ends, strict=True)))
        said = ss_of(raw, "-tinmaeO", "--tos", "--inet-sockopt")
        rows = rows_of(decoded([chunk]))
        assert unexplained(said, rows, sys.byteorder, NOT_IN_SS_6_1) == []
        texts.append(said)
        replayed += rows
        by_file = rows_of(decoded(DumpFile(str(raw), release=chunk.context.release).chunks()))
        assert [without_context(row) for row in by_file] == [without_context(row) for row in rows]
    assert len(texts) == 2
    assert [without_context(row) for row in replayed] == [without_context(row) for row in written]


def without_context(row: Row) -> Row:
    """The row without what the source adds."""
    return {k: v for k, v in row.items() if k not in {"timestamp_ns", "hostname", "netns", "poll_id", "dump"}}


def test_chosen_states(young_zoo: Told) -> None:
    """`--states` gives those states and, of those that nothing ends, all rows."""
    ns, expected, _ = young_zoo
    for states in ("time-wait", "syn-recv"):
        assert {row["idiag_state"] for row in once(ns, "--states", states)} == {states.upper()}
    for states, names in (("listening", {"LISTEN"}), ("close-wait,closing", {"CLOSE-WAIT", "CLOSING"})):
        rows = once(ns, "--states", states)
        assert {row["idiag_state"] for row in rows} == names
        wanted = {e.cookie for e in expected if e.state in names and e.protocol == socket.IPPROTO_TCP} - {None}
        assert wanted <= {row["idiag_cookie"] for row in rows}


def test_one_family(zoo: Told) -> None:
    """`-4` and `-6` split what both give."""
    ns, expected, _ = zoo
    for option, family in (("-4", socket.AF_INET), ("-6", socket.AF_INET6)):
        rows = once(ns, option)
        assert {row["idiag_family"] for row in rows} == {family}
        tcp = [e for e in expected if e.family == family and e.protocol == socket.IPPROTO_TCP]
        listeners = {e.local for e in tcp if e.state == "LISTEN"}
        assert listeners <= {(row["idiag_src"], row["idiag_sport"]) for row in rows}


def test_chosen_attributes_are_asked_for(zoo: Told) -> None:
    """Only attributes that are wanted are asked for; what the kernel sends unasked is left out too."""
    ns, _, _ = zoo
    rows = once(ns, "--attributes", "cong,tos")
    assert any("cong" in row for row in rows)
    assert not any(name.startswith(("tcpi_", "skmem_", "cgroup")) for row in rows for name in row)
    asked = {bit for row in rows for bit in range(64) if row["attributes"] >> bit & 1}
    assert asked & {1, 2, 3, 6, 7} == set()


def test_mptcp_connections(zoo: Told) -> None:
    """`--mptcp` gives MPTCP's own rows, with mptcp_info where TCP has tcp_info."""
    ns, expected, missing = zoo
    wanted = [e for e in expected if e.protocol == 262]
    if not wanted:
        pytest.skip(f"this kernel has no MPTCP: {missing}")
    rows = once(ns, "--mptcp")
    for one in wanted:
        assert any((r["idiag_src"], r["idiag_sport"]) == one.local and r["idiag_state"] == one.state for r in rows), one
    assert any(row.get("mptcpi_token") for row in rows)
    assert not any("tcpi_rtt" in row for row in rows)
