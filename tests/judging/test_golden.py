"""Golden files: written and checked, and whatever is changed in a capture or in its golden file is found and named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.dumps import Plan
from tests.encoder import Item, Layout
from tests.patience import fewer
from tests.replay.made import done, dump, pcap, request, row, saved
from tests.strategies import seeds
from tests.zoos import LITTLE, ROWS
from xtcp.batch import Batch
from xtcp.chunk import Chunk
from xtcp.errors import DamagedInput, ExitCode, UsageError
from xtcp.schema.inet_diag import INET_DIAG_MSG
from xtcp.schema.layout import members
from xtcp_replay.cli.main import run
from xtcp_replay.judging import golden
from xtcp_replay.judging.golden import check_golden, write_golden
from xtcp_replay.judging.golden_file import GoldenFile, golden_path
from xtcp_replay.judging.plain_rows import decode_plainly
from xtcp_replay.reading.opening import Told, open_source

ZOO = LITTLE
SOCKETS = ROWS[LITTLE]
LAYOUT = Layout((Item(2, 280), Item(4, 6), Item(7, 36), Item(16, 20), Item(21, 8)), (7, 0))
MEMBERS = {m.column: m for m in members(INET_DIAG_MSG, "<", None) if m.column not in {"idiag_family", "idiag_cookie"}}


def capture_of(folder: Path, order: Any = "<", *, seed: int = 1, rows: int = 6, name: str = "made.pcap") -> Path:
    """A capture of a dump of random sockets."""
    built = Plan(((LAYOUT, rows),), seed=seed, release="7.0.3").build(order)
    folder.mkdir(exist_ok=True)
    return Path(saved(folder, pcap([request(order=order), *built.datagrams]), name))


def test_written_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The golden file stands beside the capture, says what was read, and holds each row as `decode` writes it."""
    capture = tmp_path / "zoo.pcapng"
    capture.write_bytes(ZOO.read_bytes())
    assert run(["golden", "write", str(capture)]) == ExitCode.OK
    lines = (tmp_path / "zoo.pcapng.golden.jsonl").read_text().splitlines(keepends=True)
    head = json.loads(lines[0])
    assert (head["rows"], head["byte_orders"], head["quarantined"], head["damage"]) == (SOCKETS, ["little"], 0, [])
    assert [d["complete"] for d in head["dumps"]] == [True, True]
    assert sum(d["rows"] for d in head["dumps"]) == SOCKETS
    capsys.readouterr()
    assert run(["decode", str(capture), "--format", "json", "-q"]) == ExitCode.OK
    assert capsys.readouterr().out == "".join(lines[1:])
    assert run(["golden", "check", str(capture)]) == ExitCode.OK
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{SOCKETS} rows, all as golden" in err
    assert '"tcpm_key":' not in "".join(lines) and "tcpm_addr" in "".join(lines)


@settings(max_examples=fewer(25))
@given(seeds, st.sampled_from(("<", ">")), st.sampled_from(sorted(MEMBERS)), st.integers(0, 5), st.data())
def test_one_changed_byte_is_found_and_named(
    tmp_path_factory: pytest.TempPathFactory, seed: int, order: Any, column: str, number: int, data: st.DataObject
) -> None:
    """Any byte of any member of any socket: that socket and that column, by both decoders, and the file's hash."""
    folder = tmp_path_factory.mktemp("golden")
    capture = capture_of(folder, order, seed=seed)
    golden_file = write_golden(capture, Told(release="7.0.3")).path
    assert check_golden(capture).count == 0
    rows = [json.loads(line) for line in golden_file.read_text().splitlines()[1:]]
    assume(len(rows) == 6)  # a first row of another family is no dump of TCP's
    raw = bytearray(capture.read_bytes())
    message = Plan(((LAYOUT, 6),), seed=seed, release="7.0.3").build(order).messages[number]
    member = MEMBERS[column]
    # Only four bytes of an IPv4 address are looked at.
    size = member.end - member.offset if rows[number]["idiag_family"] != 2 else min(4, member.end - member.offset)
    at = member.offset + data.draw(st.integers(0, size - 1))
    raw[raw.find(message) + 16 + at] ^= data.draw(st.integers(1, 255))
    capture.write_bytes(raw)
    found = [(d.what, f"cookie {rows[number]['idiag_cookie']}" in d.where) for d in check_golden(capture).differences]
    assert found == [(column, True), ("sha256", False)]
    assert all(len(d.by) == 2 for d in check_golden(capture).differences)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"idiag_uid":0', '"idiag_uid":7', "cookie 1: idiag_uid is 0, golden 7"),
        ('"idiag_uid":0', '"idiag_uid":0.0', "idiag_uid is 0, golden 0.0"),
        ('"idiag_uid":0,', "", "idiag_uid is 0, golden absent"),
        ('"idiag_uid":0', '"idiag_uid":0,"tcpi_new":1', "tcpi_new is absent, golden 1"),
        ('"idiag_cookie":2', '"idiag_cookie":9', "cookie 2: the row is there, golden absent"),
        ('"idiag_cookie":2', '"idiag_cookie":9', "cookie 9: the row is absent, golden there"),
        ('"messages": 4', '"messages": 5', "the whole file: messages is 4, golden 5"),
        ('"complete": true', '"complete": false', 'dumps is [{"dump": 1, "rows": 3, "complete": true}], golden'),
        ('"notes": []', '"notes": ["x"]', 'notes is [], golden ["x"]'),
        ('"sha256": "', '"sha256": "0', "is not the file that"),
    ],
)
def test_what_changed_in_a_golden_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    """Exit code 1; the socket, the column and both values."""
    capture = Path(saved(tmp_path, pcap(dump((1, 2, 3)))))
    path = write_golden(capture).path
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert run(["golden", "check", str(capture)]) == ExitCode.FINDING
    assert said in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "", "first line"),
        (lambda text: "{}\n" + text, "first line"),
        (lambda text: text.replace('"golden": 1', '"golden": 2'), "format is 2"),
        (lambda text: text.replace('"told": {}', '"told": 3', 1), "lacks"),
        (lambda text: text.replace('"told": {}', '"told": {"byte_order": []}', 1), "lacks"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n", "it is cut: 2 rows are there, its first line says 3"),
        (lambda text: text[:-10], "line 4 has no end"),
        (lambda text: text + text.splitlines()[1] + "\n", "too many"),
        (lambda text: text.replace('{"timestamp_ns"', "<<<<<<< HEAD\n", 1), "line 2 is no JSON object"),
    ],
)
def test_a_damaged_golden_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, said: str) -> None:
    """Exit code 3, what is wrong with it, and how to write it again."""
    capture = Path(saved(tmp_path, pcap(dump((1, 2, 3)))))
    path = write_golden(capture).path
    path.write_text(change(path.read_text()))
    assert run(["golden", "check", str(capture)]) == ExitCode.DAMAGED
    told = capsys.readouterr()
    assert said in told.out and "golden write --force" in told.out
    assert "Traceback" not in told.err


