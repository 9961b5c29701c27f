"""Scrubbing what no kernel sent: addresses that stand where none should be, and files that are damaged.

One pattern of four bytes is in every address, and in whole messages in every byte that can hide one: unknown
attributes, padding, blobs, surplus, sockets of other families, other netlink families. It must be nowhere in the copy.
In damaged ones it is in the addresses: a flipped bit can make counters of anything else, which nobody can see.
"""

from __future__ import annotations

import struct
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.dumps import Dump, soup
from tests.encoder import Layout, Writer, attribute, encode, message, values
from tests.replay.made import block, cooked, enhanced, interface, option, pcap_header, record, request, section
from tests.rewriting.scrubbing import capture, packets_of, told_of
from tests.strategies import RELEASES, damaged, layouts, seeds
from xtcp.chunk import Context
from xtcp.errors import DamagedInput
from xtcp.schema.inet_diag import IPPROTO_MPTCP, IPPROTO_TCP
from xtcp.schema.model import Order
from xtcp_replay.reading.told import Told

orders: st.SearchStrategy[Order] = st.sampled_from(("<", ">"))

# Its halves would be ports of servers, which stay.
MARK = bytes((77, 17, 97, 43))
V4 = MARK + bytes(12)
V6 = bytes.fromhex("20010db8") + 3 * MARK
MAPPED = bytes(10) + b"\xff\xff" + MARK
TEXT = b"77.17.97.43"


