"""The corpus: what its check finds, and that adding a capture is one command that leaves it whole."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pcaps import add as adding
from pcaps.add import Facts, add
from tests.replay.made import dump, pcap, saved
from tests.zoos import LITTLE, PCAPS
from xtcp.cli.command import run_command
from xtcp.errors import DamagedInput, ExitCode, UsageError
from xtcp_replay.cli.main import run
from xtcp_replay.judging.corpus import check_corpus, read_manifest, write_manifest

ZOO = LITTLE
KNOWN = Facts(shows="three sockets", kernel="6.6.44", architecture="x86_64")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A corpus of one small capture and its twin."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    add(Path(saved(tmp_path, pcap(dump((1, 2, 3))), "odd.pcap")), KNOWN, corpus=folder)
    return folder


def problems_of(folder: Path) -> list[str]:
    """What the check finds, a text a finding."""
    found = []
    for report in check_corpus(folder):
        found += [f"{report.path.relative_to(folder)}: {problem}" for problem in report.problems]
        found += map(str, report.verdict.differences if report.verdict else ())
    return found


def test_adding_is_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The zoo again: golden rows, ss's texts, twin and manifest rows are those that are in the corpus."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    row = add(ZOO, Facts(shows="one of everything"), corpus=folder)
    assert problems_of(folder) == []
    assert run(["golden", "check", "-q", str(folder)]) == ExitCode.OK
    kept = {r.file: r for r in read_manifest(PCAPS)}
    assert row.file == str(ZOO.relative_to(PCAPS))
    for made in read_manifest(folder):
        of_corpus = kept[made.file]
        assert replace(made, shows="", tool="", sha256="") == replace(of_corpus, shows="", tool="", sha256="")
        assert made.sha256 == of_corpus.sha256 or made.made_from
    there = {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()}
    assert {p.name for p in there} >= {"zoo.pcapng", "zoo.pcapng.golden.jsonl", "manifest.toml"}
    for path in there:
        ours, kept_there = (folder / path).read_text("latin-1"), (PCAPS / path).read_text("latin-1")
        if "golden" in path.name:
            assert ours == kept_there
        elif ".ss-" in path.name:  # another version of ss prints more
            assert len(ours.splitlines()) == len(kept_there.splitlines())
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_what_may_not_be_added(corpus: Path, tmp_path: Path) -> None:
    """The same file again, another of its name, a large one, one without a kernel, a damaged one: nothing changes."""
    before = {p: p.read_bytes() for p in corpus.rglob("*") if p.is_file()}
    same = Path(saved(tmp_path, pcap(dump((1, 2, 3))), "other.pcap"))
    with pytest.raises(UsageError, match=r"in the corpus already, as 6.6.44-x86_64/odd.pcap"):
        add(same, KNOWN, corpus=corpus)
    other = Path(saved(tmp_path, pcap(dump((7,))), "odd.pcap"))
    with pytest.raises(UsageError, match="is another file"):
        add(other, KNOWN, corpus=corpus)
    for facts, said in (
        (Facts(architecture="x86_64"), "--kernel-release"),
        (Facts(kernel="6.6.44"), "--architecture"),
        (replace(KNOWN, kernel="../6.6"), "--kernel-release"),
    ):
        with pytest.raises(UsageError) as error:
            add(other, facts, corpus=corpus)
        assert said in str(error.value)
    large = Path(saved(tmp_path, pcap([*dump((8,)), *dump(range(20_000))]), "large.pcap"))
    with pytest.raises(UsageError, match="1,500,000 at most"):
        add(large, KNOWN, corpus=corpus)
    cut = Path(saved(tmp_path, pcap(dump((1, 2)))[:-9], "cut.pcap"))
    with pytest.raises(DamagedInput, match="cut"):
        add(cut, KNOWN, corpus=corpus)
    assert {p: p.read_bytes() for p in corpus.rglob("*") if p.is_file()} == before
    assert add(cut, replace(KNOWN, damaged=True), corpus=corpus).damaged
    assert problems_of(corpus) == []


def test_a_capture_is_replaced(corpus: Path, tmp_path: Path) -> None:
    """Recording a kernel again leaves nothing of the older capture."""
    add(Path(saved(tmp_path, pcap([*dump((7,)), *dump((8,))]), "odd.pcap")), KNOWN, corpus=corpus, again=True)
    assert [row.rows for row in read_manifest(corpus)] == [2, 2]
    add(Path(saved(tmp_path, pcap(dump((9,))), "odd.pcap")), KNOWN, corpus=corpus, again=True)
    assert problems_of(corpus) == []
    assert len(read_manifest(corpus)) == 2
    assert len(list(corpus.rglob("*.ss-*.txt"))) <= 1


def test_the_command_to_add(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options by name, errors in three parts, and what to do next."""
    monkeypatch.setattr(adding, "add", lambda file, facts: add(file, facts, corpus=corpus))
    file = saved(tmp_path, pcap(dump((4, 5))), "new.pcap")
    assert run_command(adding.parser, [file]) == ExitCode.USAGE
    assert "Give --kernel-release" in capsys.readouterr().err
    options = [
        "--kernel-release",
        "6.6.44",
        "--architecture",
        "x86_64",
        "--shows",
        'a "quoted" thing',
        "--tool",
        "ours",
    ]
    assert run_command(adding.parser, [file, *options]) == ExitCode.OK
    assert "added 6.6.44-x86_64/new.pcap: 2 rows" in capsys.readouterr().err
    row = next(row for row in read_manifest(corpus) if row.file.endswith("/new.pcap") and not row.made_from)
    assert (row.shows, row.tool.split(";")[0], row.rows) == ('a "quoted" thing', "ours", 2)
    assert problems_of(corpus) == []


