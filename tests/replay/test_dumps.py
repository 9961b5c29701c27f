"""Packets to dumps: which reply belongs to which request, where a dump ends, what order its messages have."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.encoder import message
from tests.patience import fewer
from tests.replay.made import (
    PORT,
    SEQ,
    T0,
    cooked,
    done,
    dump,
    enhanced,
    interface,
    pcap,
    pcap_header,
    record,
    request,
    row,
    saved,
    section,
    sockets,
)
from xtcp.batch import Tally
from xtcp.errors import DamagedInput
from xtcp.schema.model import Order
from xtcp_replay.reading import dumps as dumps_module
from xtcp_replay.reading import matching
from xtcp_replay.reading.opening import ReplaySource, Told, open_source

ORDERS: tuple[Order, ...] = ("<", ">")
INCOMPLETE = "dumps without their NLMSG_DONE: some sockets may be missing"
NO_REQUEST = "dumps whose request is not in the capture"


def read(folder: Path, datagrams: list[bytes], **options: str) -> ReplaySource:
    """The source of a pcap of `datagrams`."""
    return open_source(saved(folder, pcap(datagrams)), Told(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("payload", ORDERS)
@pytest.mark.parametrize("file", ORDERS)
def test_fault_45_payload_order_is_not_the_files(tmp_path: Path, file: Order, payload: Order) -> None:
    """All four combinations give the same rows: an s390x capture rewritten on x86-64 still decodes."""
    datagrams = [request(order=payload), row(1, order=payload) + row(1 << 40, order=payload), done(order=payload)]
    source = open_source(saved(tmp_path, pcap(datagrams, file)))
    assert sockets(source) == [(1, 1), (1, 1 << 40)]
    assert {c.context.order for c in source.chunks()} == {payload}
    assert (source.damage, source.notes) == ([], [])


def test_fault_45_order_given_and_order_unknown(tmp_path: Path) -> None:
    """`--byte-order` stands above what is found; messages that read in neither order are told, not guessed."""
    source = read(tmp_path, dump((1,)), order=">")
    assert sockets(source) == []
    assert "byte order given" in source.damage[0]
    source = read(tmp_path, [b"\xff" * 80])
    assert sockets(source) == []
    assert "either byte order" in source.damage[0]


@pytest.mark.parametrize("order", ORDERS)
def test_fault_45_types_that_are_not_known_yet(tmp_path: Path, order: Order) -> None:
    """Lengths that fill the datagram in one order alone tell it; the messages are counted, and no rows."""
    tally = Tally()
    source = read(tmp_path, [message(order, bytes(80), 99, 2, SEQ, PORT) * 2])
    assert sockets(source, tally) == []
    assert source.damage == []
    assert tally.control == {"other": 2}


def test_fault_45_an_ambiguous_order_is_told_not_guessed(tmp_path: Path) -> None:
    """65,536 bytes of messages of 256 in the one order are one message in the other; `--byte-order` decides."""
    length, kind = 256, 99
    datagram = struct.pack("<IHHII", length, kind, 2, SEQ, PORT).ljust(length, b"\0") * 256
    assert struct.unpack_from(">I", datagram)[0] == len(datagram)
    source = read(tmp_path, [datagram])
    assert sockets(source) == []
    assert "byte order is ambiguous" in source.damage[0] and "--byte-order" in source.damage[0]
    for order, count in (("<", 256), (">", 1)):
        tally = Tally()
        source = read(tmp_path, [datagram], order=order)
        assert sockets(source, tally) == []
        assert source.damage == []
        assert tally.control == {"other": count}


def test_fault_45_both_orders_on_one_interface(tmp_path: Path) -> None:
    """Captures of a little-endian and a big-endian host merged into one pcap: two dumps, however they are mixed."""
    mixed = [
        request(),
        request(order=">"),
        row(1),
        row(1, order=">"),
        row(2, order=">"),
        row(3),
        done(),
        done(order=">"),
    ]
    source = read(tmp_path, mixed)
    assert sockets(source) == [(1, 1), (1, 3), (2, 1), (2, 2)]
    assert {c.context.dump: c.context.order for c in source.chunks()} == {1: "<", 2: ">"}
    assert source.damage == []
    assert "several hosts" in source.notes[0]


def test_fault_45_raw_dumps_behind_each_other(tmp_path: Path) -> None:
    """`cat s390x.bin x86.bin`: each dump in its own order, also where a length would be possible in both."""
    fat = message("<", bytes(256 - 16), 20, 2, SEQ, PORT)
    assert int.from_bytes(fat[:4], "big") == 1 << 16
    content = row(1, order=">") + done(order=">") + fat + row(2) + done() + row(3, order=">") + done(order=">")
    source = open_source(saved(tmp_path, content, "both.bin"))
    assert sockets(source) == [(1, 1), (2, 0), (2, 2), (3, 3)]
    assert [chunk.context.order for chunk in source.chunks()] == [">", "<", ">"]
    assert source.damage == []
    source = open_source(saved(tmp_path, content, "both.bin"), Told(order=">"))
    assert sockets(source) == [(1, 1)]
    assert source.damage


def test_ss_uses_one_sequence_number_for_all(tmp_path: Path) -> None:
    """Two dumps of one (pid, seq), request after DONE: two dumps, each with the time of its own request."""
    source = read(tmp_path, [*dump((1, 2)), *dump((3,), family=10)])
    assert sockets(source) == [(1, 1), (1, 2), (2, 3)]
    assert [(c.context.timestamp_ns, c.seq, c.port) for c in source.chunks()] == [
        (T0 // 1000 * 1000, SEQ, PORT),
        ((T0 + 3_000_000) // 1000 * 1000, SEQ, PORT),
    ]


def test_fault_43_two_processes_at_once(tmp_path: Path) -> None:
    """Two ss at the same time: requests alike, replies told by port id, and by family which request is whose."""
    first = [request(family=10), row(1, family=10), row(2, family=10), done()]
    second = [request(family=2), row(8, port=9), done(port=9)]
    merged = [first[0], second[0], second[1], first[1], first[2], second[2], first[3]]
    source = read(tmp_path, merged)
    assert sockets(source) == [(2, 8), (1, 1), (1, 2)]
    assert source.notes == []
    assert {c.context.dump: c.context.timestamp_ns for c in source.chunks()} == {
        1: T0 // 1000 * 1000,
        2: (T0 + 1_000_000) // 1000 * 1000,
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=fewer(60))
@given(st.integers(0, 2**32), st.integers(2, 6))
def test_fault_43_any_interleaving(tmp_path: Path, seed: int, count: int) -> None:
    """However the datagrams of several dumps are mixed, each dump has its rows in its order, and they come together."""
    chance = random.Random(seed)
    queues = []
    for number in range(count):
        rows = [b"".join(row(1000 * number + i, seq=number, port=50 + number) for i in range(3)) for _ in range(3)]
        queues.append([request(seq=number), *rows, done(seq=number, port=50 + number)])
    merged = []
    while any(queues):
        merged.append(chance.choice([q for q in queues if q]).pop(0))
    source = read(tmp_path, merged)
    found = sockets(source)
    assert len(found) == 9 * count
    by_dump = defaultdict(list)
    for dump_number, cookie in found:
        by_dump[dump_number].append(cookie)
    assert sorted(cookies[0] // 1000 for cookies in by_dump.values()) == list(range(count))
    for cookies in by_dump.values():
        assert cookies == [cookies[0] + i for _ in range(3) for i in range(3)]
    assert [n for i, (n, _) in enumerate(found) if i == 0 or found[i - 1][0] != n] == list(dict.fromkeys(by_dump))
    assert (source.damage, source.notes) == ([], [])


def test_fault_43_lost_beginning_and_end(tmp_path: Path) -> None:
    """Without its request a dump has the time of its first reply, without its DONE it is decoded; both are noted."""
    source = read(tmp_path, [row(1), row(2), done(), request(seq=5), row(3, seq=5)])
    assert sockets(source) == [(1, 1), (1, 2), (2, 3)]
    assert source.notes == [f"{NO_REQUEST} (dump 1).", f"{INCOMPLETE} (dump 2)."]
    assert source.damage == []
    assert next(iter(source.chunks())).context.timestamp_ns == T0 // 1000 * 1000


def test_fault_43_lost_done_before_the_next_family(tmp_path: Path) -> None:
    """ss's second dump has the same (pid, seq) as the first, whose DONE is lost: rows of the other family part them."""
    source = read(tmp_path, [request(family=2), row(1), request(family=10), row(2, family=10), done()])
    assert sockets(source) == [(1, 1), (2, 2)]
    assert source.notes == [f"{INCOMPLETE} (dump 1)."]


