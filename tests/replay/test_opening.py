"""Any kind of file as a source or as bytes: told by content, watched, named by the options."""

from __future__ import annotations

import contextlib
import gzip
import io
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.replay.made import cooked, done, dump, pcap, pcapng, row, saved, sockets
from tests.replay.packed import PACK
from xtcp.errors import DamagedInput, ExitCode, UsageError
from xtcp_replay.cli.main import parser, run
from xtcp_replay.cli.reading import open_named, open_named_bytes, told
from xtcp_replay.reading.findings import Findings
from xtcp_replay.reading.input_bytes import InputBytes
from xtcp_replay.reading.opening import Told, open_bytes, open_source
from xtcp_replay.reading.packets import read_packets
from xtcp_replay.reading.told import MAX_BYTES

DATAGRAMS = [*dump((1, 2, 3)), *dump((4, 5), family=10)]
RAW = row(1) + row(2) + done() + row(3, family=10) + done()


class Watched:
    """A `Watch` that keeps what it was told."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.begun = self.ended = 0

    def begin(self) -> None:
        """Counts."""
        self.begun += 1

    def __call__(self, read: int) -> None:
        """Keeps the count."""
        self.counts.append(read)

    def end(self) -> None:
        """Counts."""
        self.ended += 1


def test_a_raw_dump_of_ss(tmp_path: Path) -> None:
    """Its dumps, damage and order, as xtcp once reads it; a dump that says neither is read in the order given."""
    source = open_source(saved(tmp_path, RAW), Told(release="6.1.0", hostname="h", netns="n"))
    assert sockets(source) == [(1, 1), (1, 2), (2, 3)]
    assert source.damage == []
    for chunk in source.chunks():
        context = chunk.context
        assert (context.kernel, context.hostname, context.netns, context.order) == ((6, 1), "h", "n", "<")
    source = open_source(saved(tmp_path, PACK["xz"](RAW[:-3])))
    assert sockets(source) == [(1, 1), (1, 2), (2, 3)]
    assert "cut in a message" in source.damage[0]
    path = saved(tmp_path, b"\x10\0\0\0\x10\0\0\0" * 8)
    with pytest.raises(DamagedInput, match="unknown kind"):
        sockets(open_source(path))
    assert sockets(open_source(path, Told(order="<"))) == []


def test_a_real_dump_of_ss(captures: Path, tmp_path: Path) -> None:
    """Big-endian, plain and compressed: the same rows."""
    path = captures / "s390x-6.1" / "ss-D.bin"
    plain = sockets(open_source(str(path)))
    assert len(plain) == 703
    for pack in PACK.values():
        assert sockets(open_source(saved(tmp_path, pack(path.read_bytes())))) == plain


def test_bytes_and_packets_of_them(tmp_path: Path) -> None:
    """What the rewriting verbs read: decompressed bytes, and packets out of these."""
    content = pcap(DATAGRAMS)
    damage: list[str] = []
    for packed in (content, PACK["zstd"](PACK["gzip"](content))):
        path = saved(tmp_path, packed)
        with open_bytes(path, Told(), Findings(damage)) as source:
            assert source.name == path
            packets = [packet.data for packet in read_packets(source, Findings(damage), Findings([]))]
            assert source.offset == len(content)
        assert packets == [cooked(d) for d in DATAGRAMS]
    assert damage == []


def test_what_is_given_back_is_read_again() -> None:
    """`read`, `readinto`, `unread` and `skip` in any order give the bytes in their order, and the place."""
    content = random.Random(3).randbytes(50_000)
    for seed in range(20):
        chance = random.Random(seed)
        source = InputBytes(io.BufferedReader(io.BytesIO(content), 100), "x")
        assert source.head == content[:4096]
        at = 0
        while at < len(content):
            size = chance.choice((1, 16, 4096, 5000))
            match chance.randrange(4):
                case 0:
                    piece = source.read(size)
                case 1:
                    buffer = bytearray(size)
                    piece = bytes(buffer[: source.readinto(memoryview(buffer))])
                    piece = bytes(buffer[: len(piece)])
                case 2:
                    whole = source.read(size)
                    back = chance.randint(0, len(whole))
                    source.unread(whole[back:])
                    piece = whole[:back]
                case _:
                    piece = content[at : at + source.skip(size)]
            assert content.startswith(piece, at)
            at += len(piece)
            assert source.offset == at
        assert (source.read(10), source.readinto(memoryview(bytearray(10)))) == (b"", 0)


def test_watching(tmp_path: Path) -> None:
    """At most once a MiB of the file itself, compressed or not; the end is told, whatever ends it."""
    noise = random.Random(4).randbytes(5 << 20)
    for packed in (noise, gzip.compress(noise, 1)):
        watched = Watched()
        with open_bytes(saved(tmp_path, packed), Told(), Findings([]), watched) as source:
            assert watched.begun == 1
            assert source.skip(1 << 40) == len(noise)
        assert watched.counts == [n << 20 for n in range(1, 6)]
        assert watched.ended == 1
    watched = Watched()
    with pytest.raises(DamagedInput):
        list(open_source(saved(tmp_path, b"text"), watch=watched).chunks())
    assert (watched.begun, watched.ended) == (1, 1)
    watched = Watched()
    path = saved(tmp_path, pcap(DATAGRAMS))
    for _ in open_source(path, watch=watched).chunks():
        assert watched.ended == 0
        break
    assert watched.ended == 1


def opened() -> Iterator[Path]:
    """The names of what this process has open."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield descriptor.readlink()


