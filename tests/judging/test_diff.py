"""`diff`: two files' sockets, against a plain comparison of dictionaries; and the command as a user sees it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.batches import batch_of
from tests.dumps import Plan
from tests.encoder import Item, Layout
from tests.patience import fewer
from tests.replay.made import dump, pcap, request, saved
from tests.rows import Row, rows_of
from tests.strategies import layouts, seeds
from tests.zoos import LITTLE
from xtcp.batch import Batch
from xtcp.chunk import Context
from xtcp.decode.decoder import Decoder
from xtcp.encode.units import duration
from xtcp.errors import ExitCode, UsageError
from xtcp.schema.columns import COLUMNS, CONTEXT_NAMES
from xtcp_replay.cli.main import run
from xtcp_replay.judging.changes import CHANGES, json_lines
from xtcp_replay.judging.diff import Comparison, compare
from xtcp_replay.judging.golden import write_golden
from xtcp_replay.judging.snapshot import Gatherer, Places, Snapshot, last_of_each

NAMES = [column.name for column in COLUMNS if column.name not in CONTEXT_NAMES | {"idiag_cookie"}]
ZOO = LITTLE
PLACES: list[tuple[str | None, str | None]] = [("a", "blue"), ("a", "red"), ("b", "blue"), (None, "blue")]

cells = st.fixed_dictionaries(
    {"idiag_cookie": st.integers(0, 6), "idiag_family": st.just(2), "idiag_state": st.integers(1, 3)},
    optional={
        "tcpi_rtt": st.integers(0, 2),
        "cong": st.sampled_from((b"bbr", b"cubic", b"")),
        "idiag_dst": st.sampled_from((bytes(16), b"\x0a\0\0\x01" + bytes(12))),
        "md5sig": st.sampled_from((b"", b"\x01\x02")),
    },
)
sides = st.lists(st.tuples(st.sampled_from(PLACES), st.lists(cells, min_size=1, max_size=6)), max_size=4)


def compared(old: Iterable[Batch], new: Iterable[Batch], names: list[str] = NAMES) -> tuple[Comparison, list[Row]]:
    """The comparison of two files' batches, and what `--json` writes of it."""
    places = Places()
    sides: list[Snapshot] = []
    for batches in (old, new):
        gatherer = Gatherer(names, places)
        for batch in batches:
            gatherer.add(batch)
        sides.append(gatherer.finish())
    found = compare(sides[0], sides[1], places, names)
    lines = "".join(json_lines(found, CHANGES, names)).splitlines()
    return found, [json.loads(line) for line in lines]


def batches_of(side: list[tuple[tuple[str | None, str | None], list[dict[str, Any]]]]) -> list[Batch]:
    """Batches of rows and their places."""
    return [batch_of(rows, Context(hostname=host, netns=netns)) for (host, netns), rows in side]


def plain(side: list[Batch], hosts: bool, namespaces: bool) -> dict[tuple[Any, ...], Row]:
    """The last row of each socket, as `--format json` writes it."""
    found = {}
    for row in rows_of(side):
        host, netns = row.pop("hostname", None), row.pop("netns", None)
        found[host if hosts else None, netns if namespaces else None, row.pop("idiag_cookie")] = row
    return found


@settings(max_examples=fewer(50))
@given(sides, sides)
def test_against_a_plain_comparison(old: Any, new: Any) -> None:
    """Came, went and changed, with every field's old and new value, are those of two dictionaries."""
    a, b = batches_of(old), batches_of(new)
    told = [[{host for (host, _), _ in s} - {None}, {netns for (_, netns), _ in s} - {None}] for s in (old, new)]
    use = [bool(told[0][part]) == bool(told[1][part]) for part in (0, 1)]
    before, after = plain(a, *use), plain(b, *use)
    expected = {}
    for key in before.keys() | after.keys():
        was, now = before.get(key, {}), after.get(key, {})
        fields = {
            name: {which: row[name] for which, row in (("old", was), ("new", now)) if name in row}
            for name in was.keys() | now.keys()
            if name not in was or name not in now or was[name] != now[name]
        }
        if fields:
            expected[key] = (
                "changed" if key in before and key in after else "came" if key in after else "went",
                fields,
            )
    found, said = compared(a, b)
    keys = [(one["key"].get("hostname"), one["key"].get("netns"), one["key"]["idiag_cookie"]) for one in said]
    assert {key: (one["change"], one["fields"]) for key, one in zip(keys, said, strict=True)} == expected
    assert found.same == len(before.keys() | after.keys()) - len(expected)
    order = [
        (CHANGES.index(one["change"]), key[2], key[0] or "", key[1] or "") for key, one in zip(keys, said, strict=True)
    ]
    assert [o[:2] for o in order] == sorted(o[:2] for o in order)


