"""The kernel matrix's last result: in the corpus as rows, in docs/fidelity.md as the table made of them."""

from __future__ import annotations

import datetime as dt
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from qemu.kernel_table import FAILED, VERIFIED, KernelRow, inserted, read, render, replaced, write
from tests.conftest import ROOT
from xtcp_replay.judging.corpus import read_manifest

PCAPS = ROOT / "pcaps"
ROW = KernelRow(
    guest="s390x:forky",
    outcome=VERIFIED,
    date=dt.date(2026, 11, 28),
    folder="7.2.12-s390x",
    release="7.2.12",
    machine="s390x",
    byte_order="big",
    python="3.14.8",
    numpy="2.4.6",
    ss="7.0.0",
    sockets=1139,
    attributes=(1, 2, 3, 5, 8, 9),
    tcp_info=(232, 280),
    congestion=("bbr", "cubic"),
    values=472561,
    ss_values=37904,
)


def test_rows_come_back(tmp_path: Path) -> None:
    """Written and read again, ordered by machine and release; one row a guest."""
    older = replace(ROW, guest="s390x:bookworm", release="6.1.0-50-s390x")
    broken = KernelRow("arm64:trixie", FAILED, ROW.date, why='it said "no|nothing"')
    write(tmp_path / "k.toml", [ROW, older, broken])
    assert read(tmp_path / "k.toml") == [broken, older, ROW]
    better = replace(ROW, sockets=5)
    assert replaced([older, ROW], better) == [older, better]
    assert read(tmp_path / "none.toml") == []


def test_a_strange_row_is_refused(tmp_path: Path) -> None:
    """A member that no row has is a mistake."""
    (tmp_path / "k.toml").write_text('[[guest]]\nname = "a"\noutcome = "x"\ndate = 2026-11-28\nsokets = 1\n')
    with pytest.raises(TypeError, match="sokets"):
        read(tmp_path / "k.toml")


def test_the_table() -> None:
    """Every column has a cell; a failed guest says so, and its words cannot break the table."""
    failed = KernelRow("x86-64:trixie", FAILED, ROW.date, why="a|b")
    head, rule, *lines = render([ROW, failed]).splitlines()
    assert [line.replace("\\|", "").count("|") for line in (head, rule, *lines)] == [head.count("|")] * 4
    assert (
        "| `s390x:forky` | 7.2.12 | s390x | big | 3.14.8 | 2.4.6 | 7.0.0 | 1,139 | 1–3, 5, 8–9 | 232, 280 |" in lines[0]
    )
    assert "472,561 | 37,904 | 0 | 2 | 2026-11-28 |" in lines[0]
    assert "**FAILED**: a\\|b" in lines[1]


def test_it_is_put_between_its_marks() -> None:
    """And nothing else of the page changes; a page without marks stays as it is."""
    page = "a\n<!-- kernels -->\nold\n<!-- end -->\nb\n"
    made = inserted(page, [ROW])
    assert made.startswith("a\n<!-- kernels -->\n\n| guest |")
    assert made.endswith("|\n\n<!-- end -->\nb\n")
    assert inserted(made, [ROW]) == made
    assert inserted("none", [ROW]) == "none"


def test_docs_show_the_last_result() -> None:
    """`make kernels` writes both; whoever edits one alone is told."""
    page = (ROOT / "docs" / "fidelity.md").read_text()
    assert "<!-- kernels -->" in page
    assert inserted(page, read(PCAPS / "kernels.toml")) == page


def test_each_row_has_its_captures() -> None:
    """A row that says verified names a folder of the corpus, whose rows and kernel are those of the manifest."""
    rows = read(PCAPS / "kernels.toml")
    assert rows
    manifest = read_manifest(PCAPS)
    for row in rows:
        if row.outcome != VERIFIED:
            continue
        captures = [c for c in manifest if c.file.startswith(f"{row.folder}/") and not c.made_from]
        assert sum(capture.rows for capture in captures) == row.sockets, row.guest
        assert {(c.kernel, c.architecture, c.byte_order) for c in captures} == {
            (row.release, row.machine, row.byte_order)
        }
        assert row.differences == 0
        assert row.ss_values > 10 * row.sockets or not row.ss


def test_both_byte_orders_and_both_tails_are_there() -> None:
    """Big-endian kernels from 6.1 to 7.2, and the two layouts of the end of a 280-byte tcp_info."""
    rows = [row for row in read(PCAPS / "kernels.toml") if row.outcome == VERIFIED]
    big = {row.release.rpartition(".")[0][:4].rstrip(".") for row in rows if row.byte_order == "big"}
    assert {"6.1", "6.12", "7.2"} <= big
    assert {row.machine for row in rows} >= {"x86_64", "aarch64", "s390x", "ppc64"}
    assert any(row.release.startswith("6.18.") and 280 in row.tcp_info for row in rows)
    assert any(row.release.startswith("7.") and 280 in row.tcp_info and row.byte_order == "big" for row in rows)


def test_the_file_is_toml() -> None:
    """As the manifest is."""
    assert tomllib.loads((PCAPS / "kernels.toml").read_text())["guest"]
