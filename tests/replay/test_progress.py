"""The progress bar: on a terminal only, late, and nothing of it stays."""

from __future__ import annotations

import argparse
import io
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.running import ENVIRONMENT, REPLAY
from tests.patience import patient
from tests.replay.made import pcap, row, saved
from xtcp_replay.cli import progress as progress_module
from xtcp_replay.cli.progress import Progress, progress


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def drawn(size: int | None, steps: list[tuple[float, int]], name: str = "a.pcap") -> io.StringIO:
    """What is written while `steps` of (seconds, bytes) are told."""
    stream, clock = io.StringIO(), Clock()
    bar = Progress(name, size, stream, clock=clock)
    bar.begin()
    for seconds, read in steps:
        clock.now = 100.0 + seconds
        bar(read)
    bar.end()
    return stream


def screen(text: str) -> list[str]:
    """The lines that a terminal shows after `text`."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        cells: list[str] = []
        column = 0
        for char in line:
            if char == "\r":
                column = 0
                continue
            cells[column:] = [char, *cells[column + 1 :]]
            column += 1
        lines.append("".join(cells).rstrip())
    return lines


def test_nothing_for_half_a_second() -> None:
    """Short work shows none, and writes nothing to erase it."""
    assert drawn(10 << 20, [(0.1 * n, n << 20) for n in range(5)]).getvalue() == ""


def test_share_rate_and_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file of 400 MiB half in two seconds: 100 MiB/s, two seconds left; erased at the end."""
    monkeypatch.setenv("COLUMNS", "100")
    text = drawn(400 << 20, [(2, 200 << 20)]).getvalue()
    first, *_ = re.split(r"(?<=left)\s*\r", text)
    assert first.startswith("\ra.pcap  [")
    assert 10 <= first.count("#") <= first.count("-") <= first.count("#") + 1
    assert first.endswith("  50%  200.0 MiB of 400.0 MiB  100.0 MiB/s  0:02 left")
    assert screen(text) == [""]
    assert "\x1b" not in text and text.endswith("\r")


def test_without_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe: counts and rate only."""
    monkeypatch.setenv("COLUMNS", "100")
    assert drawn(None, [(2, 3 << 20)]).getvalue().startswith("\ra.pcap  3.0 MiB  1.5 MiB/s")


def test_ten_times_a_second_and_no_more() -> None:
    """However often it is told."""
    text = drawn(1 << 40, [(n / 1000, n << 20) for n in range(2000)]).getvalue()
    assert 14 <= text.count("left") <= 16


@pytest.mark.parametrize("columns", [1, 10, 40, 60, 80, 200])
def test_never_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """A line that wraps could not be erased; odd names and sizes that lie too."""
    monkeypatch.setenv("COLUMNS", str(columns))
    for size in (0, 1, 10 << 40):
        text = drawn(size, [(1, 1 << 20), (100_000, 9 << 40)], "name" * 20).getvalue()
        assert max(len(piece) for piece in text.split("\r")) < max(columns, 2)
        assert screen(text) == [""]


def arguments(**given: object) -> argparse.Namespace:
    """What `progress` looks at."""
    return argparse.Namespace(**({"verb": "info", "quiet": False, "no_progress": False} | given))


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def test_when_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only on a terminal, not when it was declined, not where rows may go to the same terminal."""
    path = saved(tmp_path, b"")
    assert progress(arguments(), path) is None
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert progress(arguments(), path) is not None
    assert progress(arguments(quiet=True), path) is None
    assert progress(arguments(no_progress=True), path) is None
    rows = arguments(verb="decode", output="-", format="json")
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert progress(rows, path) is None
    assert progress(arguments(), path) is not None
    assert progress(arguments(verb="decode", output="-", format="null"), path) is not None
    assert progress(arguments(verb="decode", output="o.json", format="json"), path) is not None
    for target, wanted in ((str(tmp_path / "out"), True), (os.devnull, True)):
        with Path(target).open("w") as stdout:
            monkeypatch.setattr(sys, "stdout", stdout)
            assert (progress(rows, path) is not None) == wanted
    monkeypatch.setenv("TERM", "dumb")
    assert progress(arguments(), path) is None
    monkeypatch.setattr(sys, "stderr", None)
    assert progress(arguments(), path) is None


def test_a_stream_that_goes_away() -> None:
    """A terminal that was closed ends the drawing, not the work."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError

    bar = Progress("a", 1, Gone(), clock=(clock := Clock()))
    clock.now += 9
    bar(1)
    bar.end()


SLOW = """\
import sys, time
from xtcp_replay.cli import progress
from xtcp_replay.__main__ import main
progress.AFTER_S = progress.EVERY_S = 0.0
if {interrupt}:
    inner = progress.Progress.__call__
    def call(self, read):
        inner(self, read)
        raise KeyboardInterrupt
    progress.Progress.__call__ = call
sys.argv[0] = "xtcp-replay"
main()
"""


def on_terminal(*command: str | Path, stdout: int | None = None) -> tuple[int, str]:
    """Runs a command whose standard error (and output, unless given) is a terminal; what it wrote there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        stdout=theirs if stdout is None else stdout,
        stderr=theirs,
        env={**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    text = b""
    deadline = time.monotonic() + patient(30)
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                break
            text += piece
    os.close(ours)
    return process.wait(patient(10)), text.decode()


@pytest.fixture
def large(tmp_path: Path) -> str:
    """A capture of some MiB."""
    rows = b"".join(row(c) for c in range(1, 301))
    return saved(tmp_path, pcap([rows] * 100))


def test_on_a_real_terminal(large: str) -> None:
    """The bar is drawn, and what stays on the screen is the summary alone."""
    code, text = on_terminal(sys.executable, "-c", SLOW.format(interrupt=False), "decode", large, "--format", "null")
    assert code == 0
    assert re.search(r"made\.pcap  \[#+-*\] +\d+%  \d\.\d MiB of 2\.5 MiB  [\d,.]+ MiB/s  \d:\d\d left", text)
    assert "\x1b" not in text
    assert not any("MiB" in line for line in screen(text))
    assert "sockets of" in screen(text)[0]
    code, plain = on_terminal(*REPLAY, "decode", large, "--format", "null", "--no-progress")
    assert screen(text) == screen(plain)


def test_an_interruption_leaves_no_half_line(large: str) -> None:
    """The last line is the word alone, exit 130."""
    code, text = on_terminal(sys.executable, "-c", SLOW.format(interrupt=True), "decode", large, "--format", "null")
    assert (code, screen(text)) == (130, ["interrupted", ""])
    assert "MiB" in text


def test_rows_to_the_terminal_have_none(large: str) -> None:
    """Nor does quiet work, or standard error that is a pipe."""
    script = SLOW.format(interrupt=False)
    code, text = on_terminal(sys.executable, "-c", script, "decode", large, "--columns", "idiag_state")
    assert code == 0 and "MiB" not in text
    code, text = on_terminal(sys.executable, "-c", script, "decode", large, "--format", "null", "--quiet")
    assert (code, text) == (0, "")
    finished = subprocess.run(
        [sys.executable, "-c", script, "decode", large, "--format", "null"],
        env=ENVIRONMENT,
        capture_output=True,
        check=True,
    )
    assert b"MiB" not in finished.stderr and b"\r" not in finished.stderr


def test_times_of_day() -> None:
    """Minutes and seconds, hours where there are any."""
    assert [progress_module._clock_time(s) for s in (0, 59.9, 61, 3600, 100_000)] == [
        "0:00",
        "0:59",
        "1:01",
        "1:00:00",
        "27:46:40",
    ]
