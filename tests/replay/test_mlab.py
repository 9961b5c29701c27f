"""Archives of m-lab: every record of a real one against plain struct, every line that is no record told."""

from __future__ import annotations

import base64
import json
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.patience import fewer
from tests.replay.made import row, saved, sockets
from tests.replay.packed import zstandard
from tests.rows import decoded, rows_of
from xtcp.batch import Tally
from xtcp_replay.reading import mlab_archive
from xtcp_replay.reading.opening import ReplaySource, Told, open_source

UUID = "ndt-7hhhv_1559749627_0000000000062D84"
TIME = "2019-07-01T00:00:12.092123456Z"
TIME_NS = 1_561_939_212_092_123_456


def record(cookie: int, time: str | None = TIME, **fields: Any) -> dict[str, Any]:
    """A record of a socket without attributes."""
    raw = {"RawIDM": base64.b64encode(row(cookie)[16:]).decode()}
    return ({} if time is None else {"Timestamp": time}) | raw | fields


def metadata(uuid: str = UUID) -> dict[str, Any]:
    """The line that begins a file."""
    return {"Timestamp": mlab_archive.NO_TIME, "Metadata": {"UUID": uuid, "Sequence": 0}}


def archive(folder: Path, lines: Iterable[object], **told: Any) -> ReplaySource:
    """The source of a file of `lines`: objects, or bytes as they are."""
    content = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    return open_source(saved(folder, content, "a.jsonl"), Told(**told))


@pytest.mark.external
def test_every_record_of_a_real_archive(captures: Path) -> None:
    """420 records in three dumps of 140 sockets, each value as struct reads it from the base64."""
    path = captures / "m-lab" / "archiveRecords.jsonl.zst"
    text = zstandard().ZstdDecompressor().stream_reader(path.read_bytes()).read()
    source = open_source(str(path))
    rows = rows_of(batch.in_order() for batch in decoded(source.chunks()))
    assert source.damage == []
    assert len(rows) == 420
    assert [sum(r["dump"] == dump for r in rows) for dump in (1, 2, 3)] == [140] * 3
    for line, got in zip(text.splitlines(), rows, strict=True):
        expected = by_struct(json.loads(line))
        assert {name: got.get(name) for name in expected} == expected
        assert "timestamp_ns" not in got and "hostname" not in got
        assert got["tcp_info_len"] == 168


def by_struct(line: dict[str, Any]) -> dict[str, Any]:
    """The values of an archive's record, by the offsets of include/uapi/linux/{inet_diag,tcp}.h."""
    raw = base64.b64decode(line["RawIDM"])
    family = raw[0]
    width, kind = (4, socket.AF_INET) if family == 2 else (16, socket.AF_INET6)
    values: dict[str, Any] = {
        "idiag_family": family,
        "idiag_timer": raw[2],
        "idiag_retrans": raw[3],
        "idiag_sport": struct.unpack_from(">H", raw, 4)[0],
        "idiag_dport": struct.unpack_from(">H", raw, 6)[0],
        "idiag_src": socket.inet_ntop(kind, raw[8 : 8 + width]),
        "idiag_dst": socket.inet_ntop(kind, raw[24 : 24 + width]),
        "idiag_if": struct.unpack_from("<I", raw, 40)[0],
        "idiag_cookie": struct.unpack_from("<Q", raw, 44)[0],
    }
    for number, name in enumerate(("expires", "rqueue", "wqueue", "uid", "inode")):
        values[f"idiag_{name}"] = struct.unpack_from("<I", raw, 52 + 4 * number)[0]
    attributes = line["Attributes"]
    values["attributes"] = sum(1 << number for number, value in enumerate(attributes) if value is not None)
    info = base64.b64decode(attributes[2])
    words = {"rto": 8, "snd_mss": 16, "lost": 32, "rtt": 68, "rttvar": 72, "snd_cwnd": 80, "total_retrans": 100}
    words |= {"segs_out": 136, "segs_in": 140, "min_rtt": 148, "data_segs_out": 156}
    longs = {"pacing_rate": 104, "bytes_acked": 120, "bytes_received": 128, "delivery_rate": 160}
    values |= {f"tcpi_{name}": struct.unpack_from("<I", info, at)[0] for name, at in words.items()}
    values |= {f"tcpi_{name}": struct.unpack_from("<Q", info, at)[0] for name, at in longs.items()}
    values["cong"] = base64.b64decode(attributes[4]).split(b"\0")[0].decode()
    for number, name in ((5, "tos"), (6, "tclass"), (8, "shutdown")):
        raw_value = attributes[number]
        values[name] = None if raw_value is None else base64.b64decode(raw_value)[0]
    values["idiag_rmem"], *_, values["idiag_tmem"] = struct.unpack("<4I", base64.b64decode(attributes[1]))
    values["skmem_rcvbuf"] = struct.unpack_from("<I", base64.b64decode(attributes[7]), 4)[0]
    return values


def test_time_host_and_dumps(tmp_path: Path) -> None:
    """Nanoseconds are exact, zones count; records of one time are one dump; the UUID names the host."""
    lines = [
        metadata(),
        record(1),
        record(2),
        record(1, "2019-07-01T00:00:13Z"),
        record(1, "2019-07-01T02:00:14.5+02:00"),
        metadata("other_1559749627_unsafe_0000000000062D84"),
        record(3, "2019-07-01T00:00:15Z"),
    ]
    source = archive(tmp_path, lines)
    assert sockets(source) == [(1, 1), (1, 2), (2, 1), (3, 1), (4, 3)]
    contexts = [chunk.context for chunk in source.chunks()]
    second = TIME_NS // 10**9 * 10**9
    expected = [TIME_NS, second + 10**9, second + 25 * 10**8, second + 3 * 10**9]
    assert [c.timestamp_ns for c in contexts] == expected
    assert [c.hostname for c in contexts] == ["ndt-7hhhv"] * 3 + ["other"]
    assert {c.order for c in contexts} == {"<"}
    assert (source.damage, source.notes) == ([], [])


