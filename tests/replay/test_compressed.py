"""Compressed content: members, frames and streams in a row, headers with everything, and every damage told."""

from __future__ import annotations

import gzip
import io
import lzma
import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.patience import fewer
from tests.replay.made import saved
from tests.replay.packed import PACK, zstandard, zstd_zeros
from xtcp.errors import ConfigurationError, DamagedInput
from xtcp_replay.reading.compressed import WINDOW
from xtcp_replay.reading.findings import Findings
from xtcp_replay.reading.opening import Told, open_bytes

# Text that compresses a little, several buffers long.
WORDS = " ".join(map(str, random.Random(0).choices(range(10_000), k=30_000))).encode()


def unpacked(folder: Path, packed: bytes, max_bytes: int = 1 << 30) -> tuple[bytes, list[str]]:
    """The content of a file of `packed`, and what was wrong."""
    damage: list[str] = []
    with open_bytes(saved(folder, packed), Told(max_bytes=max_bytes), Findings(damage)) as source:
        content = b"".join(iter(lambda: source.read(10_000), b""))
        assert source.offset == len(content)
    return content, damage


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, len(WORDS)])
def test_content_is_exact(tmp_path: Path, kind: str, size: int) -> None:
    """Of every size around the buffers'."""
    assert unpacked(tmp_path, PACK[kind](WORDS[:size])) == (WORDS[:size], [])


@pytest.mark.parametrize("kind", PACK)
def test_several_in_a_row_are_one(tmp_path: Path, kind: str) -> None:
    """Members, frames, streams, empty ones too: as `cat a.gz b.gz` is read by gzip."""
    pack = PACK[kind]
    packed = pack(WORDS[:5000]) + pack(b"") + pack(WORDS[5000:]) + pack(b"")
    assert unpacked(tmp_path, packed) == (WORDS, [])
    assert unpacked(tmp_path, pack(b"")) == (b"", [])


def zstd(content: bytes, **options: Any) -> bytes:
    """A frame of `content`."""
    return bytes(zstandard().ZstdCompressor(**options).compress(content))


LEVELS: dict[str, Callable[[bytes], bytes]] = {
    "gzip stored": lambda content: gzip.compress(content, 0),
    "gzip 9": lambda content: gzip.compress(content, 9),
    "zstd without size and checksum": lambda content: bytes(
        zstandard().ZstdCompressor(write_content_size=False).compress(content)
    ),
    "zstd fast": lambda content: bytes(zstandard().ZstdCompressor(level=-50).compress(content)),
    "zstd 19": lambda content: bytes(zstandard().ZstdCompressor(level=19, write_checksum=True).compress(content)),
    "zstd in threads": lambda content: bytes(zstandard().ZstdCompressor(threads=2).compress(content)),
    "xz": lzma.compress,
    "xz without check": lambda content: lzma.compress(content, check=lzma.CHECK_NONE),
    "xz sha256": lambda content: lzma.compress(content, check=lzma.CHECK_SHA256, preset=0),
    "xz delta": lambda content: lzma.compress(
        content, filters=[{"id": lzma.FILTER_DELTA, "dist": 4}, {"id": lzma.FILTER_LZMA2, "preset": 1}]
    ),
}


@pytest.mark.parametrize("how", LEVELS)
def test_all_ways_to_write_it(tmp_path: Path, how: str) -> None:
    """Random, repeated and empty content in every block type that the compressors use."""
    noise = random.Random(1).randbytes(150_000)
    for content in (noise + bytes(300_000) + WORDS, noise[:10], b"ab" * 100_000):
        assert unpacked(tmp_path, LEVELS[how](content)) == (content, [])


def test_zstd_frames_of_a_stream(tmp_path: Path) -> None:
    """Flushed blocks, and frames that say their size in 1, 2, 4 and 8 bytes."""
    target = io.BytesIO()
    with zstandard().ZstdCompressor().stream_writer(target, closefd=False) as writer:
        for at in range(0, 100_000, 1000):
            writer.write(WORDS[at : at + 1000])
            writer.flush(zstandard().FLUSH_BLOCK)
    assert unpacked(tmp_path, target.getvalue()) == (WORDS[:100_000], [])
    for size, single in ((200, True), (300, True), (70_000, True), (70_000, False), (0, False)):
        frame = zstandard().ZstdCompressor(level=3).compress(WORDS[:size])
        assert bool(frame[4] & 0x20) or not single
        assert unpacked(tmp_path, frame) == (WORDS[:size], [])
    eight = struct.pack("<IBBQ", 0xFD2FB528, 0xC0, 10 << 3, 4) + b"\x21\0\0abcd"
    assert unpacked(tmp_path, eight) == (b"abcd", [])


