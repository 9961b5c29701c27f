"""The matrix on the outside: captures are merged by folder, and only those of a guest where everything holds."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path

import pytest

from qemu.examine import CORPUS, RESULT, examine
from qemu.kernel_table import FAILED, VERIFIED, KernelRow, read, write
from qemu.kernels import examined, main, merge, remove
from tests.conftest import ROOT, require_root
from xtcp_replay.cli.main import run
from xtcp_replay.judging.corpus import read_manifest, write_manifest

PCAPS = ROOT / "pcaps"
GOOD = next(row for row in read(PCAPS / "kernels.toml") if row.guest.startswith("here:6.18"))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A corpus of one folder, that of the kernel 6.18."""
    made = tmp_path / "corpus"
    made.mkdir()
    merge(PCAPS, made, GOOD.folder)
    return made


def test_merged_is_what_was_there(corpus: Path) -> None:
    """Files and rows; a second time it is the same; nothing else is in the folder."""
    rows = [row for row in read_manifest(PCAPS) if row.file.startswith(GOOD.folder)]
    assert read_manifest(corpus) == rows
    assert run(["golden", "check", "--quiet", str(corpus)]) == 0
    (corpus / GOOD.folder / "old.txt").write_text("of an earlier run")
    merge(PCAPS, corpus, GOOD.folder)
    assert read_manifest(corpus) == rows
    assert sorted(path.name for path in corpus.iterdir()) == [GOOD.folder, "manifest.toml"]
    assert not (corpus / GOOD.folder / "old.txt").exists()


def test_removed_is_gone(corpus: Path) -> None:
    """Files and rows of that folder, and no other's."""
    other = corpus / f"{GOOD.folder}-too"
    shutil.copytree(corpus / GOOD.folder, other)
    remove(corpus, GOOD.folder)
    assert read_manifest(corpus) == []
    assert [path.name for path in corpus.iterdir() if path.is_dir()] == [other.name]


def out_of(corpus: Path, name: str, **changes: object) -> Path:
    """What comes out of a guest."""
    out = corpus.parent / name
    shutil.copytree(corpus, out / CORPUS)
    said = {member: value for member, value in vars_of(GOOD).items() if value} | changes
    (out / RESULT).write_text(json.dumps(said))
    return out


def vars_of(row: KernelRow) -> dict[str, object]:
    """The members, as JSON has them."""
    return {name: value.isoformat() if isinstance(value, dt.date) else value for name, value in row.__dict__.items()}


def guest_that_leaves(monkeypatch: pytest.MonkeyPatch, left: Path, code: int) -> None:
    """The next guest ends with `code` and leaves those files."""

    def examine(_name: str, _limit_s: int, out: Path) -> int:
        shutil.copytree(left, out, dirs_exist_ok=True)
        return code

    monkeypatch.setattr("qemu.kernels._examine", examine)


def test_a_good_guest_replaces_its_earlier_folder(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its new captures are in the corpus, those of the kernel that it had before are not."""
    left = out_of(corpus, "out")
    pcaps = corpus.parent / "pcaps"
    pcaps.mkdir()
    merge(corpus, pcaps, GOOD.folder)
    old = pcaps / "6.0-x86_64"
    (pcaps / GOOD.folder).rename(old)
    moved = [r.__class__(**{**r.__dict__, "file": r.file.replace(GOOD.folder, old.name)}) for r in read_manifest(pcaps)]
    write_manifest(pcaps, moved)
    write(pcaps / "kernels.toml", [KernelRow("s390x:forky", VERIFIED, GOOD.date, folder=old.name)])
    guest_that_leaves(monkeypatch, left, 0)
    row = examined("s390x:forky", 10, pcaps)
    assert (row.outcome, row.guest, row.folder) == (VERIFIED, "s390x:forky", GOOD.folder)
    assert {r.file.partition("/")[0] for r in read_manifest(pcaps)} == {GOOD.folder}
    assert not old.exists()


@pytest.mark.parametrize("fault", ["capture", "golden", "result", "code"])
def test_nothing_of_a_bad_guest_is_merged(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A changed capture, a changed golden value, no result, an exit code that says otherwise: the row says FAILED."""
    left = out_of(corpus, "out")
    zoo = left / CORPUS / GOOD.folder / "zoo.pcapng"
    golden = zoo.with_name("zoo.pcapng.golden.jsonl")
    if fault == "capture":
        zoo.write_bytes(zoo.read_bytes()[:-100])
    elif fault == "golden":
        text = golden.read_text()
        assert '"tcpi_advmss":' in text
        golden.write_text(text.replace('"tcpi_advmss":', '"tcpi_advmss":1', 1))
    elif fault == "result":
        (left / RESULT).unlink()
    pcaps = corpus.parent / "pcaps"
    pcaps.mkdir()
    write(pcaps / "kernels.toml", [KernelRow("s390x:forky", VERIFIED, GOOD.date, folder="6.0-x86_64")])
    guest_that_leaves(monkeypatch, left, 1 if fault == "code" else 0)
    row = examined("s390x:forky", 10, pcaps)
    assert (row.outcome, row.folder) == (FAILED, "6.0-x86_64")
    assert row.why
    assert row.why in capsys.readouterr().err or fault in {"capture", "golden"}
    assert [path.name for path in pcaps.iterdir()] == ["kernels.toml"]


def test_a_machine_without_qemu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """qemu.boot itself ends with an exit code and a reason: both are in the row, its last lines on standard error."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    row = examined("s390x:bookworm", 10, tmp_path)
    assert row.outcome == FAILED
    assert row.why.startswith("exit code 78: ")
    assert "Its last lines:" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_guest_that_does_not_exist() -> None:
    """Is told before anything is booted."""
    assert main(["s390x:bookwurm"]) == 2


@pytest.mark.live
@pytest.mark.root
def test_examine_this_kernel(tmp_path: Path) -> None:
    """What each guest does, here: two dumps with every witness, and a result that says so."""
    require_root()
    assert examine(tmp_path) == 0
    said = json.loads((tmp_path / RESULT).read_text())
    assert said["outcome"] == VERIFIED
    assert said["sockets"] > 150
    assert said["values"] > 50_000
    assert run(["golden", "check", "--quiet", str(tmp_path / CORPUS)]) == 0
