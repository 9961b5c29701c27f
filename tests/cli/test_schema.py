"""`xtcp schema`: what it prints is what lies in proto/; names that would be SQL are refused."""

from __future__ import annotations

import sys

import pytest

from tests.cli.running import xtcp
from tests.conftest import ROOT
from xtcp.cli.main import run
from xtcp.cli.schema import LAYOUT_NAMES
from xtcp.errors import ExitCode
from xtcp.records.layouts import LAYOUTS
from xtcp.records.texts.proto_text import PROTO_FILES
from xtcp.schema.columns import COLUMNS

PRINTED = {
    **{f"proto --layout {name}": file for name, file in PROTO_FILES.items()},
    "proto": "xtcp_flat.proto",
    "columns": "columns.md",
    "tags": "tags.lock",
}


@pytest.mark.parametrize(("arguments", "file"), PRINTED.items(), ids=list(PRINTED))
def test_prints_the_files_of_proto(arguments: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same text, so that who has only the program has them too."""
    assert run(["schema", *arguments.split()]) == 0
    assert capsys.readouterr().out == (ROOT / "proto" / file).read_text()


@pytest.mark.parametrize(
    ("options", "file"),
    [
        ("", "clickhouse.sql"),
        ("--kafka kafka:9092 --topic xtcp", "clickhouse_kafka.sql"),
        ("--xtcp2 2 --kafka kafka:9092 --topic xtcp", "clickhouse_xtcp2.sql"),
    ],
)
def test_ddl_is_that_of_proto(options: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Below the remark at its top; with a topic, what reads it follows the tables."""
    assert run(["schema", "clickhouse", *options.split()]) == 0
    text = (ROOT / "proto" / file).read_text()
    remark, _, script = text.partition("\n\n")
    assert f"xtcp schema clickhouse {options}".strip() in remark
    assert capsys.readouterr().out.endswith(script)


def test_names_are_where_they_belong(capsys: pytest.CaptureFixture[str]) -> None:
    """Database, tables, brokers and days."""
    options = "--database d1 --table t1 --polls p1 --days 7 --kafka a:1,b:2 --topic x.y"
    assert run(["schema", "clickhouse", *options.split()]) == 0
    script = capsys.readouterr().out
    for word in ("d1.t1", "d1.p1", "INTERVAL 7 DAY", "'a:1,b:2'", "'x.y'", "d1.t1_kafka"):
        assert word in script
    assert "xtcp.sockets" not in script


@pytest.mark.needs("pyarrow")
def test_arrow_types_of_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    """A line a column, in the order of every output."""
    assert run(["schema", "arrow"]) == 0
    rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == [column.name for column in COLUMNS]
    assert dict(rows)["tcpi_rtt"] == "uint32"


REFUSED = {
    "a name that is SQL": (["clickhouse", "--table", "t; DROP TABLE x"], ["'t; DROP TABLE x'", "letters, digits"]),
    "a database with a quote": (["clickhouse", "--database", "a`b"], ["'a`b'", "letters, digits"]),
    "a digit first": (["clickhouse", "--polls", "1st"], ["'1st'"]),
    "brokers that are SQL": (["clickhouse", "--kafka", "a:1', kafka_topic_list = 'x"], ["no broker", "HOST:PORT"]),
    "a topic that is SQL": (["clickhouse", "--kafka", "a:1", "--topic", "x'"], ["topic", "letters, digits"]),
    "a topic of nobody": (["clickhouse", "--topic", "x"], ["--topic needs --kafka"]),
    "no days": (["clickhouse", "--days", "0"], ["0 days", "Say 1 to"]),
    "days in words": (["clickhouse", "--days", "week"], ["'week'", "number of days"]),
    "a table of xtcp2's": (["clickhouse", "--xtcp2", "1", "--table", "x"], ["--table", "--xtcp2"]),
    "no such layout": (["proto", "--layout", "flta"], ["'flta'", "flat"]),
    "no form": ([], ["FORM"]),
}


@pytest.mark.parametrize(("arguments", "words"), REFUSED.values(), ids=list(REFUSED))
def test_fault_89_what_would_stand_in_sql_is_refused(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 and a sentence; nothing is printed."""
    assert run(["schema", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    for word in words:
        assert word in err


def test_help_needs_no_table() -> None:
    """The names of the layouts are those that there are; NumPy and the tables are not loaded for --help."""
    assert set(LAYOUT_NAMES) == set(LAYOUTS)
    finished = xtcp("schema", "clickhouse", "--help", environment={"PYTHONPROFILEIMPORTTIME": "1"})
    imported = finished.stderr.decode()
    assert finished.returncode == 0
    for heavy in ("numpy", "xtcp.records", "pyarrow"):
        assert heavy not in imported


def test_arrow_without_pyarrow_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An extra that is not there is a matter of this machine's configuration."""
    for name in [name for name in sys.modules if name.startswith("xtcp.encode.arrow")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert run(["schema", "arrow"]) == ExitCode.CONFIGURATION
    out, err = capsys.readouterr()
    assert out == ""
    assert "pip install 'xtcp[arrow]'" in err
