"""`xtcp-replay scrub` as a user runs it: the copy, what is said of it, the key, refusals."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest

from tests.replay.made import done, pcap, request, row, saved
from tests.replay.packed import zstandard
from tests.rewriting.scrubbing import scrubbed
from xtcp.errors import ExitCode
from xtcp_replay.cli.main import run
from xtcp_replay.rewriting.pseudonyms import Pseudonyms, make_key

CONTENT = pcap([request(), row(1 << 40) + row(2 << 40), done()])
SECRET = b"a secret of more than sixteen bytes"


@pytest.fixture
def original(tmp_path: Path) -> str:
    """A small capture."""
    return saved(tmp_path, CONTENT)


@pytest.fixture
def key(tmp_path: Path) -> str:
    """A key file."""
    return saved(tmp_path, SECRET + b"\n", "scrub.key")


def test_one_key_file_gives_one_copy(original: str, key: str, tmp_path: Path) -> None:
    """The same names each time, those of the secret without its line end; without a key file other ones each time."""
    for name in ("a.pcap", "b.pcap"):
        assert run(["scrub", original, str(tmp_path / name), "--key-file", key]) == ExitCode.OK
        assert run(["scrub", original, str(tmp_path / f"random-{name}")]) == ExitCode.OK
    expected = scrubbed(CONTENT, Pseudonyms(make_key(SECRET)))
    assert (tmp_path / "a.pcap").read_bytes() == (tmp_path / "b.pcap").read_bytes() == expected
    assert (tmp_path / "random-a.pcap").read_bytes() != (tmp_path / "random-b.pcap").read_bytes()


def test_what_is_said(original: str, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts by kind, what stays and where the key is, on standard error; nothing with --quiet, and never on stdout."""
    assert run(["scrub", original, str(tmp_path / "a.pcap")]) == ExitCode.OK
    said = capsys.readouterr()
    assert said.out == ""
    assert "replaced: cookies 2, netlink port ids 3" in said.err
    assert "left out: nothing" in said.err
    for word in ("times", "ports below 32768", "marks", "class ids", "kernel release"):
        assert word in said.err
    assert "random and is forgotten" in said.err
    assert run(["scrub", original, str(tmp_path / "a.pcap"), "-q", "--key-file", key]) == ExitCode.OK
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("ending", "unpack"), [(".gz", gzip.decompress), (".xz", lzma.decompress), (".zst", None)])
def test_compressed(ending: str, unpack: object, original: str, key: str, tmp_path: Path) -> None:
    """The name of the copy says how it is compressed; that of the original is found by content."""
    if ending == ".zst":
        zstandard()
    packed, again = str(tmp_path / f"clean.pcap{ending}"), str(tmp_path / "twice.pcap")
    assert run(["scrub", original, packed, "-q", "--key-file", key]) == ExitCode.OK
    once = scrubbed(CONTENT, Pseudonyms(make_key(SECRET)))
    if unpack is not None:
        assert unpack(Path(packed).read_bytes()) == once  # type: ignore[operator]
    assert run(["scrub", packed, again, "-q", "--key-file", key]) == ExitCode.OK
    assert Path(again).read_bytes() == scrubbed(once, Pseudonyms(make_key(SECRET)))


