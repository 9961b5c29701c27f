"""What the formats give a user: the same rows and columns in each, and a table that fits the terminal."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from tests.cli.conftest import Opened
from tests.cli.running import ENVIRONMENT, XTCP, attribute_row, xtcp
from tests.fake_kernel import done
from xtcp.cli.main import run
from xtcp.errors import ExitCode
from xtcp.schema.columns import COLUMNS

CHOSEN = ("tcpi_rtt", "idiag_dport", "idiag_state", "idiag_cookie", "cong", "idiag_src")


def screen(*arguments: str | Path, columns: int, **environment: str) -> list[str]:
    """The lines that `xtcp ARGUMENTS` writes to a terminal of that width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(
        [*XTCP, *map(str, arguments)], env={**ENVIRONMENT, **environment}, stdin=slave, stdout=slave, stderr=slave
    ) as running:
        os.close(slave)
        text = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # EIO: the other side has been closed
                break
            if not piece:
                break
            text += piece
        os.close(master)
    assert running.returncode == 0, text
    return text.decode().splitlines()


@pytest.mark.live
def test_every_format_has_the_same_values(opened: Opened, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """JSON and CSV of one recorded dump agree in every column of every row; absent is left out, and empty."""
    capture = tmp_path / "host.pcapng"
    assert run(["once", "-q", "--format", "null", "--record", str(capture)]) == ExitCode.OK
    from xtcp_replay.cli.main import run as replay

    assert replay(["decode", str(capture), "-q", "--format", "json"]) == ExitCode.OK
    objects = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert replay(["decode", str(capture), "-q", "--format", "csv"]) == ExitCode.OK
    table = list(csv.DictReader(io.StringIO(capfd.readouterr().out)))
    assert opened.every <= {o["idiag_cookie"] for o in objects}
    assert len(table) == len(objects)
    for line, whole in zip(table, objects, strict=True):
        plain = {name: value for name, value in whole.items() if not isinstance(value, list | dict)}
        assert {name: text for name, text in line.items() if text and name in plain} == {
            name: str(value) for name, value in plain.items() if value != ""
        }
        assert all(not line[name] for name in line if name not in whole)


def test_chosen_columns_in_their_order(dump: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In every format the columns are those asked for, in that order, the absent ones too where there is a header."""
    command = ["once", "-q", "--from", str(dump), "--columns", ",".join(CHOSEN), "--format"]
    assert run([*command, "json"]) == ExitCode.OK
    for line in capfd.readouterr().out.splitlines():
        assert tuple(json.loads(line)) == tuple(name for name in CHOSEN if name != "cong")
    assert run([*command, "csv"]) == ExitCode.OK
    rows = list(csv.reader(io.StringIO(capfd.readouterr().out)))
    assert tuple(rows[0]) == CHOSEN
    assert {row[CHOSEN.index("cong")] for row in rows[1:]} == {""}
    assert run([*command, "table"]) == ExitCode.OK
    assert tuple(capfd.readouterr().out.splitlines()[0].split()) == CHOSEN


def test_each_column_can_be_asked_for(dump: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """All columns by name, in every format."""
    names = [column.name for column in COLUMNS]
    for format_, count in (("json", 3), ("csv", 4), ("table", 4)):
        command = ["once", "-q", "--from", str(dump), "--columns", ",".join(names), "--format", format_]
        assert run(command) == ExitCode.OK
        assert len(capfd.readouterr().out.splitlines()) == count


def test_md5_keys_only_on_request(dump: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A key is a secret: JSON and CSV have it only with `--md5-keys`, the table never; its peer is always shown."""
    key = b"swordfish"
    signature = struct.pack("=BBH", 2, 32, len(key)) + bytes([192, 0, 2, 7]) + bytes(12) + key.ljust(80, b"\0")
    dump.write_bytes(attribute_row(1, 18, signature) + done())
    for format_ in ("json", "csv", "table"):
        command = ["once", "-q", "--from", str(dump), "--format", format_, "--columns", "md5sig"]
        assert run(command) == ExitCode.OK
        blanked = capfd.readouterr().out
        assert run([*command, "--md5-keys"]) == ExitCode.OK
        shown = capfd.readouterr().out
        assert "192.0.2.7" in blanked
        assert key.hex() not in blanked and key.decode() not in blanked
        assert (key.hex() in shown) == (format_ != "table")


def test_no_rows(dump: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An empty dump: the header of the table and of CSV, nothing in JSON, exit 0."""
    dump.write_bytes(done())
    for format_, lines in (("table", 1), ("csv", 1), ("json", 0)):
        assert run(["once", "--from", str(dump), "--format", format_]) == ExitCode.OK
        out, err = capfd.readouterr()
        assert len(out.splitlines()) == lines
        assert err.startswith("0 sockets of 1 dump, 1 messages")


def test_output_file(dump: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`-o` holds what stdout would."""
    command = ["once", "-q", "--from", str(dump), "--format", "csv"]
    assert run(command) == ExitCode.OK
    out = capfd.readouterr().out
    target = tmp_path / "rows.csv"
    assert run([*command, "-o", str(target)]) == ExitCode.OK
    assert capfd.readouterr() == ("", "")
    assert target.read_bytes().decode() == out


@pytest.mark.live
@pytest.mark.parametrize("width", [80, 200])
def test_table_fits_the_terminal(opened: Opened, width: int) -> None:
    """No line is wider than the terminal; the more room, the more columns; addresses are never left out."""
    lines = screen("once", "--states", "listening,established", columns=width, TERM="no-such-terminal")
    *table, summary = lines
    assert "complete" in summary
    assert max(map(len, table)) <= width
    for title in ("State", "Local Address:Port", "Peer Address:Port"):
        assert title in table[0]
    assert ("delivery" in table[0]) == (width == 200)
    assert len(table) > len(opened.every)


def test_terminal_without_a_size(dump: Path) -> None:
    """A terminal of no columns counts as 80; $COLUMNS stands above what it says."""
    lines = screen("once", "-q", "--from", dump, columns=0)
    assert 40 < max(map(len, lines)) <= 80
    lines = screen("once", "-q", "--from", dump, columns=0, COLUMNS="150")
    assert 80 < max(map(len, lines)) <= 150


def test_columns_fits_the_terminal() -> None:
    """`xtcp columns` wraps meanings below each other; every name stands at the start of a line."""
    lines = screen("columns", "tcpi_*", columns=100)
    assert max(map(len, lines)) <= 100
    assert {line.split()[0] for line in lines if line.startswith("tcpi_")} == {
        column.name for column in COLUMNS if column.name.startswith("tcpi_")
    }


def test_a_pipe_is_not_cut(dump: Path) -> None:
    """Where there is no terminal every column of the default view is written."""
    finished = xtcp("once", "-q", "--from", dump, environment={"COLUMNS": "40"})
    assert b"delivery" in finished.stdout.splitlines()[0]
