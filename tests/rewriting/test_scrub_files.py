"""Files around the messages: pcap, pcapng and dumps of ss -D, whole and damaged."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.replay.made import (
    T0,
    block,
    cooked,
    done,
    enhanced,
    interface,
    option,
    pcap,
    pcap_header,
    record,
    request,
    row,
    saved,
    section,
    sockets,
)
from tests.rewriting.scrubbing import NAMES, SameNames, content_of, scrubbed, told_of
from xtcp.batch import Tally
from xtcp.decode.decoder import Decoder
from xtcp.errors import DamagedInput, UsageError, XtcpError
from xtcp.schema.model import Order
from xtcp.sinks.capture_file import APPLICATION
from xtcp_replay.reading.opening import open_source
from xtcp_replay.rewriting.scrub_pcapng import clean_release

DAMAGED = sorted((ROOT / "pcaps" / "damaged").glob("*.damaged"))
ORDERS: tuple[Order, ...] = ("<", ">")
orders = pytest.mark.parametrize("order", ORDERS)
SECRET = b"edge7.example.net 203.0.113.7"


def options(order: str, *pairs: tuple[int, bytes]) -> bytes:
    """pcapng options with their end."""
    return b"".join(option(order, code, value) for code, value in pairs) + option(order, 0, b"")


@orders
def test_options_of_a_pcapng(order: Order) -> None:
    """Names get pseudonyms, kernel, machine, program and numbers stay, comments and all else go."""
    head = section(
        order,
        options(
            order, (1, b"host: edge7"), (1, SECRET), (2, b"x86_64"), (3, b"Linux 6.12.9-1.el9"), (4, b"xtcp 0.1.0")
        ),
    )
    described = interface(
        order,
        options=options(
            order, (2, b"blue"), (3, SECRET), (4, SECRET[:8]), (9, b"\x09"), (11, SECRET), (12, b"Linux 6.12.9")
        ),
    )
    packet = enhanced(cooked(row(5, order=order)), T0, order)
    packet = block(order, 6, packet[8:-4] + options(order, (1, SECRET), (2, b"\1\0\0\0"), (3, SECRET)))
    statistics = block(order, 5, struct.pack(order + "III", 0, 1, 2) + options(order, (1, SECRET), (4, b"12345678")))
    resolution = block(order, 4, SECRET + bytes(3))
    clean, report, damage = told_of(head + described + packet + resolution + statistics)
    host, netns = NAMES.name("host", "edge7").encode(), NAMES.name("netns", "blue").encode()
    expected = section(
        order,
        options(order, (1, b"host: " + host), (2, b"x86_64"), (3, b"Linux 6.12.9-1.el9"), (4, b"xtcp 0.1.0")),
    )
    expected += interface(order, options=options(order, (2, netns), (9, b"\x09"), (12, b"Linux 6.12.9")))
    row_ = scrubbed(pcap_header(order) + record(cooked(row(5, order=order)), order=order))[24 + 16 :]
    packet = enhanced(row_, T0, order)
    expected += block(order, 6, packet[8:-4] + options(order, (2, b"\1\0\0\0")))
    expected += block(order, 5, struct.pack(order + "III", 0, 1, 2) + options(order, (4, b"12345678")))
    assert clean == expected
    assert damage == []
    assert report.left_out == {"comments": 3, "options of blocks": 4, "blocks of name resolution": 1}


@orders
def test_packets_of_all_three_kinds(order: Order) -> None:
    """Simple and obsolete packet blocks are copied as what they are."""
    data = cooked(row(5, order=order))
    clean_data = scrubbed(pcap_header() + record(data))[24 + 16 :]
    simple = block(order, 3, struct.pack(order + "I", len(data)) + data)
    obsolete = block(order, 2, struct.pack(order + "HHIIII", 0, 0, 1, 2, len(data), len(data)) + data)
    content = section(order) + interface(order) + simple + obsolete + enhanced(data, order=order)
    assert scrubbed(content) == content.replace(data, clean_data)


def test_sections_of_both_orders_and_other_interfaces() -> None:
    """Each section has its own order and interfaces; packets of other link types are left out, numbers stay."""
    first = section("<") + interface("<", 1) + interface("<") + enhanced(SECRET, order="<", number=0)
    first += enhanced(cooked(row(5)), order="<", number=1)
    second = section(">") + interface(">") + enhanced(cooked(row(6, order=">")), order=">")
    clean, report, damage = told_of(first + second)
    assert SECRET not in clean
    assert damage == []
    assert report.left_out == {"packets of interfaces that are not netlink": 1}
    assert len(clean) == len(first + second) - len(enhanced(SECRET))


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("6.1.0-50-s390x", "6.1.0-50-s390x"),
        ("4.18.0-553.16.1.el8_10.x86_64", "4.18.0-553.16.1.el8_10.x86_64"),
        ("edge7 6.1.0 #1 SMP", "6.1"),
        ("6.1.0 with 203.0.113.7", "6.1"),
        ("6.8.10.0.0.1", "6.8"),
        ("unknown", ""),
        ("", ""),
    ],
)
def test_nothing_hides_in_a_release(said: str, kept: str) -> None:
    """A release stays whole where it is one, else what decoding needs of it."""
    assert clean_release(said) == kept


def test_machine_and_program_stay_only_if_they_are_known(tmp_path: Path) -> None:
    """A processor's name, another program's text; what tells our own files stays ours."""
    for program, kept in (
        (b"Dumpcap (Wireshark) 4.0.17 (Git v4.0.17)", b"Dumpcap (Wireshark) 4.0.17"),
        (b"edge7 sniffer", None),
        (b"xtcp of edge7", APPLICATION.encode() + b"0"),
    ):
        clean = scrubbed(section("<", options("<", (2, b"AMD of edge7"), (4, program))) + interface())
        expected = options("<", (4, kept)) if kept else options("<")
        assert clean == section("<", expected) + interface()


@orders
def test_a_pcap_that_is_cut_stays_cut(order: Order, tmp_path: Path) -> None:
    """The same packet is cut at the same byte; the rows before it are all there."""
    content = pcap([request(), row(1) + row(2), row(3) + row(4)], order)[:-30]
    clean, _, damage = told_of(content)
    assert len(clean) == len(content)
    assert damage == ["the file is cut in a packet (at byte 336); 30 bytes are missing."]
    same = scrubbed(content, SameNames())
    assert same[: -58 - 88] == content[: -58 - 88]
    before, after = (open_source(saved(tmp_path, data)) for data in (content, clean))
    assert [dump for dump, _ in sockets(before)] == [dump for dump, _ in sockets(after)]
    assert before.damage == after.damage


@orders
def test_a_pcapng_that_is_cut_stays_cut(order: Order, tmp_path: Path) -> None:
    """So does a pcapng, in a packet and in the header of a block."""
    content = section(order) + interface(order)
    content += b"".join(enhanced(cooked(d), order=order) for d in (request(), row(1), row(2) + row(3)))
    for cut in (30, 4, 3, 100):
        clean, _, damage = told_of(content[:-cut])
        assert len(damage) == 1
        before, after = (open_source(saved(tmp_path, data)) for data in (content[:-cut], clean))
        assert [dump for dump, _ in sockets(before)] == [dump for dump, _ in sockets(after)]
        assert len(before.damage) == len(after.damage) == 1
    for lost in (4, 8):
        clean, _, damage = told_of(content + enhanced(cooked(row(4)), order=order)[:lost])
        assert len(damage) == 1
        assert len(clean) == len(content)


def test_nothing_behind_damage_is_copied() -> None:
    """A record that cannot be, a block whose lengths differ: the copy ends before it."""
    good = pcap([row(1), row(2)])
    clean, _, damage = told_of(good + b"\xff" * 16 + SECRET)
    assert len(clean) == len(good)
    assert SECRET not in clean
    assert len(damage) == 1
    # What comes before damage may have been moved: its last message is emptied.
    whole = scrubbed(good)
    assert clean[: len(good) - 72] == whole[: len(good) - 72]
    assert clean[len(good) - 72 :] == bytes((2,)) + bytes(71) != whole[len(good) - 72 :]
    good = section() + interface() + enhanced(cooked(row(1)))
    bad = bytearray(enhanced(cooked(row(2))))
    bad[-1] ^= 1
    clean, _, damage = told_of(good + bytes(bad) + block("<", 6, SECRET))
    assert len(clean) == len(good)
    assert len(damage) == 1


@orders
def test_a_dump_of_ss(order: Order) -> None:
    """Messages behind each other, with the packet's names; cut or damaged it ends there."""
    messages = [row(1, order=order), row(2, order=order), done(order=order)]
    clean = scrubbed(b"".join(messages))
    in_packets = scrubbed(pcap_header() + b"".join(record(cooked(m)) for m in messages))
    assert [clean[:88], clean[88:176], clean[176:]] == [in_packets[56:144], in_packets[176:264], in_packets[296:]]
    cut, _, damage = told_of(b"".join(messages[:2])[:-10])
    assert cut[:88] == clean[:88]
    assert cut[104:] == bytes((2,)) + bytes(61)
    assert damage == ["the file is cut in a message (at byte 88)."]
    moved, _, damage = told_of(messages[0] + messages[1] + b"\0" * 16 + messages[0])
    assert moved[:88] == clean[:88]
    assert moved[104:] == bytes((2,)) + bytes(71)
    assert damage == ["no message can be like that; nothing behind it is copied (at byte 176)."]


