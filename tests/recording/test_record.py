"""`xtcp-replay record`: polls of this host; what is said where there is no netlink monitor; how it ends.

A real monitor is there only in kernels with nlmon; what stands on it is tested with packets made by hand.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.running import ENVIRONMENT, REPLAY, here, xtcp_replay
from tests.conftest import require_root
from tests.patience import patient
from tests.replay.made import cooked, done, request, row
from tests.rows import rows_by_dump
from xtcp.chunk import NATIVE
from xtcp.errors import ExitCode
from xtcp.sinks.capture_file import CaptureWriter, open_capture
from xtcp_replay.cli import record
from xtcp_replay.cli.main import run
from xtcp_replay.reading.opening import open_source
from xtcp_replay.recording.nlmon import Seen
from xtcp_replay.recording.rotation import Limits, Rotating

ONE_FILE = Limits()


def seen(netlink: bytes, family: int = 4) -> Seen:
    """A packet of a monitor."""
    return Seen(cooked(b"", family), netlink, len(netlink), time.time_ns(), family)


def until(count: int | None = None) -> record._Until:
    """Ends after so many packets, or with those there are."""
    return record._Until(argparse.Namespace(count=count, duration=None))


def files(path: Path, limits: Limits = ONE_FILE) -> Rotating[CaptureWriter]:
    """Captures at `path`."""
    return Rotating(str(path), lambda name: open_capture(name, hostname="h", netns="n"), limits)


def copied(packets: list[Seen], out: Rotating[CaptureWriter], count: int | None = None, **options: bool) -> int:
    """How many of `packets` went to `out`."""

    def given(stop: Callable[[], bool]) -> Iterator[Seen]:
        yield from packets

    with out:
        return record._copy(given, out, until(count), every_family=options.get("every_family", False))[0]


@pytest.mark.live
def test_polls_are_decoded_again(tmp_path: Path) -> None:
    """Two polls of this host, in a pcapng that names it; every dump is whole."""
    out = tmp_path / "a.pcapng"
    finished = xtcp_replay("record", out, "--via", "polls", "--count", "2", "--interval", "0.1")
    assert finished.returncode == 0, finished.stderr
    assert re.search(rb"2 polls, [\d,]+ sockets, ", finished.stderr)
    source = open_source(str(out))
    dumps = [chunk.context for chunk in source.chunks()]
    assert [context.dump for context in dumps] == [1, 2, 3, 4]
    assert {context.release for context in dumps} == {os.uname().release}
    assert (source.damage, source.notes) == ([], [])


@pytest.mark.live
def test_without_a_monitor_polls_take_its_place(tmp_path: Path) -> None:
    """Said on standard error; asked for by name it is an error instead, as it is for a command's messages."""
    out = tmp_path / "a.pcap"
    asked = xtcp_replay("record", out, "--via", "nlmon", "--count", "1", "--duration", "1")
    if asked.returncode == 0:
        pytest.skip("this kernel has nlmon, and this process may use it")
    assert asked.returncode in {ExitCode.UNAVAILABLE, ExitCode.PERMISSION, ExitCode.CONFIGURATION}
    assert b"--via polls" in asked.stderr or b"pip install" in asked.stderr
    assert not out.exists()
    commanded = xtcp_replay("record", out, "--run", "true")
    assert commanded.returncode == asked.returncode
    instead = xtcp_replay("record", out, "--count", "1")
    assert instead.returncode == 0
    assert b"Recording polls of our own instead" in instead.stderr
    assert out.stat().st_size > 24


@pytest.mark.root
def test_an_interface_that_is_no_monitor_is_refused(tmp_path: Path) -> None:
    """Its type is looked at before a file is made."""
    require_root()
    finished = xtcp_replay("record", tmp_path / "a.pcap", "--interface", "lo", "--count", "1")
    assert finished.returncode == ExitCode.USAGE
    assert b"lo is no netlink monitor" in finished.stderr
    missing = xtcp_replay("record", tmp_path / "a.pcap", "--interface", "none0", "--count", "1")
    assert missing.returncode == ExitCode.USAGE
    assert list(tmp_path.iterdir()) == []


@pytest.mark.live
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_well_when_told(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM are how a recording ends: exit code 0, a summary, a whole file."""
    out = tmp_path / "a.pcapng"
    command = [*REPLAY, "record", str(out), "--via", "polls", "--interval", "0.1"]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert b"Ctrl-C ends" in process.stderr.readline()
        time.sleep(0.3)
        process.send_signal(number)
        said = process.stderr.read()
        assert process.wait(patient(10)) == 0, said
    assert b" polls, " in said or b"1 poll, " in said
    source = open_source(str(out))
    assert rows_by_dump(source.chunks()) is not None
    assert source.damage == []


@pytest.mark.live
def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    """Exit code 75, and what to do."""
    out = tmp_path / "full.pcap"
    out.symlink_to("/dev/full")
    finished = xtcp_replay("record", out, "--via", "polls", "--count", "1")
    assert finished.returncode == ExitCode.TEMPORARY
    assert b"No space left" in finished.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("a.txt", "--via", "polls", "--count", "1"),
        ("a.pcap", "--keep", "3"),
        ("a.pcap", "--via", "polls", "--run", "true"),
        ("a.pcap", "--run"),
        ("a.pcap", "--via", "polls", "--all-families"),
        ("a.pcap", "--via", "nlmon", "--interval", "1"),
        ("a.pcap", "--duration", "soon"),
        ("a.pcap", "--rotate-size", "0"),
    ],
)
def test_wrong_usage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
    arguments: tuple[str, ...],
) -> None:
    """Options that contradict each other, or the file's name."""
    monkeypatch.chdir(tmp_path)
    finished = here(run, capsysbinary, "record", *arguments)
    assert finished.returncode == ExitCode.USAGE and finished.stderr
    assert list(tmp_path.iterdir()) == []


def test_other_families_are_left_out(tmp_path: Path) -> None:
    """Unless they are asked for."""
    packets = [seen(request(order=NATIVE)), seen(b"route....", 0), seen(row(1, order=NATIVE) + done(order=NATIVE))]
    assert copied(packets, files(tmp_path / "a.pcap")) == 2
    assert copied(packets, files(tmp_path / "b.pcap"), every_family=True) == 3
    assert copied(packets, files(tmp_path / "c.pcap"), count=1) == 1
    source = open_source(str(tmp_path / "b.pcap"))
    (dump,) = rows_by_dump(source.chunks())
    assert [r["idiag_cookie"] for r in dump] == [1]


def test_files_end_between_dumps(tmp_path: Path) -> None:
    """Each file holds whole dumps, from request to NLMSG_DONE."""
    poll = [seen(request(order=NATIVE)), seen(row(1, order=NATIVE)), seen(done(order=NATIVE))]
    assert copied(poll * 4, files(tmp_path / "a.pcapng", Limits(size=150))) == 12
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) > 1
    for name in names:
        source = open_source(str(tmp_path / name))
        assert rows_by_dump(source.chunks())
        assert (source.damage, source.notes) == ([], [])