def test_zstd_skippable_frames(tmp_path: Path) -> None:
    """Before, between and behind, of any of the 16 numbers; one that is cut is told."""
    skipped = [struct.pack("<II", 0x184D2A50 + n, n * 1000) + bytes(n * 1000) for n in (0, 7, 15)]
    frame = PACK["zstd"](WORDS)
    assert unpacked(tmp_path, frame + skipped[1] + frame + skipped[0] + skipped[2]) == (WORDS * 2, [])
    content, damage = unpacked(tmp_path, frame + skipped[1][:-1])
    assert content == WORDS and "cut" in damage[0]


def test_gzip_header_with_everything(tmp_path: Path) -> None:
    """Extra field, name, comment and checksum of the header."""
    body = gzip.compress(WORDS)[10:]
    head = b"\x1f\x8b\x08\x1f" + bytes(6) + struct.pack("<H", 300) + b"\x1f\x8b" * 150
    head += b"name.pcap\0" + b"comment" * 1000 + b"\0" + b"\xab\xcd"
    assert unpacked(tmp_path, head + body) == (WORDS, [])
    for size in range(10, len(head), 977):
        with pytest.raises(DamagedInput, match="cut"):
            unpacked(tmp_path, head[:size])


def test_padding(tmp_path: Path) -> None:
    """Zero bytes behind gzip, as tapes have them, and behind xz, there in fours."""
    for kind, padding in (("gzip", 513), ("xz", 512)):
        assert unpacked(tmp_path, PACK[kind](WORDS) + bytes(padding)) == (WORDS, [])
        assert unpacked(tmp_path, PACK[kind](WORDS) + bytes(padding) + PACK[kind](b"more")) == (WORDS + b"more", [])
    content, damage = unpacked(tmp_path, PACK["xz"](WORDS) + bytes(513))
    assert content == WORDS and "padding" in damage[0]


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("behind", [b"garbage", b"\0\0\0\0garbage", b"x", WORDS])
def test_something_else_behind_it(tmp_path: Path, kind: str, behind: bytes) -> None:
    """All content, and where the rest begins."""
    packed = PACK[kind](WORDS)
    content, damage = unpacked(tmp_path, packed + behind)
    assert content == WORDS
    assert len(damage) == 1 and "followed by something else" in damage[0]
    place = len(packed) + (4 if behind[:1] == b"\0" and kind != "zstd" else 0)
    assert f"at byte {place:,}, after {len(WORDS):,} decompressed bytes" in damage[0]


@pytest.mark.parametrize("kind", PACK)
def test_damage_in_the_second_member(tmp_path: Path, kind: str) -> None:
    """The first is whole, the second up to near the damage, which gzip may see by its checksum alone."""
    first, second = PACK[kind](WORDS), bytearray(PACK[kind](WORDS))
    second[len(second) // 2 : len(second) // 2 + 40] = b"\xff" * 40
    content, damage = unpacked(tmp_path, first + bytes(second))
    # A block of zstd has 128 KiB at most, and is whole or not there.
    assert len(content) > len(WORDS) + len(WORDS) // 2 - (128 << 10)
    assert content.startswith(WORDS)
    assert len(damage) == 1 and kind in damage[0]


def test_gzip_up_to_the_damaged_byte(tmp_path: Path) -> None:
    """Also of the piece in which damage is found: two stored blocks, then one of a type that does not exist."""
    block = struct.pack("<BHH", 0, 5000, 5000 ^ 0xFFFF)
    packed = b"\x1f\x8b\x08\0" + bytes(6) + block + WORDS[:5000] + block + WORDS[5000:10_000] + b"\x07" + bytes(99)
    content, damage = unpacked(tmp_path, packed)
    assert content == WORDS[:10_000]
    assert f"is damaged; nothing behind it is read (at byte {len(packed) - 100:,}, after 10,000" in damage[0]


def test_gzip_goes_on_behind_a_bad_checksum(tmp_path: Path) -> None:
    """Only the checksum is wrong: nothing says that what follows is."""
    packed = bytearray(gzip.compress(WORDS) + gzip.compress(b"more"))
    packed[len(gzip.compress(WORDS)) - 8] ^= 1
    content, damage = unpacked(tmp_path, bytes(packed))
    assert content == WORDS + b"more"
    assert "checksum or length" in damage[0]


def test_xz_beyond_what_is_kept(tmp_path: Path) -> None:
    """Damage in a large stream costs no more than a piece of it."""
    noise = random.Random(2).randbytes(600_000)
    packed = bytearray(lzma.compress(noise, check=lzma.CHECK_CRC64))
    packed[-40] ^= 1
    content, damage = unpacked(tmp_path, bytes(packed))
    assert noise.startswith(content) and len(noise) - len(content) < 5000
    assert "the xz data is damaged" in damage[0]


def test_windows_that_are_too_large(tmp_path: Path) -> None:
    """`zstd --long=31` and a large dictionary of xz: refused with what to do; the largest that fits is taken."""
    frame = bytearray(zstd_zeros(1 << 17))
    frame[5] = 17 << 3
    assert WINDOW == 1 << 27 and unpacked(tmp_path, bytes(frame))[1] == []
    frame[5] = 17 << 3 | 1
    with pytest.raises(DamagedInput, match="window") as caught:
        unpacked(tmp_path, bytes(frame))
    assert "--long=31" in caught.value.to_do
    content, damage = unpacked(tmp_path, PACK["zstd"](WORDS) + frame)
    assert content == WORDS and "window" in damage[0]
    huge = lzma.compress(b"a", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 27}])
    with pytest.raises(DamagedInput, match="window"):
        unpacked(tmp_path, huge)


