"""Rows 34 to 36 and 41: files that are cut, compressed, piped, or that lie about their lengths."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.running import ENVIRONMENT, xtcp_replay
from tests.libraries import is_here
from tests.patience import fewer, patient
from tests.replay.made import (
    DATAGRAMS,
    MULTI,
    ROWS,
    T0,
    cooked,
    done,
    dump,
    enhanced,
    interface,
    pcap,
    pcapng,
    read,
    request,
    row,
    saved,
    section,
    sockets,
)
from tests.replay.packed import PACK, UNPACK_START, zeros, zstandard, zstd_zeros
from xtcp.batch import Tally
from xtcp.errors import DamagedInput, ExitCode
from xtcp_replay.cli.main import run
from xtcp_replay.reading.opening import ReplaySource, Told, open_source

# Every byte, where that does not take long; else every third, and so whole words and parts of them.
STEP = 7 // fewer(7)
HAS_ZSTD = is_here("zstandard")
BOMBS = {"gzip": 1 << 27, "zstd": 1 << 30, "xz": 1 << 25}
TEN = [
    request(),
    *(row(c) for c in range(1, 5)),
    done(),
    request(family=10),
    row(5, family=10),
    row(6, family=10),
    done(),
]


def balanced(tally: Tally) -> bool:
    """Whether nothing has vanished in decode."""
    return tally.messages == tally.rows + tally.quarantined + sum(tally.control.values())


# Reads each file by itself, one behind the other: on a slow machine it is the start of a process that takes long.
ONE_BY_ONE = """
import io, json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
from xtcp_replay.cli.main import run
stdout = sys.stdout
for path in sys.argv[1:]:
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.BytesIO()) for _ in range(2))
    said = [run(["decode", path, "--format", "json"])]
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        said.append(stream.buffer.getvalue().decode())
    print(json.dumps(said), file=stdout, flush=True)