@settings(max_examples=fewer(30))
@given(sides)
def test_a_file_with_itself(side: Any) -> None:
    """There is no difference."""
    found, said = compared(batches_of(side), batches_of(side))
    assert said == []
    assert found.same == found.old.rows == found.new.rows


@settings(max_examples=fewer(50))
@given(sides, sides)
def test_the_other_way_round(old: Any, new: Any) -> None:
    """What came has gone, old and new values change places, and the same cookies have other addresses."""
    there, back = (compared(batches_of(a), batches_of(b))[1] for a, b in ((old, new), (new, old)))
    swap = {"came": "went", "went": "came", "changed": "changed"}
    turned = [
        {
            "change": swap[one["change"]],
            "key": one["key"],
            "moved": one.get("moved"),
            "fields": {
                name: {{"old": "new", "new": "old"}[which]: value for which, value in values.items()}
                for name, values in one["fields"].items()
            },
        }
        for one in there
    ]
    plainly = [{name: one.get(name) for name in ("change", "key", "moved", "fields")} for one in back]
    assert sorted(str(_sorted(one)) for one in turned) == sorted(str(_sorted(one)) for one in plainly)


def _sorted(value: Any) -> Any:
    return sorted((k, _sorted(v)) for k, v in value.items()) if isinstance(value, dict) else value


@settings(max_examples=fewer(15))
@given(layouts(), seeds, st.sampled_from(("<", ">")))
def test_golden_rows_are_the_same_as_their_capture(layout: Layout, seed: int, order: Any) -> None:
    """Every column's values come back from JSON as they are in a batch."""
    chunk = Plan(((layout, 5),), seed=seed).build(order).chunk()
    batch = Decoder().decode(chunk)
    places = Places()
    one, other = Gatherer(NAMES, places), Gatherer(NAMES, places)
    one.add(batch)
    other.add_rows(rows_of([batch]))
    found = compare(one.finish(), other.finish(), places, NAMES)
    assert found.fields == {}
    assert len(found.came) == len(found.went) == 0


@settings(max_examples=fewer(20))
@given(seeds)
def test_byte_order_is_no_difference(seed: int) -> None:
    """A dump and the same dump of a host of the other order. SCTP's addresses, in the host's own, are left out."""
    layout = Layout((Item(2, 280), Item(4, 6), Item(7, 36), Item(14, 200), Item(16, 20), Item(22, 2)), (7, 0))
    plan = Plan(((layout, 4),), seed=seed, release="7.0.3")
    a, b = ([Decoder().decode(plan.build(order).chunk())] for order in ("<", ">"))
    assert compared(a, b)[1] == []


def test_many_dumps_are_compacted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of the same sockets again and again are not all kept; the last of each stands."""
    monkeypatch.setattr("xtcp_replay.judging.snapshot._FEWEST", 50)
    gatherer = Gatherer(["tcpi_rtt"], Places())
    for time in range(40):
        gatherer.add(batch_of([{"idiag_cookie": c, "idiag_family": 2, "tcpi_rtt": time} for c in range(10)]))
        assert gatherer._rows <= 60
    whole = gatherer.finish()
    assert (whole.rows, whole.replaced) == (10, 390)
    assert whole.columns["tcpi_rtt"].tolist() == [39] * 10
    assert whole.valid == {}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=30))
def test_last_of_each(rows: list[tuple[int, int]]) -> None:
    """One row a socket, the last."""
    keep = last_of_each(np.array([p for p, _ in rows], np.uint32), np.array([c for _, c in rows], np.uint64))
    assert np.flatnonzero(keep).tolist() == sorted({row: i for i, row in enumerate(rows)}.values())


def test_too_many_sockets_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory has a bound, and the message says what to do."""
    monkeypatch.setattr("xtcp_replay.judging.snapshot.LIMIT", 20)
    monkeypatch.setattr("xtcp_replay.judging.snapshot._FEWEST", 10)
    gatherer = Gatherer(["tcpi_rtt"], Places())
    gatherer.add(batch_of([{"idiag_cookie": i, "idiag_family": 2} for i in range(20)]))
    with pytest.raises(UsageError, match="more than 20 sockets") as error:
        gatherer.add(batch_of([{"idiag_cookie": 20 + i, "idiag_family": 2} for i in range(40)]))
    assert "--dump-a" in error.value.to_do