def test_a_request_without_reply(tmp_path: Path) -> None:
    """It keeps its number, and is noted."""
    source = read(tmp_path, [request(seq=5), *dump((1,))])
    assert sockets(source) == [(2, 1)]
    assert source.notes == ["requests without a reply in the capture (dump 1)."]


def test_the_older_request_covers_both_families(tmp_path: Path) -> None:
    """TCPDIAG_GETSOCK: one dump, rows of both families."""
    body = struct.pack("<BBBB", 2, 0, 0, 0xFF) + bytes(48) + struct.pack("<II", 0xFFF, 0)
    datagrams = [message("<", body, 18, 0x301, SEQ, 0), row(1), row(2, family=10), done()]
    assert sockets(read(tmp_path, datagrams)) == [(1, 1), (1, 2)]


def test_mptcp_is_told_by_the_request(tmp_path: Path) -> None:
    """INET_DIAG_REQ_PROTOCOL 262 in the request makes its rows MPTCP's, those of other dumps stay TCP's."""
    attribute = struct.pack("<HHI", 8, 3, 262)
    asked = [request(protocol=262, attributes=attribute, seq=8), row(1, seq=8), done(seq=8)]
    source = read(tmp_path, [*asked, *dump((2,))])
    assert [chunk.context.protocol for chunk in source.chunks()] == [262, 6]


