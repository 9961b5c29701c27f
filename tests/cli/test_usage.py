"""Wrong usage: what was meant, exit 2, and nothing touched; the help texts."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.cli.running import three_parts, xtcp, xtcp_replay
from xtcp import __version__
from xtcp.cli.main import run
from xtcp.errors import ExitCode
from xtcp_replay.cli.main import run as run_replay

WRONG = {
    "no such command": (["bogus"], ["'bogus'", "once", "doctor", "columns"]),
    "no such option": (["once", "--formt", "json"], ["--formt", "Did you mean --format", "xtcp once --help"]),
    "abbreviation": (["once", "--form", "json"], ["--form", "Did you mean --format"]),
    "one argument too many": (["once", "json"], ["'json'", "too many"]),
    "unknown format": (["once", "--format", "xml"], ["'xml'", "table", "csv"]),
    "unknown column": (["once", "--columns", "tcpi_rt"], ["tcpi_rt'", "Did you mean", "tcpi_rtt", "xtcp columns"]),
    "no column": (["once", "--columns", ","], ["no column is named"]),
    "unknown state": (["once", "--states", "estb"], ["estb", "Did you mean estab", "time-wait"]),
    "unknown attribute": (["once", "--attributes", "inof"], ["inof", "Did you mean info", "skmeminfo"]),
    "attribute left out": (["once", "--columns", "tcpi_rtt", "--attributes", "cong"], ["tcpi_rtt", "Add info"]),
    "file for null": (["once", "--format", "null", "-o", "x"], ["--format null", "-o"]),
    "deadline, words": (["once", "--deadline", "soon"], ["'soon'", "seconds"]),
    "deadline 0": (["once", "--deadline", "0"], ["'0'", "above 0"]),
    "deadline nan": (["once", "--deadline", "nan"], ["'nan'"]),
    "deadline inf": (["once", "--deadline", "inf"], ["'inf'"]),
    "record, suffix": (["once", "--record", "x.txt"], ["x.txt", ".pcapng", "x.pcapng"]),
    "record, no suffix": (["once", "--record", "x"], ["x: captures end in", "x.pcapng"]),
    "from and record": (["once", "--from", "a", "--record", "b.pcap"], ["--record", "--from"]),
    "from and trailer": (["once", "--from", "a", "--trailer", "b"], ["--trailer", "--from"]),
    "from and states": (["once", "--from", "a", "--states", "all"], ["--states", "--from"]),
    "from and family": (["once", "--from", "a", "-6"], ["-6", "--from"]),
    "from and deadline": (["once", "--from", "a", "--deadline", "3"], ["--deadline", "--from"]),
    "strict and live": (["once", "--strict"], ["--strict", "live poll"]),
    "byte order and live": (["once", "--byte-order", "big"], ["--byte-order", "live poll"]),
    "kernel release and live": (["once", "--kernel-release", "6.1"], ["--kernel-release", "live poll"]),
    "kernel release": (["once", "--from", "a", "--kernel-release", "new"], ["'new'", "uname -r"]),
    "no such file": (["once", "--from", "none/such"], ["none/such", "No such file", "Check the name"]),
    "a folder": (["once", "--from", "."], ["is a folder"]),
    "output is a folder": (["once", "-o", "."], ["Is a directory", "-o"]),
    "no folder for output": (["once", "-o", "none/such"], ["none/such", "Make the folder"]),
    "no folder for trailer": (["once", "-q", "--format", "null", "--trailer", "none/such"], ["--trailer"]),
    "no folder for record": (["once", "--record", "none/such.pcap"], ["none/such.pcap"]),
    "one file twice": (["once", "-o", "a.pcap", "--record", "./a.pcap"], ["-o and --record", "same file"]),
    "pattern": (["columns", "tcpi_*", "zz*"], ["'zz*'", "xtcp columns"]),
    "part of a name": (["columns", "rtt"], ["'rtt'", "tcpi_rtt"]),
}


@pytest.mark.parametrize(("arguments", "words"), WRONG.values(), ids=list(WRONG))
def test_wrong_usage_is_exit_2(
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The message names what is wrong and what to do; no row, no file, no traceback."""
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("xtcp: ") and err.count("xtcp: ") == 1
    for word in words:
        assert word in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_wrong_usage_of_replay(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Speaks in its own name; the input is never written over."""
    before = dump.read_bytes()
    for arguments, word in (
        (["decode"], "FILE"),
        (["decode", "--strct", "x"], "--strict"),
        (["decode", str(dump), "-o", str(dump)], "same file"),
    ):
        assert run_replay(arguments) == ExitCode.USAGE
        err = capsys.readouterr().err
        assert err.startswith("xtcp-replay: ")
        assert word in err
    assert run(["once", "--from", str(dump), "-o", str(dump)]) == ExitCode.USAGE
    assert dump.read_bytes() == before


def test_one_file_of_two_names(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A link of either kind is no other file; one that leads nowhere is told like any that is not there."""
    before = dump.read_bytes()
    for name, link in (("hard.bin", Path.hardlink_to), ("soft.bin", Path.symlink_to)):
        other = dump.with_name(name)
        link(other, dump)
        assert run_replay(["decode", str(dump), "-o", str(other)]) == ExitCode.USAGE
        assert "same file" in capsys.readouterr().err
    loop = dump.with_name("loop")
    loop.symlink_to(loop)
    assert run_replay(["convert", str(loop), str(dump.with_name("new.pcap"))]) == ExitCode.USAGE
    assert "Too many levels" in capsys.readouterr().err
    assert dump.read_bytes() == before


def test_wrong_usage_of_a_process() -> None:
    """The same through the installed entry: what comes back to the shell."""
    three_parts(xtcp("once", "--columns", "tcpi_rt"), ExitCode.USAGE, "Did you mean", "tcpi_rtt")


@pytest.mark.parametrize("program", [run, run_replay], ids=["xtcp", "xtcp-replay"])
def test_no_arguments(program: object, capsys: pytest.CaptureFixture[str]) -> None:
    """Help on standard output, and exit 2, for nothing was done."""
    assert program([]) == ExitCode.USAGE  # type: ignore[operator]
    assert "commands:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (run, ["--help"]),
        (run, ["once", "--help"]),
        (run, ["query", "--help"]),
        (run, ["doctor", "--help"]),
        (run, ["columns", "--help"]),
        (run_replay, ["--help"]),
        (run_replay, ["decode", "--help"]),
    ],
)
def test_help_has_examples_that_parse(
    program: object, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every help ends with examples, and each of them names only options that exist."""
    assert program(arguments) == ExitCode.OK  # type: ignore[operator]
    text = capsys.readouterr().out
    examples = re.findall(r"^  (xtcp(?:-replay)? [a-z].*?)(?:   .*|\||$)", text.partition("examples:")[2], re.MULTILINE)
    if arguments[0] == "--help" and program is run_replay:
        assert "exit codes:" in text
        return
    assert examples
    for example in examples:
        for option in re.findall(r"--[a-z-]+", example):
            assert run([example.split()[1], "--help"]) == 0 or run_replay([example.split()[1], "--help"]) == 0
            assert option in capsys.readouterr().out


def test_every_exit_code_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The codes that `ExitCode` has, and no other."""
    for program in (run, run_replay):
        program(["--help"])
        table = capsys.readouterr().out.partition("exit codes:")[2]
        assert {int(n) for n in re.findall(r"(?:^| )(\d+)  \w", table, re.MULTILINE)} == set(ExitCode)


def test_help_loads_no_numpy_and_version() -> None:
    """`--help` is quick because nothing heavy is imported, scapy no more than numpy."""
    for finished in (
        xtcp("once", "--help", environment={"PYTHONPROFILEIMPORTTIME": "1"}),
        xtcp_replay("decode", "--help", environment={"PYTHONPROFILEIMPORTTIME": "1"}),
    ):
        imported = finished.stderr.decode()
        assert finished.returncode == 0
        assert "xtcp.cli.output" in imported
        for heavy in ("numpy", "scapy", "asyncio", "xtcp.decode"):
            assert heavy not in imported


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Both commands have the version of the distribution."""
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"xtcp {__version__}\n"
    assert run_replay(["--version"]) == 0
    assert capsys.readouterr().out == f"xtcp-replay {__version__}\n"
    assert sys.version_info >= (3, 11)
