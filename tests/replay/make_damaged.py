"""Makes pcaps/damaged/: small files, each with one fault, of sockets that real kernels sent; and their manifest.

    python tests/replay/make_damaged.py

What stands in the manifest is said here, by hand or by how the file is made, never taken from what xtcp makes of it:
rows, exit code, and words that must be told on standard error.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "agent"), str(ROOT / "replay")]

from tests.replay.made import (  # noqa: E402 - a script finds the repository first
    MULTI,
    PORT,
    SEQ,
    T0,
    block,
    cooked,
    done,
    enhanced,
    interface,
    pcap,
    pcap_header,
    record,
    request,
    section,
)
from tests.replay.packed import PACK  # noqa: E402
from xtcp.schema.model import Order  # noqa: E402

FOLDER: Final = ROOT / "pcaps" / "damaged"
MANIFEST: Final = FOLDER / "manifest.toml"
X86: Final = "6.18.44-fc-v657-x86_64/zoo.pcapng"
S390X: Final = "6.1.0-50-s390x-s390x/zoo.pcapng"
LARGEST: Final = 20_000
HEADER: Final = "# written by tests/replay/make_damaged.py, which says why each expectation holds\n"


@dataclass(frozen=True)
class Damaged:
    """A file: what was done to which capture, the words that must be told, rows and exit code of decode.

    `whole`: rows that come are as they were. `packed`: compressed, so that its bytes depend on a library's version.
    """

    name: str
    done: str
    fault: tuple[str, ...]
    rows: int
    exit_code: int
    content: bytes
    of: str = X86
    whole: bool = True
    packed: bool = False

    @property
    def file(self) -> str:
        """Its name in the folder: what it is, its content says."""
        return f"{self.name}.damaged"

    def as_toml(self) -> str:
        """Its row of the manifest."""
        values = {
            "file": self.file,
            "made_from": self.of,
            "done": self.done,
            "fault": list(self.fault),
            "rows": self.rows,
            "exit_code": self.exit_code,
            "rows_as_they_were": self.whole,
            "sha256": hashlib.sha256(self.content).hexdigest(),
        }
        return "[[damaged]]\n" + "".join(
            f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()
        )


@cache
def sockets_of(capture: str) -> dict[int, list[bytes]]:
    """The rows of a capture by family, with the sequence number and port id of `made`; read here block by block."""
    raw = (ROOT / "pcaps" / capture).read_bytes()
    order = "<" if struct.unpack_from("<I", raw, 8)[0] == 0x1A2B3C4D else ">"
    rows: dict[int, list[bytes]] = {2: [], 10: []}
    at = 0
    while at < len(raw):
        kind, length = struct.unpack_from(order + "II", raw, at)
        if kind == 6:
            size = struct.unpack_from(order + "I", raw, at + 20)[0]
            for message in messages(raw[at + 28 + 16 : at + 28 + size], order):
                kind, flags = struct.unpack_from(order + "HH", message, 4)
                if kind == 20 and not flags & 1:
                    rows[message[16]].append(
                        message[:4] + struct.pack(order + "HHII", 20, MULTI, SEQ, PORT) + message[16:]
                    )
        at += length
    return rows


def messages(datagram: bytes, order: str) -> Iterator[bytes]:
    """The messages in a datagram, with their padding."""
    at = 0
    while at < len(datagram):
        length = struct.unpack_from(order + "I", datagram, at)[0] + 3 & ~3
        yield datagram[at : at + length]
        at += length


def dump(family: int, datagrams: int = 3, of: str = X86, first: int = 0) -> list[bytes]:
    """Request, datagrams of four sockets each, DONE."""
    order: Order = ">" if of == S390X else "<"
    rows = sockets_of(of)[family][first:]
    parts = [b"".join(rows[4 * i : 4 * i + 4]) for i in range(datagrams)]
    return [request(family=family, order=order), *parts, done(order=order)]


def base() -> list[bytes]:
    """Two dumps of 12 sockets, 10 datagrams: what the files are made of."""
    return [*dump(2), *dump(10)]


def changed(datagram: bytes, at: int, value: bytes) -> bytes:
    """`datagram` with other bytes at `at`."""
    return datagram[:at] + value + datagram[at + len(value) :]


def with_datagram(number: int, datagram: bytes) -> list[bytes]:
    """`base` with another datagram."""
    return [datagram if i == number else one for i, one in enumerate(base())]


def records(datagrams: list[bytes]) -> list[bytes]:
    """Of a pcap, a millisecond apart."""
    return [record(cooked(one), T0 + i * 1_000_000) for i, one in enumerate(datagrams)]


def second_socket(datagram: bytes) -> int:
    """Where the second message begins."""
    return len(next(messages(datagram, "<")))


def blocks(datagrams: list[bytes], number: int = 0) -> list[bytes]:
    """Of a pcapng, a microsecond apart."""
    return [enhanced(cooked(one), T0 // 1000 + i, number=number) for i, one in enumerate(datagrams)]


ALL: Final = 24
# Of `base`: 0 request, 1-3 rows, 4 DONE, 5 request, 6-8 rows, 9 DONE.
LAST_ROWS: Final = 8


def pcaps() -> Iterator[Damaged]:
    """Classic pcaps."""
    parts, good = records(base()), pcap(base())
    head = pcap_header()
    cut = b"".join(parts[:LAST_ROWS]) + parts[LAST_ROWS][: -len(parts[LAST_ROWS]) // 2]
    # Half of the last four sockets' datagram: of the messages those that end before it.
    ends = [len(m) for m in messages(base()[LAST_ROWS], "<")]
    there = len(parts[LAST_ROWS]) - -(-len(parts[LAST_ROWS]) // 2) - 32
    whole = sum(1 for i in range(4) if sum(ends[: i + 1]) <= there)
    text = ("the file is cut in a packet", "bytes are missing")
    yield Damaged("cut-in-packet", "cut in the middle of the last rows", text, ALL - 4 + whole, 3, head + cut)
    header = head + b"".join(parts[:LAST_ROWS]) + parts[LAST_ROWS][:8]
    yield Damaged(
        "cut-in-packet-header", "cut in a packet's header", ("cut in the header of a packet",), ALL - 4, 3, header
    )
    yield Damaged("cut-in-file-header", "20 bytes of the header", ("20 of 24 bytes",), 0, 3, good[:20])
    yield Damaged("empty", "nothing left", ("an empty file",), 0, 3, b"")
    for name, field, value, words in (
        ("caplen-huge", 8, 0xFFFF_FFF0, "claims to be longer than any packet"),
        ("caplen-over-wirelen", 12, 16, "claims more captured bytes than it had"),
        ("time-fraction", 4, 1_000_000, "more than a second in its fraction"),
    ):
        lying = changed(parts[7], field, struct.pack("<I", value))
        content = head + b"".join([*parts[:7], lying, *parts[8:]])
        yield Damaged(name, f"packet 8 says {value} there", (words, "nothing behind it is read"), ALL - 8, 3, content)
    for link, word in ((1, "ETHERNET"), (113, "LINUX_SLL"), (276, "LINUX_SLL2")):
        content = changed(good, 20, struct.pack("<I", link))
        yield Damaged(f"link-type-{link}", f"link type {link}", (word, "modprobe nlmon"), 0, 3, content)
    content = changed(good, 4, struct.pack("<H", 1))
    yield Damaged("version-1", "major version 1", ("version 1.4",), 0, 3, content)
    content = changed(good, 0, struct.pack("<I", 0xA1B2CD34))
    yield Damaged("kuznetzov", "the magic of a modified format", ("0xa1b2cd34", "editcap"), 0, 3, content)
    yield from snaplen_cut(head)


def snaplen_cut(head: bytes) -> Iterator[Damaged]:
    """By `tcpdump -s`, and once more."""
    for again in (False, True):
        rows, cut = 0, []
        for one in base():
            packet = cooked(one)[:600]
            rows += sum(1 for m in ends_of(one) if one[4] == 20 and one[6] == MULTI and m + 16 <= 600)
            cut.append(record(packet, wirelen=len(cooked(one))))
        if again:
            # The file is cut in its last datagram of rows, in front of the end of the first socket.
            cut = [*cut[:LAST_ROWS], cut[LAST_ROWS][: 32 + 100]]
            rows -= sum(1 for m in ends_of(base()[LAST_ROWS]) if m + 16 <= 600)
        words = ("packets cut by the snaplen", "-s 0", *(["the file is cut in a packet"] * again))
        name, what = ("snaplen-and-cut", ", and the file cut") if again else ("snaplen", "")
        yield Damaged(name, "packets cut at 600 bytes" + what, words, rows, 3, head + b"".join(cut))


def ends_of(datagram: bytes) -> list[int]:
    """Where the messages end, without padding."""
    found, at = [], 0
    for message in messages(datagram, "<"):
        found.append(at + struct.unpack_from("<I", message)[0])
        at += len(message)
    return found


def pcapngs() -> Iterator[Damaged]:
    """pcapngs, in µs."""
    words: tuple[str, ...]
    head, parts = section() + interface(), blocks(base())
    whole = head + b"".join(parts)

    def with_block(number: int, one: bytes) -> bytes:
        return head + b"".join([*parts[:number], one, *parts[number + 1 :]])

    bad = enhanced(cooked(base()[2]), number=7)
    words = ("an interface that is not described", "left out")
    yield Damaged("ng-interface", "a packet of interface 7", words, ALL - 4, 3, with_block(2, bad))
    bad = enhanced(cooked(base()[2]), caplen=100_000, wirelen=100_000)
    yield Damaged(
        "ng-caplen",
        "a packet that claims 100,000 bytes",
        ("more bytes than its block has",),
        ALL - 4,
        3,
        with_block(2, bad),
    )
    bad = parts[7][:-4] + struct.pack("<I", 44)
    words = ("two lengths differ", "nothing behind it is read")
    yield Damaged("ng-two-lengths", "block 8 ends with another length", words, ALL - 8, 3, with_block(7, bad))
    bad = changed(parts[7], 4, struct.pack("<I", len(parts[7]) + 2))
    words = ("impossible length", "nothing behind it is read")
    yield Damaged("ng-odd-length", "block 8 has no multiple of 4", words, ALL - 8, 3, with_block(7, bad))
    yield Damaged("ng-cut", "cut in the last block", ("the file is cut in a block",), ALL, 3, whole[:-9])
    yield Damaged(
        "ng-cut-header", "cut in a block's header", ("cut in the header of a block",), ALL, 3, whole + b"\6\0\0\0"
    )
    bad = changed(section(), 8, b"\0\0\0\0")
    words = ("no byte order", "nothing behind it is read")
    content = head + b"".join(blocks(dump(2))) + bad + interface() + b"".join(blocks(dump(10)))
    yield Damaged("ng-section", "the second section without its magic", words, ALL // 2, 3, content)
    yield Damaged(
        "ng-first-section", "the first section without its magic", ("first section header",), 0, 3, bad + whole[28:]
    )
    content = section() + interface(link_type=1) + b"".join(parts)
    yield Damaged("ng-ethernet", "its one interface is ETHERNET", ("ETHERNET", "modprobe nlmon"), 0, 3, content)
    content = section() + interface(link_type=1) + interface()
    content += b"".join(blocks(dump(2), number=1) + blocks(dump(10), number=0))
    words = ("interfaces that are not netlink skipped",)
    yield Damaged("ng-mixed", "one interface of two is ETHERNET", words, ALL // 2, 0, content)
    junk = block("<", 0xBAD, b"\xff" * 40)
    yield Damaged("ng-unknown-blocks", "blocks of an unknown type between", (), ALL, 0, head + junk + junk.join(parts))


def packed() -> Iterator[Damaged]:
    """Compressed files."""
    words: tuple[str, ...]
    good = pcap(base())
    for kind, pack in PACK.items():
        whole = pack(good)
        words = (f"{kind} data is cut",)
        # What a decompressor gives of a beginning is its own affair: one of 30 bytes has no whole packet in it.
        yield Damaged(f"{kind}-cut", f"{kind}, 30 bytes left of it", words, 0, 3, whole[:30], packed=True)
    whole = PACK["gzip"](good)
    content = changed(whole, len(whole) - 8, bytes(4))
    yield Damaged("gzip-crc", "gzip with another CRC", ("gzip data",), ALL, 3, content, packed=True)
    content = good
    for _ in range(4):
        content = PACK["gzip"](content)
    yield Damaged("gzip-four-times", "packed four times", ("more than 3 times",), 0, 3, content, packed=True)


def messages_broken() -> Iterator[Damaged]:
    """Whole packets with broken messages."""
    words: tuple[str, ...]
    rows = base()[1]
    second = second_socket(rows)
    first_attribute = second + 16 + 72
    for name, value, what in (
        ("nla-len-2", 2, "shorter than its header"),
        ("nla-len-beyond", 0xFFF0, "beyond its message"),
    ):
        content = pcap(with_datagram(1, changed(rows, first_attribute, struct.pack("<H", value))))
        words = ("no whole attribute", "1 kept up to a damaged attribute")
        yield Damaged(name, f"an attribute {what}", words, ALL, 3, content, whole=False)
    for name, value, what in (
        ("nlmsg-len-8", 8, "shorter than its header"),
        ("nlmsg-len-beyond", 5_000, "beyond its datagram"),
    ):
        content = pcap(with_datagram(1, changed(rows, second, struct.pack("<I", value))))
        words = ("no whole message", "1 quarantined")
        yield Damaged(name, f"the second message is {what}", words, ALL - 3, 3, content)
    short = next(messages(rows, "<"))[:60]
    short = struct.pack("<I", 60) + short[4:]
    words = ("shorter than inet_diag_msg",)
    yield Damaged("row-short", "a row of 60 bytes in front", words, ALL, 3, pcap(with_datagram(1, short + rows)))
    words = ("after NLMSG_DONE", "4 quarantined")
    yield Damaged(
        "behind-done",
        "DONE in front of four rows",
        words,
        ALL - 4,
        3,
        pcap([*base()[:3], done() + base()[3], *base()[5:]]),
    )
    words = ("no netlink message in either byte order",)
    yield Damaged("no-order", "a packet of 0xff between", words, ALL, 3, pcap([*base()[:3], b"\xff" * 80, *base()[3:]]))
    head, parts = pcap_header(), records(base())
    raw = record(b"\x45" * 60)
    words = ("without the header of LINKTYPE_NETLINK",)
    yield Damaged(
        "no-cooked-header", "an IP packet between", words, ALL, 3, head + parts[0] + raw + b"".join(parts[1:])
    )
    refused = struct.pack("<IHHIIi", 20, 3, MULTI, SEQ, PORT, -2)
    words = ("errno 2",)
    yield Damaged("done-with-errno", "a DONE with ENOENT", words, ALL, 0, pcap(with_datagram(4, refused)))


def dumps_broken() -> Iterator[Damaged]:
    """Whole messages, and dumps that are not."""
    words: tuple[str, ...]
    good = base()
    words = ("without their NLMSG_DONE", "(dump 1)")
    yield Damaged("lost-done", "the first DONE is lost", words, ALL, 0, pcap([*good[:4], *good[5:]]))
    words = ("whose request is not in the capture", "(dump 1)")
    yield Damaged("lost-request", "the first request is lost", words, ALL, 0, pcap(good[1:]))
    again = [*dump(2)[:-1], *dump(2)]
    words = ("24 sockets of 2 dumps", "without their NLMSG_DONE")
    yield Damaged("lost-done-same-again", "DONE lost, then the same dump again", words, ALL, 0, pcap(again))
    words = ("without their NLMSG_DONE", "whose request is not in the capture")
    yield Damaged("middle-of-a-dump", "neither request nor DONE", words, 12, 0, pcap(dump(2)[1:-1]))
    words = ("requests without a reply", "24 sockets")
    yield Damaged("unanswered", "a request without reply", words, ALL, 0, pcap([request(seq=9), *good]))
    other = dump(2, first=12)
    mixed = [one for pair in zip(dump(2), other, strict=True) for one in pair]
    words = ("cannot be told apart", "by itself")
    yield Damaged("merged-hosts", "two hosts' pcaps merged, same port id", words, ALL, 3, pcap(mixed))
    mixed = [one for pair in zip(dump(2), dump(2, of=S390X), strict=True) for one in pair]
    words = ("both byte orders", "24 sockets of 2 dumps")
    yield Damaged("merged-orders", "with the same dump of an s390x", words, ALL, 0, pcap(mixed), of=S390X)
    times = [T0, T0 - 10**9, 5 * 10**9, 0xFFFF_FFFF * 10**9, T0 + 10**9]
    content = pcap_header() + b"".join(record(cooked(d), t) for d, t in zip(dump(2), times, strict=True))
    words = ("before that of the packet in front", "before 1980", "after 2099")
    yield Damaged("clocks", "times that go back, of 1970 and of 2106", words, 12, 0, content)


def others() -> Iterator[Damaged]:
    """Raw dumps, an archive, and files that are neither."""
    words: tuple[str, ...]
    rows = [m for datagram in dump(2)[1:4] for m in messages(datagram, "<")]
    whole = b"".join(rows)
    words = ("the file is cut in a message",)
    yield Damaged("raw-cut", "a raw dump cut in its last socket", words, 11, 3, whole[:-40])
    words = ("without its NLMSG_DONE",)
    yield Damaged("raw-lost-done", "a raw dump without DONE", words, 12, 3, whole)
    bad = b"".join(rows[:6]) + struct.pack("<I", 7) + rows[6][4:] + b"".join(rows[7:])
    words = ("a message of 7 bytes cannot be", "nothing behind it is read")
    yield Damaged("raw-length", "a raw dump with a length of 7", words, 6, 3, bad)
    yield Damaged("text", "the output of ss", ("a text file",), 0, 3, b"State  Recv-Q Send-Q\nLISTEN 0 128\n" * 9)
    yield Damaged("zeros", "zeros", ("nothing but zero bytes",), 0, 3, bytes(4096))
    lines = [json.dumps(archived(row)) for row in rows]
    lines[5] = lines[5][:100]
    content = "\n".join([*lines, ""]).encode()
    yield Damaged("mlab-line", "an archive, line 6 cut", ("no JSON", "line 6"), 11, 3, content)


def archived(row: bytes) -> dict[str, object]:
    """A socket as m-lab's archives have it: attributes by their number, without header."""
    attributes: list[str | None] = []
    at, end = 88, struct.unpack_from("<I", row)[0]
    while at + 4 <= end:
        length, number = struct.unpack_from("<HH", row, at)
        attributes += [None] * (number + 1 - len(attributes))
        attributes[number] = base64.b64encode(row[at + 4 : at + length]).decode()
        at += length + 3 & ~3
    head = base64.b64encode(row[16:88]).decode()
    return {"Timestamp": "2026-11-24T00:00:00.5Z", "RawIDM": head, "Attributes": attributes}


PARTS: Final[tuple[Callable[[], Iterator[Damaged]], ...]] = (
    pcaps,
    pcapngs,
    packed,
    messages_broken,
    dumps_broken,
    others,
)


def make() -> list[Damaged]:
    """All files of the folder."""
    return [one for part in PARTS for one in part()]


def main() -> None:
    """Writes the folder."""
    FOLDER.mkdir(exist_ok=True)
    files = make()
    for path in FOLDER.glob("*.damaged"):
        path.unlink()
    for one in files:
        (FOLDER / one.file).write_bytes(one.content)
    MANIFEST.write_text(HEADER + "".join(f"\n{one.as_toml()}" for one in files), encoding="utf-8")
    print(f"{len(files)} files, {sum(len(one.content) for one in files):,} bytes")


if __name__ == "__main__":
    main()