def test_missing_and_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No golden file, no file, a folder without captures, nothing named: all fail, none of them quietly."""
    capture = saved(tmp_path, pcap(dump((1,))))
    assert run(["golden", "check", capture]) == ExitCode.DAMAGED
    assert "golden write FILE" in capsys.readouterr().out
    assert run(["golden", "check", capture + "2"]) == ExitCode.USAGE
    assert "No such file" in capsys.readouterr().out
    assert run(["golden", "check"]) == ExitCode.USAGE
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no capture")
    assert run(["golden", "check", str(tmp_path / "empty")]) == ExitCode.DAMAGED
    assert "there is no capture in it" in capsys.readouterr().err
    assert run(["golden", "check", "-"]) == ExitCode.USAGE
    assert run(["golden", "write", str(tmp_path / "not there")]) == ExitCode.USAGE


def test_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All captures in it and below, those with a wrong name too; one that is damaged stops no other."""
    one, two = capture_of(tmp_path / "a"), capture_of(tmp_path / "b", seed=2, name="two.dat")
    assert run(["golden", "write", str(tmp_path)]) == ExitCode.OK
    assert golden_path(one).exists() and golden_path(two).exists()
    assert run(["golden", "check", str(tmp_path)]) == ExitCode.OK
    capsys.readouterr()
    golden_path(one).unlink()
    golden_path(two).write_text(golden_path(two).read_text().replace('"idiag_uid":', '"idiag_uid":1', 1))
    assert run(["golden", "check", str(tmp_path)]) == ExitCode.DAMAGED
    out = capsys.readouterr().out
    assert "is not there" in out and "idiag_uid" in out


def test_a_golden_file_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is the same is left alone, one that differs only goes with --force, and no rubbish is left."""
    capture = capture_of(tmp_path)
    first = write_golden(capture)
    inode = first.path.stat().st_ino
    assert first.changed and not write_golden(capture).changed
    assert first.path.stat().st_ino == inode
    text = first.path.read_text()
    first.path.write_text(text.replace('"idiag_uid":', '"idiag_uid":1', 1))
    with pytest.raises(UsageError, match="differs"):
        write_golden(capture)
    assert run(["golden", "write", "--force", str(capture)]) == ExitCode.OK
    assert first.path.read_text() == text
    assert sorted(p.name for p in tmp_path.iterdir()) == [capture.name, first.path.name]


def test_a_large_one_is_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the same bytes each time, is read like plain text, and takes the place of a plain one."""
    capture = capture_of(tmp_path)
    plain = write_golden(capture).path
    text = plain.read_bytes()
    monkeypatch.setattr(golden, "PLAIN_LIMIT", 1000)
    packed = write_golden(capture, force=True).path
    assert packed.name == "made.pcap.golden.jsonl.gz" and not plain.exists()
    content = packed.read_bytes()
    assert gzip.decompress(content) == text
    assert not write_golden(capture).changed
    packed.unlink()
    assert write_golden(capture).path.read_bytes() == content
    assert check_golden(capture).count == 0
    packed.write_bytes(content[:-20])
    with pytest.raises(DamagedInput, match="gzip is cut"):
        check_golden(capture)


