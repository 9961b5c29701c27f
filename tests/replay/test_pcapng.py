"""pcapng: sections, interfaces and their clocks kept apart; every damage told; what scapy drops is read."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import scapy.utils
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader

from tests.patience import fewer
from tests.replay.made import T0, block, cooked, dump, enhanced, interface, option, pcapng, row, saved, section, sockets
from xtcp.batch import Tally
from xtcp.errors import DamagedInput
from xtcp_replay.cli.main import run
from xtcp_replay.reading.opening import ReplaySource, Told, open_source


def read(folder: Path, content: bytes) -> ReplaySource:
    """The source of a file with `content`."""
    return open_source(saved(folder, content, "made.pcapng"))


def test_older_packet_blocks(tmp_path: Path) -> None:
    """The obsolete block has a time, the simple one none; its length is the snaplen's, of which 0 means all."""
    datagrams = dump((1,))
    obsolete = block(
        "<", 2, struct.pack("<HHIIII", 0, 0, T0 // 1000 >> 32, T0 // 1000 & 0xFFFFFFFF, 88, 88) + cooked(datagrams[0])
    )
    simple = [block("<", 3, struct.pack("<I", 16 + len(d)) + cooked(d)) for d in datagrams]
    source = read(tmp_path, section() + interface() + obsolete + simple[1] + simple[2])
    assert sockets(source) == [(1, 1)]
    assert [c.context.timestamp_ns for c in source.chunks()] == [T0 // 1000 * 1000]
    source = read(tmp_path, section() + interface() + b"".join(simple))
    assert sockets(source) == [(1, 1)]
    assert [c.context.timestamp_ns for c in source.chunks()] == [None]
    two = cooked(row(1) + row(2))
    cut = block("<", 3, struct.pack("<I", len(two)) + two[:104])
    source = read(tmp_path, section() + interface(snaplen=104) + cut)
    assert sockets(source) == [(1, 1)]
    assert "snaplen" in source.damage[0]


def test_a_packet_above_64_kib_is_whole(tmp_path: Path) -> None:
    """Iterating scapy's reader would cut it."""
    rows = b"".join(row(c) for c in range(1, 1001))
    source = read(tmp_path, section() + interface() + enhanced(cooked(rows)))
    assert len(sockets(source)) == 1000
    assert source.damage == []


def test_what_scapy_hides_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that gives less of a packet than the file has, or ends early, does not pass for a whole file."""
    path = saved(tmp_path, pcapng(), "a.pcapng")
    inner = scapy.utils.RawPcapNgReader._read_packet

    def shorter(self: RawPcapNgReader, size: int) -> object:
        data, meta = inner(self, size=size)
        return data[:-4], meta

    monkeypatch.setattr(scapy.utils.RawPcapNgReader, "_read_packet", shorter)
    source = open_source(path)
    sockets(source)
    assert any("scapy gave less" in line and "12 bytes" in line for line in source.damage)

    def none(self: RawPcapNgReader, size: int) -> object:
        raise EOFError

    monkeypatch.setattr(scapy.utils.RawPcapNgReader, "_read_packet", none)
    assert sockets(source) == []
    assert any("scapy stopped" in line for line in source.damage)


def test_names_of_other_programs_are_not_namespaces(tmp_path: Path) -> None:
    """`nlmon0` in a capture of dumpcap is an interface; a release is taken from Linux only."""
    content = section(options=option("<", 4, b"Dumpcap 4.2") + option("<", 3, b"macOS 14.5")) + interface(
        options=option("<", 2, b"nlmon0")
    )
    content += b"".join(enhanced(cooked(d)) for d in dump((1,)))
    (chunk,) = read(tmp_path, content).chunks()
    assert (chunk.context.netns, chunk.context.release, chunk.context.hostname) == (None, "", None)


def test_a_release_given_stands_above_the_file(tmp_path: Path) -> None:
    """`--kernel-release` over `shb_os`."""
    path = saved(tmp_path, pcapng(options=option("<", 3, b"Linux 6.1.7")), "a.pcapng")
    assert [c.context.kernel for c in open_source(path).chunks()] == [(6, 1)]
    assert [c.context.kernel for c in open_source(path, Told(release="7.0.3")).chunks()] == [(7, 0)]


def test_a_merger_does_not_give_its_kernel(tmp_path: Path) -> None:
    """mergecap writes the system of its own host into the section; what an interface says of itself stays true.

    So it is for copies that are converted or scrubbed, too.
    """
    merged = section(options=option("<", 3, b"Linux 6.18.44") + option("<", 4, b"Mergecap (Wireshark) 4.0.17"))
    merged += interface(options=option("<", 12, b"Linux 7.0.3")) + interface()
    merged += enhanced(cooked(row(1, seq=1))) + enhanced(cooked(row(2, seq=2)), number=1)
    path = saved(tmp_path, merged, "merged.pcapng")
    for verb in ("convert", "scrub"):
        assert run([verb, path, str(tmp_path / f"{verb}.pcapng")]) == 0
    for name in ("merged", "convert", "scrub"):
        chunks = open_source(str(tmp_path / f"{name}.pcapng")).chunks()
        assert [chunk.context.release for chunk in chunks] == ["7.0.3", ""], name


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=fewer(200))
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8))
def test_fault_48_any_damage_is_an_error_of_ours(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    """Bytes changed anywhere give rows, damage or `DamagedInput`, never another exception, and the books balance."""
    content = bytearray(pcapng(options=option("<", 3, b"Linux 6.1.7")) + pcapng(">"))
    for at, value in changes:
        content[at % len(content)] = value
    tally = Tally()
    try:
        sockets(read(tmp_path, bytes(content)), tally)
    except DamagedInput:
        return
    assert tally.messages == tally.rows + tally.quarantined + sum(tally.control.values())
