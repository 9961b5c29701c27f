"""`xtcp-replay convert`: the same rows whatever the format and the byte order, judged by the programs people have."""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import ENVIRONMENT
from tests.conftest import require_program, ss_of
from tests.encoder import attribute, message
from tests.golden.test_shared_captures import unexplained
from tests.replay.made import (
    T0,
    cooked,
    done,
    dump,
    enhanced,
    interface,
    option,
    pcap,
    pcap_header,
    record,
    saved,
    section,
)
from tests.replay.packed import zstandard
from tests.rewriting.packets import capture_files
from tests.rows import decoded, rows_of
from tests.zoos import LITTLE
from xtcp.errors import ExitCode
from xtcp_replay.cli import convert
from xtcp_replay.cli.main import run
from xtcp_replay.judging.witnesses.ss import find as find_ss
from xtcp_replay.judging.witnesses.ss_text import parse
from xtcp_replay.reading.findings import Findings
from xtcp_replay.reading.input_bytes import InputBytes
from xtcp_replay.reading.opening import Told, open_source
from xtcp_replay.reading.packets import read_packets
from xtcp_replay.rewriting.whole_file import COMPRESSED_ENDINGS
from xtcp_replay.rewriting.writers import ENDINGS

HOST = sys.byteorder
CAPTURES = capture_files()
# Those of one kernel differ in the number of sockets, or in the resolution of their times.
SOME = [p for p in CAPTURES if not re.search(r"_10_sockets|_1000_|netlink_|nlmon-[nu]s|ss_tcp_info_a_4", p.name)]


def converted(source: Path | str, target: Path, *options: str, code: int = ExitCode.OK) -> Path:
    """`target`, written anew from `source`."""
    assert run(["convert", str(source), str(target), *options, "-q"]) == code
    return target


def rows(path: Path | str, release: str = "", *without: str) -> list[dict[str, Any]]:
    """The rows that a file decodes to, dump by dump, without some columns."""
    found = rows_of(decoded(open_source(str(path), Told(release=release)).chunks()))
    return [{name: cell for name, cell in one.items() if name not in without} for one in found]


def packets(path: Path) -> list[tuple[bytes, int, int | None]]:
    """Bytes, length and time of each packet."""
    with path.open("rb") as file:
        read = list(read_packets(InputBytes(file, str(path)), Findings([]), Findings([])))
    return [(p.data, p.wirelen, p.time_ns) for p in read]


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_pcap_to_pcapng_and_back(tmp_path: Path, path: Path) -> None:
    """Packets with their times, lengths and headers, and rows with all columns, are what they were."""
    code = run(["decode", str(path), "--format", "null", "-q"])
    there = converted(path, tmp_path / "there.pcapng", code=code)
    back = converted(there, tmp_path / "back.pcap", code=code)
    assert packets(path) == packets(there) == packets(back)
    assert rows(path) == rows(back)


