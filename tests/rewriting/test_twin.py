"""Twins: the same messages from a host of the other byte order, judged by an encoder that never saw `twin`."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import replace
from random import Random

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.dumps import Plan, soup
from tests.encoder import Item, attribute, message
from tests.equality import Row, assert_all_agree, rows_of
from tests.patience import fewer
from tests.replay.made import PORT, SEQ, dump, request
from tests.rewriting.packets import real_datagrams
from tests.strategies import damaged, orders, plans, seeds
from xtcp.chunk import Chunk, Context
from xtcp.decode.decoder import Decoder
from xtcp.decode.reference import decode as decode_plainly
from xtcp.schema.model import Order
from xtcp_replay.reading.diag_request import NOT_INET
from xtcp_replay.rewriting.anatomy import Kernel
from xtcp_replay.rewriting.twin import other, twin

INFO, MD5SIG = 2, 18
HOLDER = 276


def understood(plan: Plan) -> Plan:
    """The plan without MD5 keys, whose struct the encoder fills with noise, and without a holder cut in two."""

    def kept(item: Item) -> bool:
        return item.number != MD5SIG and not (item.number == INFO and HOLDER < item.size < HOLDER + 4)

    layouts = ((replace(layout, items=tuple(filter(kept, layout.items))), n) for layout, n in plan.layouts)
    return replace(plan, layouts=tuple(layouts))


@given(plans(most=3, control=False), orders)
@settings(max_examples=fewer(80))
def test_a_twin_is_what_the_other_host_would_have_sent(plan: Plan, order: Order) -> None:
    """The tests' encoder writes one plan in both orders; each is the other's twin, byte for byte."""
    plan = understood(plan)
    here, there = plan.build(order), plan.build(other(order))
    assume(all(row["idiag_family"] not in NOT_INET for row in here.rows))
    context = here.context
    assert [twin(d, order, context.kernel, context.protocol) for d in here.datagrams] == list(there.datagrams)


@given(plans(most=3), orders, st.data())
@settings(max_examples=fewer(60))
def test_the_twin_of_a_twin(plan: Plan, order: Order, data: st.DataObject) -> None:
    """It is the datagram itself: whole, with what is not understood, and damaged."""
    made = plan.build(order)
    for datagram in [*made.datagrams, *data.draw(damaged(made))]:
        assert_involution(datagram, order, made.context.kernel, made.context.protocol)


@given(seeds, orders)
@settings(max_examples=fewer(40))
def test_the_twin_of_anything(seed: int, order: Order) -> None:
    """Soups of headers, in the order they were made in and in the other, and noise."""
    random = Random(seed)
    for datagram in [*soup(order, random), random.randbytes(300)]:
        assert_involution(datagram, order, (7, 0), 6)
        assert_involution(datagram, other(order), None, None)


def assert_involution(datagram: bytes, order: Order, kernel: Kernel, protocol: int | None) -> None:
    """Twice turned is as before, and as long."""
    there = twin(datagram, order, kernel, protocol)
    assert len(there) == len(datagram)
    assert twin(there, other(order), kernel, protocol) == datagram


@given(plans(most=3), orders, st.data())
@settings(max_examples=fewer(60))
def test_damaged_dumps_decode_to_the_same_rows(plan: Plan, order: Order, data: st.DataObject) -> None:
    """What is quarantined here is quarantined there; all decoders agree on the twin."""
    made = plan.build(order)
    broken = data.draw(damaged(made))
    context = made.context
    twins = [twin(d, order, context.kernel, context.protocol) for d in broken]
    there = Chunk.of(*twins, context=replace(context, order=other(order)), seq=made.seq, port=made.port)
    rows = assert_all_agree(made.chunk(*broken))
    assume(all(row["idiag_family"] not in NOT_INET for row in rows))
    assert plain(assert_all_agree(there)) == plain(rows)


def plain(rows: list[Row]) -> list[Row]:
    """Rows without the columns that are raw structs and headers, in the host's order."""
    return [{name: cell for name, cell in row.items() if name not in {"unknown_attributes", "md5sig"}} for row in rows]


def test_every_capture_has_a_twin_with_its_rows() -> None:
    """All rows of all captures, little-endian and big-endian: equal in every column but raw structs of MD5 keys."""
    for order in ("<", ">"):
        here = [netlink for netlink, its in real_datagrams() if its == order]
        there = [twin(netlink, order, (7, 0), 6) for netlink in here]
        assert all(twin(t, other(order), (7, 0), 6) == h for h, t in zip(here, there, strict=True))
        context, turned = (Context(order=o, release="7.0.3") for o in (order, other(order)))
        rows = rows_of(Decoder().decode(Chunk.of(*here, context=context)))
        assert rows and "unknown_attributes" not in {name for row in rows for name in row}
        assert plain(rows_of(Decoder().decode(Chunk.of(*there, context=turned)))) == plain(rows)
        # The plain decoder is slow.
        some = decode_plainly(Chunk.of(*here[::6], context=context))[0]
        assert plain(decode_plainly(Chunk.of(*there[::6], context=turned))[0]) == plain(some)


