"""The command `xtcp-replay`: rows on standard output, the rest on standard error, exit codes, a quick --help."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.replay.made import (
    MULTI,
    cooked,
    done,
    dump,
    enhanced,
    interface,
    option,
    pcap,
    pcap_header,
    record,
    request,
    row,
    saved,
    section,
)
from tests.zoos import LITTLE
from xtcp.errors import ExitCode
from xtcp_replay.cli.main import run

TWICE = [*dump((1, 2, 2)), *dump((2, 3), family=10)]


def test_rows_of_all_dumps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Duplicates go only within a dump; the columns dump and timestamp_ns are there; stdout holds rows alone."""
    assert run(["decode", saved(tmp_path, pcap(TWICE)), "--format", "json"]) == ExitCode.OK
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert sorted((r["dump"], r["idiag_cookie"]) for r in rows) == [(1, 1), (1, 2), (2, 2), (2, 3)]
    assert all("timestamp_ns" in r and "tcpi_rtt" not in r for r in rows)
    assert "4 sockets of 2 dumps" in err and "1 duplicates removed" in err


def test_csv_and_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same options as `xtcp once`."""
    assert run(["decode", saved(tmp_path, pcap(TWICE)), "--format", "csv", "--columns", "dump,idiag_cookie", "-q"]) == 0
    out, err = capsys.readouterr()
    rows = list(csv.reader(out.splitlines()))
    assert rows[0] == ["dump", "idiag_cookie"]
    assert len(rows) == 5
    assert err == ""


def test_what_a_pcapng_says_of_its_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Host and namespace are columns."""
    told = option("<", 1, b"host: edge7") + option("<", 4, b"xtcp 0.1.0")
    content = section(options=told) + interface(options=option("<", 2, b"blue"))
    content += b"".join(enhanced(cooked(d)) for d in dump((1,)))
    assert run(["decode", saved(tmp_path, content, "a.pcapng"), "--format", "json"]) == 0
    row_ = json.loads(capsys.readouterr().out)
    assert (row_["hostname"], row_["netns"]) == ("edge7", "blue")


def test_damage_is_exit_3_and_strict_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole messages of a cut file are rows and the cut a warning; with --strict there is no row at all."""
    path = saved(tmp_path, pcap(TWICE)[:-30])
    assert run(["decode", path, "--format", "json"]) == ExitCode.DAMAGED
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert "warning: the file is cut in a packet" in err
    assert run(["decode", path, "--format", "json", "--strict"]) == ExitCode.DAMAGED
    out, err = capsys.readouterr()
    assert out == ""
    assert "cut" in err


def test_snaplen_is_exit_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A capture cut by its snaplen is not the whole truth."""
    packet = cooked(row(1) + row(2))
    content = pcap_header() + record(packet[:110], wirelen=len(packet))
    assert run(["decode", saved(tmp_path, content), "--format", "null"]) == ExitCode.DAMAGED
    assert "-s 0" in capsys.readouterr().err


def test_several_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Dumps are numbered on, requests without a reply too; the summary says whose they are, notes name their file."""
    first = saved(tmp_path, pcap([*TWICE, request(seq=9)]), "first.pcap")
    second = saved(tmp_path, row(7) + done() + row(8) + done(), "second.bin")
    third = saved(tmp_path, pcap([row(9)]), "third.pcap")
    assert run(["decode", first, second, third, "--format", "json"]) == ExitCode.OK
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(r["dump"], r["idiag_cookie"]) for r in rows] == [(1, 1), (1, 2), (2, 2), (2, 3), (4, 7), (5, 8), (6, 9)]
    assert f"{first}: dumps 1 to 3\n" in err and f"{second}: dumps 4 to 5\n" in err and f"{third}: dump 6\n" in err
    assert f"note: {first}: requests without a reply in the capture (dump 3)." in err
    assert run(["decode", first, second, third, "--format", "json", "--dump", "4-5", "-q"]) == ExitCode.OK
    out, err = capsys.readouterr()
    assert [json.loads(line)["idiag_cookie"] for line in out.splitlines()] == [7, 8]
    assert err == ""


def test_one_of_several_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Is damage: the others' rows come, the exit code is 3. What is not there is told before anything is read."""
    good, text = saved(tmp_path, pcap(TWICE), "good.pcap"), saved(tmp_path, b"hello\n", "text")
    assert run(["decode", text, good, "--format", "json"]) == ExitCode.DAMAGED
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert "text is a text file" in err and f"{text}: no dump" in err and f"{good}: dumps 1 to 2" in err
    for wrong in ([good, str(tmp_path / "none")], ["-", "-"], [good, str(tmp_path)]):
        assert run(["decode", *wrong, "--format", "json"]) == ExitCode.USAGE
        assert capsys.readouterr().out == ""
    assert run(["decode", good, text, "--format", "json", "--strict"]) == ExitCode.DAMAGED
    assert capsys.readouterr().out == ""