@pytest.mark.parametrize("path", SOME, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_twin_decodes_to_the_same_rows(tmp_path: Path, path: Path) -> None:
    """Turned to the other order and back; the rows of all three are equal, the packets of the last the first's."""
    code = run(["decode", str(path), "--format", "null", "-q"])
    release = ["--kernel-release", "7.0.3"]
    orders = ["little", "big"] if "s390x" in str(path) else ["big", "little"]
    there = converted(path, tmp_path / "there.pcap", "--to-order", orders[0], *release, code=code)
    back = converted(there, tmp_path / "back.pcap", "--to-order", orders[1], *release, code=code)
    assert there.read_bytes() != back.read_bytes()
    sock_diag = [packet for packet in packets(path) if packet[0][14:16] == b"\0\4"]
    assert packets(back) == sock_diag
    context = ("hostname", "netns", "md5sig")
    assert rows(there, "7.0.3", *context) == rows(path, "7.0.3", *context)
    assert {c.context.order for c in open_source(str(there)).chunks()} == {"<" if orders[0] == "little" else ">"}


@pytest.mark.parametrize(
    "path", [p for p in SOME if p.name != "nlmon.pcapng"], ids=lambda p: f"{p.parent.name}-{p.name}"
)
def test_ss_reads_every_socket(tmp_path: Path, path: Path) -> None:
    """Converted to what ss -D writes, in this host's order, the real ss prints each row, with the values we decode."""
    require_program("ss", "iproute2")
    ss = find_ss()
    assert ss is not None
    code = run(["decode", str(path), "--format", "null", "-q"])
    raw = converted(path, tmp_path / "all.bin", "--to-order", HOST, code=code)
    expected = [r for r in rows(raw) if r["idiag_state"] != "BOUND_INACTIVE"]
    text = ss_of(raw, "-tinmaeO")
    assert len(parse(text)) == len(expected)
    if path.parent.name != "6_6_44":  # three dumps of the same sockets
        assert unexplained(text, expected, HOST, tuple(ss._unprinted)) == []


def test_one_dump_alone(tmp_path: Path) -> None:
    """--dump takes one of several; what ss -D wrote of it comes out byte for byte."""
    first, second = dump((1, 2)), dump((3,), family=10, seq=8)
    source = saved(tmp_path, pcap([*first, *second]))
    assert converted(source, tmp_path / "a.bin", "--dump", "1").read_bytes() == b"".join(first[1:])
    assert converted(source, tmp_path / "b.bin", "--dump", "2").read_bytes() == b"".join(second[1:])
    # Of both, rows back to back and one end: ss stops at the first.
    assert converted(source, tmp_path / "ab.bin").read_bytes() == first[1] + b"".join(second[1:])
    assert len(packets(converted(source, tmp_path / "a.pcap", "--dump", "2-7"))) == 3


def test_raw_dumps_stay_byte_for_byte(tmp_path: Path, captures: Path) -> None:
    """A dump of ss -D through a pcap and through its twin is itself again."""
    zstandard()
    for name in ("dump-v4.bin", "ss-D.bin"):
        raw = captures / "s390x-6.1" / name
        capture = converted(raw, tmp_path / "a.pcapng.zst")
        assert converted(capture, tmp_path / "b.bin").read_bytes().startswith(raw.read_bytes()[:1000])
        twin = converted(raw, tmp_path / "c.bin.gz", "--to-order", "little")
        assert detect_order(gzip.decompress(twin.read_bytes())) == "<"
        assert rows(converted(twin, tmp_path / "d.bin", "--to-order", "big")) == rows(
            converted(raw, tmp_path / "e.bin")
        )
    raw = captures / "s390x-6.1" / "dump-v4.bin"
    assert converted(raw, tmp_path / "f.bin").read_bytes() == raw.read_bytes()


def detect_order(content: bytes) -> str:
    """The order of the first length."""
    return "<" if struct.unpack_from("<I", content)[0] < 1 << 16 else ">"


def test_an_archive_comes_back_line_for_line(tmp_path: Path, captures: Path) -> None:
    """m-lab's records through a pcapng, a pcap and a big-endian one: JSON objects equal, and even the bytes."""
    archive = captures / "m-lab" / "archiveRecords.jsonl.zst"
    expected = unpacked(archive)
    assert len(expected) == 420
    capture = converted(archive, tmp_path / "a.pcapng")
    assert unpacked(converted(capture, tmp_path / "a.jsonl")) == expected
    big = converted(archive, tmp_path / "b.pcap", "--to-order", "big")
    assert unpacked(converted(big, tmp_path / "b.jsonl.zst")) == expected
    context = ("timestamp_ns",)
    assert rows(big, "", *context) == rows(archive, "", *context) == rows(capture, "", *context)


def unpacked(path: Path) -> list[dict[str, Any]]:
    """The objects of an archive."""
    content = path.read_bytes()
    if path.suffix == ".zst":
        content = zstandard().ZstdDecompressor().stream_reader(io.BytesIO(content)).read()
    return [json.loads(line) for line in content.splitlines()]


def test_lines_of_an_archive(tmp_path: Path) -> None:
    """Keys in Go's order, null where an attribute did not come, nothing behind the last; a big-endian row turned."""
    body = struct.pack(">BBBB", 2, 1, 0, 0) + bytes(40) + struct.pack(">II", 5, 0) + bytes(20)
    rows_ = message(">", body + attribute(">", 4, b"bbr\0") + attribute(">", 15, struct.pack(">I", 7)), 20, 2, 9, 4)
    source = saved(tmp_path, pcap([rows_ + done(order=">", seq=9, port=4)], ">", nano=True))
    host = "--host=edge7"
    first, second = converted(source, tmp_path / "a.jsonl", host).read_text().splitlines()
    uuid = "edge7_0_0000000000000005"
    time = "2023-11-14T22:13:20.123456789Z"
    assert json.loads(first) == {
        "Timestamp": "0001-01-01T00:00:00Z",
        "Metadata": {"UUID": uuid, "Sequence": 0, "StartTime": time},
    }
    assert second.startswith('{"Timestamp":"2023-11-14T22:13:20.123456789Z","RawIDM":"AgE')
    assert json.loads(second)["Attributes"] == [*[None] * 4, "YmJyAA==", *[None] * 10, "BwAAAA=="]
    assert [r["hostname"] for r in rows(tmp_path / "a.jsonl")] == ["edge7"]


def test_other_families_and_sockets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They stay as they are where the order does; in the other they are left out, counted and said."""
    unix = [message("<", bytes([1]) + bytes(23), 20, 0x301, 9, 0), message("<", bytes([1]) + bytes(12), 20, 2, 9, 4)]
    others = [(message("<", b"link", 16, 2), 0), *((u, 4) for u in unix)]
    content = pcap_header() + b"".join(record(cooked(d, f)) for d, f in [*others, *((d, 4) for d in dump((1,)))])
    source = Path(saved(tmp_path, content))
    assert packets(converted(source, tmp_path / "a.pcapng")) == packets(source)
    assert len(packets(converted(source, tmp_path / "b.pcap", "--to-order", "little"))) == 6
    capsys.readouterr()
    assert run(["convert", str(source), str(tmp_path / "c.pcap"), "--to-order", "big"]) == 0
    err = capsys.readouterr().err
    assert "3 packets, 1 rows, 1 dump read, 3 datagrams turned to big-endian" in err
    assert "packets of other netlink families 1" in err and "other sockets than TCP's 2" in err
    assert [r["idiag_cookie"] for r in rows(tmp_path / "c.pcap")] == [1]
    assert run(["convert", str(source), str(tmp_path / "d.bin")]) == 0
    assert "requests 1" in capsys.readouterr().err
    assert (tmp_path / "d.bin").read_bytes() == b"".join(dump((1,))[1:])


def test_what_cannot_be_turned_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown attributes, and the end of a tcp_info whose kernel nobody told; with the release it is turned."""
    body = bytes([2, 1]) + bytes(70) + attribute("<", 23, b"\1\2") + attribute("<", 2, bytes(276) + b"\1\0\2\0")
    source = saved(tmp_path, pcap([message("<", body, 20, 2, 7, 9)]))
    assert run(["convert", source, str(tmp_path / "a.pcap"), "--to-order", "big"]) == 0
    err = capsys.readouterr().err
    assert "attribute 23 1" in err and "the end of tcp_info 1" in err and "--kernel-release" in err
    assert (tmp_path / "a.pcap").read_bytes()[-4:] == b"\1\0\2\0"
    assert run(["convert", source, str(tmp_path / "b.pcap"), "--to-order", "big", "--kernel-release", "6.18.2"]) == 0
    assert "the end of tcp_info" not in capsys.readouterr().err
    assert (tmp_path / "b.pcap").read_bytes()[-4:] == b"\0\1\0\2"


def test_sections_and_interfaces_are_kept(tmp_path: Path) -> None:
    """Kernel, machine, program, host and names of each section and interface; nothing is added by another turn."""
    ours = (
        option("<", 1, b"host: a")
        + option("<", 2, b"s390x")
        + option("<", 3, b"Linux 6.1.0")
        + option("<", 4, b"xtcp 0.1")
    )
    first = (
        section(options=ours) + interface(options=option("<", 2, b"blue")) + interface(options=option("<", 2, b"red"))
    )
    first += b"".join(enhanced(cooked(d), number=n) for n in (1, 0) for d in dump((n + 1,), seq=n + 5))
    theirs = section(">", option(">", 3, b"Linux 7.0.3") + option(">", 4, b"Dumpcap 4"))
    theirs += interface(">", options=option(">", 2, b"nlmon0"))
    theirs += b"".join(enhanced(cooked(d), order=">") for d in dump((3,)))
    source = Path(saved(tmp_path, first + theirs, "a.pcapng"))
    there = converted(source, tmp_path / "b.pcapng")
    assert packets(there) == packets(source)
    assert rows(there) == rows(source)
    assert [(r["hostname"], r["netns"]) for r in rows(there) if "hostname" in r] == [("a", "red"), ("a", "blue")]
    content = there.read_bytes()
    for text in (b"s390x", b"Linux 6.1.0", b"xtcp 0.1", b"Dumpcap 4", b"nlmon0", b"Linux 7.0.3"):
        assert text in content
    assert content.count(struct.pack("<II", 0x0A0D0D0A, 0)[:4]) == 2
    assert converted(there, tmp_path / "c.pcapng").read_bytes() == content


def test_a_side_car_says_what_a_pcap_cannot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The columns of host, namespace and the end of tcp_info survive; into a pcapng they go themselves."""
    source = LITTLE
    assert run(["convert", str(source), str(tmp_path / "a.pcap")]) == 0
    assert "a.pcap.toml says what the format cannot: 6.18" in capsys.readouterr().err
    assert 'kernel_release = "6.18.' in (tmp_path / "a.pcap.toml").read_text()
    assert rows(tmp_path / "a.pcap") == rows(source)
    assert rows(converted(tmp_path / "a.pcap", tmp_path / "b.pcapng")) == rows(source)
    assert not (tmp_path / "b.pcapng.toml").exists()


def test_several_hosts_have_no_side_car(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pcap of two hosts cannot say which is which; that is said. A side-car that is there already, too."""
    hosts = [section(options=option("<", 1, b"host: " + name)) + interface() for name in (b"a", b"b")]
    source = saved(tmp_path, b"".join(h + b"".join(enhanced(cooked(d)) for d in dump((1,))) for h in hosts), "a.pcapng")
    (tmp_path / "b.pcap.toml").write_text('hostname = "old"\n')
    assert run(["convert", source, str(tmp_path / "b.pcap")]) == 0
    err = capsys.readouterr().err
    assert "several hosts are lost" in err and "was there before" in err


@pytest.mark.parametrize(
    ("name", "order", "options"),
    [
        ("a.pcap", "little", []),
        ("b.pcap", "big", ["--microseconds"]),
        ("c.pcapng", "big", []),
        ("d.pcapng.gz", "little", []),
    ],
)
def test_wireshark_reads_what_is_written(tmp_path: Path, name: str, order: str, options: list[str]) -> None:
    """capinfos and tshark, either order of the file, µs and ns, compressed: every packet and its time."""
    capinfos = require_program("capinfos", "wireshark-common")
    tshark = require_program("tshark", "tshark")
    source = saved(tmp_path, pcap(dump((1, 2)), nano=True))
    path = converted(source, tmp_path / name, "--file-order", order, *options)
    said = subprocess.run([capinfos, "-M", str(path)], capture_output=True, text=True, check=True).stdout
    assert "Linux Netlink" in said and "Number of packets:   3" in said
    assert ("microseconds" if options else "nanoseconds") in said
    command = [tshark, "-r", str(path), "-T", "fields", "-e", "frame.time_epoch", "-e", "netlink.hdr_type"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.startswith("1700000000.123456000\t" if options else "1700000000.123456789\t")
    if name.endswith(".pcap"):
        magic = 0xA1B2C3D4 if options else 0xA1B23C4D
        assert path.read_bytes()[:4] == magic.to_bytes(4, "big" if order == "big" else "little")


def test_a_damaged_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is whole is written, and exit 3 says that it is not all; with --strict there is no file."""
    source = saved(tmp_path, pcap([*dump((1, 2)), *dump((3,), seq=8)])[:-30])
    out = tmp_path / "a.pcapng"
    assert run(["convert", source, str(out)]) == ExitCode.DAMAGED
    assert "warning: the file is cut in a packet" in capsys.readouterr().err
    assert [r["idiag_cookie"] for r in rows(out)] == [1, 2, 3]
    assert run(["decode", str(out), "-q", "--format", "csv"]) == ExitCode.OK
    out.unlink()
    assert run(["convert", source, str(out), "--strict"]) == ExitCode.DAMAGED
    assert "--strict" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["made.pcap"]


def test_damaged_messages_are_exit_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row whose attributes are damaged goes as it is into a capture; into an archive as far as it is whole."""
    body = bytes([2, 1]) + bytes(70) + attribute("<", 8, b"\1") + struct.pack("<HH", 99, 2)
    source = saved(tmp_path, pcap([message("<", body, 20, 2, 7, 9)]))
    assert run(["convert", source, str(tmp_path / "a.pcap")]) == ExitCode.DAMAGED
    assert "not all messages are whole" in capsys.readouterr().err
    assert packets(tmp_path / "a.pcap") == packets(Path(source))
    assert run(["convert", source, str(tmp_path / "a.jsonl")]) == ExitCode.DAMAGED
    assert "attributes that are damaged 1" in capsys.readouterr().err
    assert run(["convert", source, str(tmp_path / "b.pcap"), "--strict"]) == ExitCode.DAMAGED
    assert not (tmp_path / "b.pcap").exists()


@pytest.mark.parametrize(
    ("out", "options", "says"),
    [
        ("a.foo", [], "no format is known by the ending .foo"),
        ("a", [], "(none)"),
        ("a.gz", [], "(none)"),
        ("-", [], "- is none"),
        ("made.pcap", [], "same file"),
        ("none/a.pcap", [], "No such file"),
        ("a.jsonl", ["--to-order", "big"], "always little-endian"),
        ("a.bin", ["--file-order", "big"], "--file-order is for captures"),
        ("a.pcapng", ["--microseconds"], "--microseconds is for a pcap"),
        ("a.pcap", ["--dump", "9"], "there is no such dump; "),
        ("a.pcap", ["--dump", "x"], "is no dump"),
    ],
)
def test_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, options: list[str], says: str
) -> None:
    """Exit 2, what was meant, and no file."""
    source = saved(tmp_path, pcap(dump((1,))))
    target = out if out == "-" else str(tmp_path / out)
    assert run(["convert", source, target, *options]) == ExitCode.USAGE
    assert says in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["made.pcap"]


def test_no_half_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is left of what cannot be read; what was there before stays. A full disk is temporary."""
    out = tmp_path / "a.pcap"
    out.write_bytes(b"before")
    for content in (b"", b"\0" * 100, b"text\n", pcap_header(link_type=1)):
        assert run(["convert", saved(tmp_path, content), str(out)]) == ExitCode.DAMAGED
        assert out.read_bytes() == b"before"
    full = tmp_path / "full.pcap"
    full.symlink_to("/dev/full")
    assert run(["convert", saved(tmp_path, pcap(dump((1,)))), str(full)]) == ExitCode.TEMPORARY
    assert "No space left" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pcap", "full.pcap", "made.pcap"]


def test_standard_input_and_a_format_given(tmp_path: Path) -> None:
    """`-` reads a pipe; --format stands above the ending."""
    source = pcap(dump((1, 2)))
    out = tmp_path / "rows.of.today"
    command = [sys.executable, "-m", "xtcp_replay", "convert", "-", str(out), "--format", "ss"]
    subprocess.run(command, input=source, env=ENVIRONMENT, check=True, capture_output=True)
    assert out.read_bytes() == b"".join(dump((1, 2))[1:])


def test_empty_captures_are_captures(tmp_path: Path) -> None:
    """Without a packet there is a file that can be read."""
    source = saved(tmp_path, pcap([]))
    for name in ("a.pcap", "a.pcapng"):
        assert packets(converted(source, tmp_path / name)) == []
    assert converted(source, tmp_path / "a.bin").read_bytes() == b""


def test_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nanoseconds stay; a pcap's end in 2106, and what it cannot say is said."""
    source = saved(tmp_path, b"".join(d for d in dump((1,))[1:]), "a.bin")
    assert packets(converted(source, tmp_path / "a.pcapng"))[0][2] is None
    assert run(["convert", str(tmp_path / "a.pcapng"), str(tmp_path / "a.pcap")]) == 0
    assert "packets without a time, which have 1970 in a pcap: " in capsys.readouterr().err
    far = section() + interface() + b"".join(enhanced(cooked(d), (1 << 33) * 10**6) for d in dump((1,)))
    assert run(["convert", saved(tmp_path, far, "far.pcapng"), str(tmp_path / "far.pcap")]) == 0
    assert "after 2106" in capsys.readouterr().err
    assert {p[2] for p in packets(tmp_path / "far.pcap")} == {0xFFFFFFFF * 10**9}
    nano = saved(tmp_path, pcap(dump((1,)), nano=True))
    assert packets(converted(nano, tmp_path / "us.pcap", "--microseconds"))[0][2] == T0 // 1000 * 1000


def test_help_names_every_format_and_ending() -> None:
    """What --help lists stands in the table of endings, which is imported late."""
    assert set(convert._FORMATS) == set(ENDINGS.values())
    assert all(ending in convert._DESCRIPTION for ending in (*ENDINGS, *COMPRESSED_ENDINGS))