def test_bit_fields_move() -> None:
    """tcpi_snd_wscale is the low half on little-endian hosts; the 32 bits at the end of 7.0 are 2, 2, 4 and 24."""
    info = bytearray(280)
    info[6], info[7] = 0x73, 0b0000_0101
    info[276:] = struct.pack("<I", 0x123456 << 8 | 9 << 4 | 1 << 2 | 2)
    little = message("<", bytes([2]) + bytes(71) + attribute("<", 2, bytes(info)))
    big = twin(little, "<", (7, 0), 6)[-280:]
    assert (big[6] == 0x37 and big[7] == 0b1100_0000 | 0b0000_0000 | (0b0 << 5)) or big[7] == 0b1_10_00000
    assert big[276:] == struct.pack(">I", 2 << 30 | 1 << 28 | 9 << 24 | 0x123456)


def test_network_order_stays_and_words_turn_one_by_one() -> None:
    """Ports and addresses stay; a cookie is two words, its low one first on every host."""
    body = (
        struct.pack("<BBBB", 2, 1, 0, 0)
        + struct.pack(">HH", 443, 8080)
        + bytes(range(32))
        + struct.pack("<III", 3, 5, 6)
    )
    there = twin(message("<", body + struct.pack("<5I", 1, 2, 3, 4, 5)), "<", None, 6)[16:]
    assert there[4:8] == struct.pack(">HH", 443, 8080) and there[8:40] == bytes(range(32))
    assert there[40:] == struct.pack(">8I", 3, 5, 6, 1, 2, 3, 4, 5)


def test_keys_have_their_length_turned() -> None:
    """tcpm_keylen is a number, the key and its address are bytes."""
    key = struct.pack("<BBH", 2, 32, 5) + bytes(range(16)) + b"hello" + bytes(75)
    there = twin(message("<", bytes([2]) + bytes(71) + attribute("<", 18, key * 2)), "<", None, 6)
    assert there[-200:] == (struct.pack(">BBH", 2, 32, 5) + key[4:]) * 2


def test_requests_refusals_and_ends_are_turned() -> None:
    """As the tests make them in either order: requests with their filters, NLMSG_DONE, errors that echo a request."""
    assert [twin(one, "<", None, 6) for one in pair("<")] == pair(">")
    assert [twin(one, ">", None, 6) for one in pair(">")] == pair("<")


def pair(order: Order) -> list[bytes]:
    """A request with a filter, an error with it, a DONE with the kernel's words."""
    code = struct.pack(order + "BBHBBxxi", 7, 16, 20, 2, 32, 443) + b"\x0a\1\2\3"
    code += struct.pack(order + "BBHBBH", 3, 8, 12, 0, 0, 8080) + struct.pack(order + "BBHQ", 13, 12, 16, 1 << 40)
    asked = request(
        order=order, attributes=attribute(order, 1, code) + attribute(order, 3, struct.pack(order + "I", 262))
    )
    said = attribute(order, 1, b"no\0") + attribute(order, 2, struct.pack(order + "I", 16))
    return [
        asked,
        message(order, struct.pack(order + "i", -22) + asked + said, 2, 0x200, SEQ, PORT),
        message(order, struct.pack(order + "i", -2) + said, 3, 0x202, SEQ, PORT),
    ]


def test_what_stays_is_counted() -> None:
    """Unknown attributes and the end of a tcp_info of unknown release, where there is something in them."""
    layout = attribute("<", 23, b"\1") + attribute("<", 2, bytes(279) + b"\1") + attribute("<", 24, b"\0")
    kept: Counter[str] = Counter()
    twin(message("<", bytes([2]) + bytes(71) + layout), "<", None, 6, kept)
    assert kept == {"attribute 23": 1, "the end of tcp_info": 1}
    kept.clear()
    twin(message("<", bytes([2]) + bytes(71) + layout), "<", (6, 18), 6, kept)
    assert kept == {"attribute 23": 1}
    twin(b"".join(dump([1, 2])), "<", None, 6, kept)
    assert kept == {"attribute 23": 1}


def test_other_sockets_stay() -> None:
    """A UNIX socket's row has another struct: only its headers are turned, and it is counted."""
    kept: Counter[str] = Counter()
    body = bytes([1, 1, 1, 0]) + struct.pack("<III", 7, 8, 9)
    there = twin(message("<", body), "<", None, 6, kept)
    assert there == message(">", body) and kept == {"messages about UNIX sockets": 1}