# --- the command ---------------------------------------------------------------------------------------------------


def test_exit_codes_of_diff(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 the same, 1 different, and --only looks at some changes only; standard output holds changes alone."""
    a = saved(tmp_path, pcap(dump((1, 2))), "a.pcap")
    b = saved(tmp_path, pcap(dump((2, 3))), "b.pcap")
    assert run(["diff", a, a]) == ExitCode.OK
    out, err = capsys.readouterr()
    assert out == ""
    assert "0 came, 0 went, 0 changed, 2 the same" in err
    assert run(["diff", a, b]) == ExitCode.FINDING
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["+", "-"]
    assert "(3)" in out.splitlines()[0] and "(1)" in out.splitlines()[1]
    assert "1 came, 1 went, 0 changed, 1 the same" in err
    assert run(["diff", a, b, "--only", "changed", "-q"]) == ExitCode.OK
    assert capsys.readouterr() == ("", "")


def test_dumps_are_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file's dumps against each other; a dump that is not there is an error."""
    a = saved(tmp_path, pcap([*dump((1, 2)), *dump((2, 3)), *dump((4,))]))
    assert run(["diff", a, a, "--dump-a", "1", "--dump-b", "2-3", "--json", "-q"]) == ExitCode.FINDING
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["change"], one["key"]["idiag_cookie"]) for one in said] == [("came", 3), ("came", 4), ("went", 1)]
    assert run(["diff", a, a, "--dump-a", "9"]) == ExitCode.USAGE
    assert "xtcp-replay info" in capsys.readouterr().err
    assert run(["diff", a, a, "--dump-a", "3-1"]) == ExitCode.USAGE
    assert run(["diff", a, a]) == ExitCode.OK
    assert "4 sockets of 3 dumps, 1 older row" in capsys.readouterr().err