def test_without_a_time_a_cookie_that_returns_begins_a_dump(tmp_path: Path) -> None:
    """So that no record passes for a duplicate of an earlier one; said in the notes."""
    source = archive(tmp_path, [record(1, None), record(2, None), record(2, None), record(1, None), record(2, None)])
    assert sockets(source) == [(1, 1), (1, 2), (2, 2), (2, 1), (3, 2)]
    assert [chunk.context.timestamp_ns for chunk in source.chunks()] == [None] * 3
    assert any("without a time" in note for note in source.notes)


def test_what_was_told_stands_above(tmp_path: Path) -> None:
    """Release and host of the options; the order too, for archives that were converted."""
    source = archive(tmp_path, [metadata(), record(1)], release="4.19.1", hostname="mine", order=">")
    (chunk,) = source.chunks()
    assert (chunk.context.kernel, chunk.context.hostname, chunk.context.order) == ((4, 19), "mine", ">")
    assert sockets(source) == [(1, 1 << 24)]


GOOD = record(1)
BAD = {
    "no JSON": b'{"Timestamp"',
    "no JSON object": b"[1]",
    "no JSON ": b"\xff\xfe",
    "no JSON  ": b"[" * 100_000,
    "neither RawIDM nor Metadata": {"Timestamp": TIME},
    "not text": GOOD | {"RawIDM": 1},
    "not base64": GOOD | {"RawIDM": "CgEAA*=="},
    "not base64 ": GOOD | {"RawIDM": "å"},
    "not base64  ": GOOD | {"Attributes": [None, "abc"]},
    "72 bytes": GOOD | {"RawIDM": "CgEA"},
    "not a list": GOOD | {"Attributes": {"1": "AA=="}},
    "not a list ": GOOD | {"Attributes": [None] * 2000},
    "not text ": GOOD | {"Attributes": [1]},
    "longer than any": GOOD | {"Attributes": [base64.b64encode(bytes(65532)).decode()]},
    "no time": GOOD | {"Timestamp": "yesterday"},
    "no time ": GOOD | {"Timestamp": "2019-02-31T00:00:00Z"},
    "no time  ": GOOD | {"Timestamp": "2400-01-01T00:00:00Z"},
    "no time   ": GOOD | {"Timestamp": 12},
    "UUID": {"Metadata": {"UUID": 1}},
    "UUID ": {"Metadata": "x"},
    "more than 1 MiB": b'{"RawIDM":"' + b"A" * (3 << 20) + b'"}',
}


@pytest.mark.parametrize("said", BAD)
def test_a_line_that_is_no_record(tmp_path: Path, said: str) -> None:
    """Is told with its number, and the lines around it are read."""
    source = archive(tmp_path, [record(1), BAD[said], record(2)])
    assert sockets(source) == [(1, 1), (1, 2)]
    assert len(source.damage) == 1
    assert said.strip() in source.damage[0] and "(line 2)" in source.damage[0]


def test_the_last_line_may_be_cut(tmp_path: Path) -> None:
    """Without a newline it is read where it is whole, and told where it is not."""
    whole = json.dumps(record(1)).encode() + b"\n" + json.dumps(record(2)).encode()
    source = open_source(saved(tmp_path, whole))
    assert sockets(source) == [(1, 1), (1, 2)] and source.damage == []
    source = open_source(saved(tmp_path, whole[:-9]))
    assert sockets(source) == [(1, 1)]
    assert "(line 2)" in source.damage[0]
    source = open_source(saved(tmp_path, b"\r\n\n".join(whole.split(b"\n")) + b"\r\n"))
    assert sockets(source) == [(1, 1), (1, 2)] and source.damage == []


def test_the_longest_attribute_and_an_empty_one(tmp_path: Path) -> None:
    """65,531 bytes fit; an empty text is an attribute without a value."""
    longest = base64.b64encode(bytes(65531)).decode()
    source = archive(tmp_path, [record(1, Attributes=[None] * 13 + ["", longest]), record(2)])
    tally = Tally()
    assert sockets(source, tally) == [(1, 1), (1, 2)]
    assert (tally.quarantined, tally.damaged, source.damage) == (0, 0, [])


def test_many_records_come_in_chunks(tmp_path: Path) -> None:
    """A dump larger than the buffer, and one of more sockets than are told apart."""
    source = archive(tmp_path, (record(c) for c in range(1, 13_001)))
    chunks = list(source.chunks())
    assert len(chunks) == 2 and {c.context.dump for c in chunks} == {1}
    assert sockets(source) == [(1, c) for c in range(1, 13_001)]


def test_a_dump_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cookies that are kept are bounded."""
    monkeypatch.setattr(mlab_archive, "DUMP", 2)
    assert sockets(archive(tmp_path, [record(c) for c in (1, 2, 3)])) == [(1, 1), (1, 2), (2, 3)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=fewer(100))
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8))
def test_any_damage_is_told(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    """Bytes changed anywhere behind the beginning: rows or damage, and every line is one of them or metadata."""
    lines = [metadata(), record(1, Attributes=[None, "AAAA", "AAAAAAAA"]), record(2), record(3)]
    content = bytearray(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    for at, value in changes:
        content[20 + at % (len(content) - 20)] = value
    tally = Tally()
    source = open_source(saved(tmp_path, bytes(content)))
    sockets(source, tally)
    assert tally.messages == tally.rows + tally.quarantined
    assert tally.messages == 3 or source.damage or bytes(content).count(b"\n") != 4