"""
Said = tuple[int, str, str]


@pytest.fixture(scope="module")
def in_little_memory(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Said]:
    """Exit code, output and standard error of `decode` with 512 MiB of address space, of `bombs` and `claims`."""
    folder, files = tmp_path_factory.mktemp("bounded"), bombs() | claims()
    paths = [saved(folder, content, name) for name, content in files.items()]
    command = [sys.executable, "-c", ONE_BY_ONE, *paths]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, timeout=patient(60), check=False)
    assert done.returncode == 0, done.stderr
    return {name: tuple(json.loads(line)) for name, line in zip(files, done.stdout.splitlines(), strict=True)}


# 34: cut


def test_fault_34_pcap_cut_at_every_byte(tmp_path: Path) -> None:
    """Every whole message before the cut is decoded; a cut inside is told with its place, one between records is not
    to be seen in the packets and shows as a dump without its end.
    """
    content = pcap(DATAGRAMS)
    row_ends, boundaries = [], []
    at = 24
    for datagram in DATAGRAMS:
        boundaries.append(at)
        rows = (len(datagram) // 88) if datagram[4] == 20 and len(datagram) % 88 == 0 and datagram[6] == MULTI else 0
        row_ends += [at + 32 + 88 * (i + 1) for i in range(rows)]
        at += 32 + len(datagram)
    assert at == len(content) and len(row_ends) == 5
    for size in range(0, len(content), STEP):
        source = read(tmp_path, content[:size])
        if size < 24:
            with pytest.raises(DamagedInput):
                sockets(source)
            continue
        tally = Tally()
        found = sockets(source, tally)
        assert found == ROWS[: sum(end <= size for end in row_ends)], size
        assert bool(source.damage) == (size not in boundaries), size
        if source.damage:
            assert f"at byte {max(b for b in boundaries if b < size):,}" in source.damage[0]
        assert balanced(tally)


def test_fault_34_pcapng_cut_at_every_byte(tmp_path: Path) -> None:
    """Every whole message before the cut is decoded, and a cut that is not between blocks is told."""
    content = pcapng()
    starts = [len(section()), len(section() + interface())]
    for datagram in dump((1, 2)):
        starts.append(starts[-1] + len(enhanced(cooked(datagram))))
    first_row = starts[2] + 28 + 16 + 88
    for size in range(0, len(content), STEP):
        source = read(tmp_path, content[:size])
        if size < starts[0]:
            with pytest.raises(DamagedInput):
                sockets(source)
            continue
        assert sockets(source) == [(1, 1), (1, 2)][: (size >= first_row) + (size >= first_row + 88)], size
        assert bool(source.damage) == (size not in starts), size


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_fault_34_compressed_and_cut_at_every_byte(tmp_path: Path, form: str, kind: str) -> None:
    """The same rows as of what the library gets out of the beginning; the cut is told at every place."""
    blocks = section() + interface() + b"".join(enhanced(cooked(d), T0 // 1000) for d in TEN)
    content = pcap(TEN) if form == "pcap" else blocks
    packed = PACK[kind](content)
    assert len(sockets(read(tmp_path, packed))) == 6
    expected: dict[bytes, list[tuple[int | None, int]] | None] = {}
    for size in range(0, len(packed), STEP):
        there = UNPACK_START[kind](packed[:size]) if size else b""
        if there not in expected:
            expected[there] = rows_or_none(read(tmp_path, there))
        source = read(tmp_path, packed[:size])
        rows = rows_or_none(source)
        assert rows == expected[there], size
        if rows is not None:
            assert source.damage[0].startswith(
                f"the {kind} data is cut (at byte {size:,}, after {len(there):,} decompressed bytes)"
            )


def rows_or_none(source: ReplaySource) -> list[tuple[int | None, int]] | None:
    """The rows, None where it is refused."""
    try:
        return sockets(source)
    except DamagedInput:
        return None


def test_fault_34_exit_code_and_strict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 3 with offset and counts; with --strict no output."""
    path = saved(tmp_path, PACK["gzip"](pcap(TEN))[:-20], "cut.pcap.gz")
    assert run(["decode", path, "--format", "json"]) == ExitCode.DAMAGED
    out, err = capsys.readouterr()
    assert out.count("\n") > 0
    assert re.search(r"warning: the gzip data is cut \(at byte [\d,]+, after [\d,]+ decompressed bytes", err)
    assert run(["decode", path, "--format", "json", "--strict"]) == ExitCode.DAMAGED
    assert capsys.readouterr().out == ""


# 35: compressed


@pytest.mark.parametrize("kind", PACK)
def test_fault_35_by_content_not_by_name(tmp_path: Path, kind: str) -> None:
    """The name says nothing; compressed twice and three times is read, four times is refused."""
    packed = pcap(DATAGRAMS)
    for _ in range(3):
        packed = PACK[kind](packed)
        source = open_source(saved(tmp_path, packed, "called.pcap"))
        assert sockets(source) == ROWS
        assert source.damage == []
    with pytest.raises(DamagedInput, match="more than 3 times"):
        sockets(read(tmp_path, PACK[kind](packed)))


@pytest.mark.parametrize("outer", PACK)
@pytest.mark.parametrize("inner", PACK)
def test_fault_35_double_compression_names_the_layer(tmp_path: Path, outer: str, inner: str) -> None:
    """Damage inside is told of the layer that it is in."""
    cut = PACK[inner](pcap(TEN))[:-3]
    source = read(tmp_path, PACK[outer](cut))
    sockets(source)
    assert source.damage[0].startswith(f"the {inner} data in {outer} data is cut (at byte {len(cut):,}, ")


@pytest.mark.parametrize("kind", PACK)
def test_fault_35_bad_checksum(tmp_path: Path, kind: str) -> None:
    """All rows, and the damage."""
    packed = bytearray(PACK[kind](pcap(DATAGRAMS)))
    if kind == "xz":
        # The check of the block stands before index (8 bytes and more) and footer (12).
        index = (int.from_bytes(packed[-8:-4], "little") + 1) * 4
        packed[-12 - index - 1] ^= 1
    else:
        packed[-5 if kind == "gzip" else -1] ^= 1
    source = read(tmp_path, bytes(packed))
    assert sockets(source) == ROWS
    assert len(source.damage) == 1 and kind in source.damage[0]