def test_what_the_check_finds(corpus: Path) -> None:
    """Each thing that can be wrong with a corpus is named, and by its file."""
    name = "6.6.44-x86_64/odd.pcap"
    twin = "6.6.44-x86_64/twin/odd.pcap"
    rows = read_manifest(corpus)
    assert problems_of(corpus) == []

    def found_with(*changed: object) -> str:
        write_manifest(corpus, list(changed))  # type: ignore[arg-type]
        text = "\n".join(problems_of(corpus))
        write_manifest(corpus, rows)
        return text

    original, twin_row = rows
    assert f"{twin}: it has no row" in found_with(original)
    assert f"{name}, is not in the manifest" in found_with(twin_row)
    assert f"{name}: it is not the file of the manifest" in found_with(replace(original, sha256="0"), twin_row)
    assert f"{name}: rows: the manifest says 4, the file 3" in found_with(replace(original, rows=4), twin_row)
    assert "byte order: the manifest says big, the file little" in found_with(
        replace(original, byte_order="big"), twin_row
    )
    assert "kernel: the manifest says 6.7, the file 6.6.44" in found_with(replace(original, kernel="6.7"), twin_row)
    assert "whole" in found_with(replace(original, damaged=True), twin_row)
    assert "golden file" in found_with(original, replace(twin_row, golden="x"))
    assert "no twin of" in found_with(original, replace(twin_row, byte_order="little"))
    assert "two rows" in found_with(original, original, twin_row)
    shutil.copyfile(corpus / name, corpus / "stray.bin")
    assert "stray.bin: it has no row" in found_with(*rows)
    (corpus / "stray.bin").rename(corpus / "x.golden.jsonl")
    assert "x.golden.jsonl: it is the golden file of no capture" in found_with(*rows)
    (corpus / "x.golden.jsonl").unlink()
    content = bytearray((corpus / twin).read_bytes())
    content[-40] ^= 1
    (corpus / twin).write_bytes(content)
    assert f"{twin}: it is not the file" in found_with(*rows)
    (corpus / twin).unlink()
    assert f"{twin}: it is in the manifest and not in the folder" in found_with(*rows)


def test_an_empty_corpus_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to check is no success; nor is a manifest that is no manifest."""
    manifest = tmp_path / "manifest.toml"
    for content in ("", "# nothing\n", "[[capture]]\nfile = 'x'\n", "capture = [", "[[capture]]\nshape = 1\n"):
        manifest.write_text(content)
        assert run(["golden", "check", str(tmp_path)]) == ExitCode.DAMAGED
        assert "manifest.toml" in capsys.readouterr().err
    with pytest.raises(DamagedInput, match="no capture"):
        list(check_corpus(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "content",
    ["capture = [3]", "[capture]\nfile = 'a'", "[[capture]]\nfile = 3", "[[capture]]\ndate = '2026-11-24'", "x"],
)
def test_a_manifest_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    """Exit code 3 and the manifest's name, whatever stands in it."""
    saved(tmp_path, pcap(dump((1,))), "odd.pcap")
    (tmp_path / "manifest.toml").write_text(content)
    assert run(["golden", "check", str(tmp_path)]) == ExitCode.DAMAGED
    err = capsys.readouterr().err
    assert "manifest.toml: " in err and "Traceback" not in err


def test_the_manifest_is_written_as_it_is_read(tmp_path: Path) -> None:
    """Texts with quotes and other letters, dates, flags."""
    row = read_manifest(PCAPS)[0]
    strange = replace(row, shows='"ü" \\ \t', date=dt.date(2020, 2, 29), damaged=True)
    write_manifest(tmp_path, [row, strange])
    assert read_manifest(tmp_path) == [row, strange]