def test_text_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fields with units, the useful ones first, as many as are asked for; golden files and captures alike."""
    golden = write_golden(_copy(ZOO, tmp_path)).path
    lines = golden.read_text().splitlines()
    random = Random(1)
    for i in random.sample(range(1, len(lines)), 40):
        row = json.loads(lines[i])
        for name in (
            "tcpi_rtt",
            "tcpi_last_ack_recv",
            "tcpi_advmss",
            "tcpi_segs_in",
            "tcpi_rto",
            "tcpi_ato",
            "tcpi_lost",
        ):
            row[name] = row.get(name, 0) + 1_234_567
        lines[i] = json.dumps(row)
    golden.write_text("\n".join(lines) + "\n")
    assert run(["diff", str(ZOO), str(golden)]) == ExitCode.FINDING
    out, err = capsys.readouterr()
    changed = out.splitlines()
    assert len(changed) == 20
    assert all(line.startswith("~ ") and "… " in line for line in changed)
    assert all("  tcpi_rtt " in line for line in changed)
    assert any(f"→ {duration(1_234_567)}" in line for line in changed)
    assert "20 of 40 that changed" in err
    assert run(["diff", str(ZOO), str(golden), "--all", "-q"]) == ExitCode.FINDING
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 40 and "more" not in out and "tcpi_advmss" in out
    assert err == ""
    assert run(["diff", str(ZOO), str(golden), "--columns", "tcpi_snd_cwnd,tcpi_*ssthresh"]) == ExitCode.OK
    assert run(["diff", str(ZOO), str(golden), "--ignore", "tcpi_*"]) == ExitCode.OK
    assert run(["diff", str(ZOO), str(golden), "--ignore", "tcpi_rtx"]) == ExitCode.USAGE
    assert "tcpi_rtt" in capsys.readouterr().err


def test_rounded_texts_that_are_the_same_are_written_whole() -> None:
    """A change of 1 in a million is seen."""
    from xtcp_replay.judging.changes import TextLines

    row: dict[str, int | bytes] = {
        "idiag_cookie": 1,
        "idiag_family": 2,
        "idiag_state": 1,
        "tcpi_bytes_sent": 10_000_000,
    }
    row |= {"idiag_src": bytes(16), "idiag_dst": bytes(16), "idiag_sport": 80, "idiag_dport": 1}
    found, _ = compared([batch_of([row])], [batch_of([{**row, "tcpi_bytes_sent": 10_000_001}])])
    text = "".join(TextLines(found, limit=None, most=None, values=False).lines(CHANGES, NAMES))
    assert text == "~ 0.0.0.0:80 → 0.0.0.0:1  ESTAB  (1)  tcpi_bytes_sent 10000000 → 10000001\n"


def test_the_same_cookie_with_other_addresses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said, and that the files may be of two boots."""
    b = Path(saved(tmp_path, pcap(dump(range(5))), "b.pcap"))
    other = bytearray(b.read_bytes())
    for at in (i for i in range(len(other)) if other[i : i + 4] == b"\x02\x01\0\0"):
        other[at + 8 : at + 12] = b"\x0a\0\0\x01"
    a = saved(tmp_path, bytes(other), "a.pcap")
    assert run(["diff", str(b), a]) == ExitCode.FINDING
    out, err = capsys.readouterr()
    assert all(line.startswith("! 10.0.0.1:") and "0.0.0.0 → 10.0.0.1" in line for line in out.splitlines())
    assert "5 changed (5 of them have other addresses)" in err
    assert "two hosts" in err
    assert run(["diff", str(b), a, "--json", "-q"]) == ExitCode.FINDING
    assert all(json.loads(line)["moved"] is True for line in capsys.readouterr().out.splitlines())


def test_damage_is_exit_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is whole is compared; with --strict nothing is."""
    whole = saved(tmp_path, pcap(dump((1, 2))), "a.pcap")
    cut = saved(tmp_path, pcap(dump((1, 2)))[:-20], "b.pcap")
    assert run(["diff", whole, cut]) == ExitCode.DAMAGED
    out, err = capsys.readouterr()
    assert "cut" in err and "2 the same" in err
    assert run(["diff", whole, cut, "--strict"]) == ExitCode.DAMAGED
    out, err = capsys.readouterr()
    assert out == "" and "the same" not in err
    nothing = saved(tmp_path, pcap([request()]), "c.pcap")
    assert run(["diff", whole, nothing]) == ExitCode.FINDING


def test_a_golden_file_with_a_wrong_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A value that no column of its kind can have is damage, named."""
    capture = Path(saved(tmp_path, pcap(dump((1, 2)))))
    golden = write_golden(capture).path
    text = golden.read_text()
    for old, new in (
        ('"idiag_uid":0', '"idiag_uid":-1'),
        ('"idiag_uid":0', '"idiag_uid":1.5'),
        ('"idiag_uid":0', '"idiag_uid":true'),
        ('"idiag_src":"0.0.0.0"', '"idiag_src":"0.0.0"'),
        ('"idiag_state":"ESTAB"', '"idiag_state":"NEVER"'),
        ('"idiag_cookie":1', '"idiag_cookie":18446744073709551616'),
        ('"idiag_cookie":1', '"idiag_cookie":null'),
        ('"idiag_uid":0', '"idiag_uid":0,"hostname":[]'),
        ('"dump":1', '"dump":[1]'),
    ):
        assert old in text
        golden.write_text(text.replace(old, new))
        assert run(["diff", str(capture), str(golden), "-q"]) == ExitCode.DAMAGED, new
        err = capsys.readouterr().err
        column = "hostname" if "hostname" in new else old.split('"')[1]
        assert column in err and "Traceback" not in err


def _copy(path: Path, folder: Path) -> Path:
    copy = folder / path.name
    copy.write_bytes(path.read_bytes())
    return copy
