"""The side-car of a capture: what it says, what stands above what, and every way to write it wrongly."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.cli.running import here
from tests.replay.made import done, option, pcapng, request, row, saved
from tests.replay.packed import PACK
from xtcp.errors import ConfigurationError, ExitCode
from xtcp_replay.cli.main import run
from xtcp_replay.reading.opening import Told, open_source
from xtcp_replay.reading.sidecar import with_sidecar

WHOLE = """\
kernel_release = "7.0.3"
byte_order = "little"
hostname = "edge7"
netns = "blue"
comment = "after the upgrade"
"""


def capture(folder: Path, beside: str, name: str = "a.pcapng") -> str:
    """The path of a capture whose section names kernel 6.1.7 and host `file`, with a side-car of `beside`."""
    ours = option("<", 3, b"Linux 6.1.7") + option("<", 4, b"xtcp 1") + option("<", 1, b"host: file")
    path = saved(folder, pcapng(options=ours), name)
    Path(path + ".toml").write_text(beside)
    return path


def test_what_it_says(tmp_path: Path) -> None:
    """All of its keys reach the rows' context; what it leaves out is the file's own."""
    (chunk,) = open_source(capture(tmp_path, WHOLE)).chunks()
    context = chunk.context
    assert (context.kernel, context.hostname, context.netns, context.order) == ((7, 0), "edge7", "blue", "<")
    (chunk,) = open_source(capture(tmp_path, 'netns = "blue"')).chunks()
    assert (chunk.context.kernel, chunk.context.hostname, chunk.context.netns) == ((6, 1), "file", "blue")


def test_an_option_stands_above_it(tmp_path: Path) -> None:
    """Option, side-car, file, in this order."""
    path = capture(tmp_path, WHOLE)
    (chunk,) = open_source(path, Told(release="6.6.1", hostname="option")).chunks()
    assert (chunk.context.kernel, chunk.context.hostname, chunk.context.netns) == ((6, 6), "option", "blue")
    assert with_sidecar(path, Told(order=">")).order == ">"
    assert with_sidecar(path, Told()) == Told("<", "7.0.3", "edge7", "blue")


def test_of_a_raw_dump_and_of_a_compressed_file(tmp_path: Path) -> None:
    """It stands beside the file as it is named, and says what a raw dump never can."""
    content = b"".join((request(order=">"), row(1, order=">"), done(order=">")))
    path = saved(tmp_path, PACK["gzip"](content), "dump.gz")
    Path(path + ".toml").write_text('byte_order = "big"\nhostname = "s390"\nkernel_release = "6.1.0-50-s390x"\n')
    (chunk,) = open_source(path).chunks()
    assert (chunk.context.order, chunk.context.hostname, chunk.context.kernel) == (">", "s390", (6, 1))


def test_standard_input_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file named `-.toml` says nothing about a pipe."""
    monkeypatch.chdir(tmp_path)
    path = capture(tmp_path, WHOLE)
    Path("-.toml").write_text(WHOLE)
    with Path(path).open("rb") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        (chunk,) = open_source("-").chunks()
    assert chunk.context.hostname == "file"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("kernel = '6.1'", "no key 'kernel'"),
        ("kernel_release = 6.1", "kernel_release is not a text"),
        ("kernel_release = 'new'", "'new'; it is what uname -r prints"),
        ("byte_order = 'middle'", "'middle', not little or big"),
        ("hostname = ''", "hostname is not a text"),
        ("hostname = ['a']", "hostname is not a text"),
        ("hostname = a", "no TOML"),
        ("a" * 70_000, "more than 64 KiB"),
        ("x = " + "[" * 5000, "no TOML"),
    ],
)
def test_written_wrongly(tmp_path: Path, content: str, said: str) -> None:
    """File and key are named, before a row is read; exit 78."""
    path = capture(tmp_path, content)
    with pytest.raises(ConfigurationError) as caught:
        list(open_source(path).chunks())
    assert f"{path}.toml" in caught.value.what and said in caught.value.what
    assert "kernel_release" in caught.value.to_do


def test_not_utf8_and_not_readable(tmp_path: Path) -> None:
    """Errors of ours as well; a folder of that name is none."""
    path = capture(tmp_path, "")
    beside = Path(path + ".toml")
    beside.write_bytes(b'hostname = "\xff"')
    with pytest.raises(ConfigurationError):
        with_sidecar(path, Told())
    beside.unlink()
    beside.mkdir()
    assert with_sidecar(path, Told()) == Told()


def test_a_command_says_it(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Three parts, exit 78, no row; --host stands above the side-car in the rows."""
    path = capture(tmp_path, "hostnam = 'x'")
    finished = here(run, capsysbinary, "decode", path, "--format", "json")
    assert (finished.returncode, finished.stdout) == (ExitCode.CONFIGURATION, b"")
    assert b"no key 'hostnam'" in finished.stderr
    Path(path + ".toml").write_text(WHOLE)
    host = f"{os.path.basename(path)}=mine"  # noqa: PTH119
    finished = here(run, capsysbinary, "decode", path, "--format", "json", "--host", host)
    assert finished.stdout.count(b'"hostname":"mine"') == 2