@pytest.mark.parametrize("kind", PACK)
def test_fault_35_bomb_that_is_nothing(tmp_path: Path, kind: str) -> None:
    """Up to a GiB of zeros is refused for its first bytes."""
    with pytest.raises(DamagedInput, match="nothing but zero bytes"):
        sockets(read(tmp_path, zeros(kind, BOMBS[kind])))


def bombs() -> dict[str, bytes]:
    """Files that expand to much, behind good content; those that can be made here."""
    good = pcap(DATAGRAMS)
    found = {f"pcap-{kind}": zeros(kind, size, good) for kind, size in BOMBS.items() if kind != "zstd" or HAS_ZSTD}
    return found | ({"archive-zstd": zeros("zstd", BOMBS["zstd"], b'{"Metadata":{}}\n')} if HAS_ZSTD else {})


@pytest.mark.parametrize(("form", "kind"), [*(("pcap", kind) for kind in PACK), ("archive", "zstd")])
def test_fault_35_bomb_behind_good_content(in_little_memory: dict[str, Said], kind: str, form: str) -> None:
    """Rows before it, damage, in 512 MiB of address space, in little time."""
    if kind == "zstd":
        zstandard()
    code, out, err = in_little_memory[f"{form}-{kind}"]
    assert code == ExitCode.DAMAGED
    assert out.count("\n") == (5 if form == "pcap" else 0)
    assert ("no length" if form == "pcap" else "lines of more than 1 MiB") in err


def test_fault_35_max_bytes(tmp_path: Path) -> None:
    """What lies beyond is damage that names the option; what fits exactly is not."""
    content = pcap(DATAGRAMS)
    for kind, pack in PACK.items():
        packed = pack(content)
        source = open_source(saved(tmp_path, packed), Told(max_bytes=len(content)))
        assert sockets(source) == ROWS and source.damage == []
        source = open_source(saved(tmp_path, packed), Told(max_bytes=len(content) - 1))
        assert sockets(source) == ROWS
        assert source.damage[0].startswith(f"the {kind} data expands to more than --max-bytes")
        assert f"after {len(content) - 1:,} decompressed bytes" in source.damage[0]
    source = open_source(saved(tmp_path, content), Told(max_bytes=100))
    assert sockets(source) == ROWS and source.damage == []
    path = saved(tmp_path, zstd_zeros(1 << 20, pcap(DATAGRAMS)))
    assert run(["decode", path, "--max-bytes", "4K", "--format", "null"]) == ExitCode.DAMAGED


# 36: pipes


@contextmanager
def piped(content: bytes, monkeypatch: pytest.MonkeyPatch, piece: int = 1000) -> Iterator[None]:
    """Standard input is a pipe that gives `content` in pieces."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            for at in range(0, len(content), piece):
                pipe.write(content[at : at + piece])

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield
        writer.join()


def kinds() -> dict[str, tuple[bytes, list[int]]]:
    """Each kind of file with its cookies."""
    raw = b"".join((row(1), row(2), row(3), done(), row(4, family=10), row(5, family=10), done()))
    idm = "CgEAAA" + "A" * 90  # 72 bytes, base64
    return {
        "pcap": (pcap(DATAGRAMS), [1, 2, 3, 4, 5]),
        "nanoseconds": (pcap(DATAGRAMS, ">", nano=True), [1, 2, 3, 4, 5]),
        "pcapng": (pcapng(), [1, 2]),
        "dump": (raw, [1, 2, 3, 4, 5]),
        "archive": (b'{"Timestamp":"2019-07-01T00:00:12Z","RawIDM":"%s"}\n' % idm.encode(), [0]),
    }


@pytest.mark.parametrize("kind", ["plain", *PACK])
@pytest.mark.parametrize("form", kinds())
def test_fault_36_every_kind_through_a_pipe(monkeypatch: pytest.MonkeyPatch, form: str, kind: str) -> None:
    """`-` reads a pipe, which cannot seek and gives a few bytes at a time."""
    content, cookies = kinds()[form]
    source = open_source("-")
    with piped(content if kind == "plain" else PACK[kind](content), monkeypatch, piece=37):
        assert [cookie for _, cookie in sockets(source)] == cookies
    assert source.damage == []


def test_fault_36_a_pipe_that_does_not_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may have made it so, for us as well."""
    with piped(PACK["gzip"](pcap(DATAGRAMS)), monkeypatch, piece=10):
        os.set_blocking(sys.stdin.fileno(), False)
        assert sockets(open_source("-")) == ROWS