def test_one_decoder_alone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only one of the decoders has changed, it is said which."""
    capture = Path(saved(tmp_path, pcap(dump((1, 2)))))
    write_golden(capture)

    def wrong(chunk: Chunk) -> Batch:
        batch = decode_plainly(chunk)
        batch.columns["idiag_uid"][0] = 5
        return batch

    monkeypatch.setattr(golden, "decode_plainly", wrong)
    (difference,) = check_golden(capture).differences
    assert str(difference).endswith("cookie 1: idiag_uid is 5 by the reference decoder, golden 0")


def test_rows_that_come_twice_differ_once_a_decoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both rows of the socket have the same words; the decoders are named where they disagree, and only then."""
    capture = Path(saved(tmp_path, pcap([row(1) + row(1) + done()])))
    path = write_golden(capture).path
    path.write_text(path.read_text().replace('"idiag_uid":0', '"idiag_uid":1'))
    verdict = check_golden(capture)
    assert (verdict.count, len(verdict.differences)) == (2, 1)
    assert str(verdict.differences[0]).endswith("idiag_uid is 0, golden 1")


def test_rows_in_another_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Partners are found by dump and cookie; where too many are looked for, that is the difference."""
    capture = Path(saved(tmp_path, pcap(dump(range(1, 31)))))
    path = write_golden(capture).path
    head, *rows = path.read_text().splitlines(keepends=True)
    Random(3).shuffle(rows)
    rows[4] = rows[4].replace('"idiag_uid":', '"idiag_uid":1')
    path.write_text(head + "".join(rows))
    assert [d.what for d in check_golden(capture).differences] == ["idiag_uid", "order of rows"]
    monkeypatch.setattr(golden, "HELD", 5)
    assert [(d.where, d.what) for d in check_golden(capture).differences] == [("the whole file", "rows")]


def test_what_options_said_is_kept(tmp_path: Path) -> None:
    """A release, a name that the file does not say: check knows them from the golden file."""
    capture = capture_of(tmp_path)
    assert run(["golden", "write", "--kernel-release", "7.0.3", "--host", "edge7", str(capture)]) == ExitCode.OK
    head, *rows = map(json.loads, golden_path(capture).read_text().splitlines())
    assert head["told"] == {"kernel_release": "7.0.3", "hostname": "edge7"}
    assert all(r["hostname"] == "edge7" and "tcpi_options2" in r for r in rows)
    assert check_golden(capture).count == 0


def test_a_damaged_capture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Damage is in the golden file, in words without the folder; from then on it is what is expected."""
    whole = pcap([*dump((1, 2)), request(), row(3)])
    capture = Path(saved(tmp_path, whole[:-9]))
    assert run(["golden", "write", "--strict", str(capture)]) == ExitCode.DAMAGED
    assert not golden_path(capture).exists()
    assert run(["golden", "write", str(capture)]) == ExitCode.DAMAGED
    assert "is not whole" in capsys.readouterr().err
    head = GoldenFile(golden_path(capture)).head
    assert len(head["damage"]) == 1 and "cut" in head["damage"][0] and str(tmp_path) not in str(head)
    assert [d["complete"] for d in head["dumps"]] == [True, False]
    assert run(["golden", "check", str(capture)]) == ExitCode.OK
    capture.write_bytes(whole + pcap([done()])[24:])
    assert run(["golden", "check", str(capture)]) == ExitCode.FINDING
    out = capsys.readouterr().out
    assert "damage is []" in out and "cookie 3: the row is there" in out


def test_a_twin_has_the_golden_rows_of_its_original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same dump of a host of the other order, in the folder twin; written only for the original."""
    capture = capture_of(tmp_path / "c")
    twin = capture_of(tmp_path / "c" / "twin", ">")
    write_golden(capture, Told(release="7.0.3"))
    assert golden_path(twin) == golden_path(capture)
    verdict = check_golden(twin)
    assert (verdict.count, verdict.rows, verdict.byte_orders) == (0, 6, ("big",))
    with pytest.raises(UsageError, match="is a twin"):
        write_golden(twin)
    other = capture_of(tmp_path / "d", ">")
    assert run(["golden", "check", "--golden", str(golden_path(capture)), str(other)]) == ExitCode.OK
    monkeypatch.chdir(twin.parent)
    assert check_golden(Path(twin.name)).count == 0
    capture_of(tmp_path / "c" / "twin", ">", seed=9)
    assert check_golden(twin).count > 0


@pytest.mark.parametrize("order", ["<", ">"])
def test_reference_rows_as_a_batch(order: Any, tmp_path: Path) -> None:
    """The reference decoder's rows are those of its dictionaries, in their order."""
    from tests.equality import rows_of
    from xtcp.decode.reference import decode

    (chunk,) = open_source(str(capture_of(tmp_path, order, rows=20)), Told(release="7.0.3")).chunks()
    assert rows_of(decode_plainly(chunk)) == decode(chunk)[0]