def test_replies_that_are_no_dump(tmp_path: Path) -> None:
    """The answer to a question for one socket, and events of destroyed ones: rows, each in a dump of its own."""
    events = [row(c, seq=0, port=0, flags=0) for c in (5, 6)]
    source = read(tmp_path, [request(seq=3), row(4, seq=3, flags=0), *events])
    assert sockets(source) == [(1, 4), (2, 5), (3, 6)]
    assert source.notes == []


def test_an_error_ends_a_dump(tmp_path: Path) -> None:
    """NLMSG_ERROR with an errno reaches the tally; an acknowledgement ends nothing."""
    refused = message("<", struct.pack("<i", -2) + bytes(16), 2, 0, 7, PORT)
    acknowledged = message("<", bytes(20), 2, 0x100, SEQ, PORT)
    tally = Tally()
    source = read(tmp_path, [request(seq=7), refused, request(), row(1), acknowledged, row(2), done()])
    assert sockets(source, tally) == [(2, 1), (2, 2)]
    assert [error.errno for error in tally.errors] == [2]
    assert tally.control == {"error": 1, "ack": 1, "done": 1}
    assert source.notes == []


def test_fault_44_hosts_of_one_file_are_kept_apart(tmp_path: Path) -> None:
    """Merged captures with equal port ids and sequence numbers, one little-endian, one big-endian: by interface."""
    content = section() + interface() + interface()
    mixed = [(1, ">", request(order=">")), (0, "<", request()), (0, "<", row(1)), (1, ">", row(7, order=">"))]
    mixed += [(1, ">", done(order=">")), (0, "<", row(2)), (0, "<", done())]
    content += b"".join(enhanced(cooked(d), T0 // 1000 + i, number=n) for i, (n, _, d) in enumerate(mixed))
    source = open_source(saved(tmp_path, content))
    assert sockets(source) == [(2, 1), (2, 2), (1, 7)]
    assert [c.context.order for c in source.chunks()] == ["<", ">"]
    assert source.notes == []


def test_a_request_with_a_port_id_is_that_ports(tmp_path: Path) -> None:
    """Programs that fill in their port id: another one's reply does not take their request."""
    source = read(tmp_path, [request(port=9), row(1), done(), row(2, port=9), done(port=9)])
    assert sockets(source) == [(2, 1), (1, 2)]
    assert source.notes == [f"{NO_REQUEST} (dump 2)."]


def test_chunks_of_a_large_dump_follow_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little more than 2 MiB each, all of one buffer, and the rows of a dump that ran beside it come behind."""
    monkeypatch.setattr(dumps_module, "HELD", 4 << 20)
    datagram = b"".join(row(c) for c in range(1, 351))
    small = dump((9,), seq=5, port=6)
    source = read(tmp_path, [request(), *[datagram] * 50, small[0], small[1], *[datagram] * 150, small[2], done()])
    numbers, buffers = [], set()
    for chunk in source.chunks():
        numbers.append(chunk.context.dump)
        buffers.add(id(chunk.data))
        assert int((chunk.ends - chunk.starts).sum()) <= dumps_module.ARENA + len(datagram)
    assert numbers == [1, 1, 1, 2]
    assert len(buffers) == 1
    assert len(sockets(source)) == 350 * 200 + 1
    assert source.notes == []


def test_memory_is_bounded_by_what_is_held_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dump that never ends does not keep the others waiting without end: it is closed, noted, and all rows come."""
    monkeypatch.setattr(dumps_module, "HELD", 1 << 20)
    datagram = b"".join(row(c, seq=8) for c in range(1, 351))
    source = read(
        tmp_path, [request(seq=1), row(1, seq=1), request(seq=8), *[datagram] * 200, row(2, seq=1), done(seq=8)]
    )
    tracemalloc.start()
    largest = rows = 0
    for chunk in source.chunks():
        rows += len(chunk.ends)
        largest = max(largest, tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert rows == 1 + 200 + 1 + 1
    assert largest < 8 << 20
    assert any(INCOMPLETE in note and "dump 1" in note for note in source.notes)


def test_what_was_given_is_not_counted_as_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred dumps one after the other leave room for two at once."""
    monkeypatch.setattr(dumps_module, "HELD", 16 << 10)
    both = [request(seq=5), request(seq=6), row(1, seq=5), row(2, seq=6), done(seq=6), done(seq=5)]
    source = read(tmp_path, [*(dump((7,)) * 100), *both])
    assert len(sockets(source)) == 102
    assert source.notes == []


def test_many_requests_do_not_pile_up(tmp_path: Path) -> None:
    """Requests wait for a reply up to a number; a reply finds the ones that are still there."""
    asked = [request(seq=s) for s in range(3 * matching.WAITING_REQUESTS)]
    last = len(asked) - 1
    source = read(tmp_path, [*asked, row(1, seq=last), done(seq=last)])
    assert sockets(source) == [(last + 1, 1)]
    assert source.notes == [f"requests without a reply in the capture (dump 1, dump 2, dump 3 and {last - 3} more)."]


def test_a_datagram_with_damage_inside(tmp_path: Path) -> None:
    """Messages before the damage are rows, the rest is quarantined, the dump goes on with the next datagram."""
    tally = Tally()
    source = read(tmp_path, [request(), row(1) + b"\x05" * 40, row(2), done()])
    assert sockets(source, tally) == [(1, 1), (1, 2)]
    assert tally.quarantined == 1


def test_bytes_that_read_in_no_order_between_good_ones(tmp_path: Path) -> None:
    """A packet that makes no message is told with its place; the dump around it is whole but for that."""
    source = read(tmp_path, [request(), row(1), b"\xff" * 80, row(2), done()])
    assert sockets(source) == [(1, 1), (1, 2)]
    assert len(source.damage) == 1


def test_an_empty_packet_list_and_a_reread(tmp_path: Path) -> None:
    """`chunks` may be called again: notes and damage are those of the last reading."""
    source = open_source(saved(tmp_path, pcap_header() + record(cooked(row(1)))[:-4]))
    for _ in range(2):
        with_cut = sockets(source)
        assert with_cut == []
        assert len(source.damage) == 1
    with pytest.raises(DamagedInput):
        sockets(open_source(saved(tmp_path, b"", "empty.pcap")))
