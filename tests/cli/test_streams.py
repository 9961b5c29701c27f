"""Standard output carries rows only; readers that leave, closed streams and locales change nothing of that."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.running import cong_row, raw_dump, shell, xtcp
from tests.fake_kernel import done
from tests.replay.made import option, pcapng, saved
from xtcp.cli.main import run
from xtcp.errors import ExitCode
from xtcp_replay.cli.main import run as run_replay


def test_readers_that_leave(tmp_path: Path) -> None:
    """`| head -1` and `| true` end quietly with 0, whether a row, a buffer or nothing was read."""
    source = raw_dump(tmp_path / "many.bin", *range(1, 3000))
    finished = shell(
        """
        for command in "once -q --from $1 --format json" "once -q --from $1" "columns"; do
            $XTCP $command | head -1 >/dev/null; echo ${PIPESTATUS[0]}
        done
        $XTCP once --help | true; echo ${PIPESTATUS[0]}
        """,
        source,
    )
    assert finished.stdout.split() == [b"0"] * 4
    assert finished.stderr == b""


@pytest.mark.live
def test_readers_of_a_doctor_that_leave() -> None:
    """As above, where the running kernel is asked first."""
    finished = shell("$XTCP doctor | true; echo ${PIPESTATUS[0]}")
    assert (finished.stdout, finished.stderr) == (b"0\n", b"")


def test_summary_is_on_standard_error(dump: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Rows alone on stdout; -q silences the summary and the notes, not the warnings."""
    command = ["once", "--from", str(dump), "--format", "json"]
    assert run(command) == ExitCode.OK
    out, err = capfd.readouterr()
    assert [json.loads(line)["idiag_cookie"] for line in out.splitlines()] == [1, 2, 3]
    assert err.startswith("3 sockets of 1 dump, 4 messages\n")
    assert run([*command, "-q"]) == ExitCode.OK
    assert capfd.readouterr() == (out, "")
    dump.write_bytes(dump.read_bytes()[:-1])
    assert run([*command, "-q"]) == ExitCode.DAMAGED
    assert capfd.readouterr().err.startswith("warning: ")


@pytest.mark.live
def test_live_summary_is_on_standard_error() -> None:
    """Of a live poll too; a reader that takes only stdout gets JSON and nothing else."""
    finished = xtcp("once", "--format", "json", "--columns", "idiag_state")
    assert finished.returncode == ExitCode.OK
    assert all(set(json.loads(line)) == {"idiag_state"} for line in finished.stdout.splitlines())
    assert re.fullmatch(rb"[\d,]+ sockets in [\d.]+ s, .*complete\n", finished.stderr)


def test_null_writes_nothing_but_its_summary(dump: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`--format null` decodes everything and prints the summary."""
    assert run(["once", "--from", str(dump), "--format", "null"]) == ExitCode.OK
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("3 sockets of 1 dump")


@pytest.mark.live  # a program under qemu-user finds open what was closed: the descriptor by which its file came
def test_closed_streams(dump: Path) -> None:
    """A closed stderr never turns the summary into a row; a closed stdin or stdout is said, where it is needed."""
    finished = shell(
        """
        $XTCP once --from $1 --format json --columns idiag_cookie 2>&-; echo $?
        $XTCP once --from $1 --format json --columns idiag_cookie 2>/dev/full; echo $?
        $XTCP once --from $1 --format null >&- && $XTCP once --from $1 -q >&-; echo $?
        $XTCP once --from - <&-; echo $?
        """,
        dump,
    )
    rows = [b'{"idiag_cookie":%d}' % n for n in (1, 2, 3)]
    assert finished.stdout.splitlines() == [*rows, b"0", *rows, b"0", b"2", b"2"]
    err = finished.stderr.decode()
    assert "Traceback" not in err
    assert "standard output is closed" in err and "standard input is closed" in err


def test_utf_8_whatever_the_locale(dump: Path) -> None:
    """Under LC_ALL=C and an ASCII PYTHONIOENCODING the bytes are the same as under UTF-8; also those of the help."""
    dump.write_bytes(cong_row(1, "bbr→ü".encode()) + done())
    ascii_only = {"LC_ALL": "C", "LANG": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    plain, c_locale = (
        xtcp("once", "-q", "--from", dump, "--columns", "cong", environment=environment)
        for environment in ({"LC_ALL": "C.UTF-8"}, ascii_only)
    )
    assert "bbr→ü".encode() in plain.stdout
    assert c_locale.stdout == plain.stdout
    assert (c_locale.returncode, c_locale.stderr) == (0, b"")
    assert "NAME,…".encode() in xtcp("once", "--help", environment=ascii_only).stdout


@pytest.mark.parametrize("cong", [b"\x1b[2J\x1b]0;x\x07", b"a\nb\rc\td", b"\xff\xfe\x80", b"\xc2\x9b31m", b'"\\,;'])
def test_fault_28_hostile_text_never_reaches_the_terminal(
    cong: bytes, dump: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Control characters in a congestion control's name: escaped in the table, valid JSON, one line a row."""
    dump.write_bytes(cong_row(1, cong) + done())
    command = ["once", "-q", "--from", str(dump), "--columns", "idiag_cookie,cong", "--format"]
    assert run([*command, "table"]) == ExitCode.OK
    out = capfd.readouterr().out
    assert len(out.splitlines()) == 2
    assert all(line.isprintable() for line in out.splitlines())
    assert run([*command, "json"]) == ExitCode.OK
    out = capfd.readouterr().out
    (line,) = out.splitlines()
    assert json.loads(line) == {"idiag_cookie": 1, "cong": cong.decode("utf-8", "replace")}


@pytest.mark.parametrize(
    "command", [["info"], ["show"], ["verify", "--witness", "reference"], ["convert", "{}", "{}.pcap"], ["decode"]]
)
def test_fault_28_nor_do_the_names_of_a_capture(
    tmp_path: Path, command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """Host, kernel and namespace are what a stranger wrote into the file, or beside it."""
    hostile = option("<", 1, b"host: \x1b[2J\xc2\x9b") + option("<", 3, b"Linux 6.1.0\x1b[31m")
    path = saved(tmp_path, pcapng(options=hostile), "\x1b[31m.pcapng")
    Path(path + ".toml").write_text('netns = "\\u001b]0;x\\u0007"\n')
    arguments = [part.format(path) for part in command]
    assert run_replay(arguments if len(arguments) > 1 and path in arguments else [*arguments, path]) == ExitCode.OK
    out, err = capfd.readouterr()
    assert out or err
    assert all(line.isprintable() for line in (out + err).splitlines())