@pytest.mark.parametrize("path", DAMAGED, ids=lambda path: path.stem)
def test_the_corpus_of_damaged_files(path: Path, tmp_path: Path) -> None:
    """A copy has as many messages, rows and remnants in as many dumps, or none is made where nothing can be read."""
    before, content = counted(path), b""
    try:
        content = content_of(path)
        clean, _, _ = told_of(content)
    except XtcpError:
        assert before is None or content.startswith(b"{")
        return
    copy = tmp_path / "copy"
    copy.write_bytes(clean)
    assert counted(copy) == before


def counted(path: Path) -> tuple[int, ...] | None:
    """What decoding counts in a file, None where it cannot be read."""
    decoder, tally, dumps = Decoder(), Tally(), set()
    try:
        for chunk in open_source(str(path)).chunks():
            tally.add(decoder.decode(chunk).tally)
            dumps.add(chunk.context.dump)
    except XtcpError:
        return None
    return tally.messages, tally.rows, tally.quarantined, sum(tally.control.values()), len(dumps)


def test_other_files_are_refused() -> None:
    """What is no capture, an archive of m-lab, a capture of something else: nothing is given."""
    for content, error, words in (
        (b"", DamagedInput, "empty"),
        (b"hello\n", DamagedInput, "text"),
        (b'{"Metadata":{"UUID":"x"}}', UsageError, "convert"),
        (pcap_header(link_type=1), DamagedInput, "ETHERNET"),
        (section() + interface(link_type=1), DamagedInput, "ETHERNET"),
        (section()[:20], DamagedInput, "section header"),
        (pcap_header()[:20], DamagedInput, "header"),
    ):
        with pytest.raises(error, match=words):
            scrubbed(content)