def test_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is whole is copied and the exit code is 3; with --strict nothing is, and nothing stays behind."""
    cut, copy = saved(tmp_path, CONTENT[:-4], "cut.pcap"), tmp_path / "clean" / "copy.pcap"
    copy.parent.mkdir()
    assert run(["scrub", cut, str(copy), "--strict"]) == ExitCode.DAMAGED
    assert "With --strict" in capsys.readouterr().err
    assert list(copy.parent.iterdir()) == []
    copy.write_bytes(b"an older copy")
    assert run(["scrub", cut, str(copy), "--strict"]) == ExitCode.DAMAGED
    assert copy.read_bytes() == b"an older copy"
    assert run(["scrub", cut, str(copy)]) == ExitCode.DAMAGED
    assert "warning: the file is cut in a packet" in capsys.readouterr().err
    assert len(copy.read_bytes()) == len(CONTENT) - 4
    assert list(copy.parent.iterdir()) == [copy]


def test_a_side_car(original: str, tmp_path: Path) -> None:
    """What stands beside the original is beside the copy too: the kernel as it is, names as pseudonyms."""
    Path(original + ".toml").write_text('kernel_release = "6.18.1"\nhostname = "edge7"\ncomment = "at edge7"\n')
    copy = tmp_path / "copy.pcap"
    assert run(["scrub", original, str(copy)]) == ExitCode.OK
    beside = Path(f"{copy}.toml").read_text()
    assert 'kernel_release = "6.18.1"\n' in beside
    assert 'hostname = "host-' in beside
    assert "edge7" not in beside


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{in}", "{in}"], ExitCode.USAGE, "same file"),
        (["{in}", "{key}", "--key-file", "{key}"], ExitCode.USAGE, "same file"),
        (["{in}", "-"], ExitCode.USAGE, "OUT is the name of a file"),
        (["{in}", "{dir}"], ExitCode.USAGE, "Is a directory"),
        (["{in}", "{dir}/none/copy.pcap"], ExitCode.USAGE, "No such file"),
        (["{in}", "{dir}/copy.pcapng"], ExitCode.USAGE, "would be a pcap"),
        (["{in}", "{dir}/copy.pcapng.gz"], ExitCode.USAGE, "would be a pcap"),
        (["{in}", "{dir}/copy.pcap", "--key-file", "{dir}/none"], ExitCode.USAGE, "No such file"),
        (["{in}", "{dir}/copy.pcap", "--key-file", "{short}"], ExitCode.USAGE, "16 bytes or more"),
        (["{in}", "{dir}/copy.pcap", "--key-file", "{zeros}"], ExitCode.USAGE, "16 bytes or more"),
        (["{in}", "{dir}/copy.pcap", "--key-file", "/dev/zero"], ExitCode.USAGE, "more than 1,048,576 bytes"),
        (["{in}", "{dir}/copy.pcap", "--client-ports-from", "0"], ExitCode.USAGE, "no port from 1 to 65535"),
        (["{in}", "{dir}/copy.pcap", "--host", "edge7"], ExitCode.USAGE, "--host"),
        (["{short}", "{dir}/copy"], ExitCode.DAMAGED, "text file"),
    ],
)
def test_refusals(
    arguments: list[str],
    code: ExitCode,
    words: str,
    original: str,
    key: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each says what is wrong, with its exit code; the original and the key are as they were, no copy is there."""
    short = saved(tmp_path, b"fifteen bytes !\n", "short.key")
    zeros = saved(tmp_path, bytes(64), "zeros.key")
    names = {"in": original, "key": key, "dir": str(tmp_path), "short": short, "zeros": zeros}
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert run(["scrub", *(argument.format(**names) for argument in arguments)]) == code
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_standard_input(key: str, original: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture from a pipe is read once."""
    copy = tmp_path / "copy.pcap"
    with Path(original).open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert run(["scrub", "-", str(copy), "-q", "--key-file", key]) == ExitCode.OK
    assert copy.read_bytes() == scrubbed(CONTENT, Pseudonyms(make_key(SECRET)))


def test_a_link_and_a_device(original: str, tmp_path: Path) -> None:
    """Through a link the file it names is written; a device is written as it stands, never replaced."""
    target, link = tmp_path / "target.pcap", tmp_path / "link.pcap"
    link.symlink_to(target)
    assert run(["scrub", original, str(link), "-q"]) == ExitCode.OK
    assert link.is_symlink()
    assert len(target.read_bytes()) == len(CONTENT)
    assert run(["scrub", original, "/dev/null", "-q"]) == ExitCode.OK
    assert Path("/dev/null").is_char_device()
