"""This project's own captures: all as the manifest and the golden rows say (`make golden`), and those with a witness
equal to what ss made of the very same bytes.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.golden.test_shared_captures import unexplained
from tests.rows import rows_by_dump
from tests.zoos import of_the_corpus
from xtcp_replay.cli.main import run
from xtcp_replay.judging.corpus import Row, check_corpus, read_manifest
from xtcp_replay.reading.opening import open_source

PCAPS = ROOT / "pcaps"
ROWS = read_manifest(PCAPS)
ORIGINALS = [row for row in ROWS if not row.made_from and not row.damaged]
ZOOS = [row for row in ROWS if row.file.endswith("/zoo.pcapng")]
MONITORED = [row for row in ROWS if row.file.endswith("/nlmon.pcap.gz")]
# What iproute2 6.1, which wrote some of the texts, does not print.
NOT_IN_SS_6_1 = ("rcv_wnd:", "rehash:", "no_pad_rx")


def ids(rows: list[Row]) -> list[str]:
    """Names of the tests of `rows`."""
    return [row.file for row in rows]


@pytest.mark.slow  # the hashes of test_outputs say of the rows as much
def test_the_corpus() -> None:
    """Every file has the manifest's hash, rows, order and kernel, and its golden rows; none is without a row."""
    reports = list(check_corpus(PCAPS))
    assert [(str(r.path), r.problems, r.verdict and r.verdict.differences) for r in reports if r.code] == []
    assert len(reports) == len(ROWS) >= 4


@pytest.mark.slow
def test_make_golden(capsys: pytest.CaptureFixture[str]) -> None:
    """The command that `make golden` runs says nothing where all is well."""
    assert run(["golden", "check", "--quiet", str(PCAPS)]) == 0
    assert capsys.readouterr() == ("", "")


def test_every_capture_has_a_twin() -> None:
    """In the other byte order, with the same golden file; together both orders and two architectures."""
    twins = {row.made_from: row for row in ROWS if row.made_from}
    assert {row.file for row in ORIGINALS} == twins.keys()
    assert all(twins[row.file].golden == row.golden for row in ORIGINALS)
    assert all(twins[row.file].byte_order != row.byte_order for row in ORIGINALS)
    assert {row.byte_order for row in ORIGINALS} == {"little", "big"}
    assert {"x86_64", "s390x"} <= {row.architecture for row in ORIGINALS}


def texts_of_ss(capture: Path) -> Iterator[tuple[str, str]]:
    """Number of the dump and what ss made of it."""
    for path in capture.parent.glob(f"{capture.name}.ss-*.txt*"):
        number = path.name.removesuffix(".gz").removesuffix(".txt").rpartition("-")[2]
        yield number, gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()


@pytest.mark.parametrize("row", of_the_corpus(ORIGINALS))
def test_every_value_of_ss(row: Row) -> None:
    """Each row of each dump has every value that ss printed of its bytes, and ss knows no socket that we do not."""
    capture = PCAPS / row.file
    source = open_source(str(capture))
    dumps = {dump[0]["dump"]: dump for dump in rows_by_dump(source.chunks())}
    assert source.damage == []
    texts = {int(number): text for number, text in texts_of_ss(capture)}
    of_tcp = {number for number, dump in dumps.items() if not any("mptcpi_flags" in r for r in dump)}
    assert texts.keys() == of_tcp or (row not in ZOOS + MONITORED and texts.keys() <= of_tcp)
    for number, said in texts.items():
        assert len(said.splitlines()) - 1 == len(dumps[number])
        assert unexplained(said, dumps[number], row.byte_order, NOT_IN_SS_6_1) == []