def test_fault_36_a_command(tmp_path: Path) -> None:
    """gzip on standard input, where scapy needs to seek."""
    finished = xtcp_replay("decode", "-", "--format", "json", input=PACK["gzip"](pcap(DATAGRAMS)))
    assert (finished.returncode, finished.stdout.count(b"\n")) == (0, 5)


# 41: lengths that lie


BAD_HEADERS = [
    struct.pack("<IIII", 0, 0, 0xFFFFFFF0, 0xFFFFFFF0),
    struct.pack("<IIII", 0, 0, (1 << 20) + 1, 1 << 21),
    struct.pack("<IIII", 0, 0, 88, 40),
    struct.pack("<IIII", 0, 1_000_000, 88, 88),
    bytes(16),
]


@pytest.mark.parametrize("header", BAD_HEADERS)
def test_fault_41_a_header_that_cannot_be(tmp_path: Path, header: bytes) -> None:
    """Lengths and times that no packet has end the file there: told with the place, what stood before is decoded."""
    good = pcap(dump((1,)))
    source = read(tmp_path, good + header + cooked(row(2)))
    assert sockets(source) == [(1, 1)]
    assert len(source.damage) == 1 and f"at byte {len(good):,}" in source.damage[0]


def test_fault_41_packets_that_contradict_their_block(tmp_path: Path) -> None:
    """More captured than the block holds, or than the packet had: left out and told, the next one is read."""
    for bad in (enhanced(cooked(row(9)), caplen=5000, wirelen=5000), enhanced(cooked(row(9)), wirelen=20)):
        source = read(tmp_path, pcapng() + bad + b"".join(enhanced(cooked(d)) for d in dump((3,))))
        assert sockets(source) == [(1, 1), (1, 2), (2, 3)]
        assert len(source.damage) == 1 and "left out" in source.damage[0]


def claims() -> dict[str, bytes]:
    """Files that claim to be much longer than they are."""
    packed = pcap(DATAGRAMS)
    return {
        "pcap": packed + BAD_HEADERS[0],
        "pcapng": pcapng() + struct.pack("<II", 77, 0xFFFFFFF0) + bytes(64),
        "dump": row(1) + struct.pack("<IHH", 0xFFFFFFF0, 20, 2) + bytes(64),
        # A window of 1 TiB, one of the block's length, a dictionary of 1.5 GiB, an extra field that is not there.
        "zstd": struct.pack("<IBB", 0xFD2FB528, 0, 30 << 3) + bytes(64),
        "xz": PACK["xz"](packed)[:14] + b"\x21\x01\x25\0" + bytes(8),
        "gzip": b"\x1f\x8b\x08\x04" + bytes(6) + b"\xff\xff" + bytes(64),
    }


@pytest.mark.parametrize("form", ["pcap", "pcapng", "dump", "zstd", "xz", "gzip"])
def test_fault_41_nothing_is_allocated_for_a_claim(in_little_memory: dict[str, Said], form: str) -> None:
    """With 512 MiB of address space each ends with exit 3 and its message, not for want of memory."""
    if form == "zstd":
        zstandard()
    code, _, err = in_little_memory[form]
    assert code == ExitCode.DAMAGED, err
    assert "Traceback" not in err and "emory" not in err