def test_another_file_is_exit_3_without_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three parts on standard error."""
    assert run(["decode", saved(tmp_path, b"hello\n")]) == ExitCode.DAMAGED
    out, err = capsys.readouterr()
    assert out == ""
    assert "text file" in err and "modprobe nlmon" in err and "Traceback" not in err


def test_wrong_usage_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No file, no such file, an unknown column."""
    path = saved(tmp_path, pcap(TWICE))
    for arguments in (["decode"], ["decode", str(tmp_path / "none")], ["decode", path, "--columns", "tcpi_rt"]):
        assert run(arguments) == ExitCode.USAGE, arguments
    assert "Traceback" not in capsys.readouterr().err


def test_notes_are_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is whole but not known is a note, not a warning, and leaves the exit code alone."""
    assert run(["decode", saved(tmp_path, pcap([row(1, flags=MULTI)])), "--format", "null"]) == ExitCode.OK
    err = capsys.readouterr().err
    assert err.count("note: dumps whose request is not in the capture (dump 1).") == 1


def _process(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(ROOT / "agent"), str(ROOT / "replay")))
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_loads_neither_numpy_nor_scapy() -> None:
    """So it is quick; it shows examples and how to capture."""
    code = (
        "import sys; from xtcp_replay.cli.main import run; run(['decode', '--help']);"
        "print([m for m in sys.modules if m.split('.')[0] in ('numpy', 'scapy')])"
    )
    finished = _process("-c", code)
    assert finished.stdout.endswith("[]\n")
    assert "examples:" in finished.stdout


def test_only_as_much_of_scapy_as_needed(tmp_path: Path) -> None:
    """Decoding loads scapy.utils, and never scapy.all or a layer."""
    path = saved(tmp_path, pcap(TWICE))
    code = (
        f"import sys; from xtcp_replay.cli.main import run; run(['decode', {path!r}, '--format', 'null']);"
        "print(sorted(m for m in sys.modules if m.startswith('scapy')))"
    )
    finished = _process("-c", code)
    assert "'scapy.utils'" in finished.stdout
    assert "scapy.all" not in finished.stdout and "scapy.layers" not in finished.stdout


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    """`xtcp-replay decode FILE --format json | head -1`."""
    rows = [b"".join(row(1000 * i + j) for j in range(1, 301)) for i in range(200)]
    path = saved(tmp_path, pcap(rows))
    command = f"{sys.executable} -m xtcp_replay decode {path} --format json | head -1"
    finished = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "agent"), str(ROOT / "replay")))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0
    assert "Traceback" not in finished.stderr and len(finished.stdout.splitlines()) == 1


def test_without_scapy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the extra is missing the answer names it, exit code 78."""
    monkeypatch.setitem(sys.modules, "scapy.utils", None)
    capture = LITTLE
    assert run(["decode", str(capture)]) == 78
    said = capsys.readouterr()
    assert said.out == ""
    assert "xtcp[replay]" in said.err
    assert "Traceback" not in said.err