@pytest.mark.parametrize("row", of_the_corpus(ZOOS))  # the rows of the others are those that test_outputs hashes
def test_shows_what_it_should(row: Row) -> None:
    """States, families and congestion controls that every kernel has are there; the context comes from the file."""
    rows = [r for dump in rows_by_dump(open_source(str(PCAPS / row.file)).chunks()) for r in dump]
    states = {r["idiag_state"] for r in rows}
    assert {"ESTAB", "LISTEN", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT"} <= states
    assert {"CLOSE-WAIT", "LAST-ACK", "CLOSING"} <= states
    assert {"cubic", "bbr", "reno"} <= {r.get("cong") for r in rows}
    assert any(r["idiag_src"].startswith("::ffff:") for r in rows)
    assert any(r["idiag_src"].startswith("fe80:") and r["idiag_if"] for r in rows)
    lacks = ((PCAPS / (row.made_from or row.file)).parent / "missing.txt").read_text()
    assert any(r.get("ulp_mptcp_token_loc") for r in rows) or "this kernel has no MPTCP" in lacks
    for column in (
        "mark", "tclass", "md5sig", "cgroup_id", "bbr_bw", "skv6only", "idiag_uid", "class_id",
        "sockopt_transparent", "tcpi_dsack_dups", "tcpi_probes", "tcpi_total_retrans",
    ):  # fmt: skip
        assert any(r.get(column) for r in rows), column
    assert any(r["idiag_rqueue"] for r in rows)
    assert any(r["idiag_wqueue"] for r in rows)
    assert all(r["timestamp_ns"] > 1_700_000_000_000_000_000 for r in rows)
    assert not any("unknown_attributes" in r or "tcp_info_surplus" in r or "damaged" in r for r in rows)
    if row.kernel.startswith(("6.18", "6.19", "7.")):
        assert any("tcpi_accecn_opt_seen" in r for r in rows)
    if not row.kernel.startswith("6.18"):  # this one was built with next to nothing
        assert {r.get("cong") for r in rows} >= {"dctcp", "vegas", "htcp", "westwood", "illinois"}
        assert {r.get("ulp_tls_version") for r in rows} >= {0x0303, 0x0304} or "this kernel has no TLS" in lacks
        assert any(r.get("tcpi_delivered_ce") for r in rows)
        assert any(r.get("dctcp_alpha") for r in rows)
        assert any(r.get("tcpv_rtt") for r in rows)
    if row.kernel.startswith("7."):
        assert {r.get("tcpi_accecn_opt_seen") for r in rows} >= {0, 2, 3}
        assert {r.get("tcpi_accecn_fail_mode") for r in rows} >= {0, 8}
        for column in ("delivered_e0_bytes", "received_e0_bytes", "delivered_ce_bytes", "received_ce_bytes"):
            assert any(r.get(f"tcpi_{column}") for r in rows), column
        assert len({r.get("tcpi_ecn_mode") for r in rows}) > 2


@pytest.mark.parametrize("row", of_the_corpus(MONITORED))
def test_what_a_monitor_saw(row: Row) -> None:
    """ss for each family, xtcp for both at once, MPTCP: the same sockets, asked for by several programs."""
    dumps = list(rows_by_dump(open_source(str(PCAPS / row.file)).chunks()))
    cookies = [{r["idiag_cookie"] for r in dump} for dump in dumps]
    families = [{r["idiag_family"] for r in dump} for dump in dumps]
    both = [found for found, seen in zip(cookies, families, strict=True) if seen == {2, 10}]
    four, six = cookies[families.index({2})], cookies[families.index({10})]
    assert any(len((four | six) ^ found) < 10 for found in both)
    assert any(r.get("mptcpi_token") for dump in dumps for r in dump) or row.kernel.startswith("5.")
    assert not any("unknown_attributes" in r or "tcp_info_surplus" in r or "damaged" in r for d in dumps for r in d)


@pytest.mark.parametrize("row", ZOOS, ids=ids(ZOOS))
def test_its_kernel_stands_beside_it(row: Row) -> None:
    """`uname` says the kernel that the manifest names."""
    folder = (PCAPS / (row.made_from or row.file)).parent
    assert f"{row.kernel} " in (folder / "uname").read_text()
    assert folder.name == f"{row.kernel}-{row.architecture}"
