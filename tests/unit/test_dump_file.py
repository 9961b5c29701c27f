"""Raw dumps of `ss -D`: dump by dump, in constant memory, and every kind of damage told."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.encoder import message
from tests.replay.made import done, row, saved, sockets
from xtcp.batch import Tally
from xtcp.decode.decoder import Decoder
from xtcp.errors import DamagedInput, ExitCode, PermissionMissing, UsageError
from xtcp.schema.model import Order
from xtcp.sources.dump_file import ARENA, DumpFile

ORDERS: tuple[Order, ...] = ("<", ">")


def two_dumps(order: Order = "<") -> bytes:
    """As `ss -D` writes IPv4, then IPv6: the same sequence number and port in both."""
    first = b"".join(row(c, order=order) for c in (1, 2, 3))
    return first + done(order=order) + row(4, order=order, family=10) + done(order=order)


@pytest.mark.parametrize("order", ORDERS)
def test_each_done_closes_a_dump(tmp_path: Path, order: Order) -> None:
    """Dumps are numbered from 1; the byte order is found; nothing is said about a whole file."""
    source = DumpFile(saved(tmp_path, two_dumps(order)), release="6.1.0")
    assert sockets(source) == [(1, 1), (1, 2), (1, 3), (2, 4)]
    assert source.damage == []
    contexts = [chunk.context for chunk in source.chunks()]
    assert {c.order for c in contexts} == {order}
    assert {c.kernel for c in contexts} == {(6, 1)}
    assert {c.timestamp_ns for c in contexts} == {None}


def test_chunks_say_sequence_number_and_port_where_all_have_the_same(tmp_path: Path) -> None:
    """So that decode finds messages by them; rows of several dumps without a DONE between are all decoded."""
    assert [(c.seq, c.port) for c in DumpFile(saved(tmp_path, two_dumps())).chunks()] == [(123456, 4711)] * 2
    mixed = DumpFile(saved(tmp_path, row(1) + row(2, seq=9) + done()))
    assert [(c.seq, c.port) for c in mixed.chunks()] == [(None, None)]
    assert sockets(mixed) == [(1, 1), (1, 2)]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A dump of many times the buffer comes in chunks of one buffer, cut at message ends, and every row is there."""
    block = b"".join(row(c) for c in range(1, 50_001))
    path = saved(tmp_path, block * 3 + done())
    buffers = set()
    rows = 0
    decoder = Decoder()
    for chunk in DumpFile(path).chunks():
        buffers.add(id(chunk.data))
        assert int((chunk.ends - chunk.starts).sum()) <= ARENA
        batch = decoder.decode(chunk)
        assert batch.tally.quarantined == 0
        rows += batch.rows
    assert rows == 150_000
    assert len(buffers) == 1
    cut = DumpFile(saved(tmp_path, block + b"\x01"))
    assert len(sockets(cut)) == 50_000
    assert f"byte {len(block):,}" in cut.damage[0]


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads a pipe, which cannot seek and gives bytes in pieces."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(two_dumps())
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert len(sockets(DumpFile("-"))) == 4


def test_an_open_stream() -> None:
    """Is read from where it stands, in the place of the file, and left open; `path` is its name."""
    stream = io.BytesIO(b"before" + two_dumps()[:-4])
    stream.seek(6)
    source = DumpFile("some.name", stream=stream)
    assert sockets(source) == [(1, 1), (1, 2), (1, 3), (2, 4)]
    assert not stream.closed
    assert source.damage[0].startswith("some.name: ")


def test_cut_at_every_byte(tmp_path: Path) -> None:
    """Every whole message before the cut is decoded; a cut is told, except where a dump ends."""
    content = two_dumps()
    ends_of_rows = [88, 176, 264, 372]
    clean = {284, 392}
    for size in range(1, len(content)):
        source = DumpFile(saved(tmp_path, content[:size]))
        if size < 88:
            with pytest.raises(DamagedInput):
                sockets(source)
            continue
        assert len(sockets(source)) == sum(end <= size for end in ends_of_rows), size
        assert bool(source.damage) == (size not in clean), size