def test_zstd_dictionary_and_old_blocks(tmp_path: Path) -> None:
    """What cannot be decompressed without more, and block types that do not exist."""
    zstandard()
    with pytest.raises(DamagedInput, match="dictionary"):
        unpacked(tmp_path, struct.pack("<IBBB", 0xFD2FB528, 1, 10 << 3, 7) + bytes(20))
    for block in (3 << 1 | 1 << 3, ((128 << 10) + 1) << 3 | 2):
        with pytest.raises(DamagedInput, match="damaged"):
            unpacked(tmp_path, struct.pack("<IBB", 0xFD2FB528, 0, 10 << 3) + block.to_bytes(3, "little") + bytes(20))


def test_without_zstandard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named, exit code 78; gzip and xz need none."""
    frame = struct.pack("<IBB", 0xFD2FB528, 0, 10 << 3) + b"\x21\0\0abcd"
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ConfigurationError, match="zstandard") as caught:
        unpacked(tmp_path, frame)
    assert "xtcp[replay]" in caught.value.to_do
    assert unpacked(tmp_path, PACK["xz"](b"x")) == (b"x", [])


def test_nothing_more_is_expanded_than_is_read(tmp_path: Path) -> None:
    """Of a bomb only what is asked for, and what a buffer holds."""
    damage: list[str] = []
    path = saved(tmp_path, zstd_zeros(1 << 40 >> 10))
    with open_bytes(path, Told(), Findings(damage)) as source:
        assert source.read(100) == bytes(100)
    assert damage == []


def test_many_tiny_members_take_little_time(tmp_path: Path) -> None:
    """Thousands of empty ones: a fraction of a second, not minutes."""
    assert unpacked(tmp_path, gzip.compress(b"", mtime=0) * 20_000 + gzip.compress(b"end")) == (b"end", [])
    assert unpacked(tmp_path, PACK["zstd"](b"") * 10_000 + PACK["zstd"](b"end")) == (b"end", [])
    assert unpacked(tmp_path, PACK["xz"](b"") * 3_000 + PACK["xz"](b"end")) == (b"end", [])


SMALL = WORDS[:3000]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=fewer(100))
@given(
    st.sampled_from(sorted(PACK)),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
    st.data(),
)
def test_no_damage_passes_unnoticed(
    tmp_path: Path, kind: str, changes: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Bytes changed anywhere and a cut: the same content, or damage is told."""
    packed = bytearray(PACK[kind](SMALL) * 2)
    for at, value in changes:
        # The magic itself stays, else it is another kind of file.
        packed[6 + at % (len(packed) - 6)] = value
    cut = data.draw(st.integers(6, len(packed)))
    try:
        content, damage = unpacked(tmp_path, bytes(packed[:cut]))
    except DamagedInput:
        return
    if not damage:
        assert content in {SMALL * 2, SMALL}
