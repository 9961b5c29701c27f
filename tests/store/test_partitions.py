"""Paths: Hive's convention, values that cannot lead elsewhere, and which files are ours."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.made import HOUR_NS, START_NS, batch, files, selected, trailer
from xtcp.encode.cells import clean_text
from xtcp.ledger import Account
from xtcp.sinks.destination import parse
from xtcp.sinks.folders.partitions import FINGERPRINT, UNKNOWN, Partition, encoded, ours, stem

HOSTILE = (
    *("../../etc", "..", ".", "/", "a/b", "'; DROP TABLE sockets; --", 'a"b', "a b", "a\nb", "a\0b", "\x1b[2J"),
    *("host=x", "date=1970-01-01", "%2e%2e", "\udc80", "\u202erow", "*?[a]", "é", "x" * 10_000, "é" * 300, " ", "~"),
)


def test_the_folder_of_a_poll() -> None:
    """Host, date and hour in UTC; what is not known is what Hive calls it."""
    assert Partition.of("web-1", START_NS).folder == "host=web-1/date=2026-11-23/hour=22"
    assert Partition.of("web-1", START_NS + 2 * HOUR_NS - 1).folder == "host=web-1/date=2026-11-23/hour=23"
    assert Partition.of("web-1", 0).folder == "host=web-1/date=1970-01-01/hour=00"
    assert Partition.of("web-1", -1).folder == "host=web-1/date=1969-12-31/hour=23"
    for start in (None, 2**63 * 1000, -(2**63) * 1000):
        assert Partition.of(None, start).folder == f"host={UNKNOWN}/date={UNKNOWN}/hour={UNKNOWN}"
        assert ours(f"sockets/{Partition.of('', start).folder}/{stem(start, '0' * 8, 1)}.parquet") is not None


@given(st.text() | st.sampled_from(HOSTILE))
def test_fault_89_a_name_leads_nowhere(name: str) -> None:
    """It stays one folder of characters that no file system, shell or SQL takes for something else."""
    value = encoded(name)
    assert re.fullmatch(r"[A-Za-z0-9_.~%-]*", value) and len(value) <= 200
    decoded = unquote(value, errors="strict")
    assert decoded == name or decoded.rpartition("~")[0] == clean_text(name)[: len(decoded) - 17]


@given(st.lists(st.text(max_size=300) | st.sampled_from(HOSTILE), unique=True, max_size=30))
def test_different_names_have_different_folders(names: list[str]) -> None:
    """Cut ones too."""
    assert len({encoded(name) for name in names}) == len(names)


@pytest.mark.parametrize("scheme", ["parquet", "lines"])
def test_fault_89_hosts_with_any_name_in_files(scheme: str, tmp_path: Path) -> None:
    """Each has a folder of its own inside, and its rows are read back under its own name."""
    folder = tmp_path / "here"
    account = Account(scheme)
    sink = parse(f"{scheme}:{folder}").maker()(account)
    for number, name in enumerate(HOSTILE):
        sink.accept(batch(number, host=name))
        sink.end_poll(trailer(host=name))
    sink.close()
    assert account.balance().accepted == len(HOSTILE) and sink.error is None
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    assert {path.name for path in folder.iterdir()} == {"sockets", "polls"}
    assert len(files(folder)) == len(files(folder, "polls")) == len(HOSTILE)
    if scheme == "parquet":
        by_cookie = selected(
            f"FROM read_parquet('{folder}/sockets/*/*/*/*.parquet', hive_partitioning = true) "
            "SELECT idiag_cookie, hostname, host"
        )
        assert {row["idiag_cookie"] for row in by_cookie} == set(range(len(HOSTILE)))
        for row in by_cookie:
            name = HOSTILE[row["idiag_cookie"]]
            if name.isprintable() and len(name) < 100:
                assert row["hostname"] == name
        assert next(row["host"] for row in by_cookie if row["hostname"] == "../../etc") == "../../etc"


def test_arrow_reads_the_folder_as_a_data_set(tmp_path: Path) -> None:
    """Hive's convention, as pyarrow knows it: the folder's names are columns."""
    import pyarrow.dataset as ds

    sink = parse(f"parquet:{tmp_path}").maker()(Account("parquet"))
    sink.accept(batch(1, 2))
    sink.close()
    table = ds.dataset(tmp_path / "sockets", partitioning="hive").to_table()
    assert table.column("host").to_pylist() == ["web-1"] * 2
    assert table.column("idiag_cookie").to_pylist() == [1, 2]


def test_which_files_are_ours() -> None:
    """Only what this layout can have written."""
    good = f"sockets/host=a/date=2026-11-23/hour=22/{stem(START_NS, '0123abcd', 1)}.parquet"
    found = ours(good)
    assert found is not None and not found.temporary
    assert found.end_ns == START_NS + HOUR_NS
    draft = ours(good + ".tmp")
    assert draft is not None and draft.temporary
    for other in (
        "x.parquet",
        good.replace("sockets", "others"),
        good.replace("xtcp-", "part-"),
        good.replace(f"-{FINGERPRINT}", ""),
        good + ".bak",
        good.replace(".parquet", ".csv"),
        good.replace("hour=22", "hour=99"),
        good.replace("2026-11-23", "2026-99-23"),
        "../" + good,
        good.replace("host=a", "host=a/b"),
        good + "\n",
    ):
        assert ours(other) is None, other