class Marks(Random):
    """Bytes that are all mark."""

    def randbytes(self, n: int) -> bytes:
        """The mark, as often as it fits."""
        return (MARK * (n // 4 + 1))[:n]


def hostile_row(layout: Layout, order: Order, random: Random, *, hidden: bool = True) -> bytes:
    """A row of `layout` with marked addresses, and, `hidden`, marks wherever no column comes from."""
    row = values(layout, random)
    row["idiag_family"] = family = random.choice((2, 10, 10, random.getrandbits(8)))
    for column in ("idiag_src", "idiag_dst"):
        row[column] = V4 if family == 2 else random.choice((V6, MAPPED))
    for column in ("locals", "peers", "bpf_storages"):
        if hidden and column in row:
            row[column] = Marks().randbytes(len(bytes(row[column])))
    if hidden and "md5sig" in row:
        key = bytes((family, 32, 16, 0)) + bytes(row["idiag_src"]) + Marks().randbytes(80)
        row["md5sig"] = (key * 3)[: len(bytes(row["md5sig"]))]
    noise = (Marks if hidden else Random)(random.getrandbits(32))
    return message(order, encode(row, layout, Writer(order, noise))[0], 20, 2, 7, 99)


def hostile_others(order: Order) -> list[bytes]:
    """A request with a filter, messages of other kinds, a refusal that echoes its request, each with marks."""
    sockid = struct.pack(">HH", 40000, 443) + V4 + V4 + struct.pack(order + "III", 3, 0xFFFFFFFF, 0xFFFFFFFF)
    host = struct.pack(order + "BBHBBHi", 7, 12, 16, 2, 32, 0, 40000) + MARK
    asks = struct.pack(order + "BBBBI", 2, 6, 0xFF, 0, 0xFFF) + sockid
    asks += struct.pack(order + "HH", 4 + len(host), 1) + host + struct.pack(order + "HH", 8, 9) + MARK
    asked = message(order, asks, 20, 0x301, 7, 0)
    unix = message(order, bytes((1, 1, 1, 0)) + struct.pack(order + "I", 5) + MARK * 3, 20, 2, 7, 99)
    refused = message(order, struct.pack(order + "i", -22) + asked, 2, 0x200, 7, 99)
    done = message(order, bytes(4) + struct.pack(order + "HH", 4 + len(TEXT), 1) + TEXT, 3, 0x202, 7, 99)
    destroy = message(order, asks, 21, 5, 8, 0)
    noop = message(order, MARK * 4, 1, 0, 7, 99)
    return [asked, unix, destroy, noop, message(order, MARK * 4, 77, 2, 7, 99), refused, done]


@st.composite
def hostile_dumps(draw: st.DrawFn, *, hidden: bool = True) -> Dump:
    """A dump of marked rows, among others."""
    order: Order = draw(orders)
    release = draw(st.sampled_from(RELEASES))
    protocol = draw(st.sampled_from((IPPROTO_TCP, IPPROTO_MPTCP)))
    random = Random(draw(seeds))
    mixed = draw(st.lists(layouts(release, protocol), min_size=1, max_size=4))
    rows = [hostile_row(layout, order, random, hidden=hidden) for layout in mixed for _ in range(random.randint(1, 3))]
    others = hostile_others(order)
    asked = struct.pack(order + "HHI", 8, 3, protocol)
    datagrams = [request(order=order, family=0, seq=7, attributes=asked), b"".join(rows), *others, others[-1]]
    datagrams.insert(2, rows[0] + random.choice(others) + rows[-1])
    return Dump(tuple(datagrams), (), (), Context(order=order, release=release), None, None)


@given(hostile_dumps())
def test_no_mark_is_left(dump: Dump) -> None:
    """Whole messages, in every layout, byte order, release and protocol: lengths stay and no mark does."""
    content = capture(*dump.datagrams) + record(cooked(MARK * 20, family=0)) + record(cooked(MARK))
    clean, _, _ = told_of(content, told=Told(release=dump.context.release))
    assert MARK not in clean
    assert TEXT not in clean
    assert len(clean) == len(content)
    assert [len(p) for p in packets_of(clean)] == [len(p) for p in packets_of(content)]


@given(hostile_dumps(hidden=False), st.data())
def test_no_mark_is_left_of_damaged_messages(dump: Dump, data: st.DataObject) -> None:
    """Bits flipped, lengths changed, bytes lost within datagrams: what has moved is not trusted."""
    content = capture(*data.draw(damaged(dump)))
    clean, _, _ = told_of(content, told=Told(release=dump.context.release))
    assert MARK not in clean
    assert TEXT not in clean


@given(hostile_dumps(hidden=False), st.sampled_from(("pcap", "pcapng", "raw")), orders, st.data())
def test_no_mark_is_left_of_damaged_files(dump: Dump, kind: str, file: Order, data: st.DataObject) -> None:
    """The same for files, captures and dumps: cut, with bytes lost, doubled or changed anywhere."""
    content = bytearray(hostile_file(kind, dump, file))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(("flip", "cut", "lose", "double"))):
            case "flip":
                content[at] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del content[at + 1 :]
            case "lose":
                del content[at : at + data.draw(st.integers(1, 40))]
            case _:
                content[at:at] = content[at : at + data.draw(st.integers(1, 40))]
        content = content or bytearray(1)
    try:
        clean, _, _ = told_of(bytes(content), told=Told(release=dump.context.release))
    except DamagedInput:
        return
    assert MARK not in clean
    assert TEXT not in clean


def hostile_file(kind: str, dump: Dump, file: Order) -> bytes:
    """The dump as a file of that kind."""
    if kind == "raw":
        return b"".join(dump.datagrams)
    if kind == "pcap":
        return pcap_header(file) + b"".join(record(cooked(datagram), order=file) for datagram in dump.datagrams)
    options = b"".join(option(file, code, TEXT + MARK) for code in range(1, 20)) + option(file, 0, b"")
    others = b"".join(block(file, code, MARK + TEXT * 2 + MARK) for code in (4, 9, 10, 0xBAD, 0x40000BAD))
    head = section(file, options) + interface(file, options=options) + others + interface(file, 1)
    head += enhanced(MARK * 8, order=file, number=1)
    packets = b"".join(_with_options(enhanced(cooked(d), order=file), file, options) for d in dump.datagrams)
    return head + packets + block(file, 5, struct.pack(file + "III", 0, 1, 2) + options)


def _with_options(packet: bytes, order: Order, options: bytes) -> bytes:
    return block(order, 6, packet[8:-4] + options)


@given(orders, seeds, st.lists(st.sampled_from((4, 5, 6, 8, 9, 11, 12, 13, 16, 28)), max_size=12))
def test_anything_has_a_copy(order: Order, seed: int, lengths: list[int]) -> None:
    """Headers that are mostly plausible with anything behind them, and filters of any operations: never an error, and
    as many bytes in as many packets.
    """
    random = Random(seed)
    operations = (bytes((random.randrange(15), n, *(random.randrange(15) for _ in range(n - 2)))) for n in lengths)
    filters = attribute(order, 1, b"".join(operations))
    datagrams = [*soup(order, random), request(order=order, attributes=filters), message(order, b"\1", 20, 1)]
    datagrams += [random.randbytes(random.randrange(60)) for _ in range(3)]
    content = capture(*datagrams)
    for keep_unknown in (False, True):
        clean, _, _ = told_of(content, keep_unknown=keep_unknown)
        assert [len(p) for p in packets_of(clean)] == [len(p) for p in packets_of(content)]


def test_the_marks_can_be_seen() -> None:
    """The test can fail: the original has the mark in every packet, and all of the file's own texts."""
    layout = Layout()
    rows = hostile_row(layout, "<", Random(1))
    dump = Dump((rows, *hostile_others("<")), (), (), Context(order="<"), None, None)
    assert all(MARK in packet or TEXT in packet for packet in packets_of(capture(*dump.datagrams)))
    assert hostile_file("pcapng", dump, "<").count(TEXT) > 100