def test_a_file_is_closed_whatever_happens(tmp_path: Path) -> None:
    """No descriptor stays, whether it was read, refused, damaged or left."""
    for content in (pcap(DATAGRAMS), PACK["zstd"](PACK["xz"](b"text")), PACK["gzip"](RAW)[:-9], b"BZh9"):
        source = open_source(saved(tmp_path, content))
        for _ in range(2):
            with contextlib.suppress(DamagedInput):
                next(iter(source.chunks()))
    # Not how many there are: what other tests left in this process comes and goes.
    assert not [path for path in opened() if path.is_relative_to(tmp_path)]


def test_options(tmp_path: Path) -> None:
    """Every option of reading reaches `Told`; sizes have suffixes."""
    parse = parser().parse_args
    args = parse(
        ["decode", "f", "--kernel-release", "6.1.2", "--byte-order", "big", "--host", "h", "--max-bytes", "3m"]
    )
    assert told(args, "f") == Told(">", "6.1.2", "h", None, 3 << 20)
    assert told(parse(["decode", "f"]), "f") == Told(max_bytes=MAX_BYTES)
    for text, size in (("4096", 4096), ("4K", 4096), ("2G", 2 << 30), ("1t", 1 << 40)):
        assert parse(["decode", "f", "--max-bytes", text]).max_bytes == size
    for wrong in ("0", "4095", "1.5G", "G", "-1", "", "1P", "10 M"):
        with pytest.raises(UsageError, match="max-bytes"):
            parse(["decode", "f", f"--max-bytes={wrong}"])
    path = saved(tmp_path, PACK["gzip"](pcap(DATAGRAMS)))
    args = parse(["decode", path, "--host", "h", "--no-progress"])
    assert {c.context.hostname for c in open_named(args, path).chunks()} == {"h"}
    with open_named_bytes(args, path, Findings([])) as source:
        assert source.head == pcap(DATAGRAMS)


def test_hosts_of_several_files() -> None:
    """A name for one file, by its path or its name alone, stands above that for all; the last one counts."""
    parse = parser().parse_args
    args = parse(["info", "/x/a.pcap", "b=c.pcap", "--host", "a.pcap=one", "--host", "all", "--host", "b=c.pcap=two"])
    assert [told(args, path).hostname for path in ("/x/a.pcap", "b=c.pcap")] == ["one", "two"]
    args = parse(["info", "a", "b", "--host", "first", "--host", "last"])
    assert [told(args, path).hostname for path in "ab"] == ["last", "last"]
    args = parse(["info", "a", "b", "--host", "c=x"])
    with pytest.raises(UsageError, match="c=x names a file that is not read"):
        told(args, "a")
    for wrong in ("", "=x", "a="):
        with pytest.raises(UsageError, match="FILE=NAME"):
            parse(["info", "a", f"--host={wrong}"])


def test_a_host_reaches_the_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Above the name in the file, in all kinds of files."""
    archive = b'{"Timestamp":"2019-07-01T00:00:12Z","RawIDM":"%s"}\n' % (b"CgEAAA" + b"A" * 90)
    for content in (pcap(DATAGRAMS), pcapng(), RAW, archive):
        path = saved(tmp_path, content)
        assert run(["decode", path, "--host", "edge7", "--format", "json"]) == ExitCode.OK
        assert {line.count('"hostname":"edge7"') for line in capsys.readouterr().out.splitlines()} == {1}