def test_a_length_that_cannot_be_ends_the_file_there(tmp_path: Path) -> None:
    """Offset and length are told, what stood before is decoded, nothing behind it."""
    source = DumpFile(saved(tmp_path, row(1) + b"\x07\0\0\0" + bytes(12) + row(2) + done()))
    assert sockets(source) == [(1, 1)]
    assert len(source.damage) == 1
    assert "byte 88" in source.damage[0] and "7 bytes" in source.damage[0]


def test_damage_is_told_again_by_a_second_reading(tmp_path: Path) -> None:
    """`chunks` may be called again; damage does not add up."""
    source = DumpFile(saved(tmp_path, row(1)))
    for _ in range(2):
        assert sockets(source) == [(1, 1)]
        assert len(source.damage) == 1 and "NLMSG_DONE" in source.damage[0]


def test_a_byte_order_given_stands_above_what_is_found(tmp_path: Path) -> None:
    """The wrong one reads nothing and says so."""
    with pytest.raises(DamagedInput, match="byte 0") as caught:
        sockets(DumpFile(saved(tmp_path, two_dumps("<")), order=">"))
    assert "big" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (bytes(100), "zero bytes"),
        (b"State  Recv-Q Send-Q\nESTAB 0 0\n", "text file"),
        (b"\xd4\xc3\xb2\xa1\x02\0\x04\0" + bytes(16), "xtcp-replay decode"),
        (b"\x0a\x0d\x0d\x0a" + bytes(24), "xtcp-replay decode"),
        (b"\x1f\x8b\x08" + bytes(20), "gzip -dc"),
        (b"\x28\xb5\x2f\xfd" + bytes(20), "zstd -dc"),
        (b"\xfe" * 100, "unknown kind"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    """What it is and what to do, before any row."""
    with pytest.raises(DamagedInput) as caught:
        sockets(DumpFile(saved(tmp_path, content, "some.file")))
    assert said in str(caught.value)
    assert caught.value.exit_code == ExitCode.DAMAGED
    assert caught.value.to_do


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    """No such file and a folder are wrong usage; a file of others is a missing permission."""
    with pytest.raises(UsageError, match="No such file"):
        sockets(DumpFile(str(tmp_path / "none")))
    with pytest.raises(UsageError, match="folder"):
        sockets(DumpFile(str(tmp_path)))
    if os.geteuid() != 0:
        path = saved(tmp_path, two_dumps())
        Path(path).chmod(0)
        with pytest.raises(PermissionMissing):
            sockets(DumpFile(path))


def test_an_errno_in_done_is_kept(tmp_path: Path) -> None:
    """A DONE with an errno reaches the tally: a missing protocol is not an empty list."""
    tally = Tally()
    assert sockets(DumpFile(saved(tmp_path, done(errno=2))), tally) == []
    assert tally.done is not None and tally.done.errno == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 391), st.integers(0, 255)), max_size=12), st.sampled_from(ORDERS))
def test_any_damage_is_an_error_of_ours(tmp_path: Path, changes: list[tuple[int, int]], order: Order) -> None:
    """Bytes changed anywhere give rows, damage or `DamagedInput`, and the books balance."""
    content = bytearray(two_dumps(order))
    for at, value in changes:
        content[at] = value
    tally = Tally()
    try:
        sockets(DumpFile(saved(tmp_path, bytes(content))), tally)
    except DamagedInput:
        return
    assert tally.messages == tally.rows + tally.quarantined + sum(tally.control.values())


def test_a_file_of_empty_dumps_is_read(tmp_path: Path) -> None:
    """DONE after DONE: each is a dump, none a row."""
    tally = Tally()
    assert sockets(DumpFile(saved(tmp_path, message("<", bytes(4), 3) * 500)), tally) == []
    assert tally.control["done"] == 500
