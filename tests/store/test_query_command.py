"""The command `xtcp query`: its examples, formats, errors and signals, over a day of a real capture."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import ENVIRONMENT, XTCP
from tests.conftest import ROOT
from tests.patience import patient
from tests.store.kept import Kept
from tests.store.made import (
    INTERVAL_NS,
    START_NS,
    batch,
    captured,
    context,
    trailer,
)
from xtcp.cli.main import run
from xtcp.cli.query import EXAMPLES
from xtcp.errors import ExitCode
from xtcp.poll.trailer import Trailer
from xtcp.store import VIEWS
from xtcp.store.query import Store


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Polls of the sockets of a real capture, as those of two hosts."""
    folder = tmp_path_factory.mktemp("day")
    kept = Kept(folder, "parquet")
    for number in range(3):
        for host in ("web-1", "web-2"):
            start = START_NS + number * INTERVAL_NS
            for each in captured(ROOT / "pcaps" / "6.18.44-fc-v657-x86_64" / "zoo.pcapng"):
                object.__setattr__(each, "context", context(start, host))
                kept.sink.accept(each)
            kept.sink.end_poll(trailer(start, host, flags=("deadline",) if number == 1 else ()))
    kept.sink.close()
    return folder


@pytest.mark.parametrize("meaning", list(EXAMPLES))
def test_examples_of_the_help(meaning: str, day: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of them is in the help, and gives rows."""
    assert run(["query", "--help"]) == ExitCode.OK
    shown = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert EXAMPLES[meaning] in shown and meaning in shown
    assert run(["query", "--dir", str(day), "--format", "json", EXAMPLES[meaning]]) == ExitCode.OK
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert rows and err == ""


def test_formats(day: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One answer as a table, as JSON lines and as CSV: NULL, texts, lists, times, numbers of 64 bits."""
    sql = (
        "SELECT NULL AS n, 'a,\"\nb' || chr(27) AS t, [1, NULL] AS l, {'x': 'y'} AS s, TIMESTAMP '2026-01-02 03:04:05' "
        "AS w, 18446744073709551615::UBIGINT AS u, 1.5::DECIMAL(9, 2) AS d, 'nan'::FLOAT AS f, '\\xAA'::BLOB AS b, "
        "true AS y, 7 AS n, DATE '2026-01-02' AS day, sum(1::HUGEINT) AS h"
    )
    made = {}
    for form in ("table", "json", "csv"):
        assert run(["query", "--dir", str(day), "--format", form, sql]) == ExitCode.OK
        made[form] = capsys.readouterr().out
    row = json.loads(made["json"])
    assert row == {
        "n": None,
        "t": 'a,"\nb\x1b',
        "l": [1, None],
        "s": {"x": "y"},
        "w": "2026-01-02 03:04:05",
        "u": 2**64 - 1,
        "d": 1.5,
        "f": None,
        "b": "aa",
        "y": True,
        "n_2": 7,
        "day": "2026-01-02",
        "h": 1,
    }
    head, cells = csv.reader(io.StringIO(made["csv"]))
    assert head == list(row)
    assert cells == [
        *("", 'a,"\nb\x1b', "[1, null]", '{"x": "y"}', "2026-01-02 03:04:05", "18446744073709551615", "1.5", "nan"),
        *("aa", "true", "7", "2026-01-02", "1"),
    ]
    assert "\x1b" not in made["table"] and made["table"].count("\n") == 2
    assert re.split(r"  +", made["table"].splitlines()[0].strip())[:3] == ["n", "t", "l"]


def test_a_table_is_aligned(day: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Texts to the left, numbers to the right; a header where there is no row."""
    run(["query", "--dir", str(day), "SELECT * FROM (VALUES ('a', 1), ('bbb', 1000)) t(name, number)"])
    assert capsys.readouterr().out == "name  number\na          1\nbbb     1000\n"
    run(["query", "--dir", str(day), "SELECT idiag_src, tcpi_rtt FROM sockets WHERE false"])
    assert capsys.readouterr().out == "idiag_src  tcpi_rtt\n"


def test_without_sql_it_says_what_is_there(day: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Hosts with polls and rows on standard output; the views on standard error."""
    assert run(["query", "--dir", str(day)]) == ExitCode.OK
    out, err = capsys.readouterr()
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [["web-1", "3"], ["web-2", "3"]]
    assert all(view in err for view in VIEWS) and str(day) in err


def test_rows_without_polls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a collector of records that have no trailers: counted by themselves, and `latest` is empty."""
    kept = Kept(tmp_path, "parquet")
    kept.sink.accept(batch(1, 2))
    kept.sink.close()
    assert run(["query", "--dir", str(tmp_path)]) == ExitCode.OK
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["web-1", "1", "2"]
    assert kept.ask("FROM latest") == kept.ask("FROM polls") == []


def test_sql_from_standard_input_and_wrong_sql(day: Path) -> None:
    """As a process: DuckDB's own sentence, exit code 2; a reader that leaves."""
    command = [*XTCP, "query", "--dir", str(day)]
    options: dict[str, Any] = {"env": ENVIRONMENT, "capture_output": True, "text": True, "timeout": patient(30)}
    good = subprocess.run([*command, "--format", "csv", "-"], input="SELECT 42 AS x", check=True, **options)
    assert good.stdout == "x\n42\n"
    bad = subprocess.run([*command, "SELECT idiag_dsst FROM sockets"], check=False, **options)
    assert bad.returncode == ExitCode.USAGE and bad.stdout == "" and "Traceback" not in bad.stderr
    assert "idiag_dsst" in bad.stderr and "idiag_dst" in bad.stderr
    piped = subprocess.run(
        ["bash", "-c", f"{' '.join(XTCP)} query --dir {day} --format csv 'FROM range(10000000)' | head -1"],
        check=True,
        **options,
    )
    assert piped.stdout == "range\n" and piped.stderr == ""


def test_interrupted(day: Path) -> None:
    """Ctrl-C ends a query that would take for ever: exit code 130, no temporary folder left."""
    sql = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE hash(a.range) % 7 = hash(b.range) % 11"
    code = (
        "import sys\n"
        "from xtcp.cli.main import run\n"
        "from xtcp.store.query import Store\n"
        "ask = Store.ask\n"
        "def told(self, sql):\n"
        "    print('asked', file=sys.stderr, flush=True)\n"
        "    return ask(self, sql)\n"
        "Store.ask = told\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    process = subprocess.Popen(
        [XTCP[0], "-c", code, "query", "--dir", str(day), sql],
        env={**ENVIRONMENT, "TMPDIR": str(day)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None and process.stderr.readline() == "asked\n"
    assert list(day.glob("xtcp-query-*"))
    time.sleep(0.4)  # DuckDB may have begun
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=patient(20))
    assert process.returncode == ExitCode.INTERRUPTED and "interrupted" in err and "Traceback" not in err
    assert not list(day.glob("xtcp-query-*"))


def test_without_duckdb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], day: Path) -> None:
    """The line that installs it; exit code 78."""
    monkeypatch.delitem(sys.modules, "xtcp.store.query")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert run(["query", "--dir", str(day), "SELECT 1"]) == ExitCode.CONFIGURATION
    assert "pip install 'xtcp[query]'" in capsys.readouterr().err


def test_the_usual_folder(day: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --dir: where xtcp run writes."""
    monkeypatch.setenv("XTCP_STATE_DIR", str(day))
    assert run(["query", "--format", "csv", "SELECT count(*) AS n FROM polls"]) == ExitCode.OK
    assert capsys.readouterr().out == "n\n6\n"
    assert os.environ["XTCP_STATE_DIR"] == str(day)


def test_a_trailer_is_a_poll(day: Path) -> None:
    """Each field of each trailer, as it was given."""
    with Store(day) as store:
        answer = store.ask("SELECT * EXCLUDE (time, host, date, hour) FROM polls ORDER BY hostname, poll_id")
        rows = [dict(zip(answer.names, row, strict=True)) for piece in answer.pieces for row in piece]
    assert len(rows) == 6
    assert rows[0] == trailer(START_NS).as_dict()
    assert {name for row in rows for name in row} == set(Trailer.__dataclass_fields__)
