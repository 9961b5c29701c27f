"""Rows 6, 8 to 11 and 12 of the fault list: what messages and their framing can do wrong."""

from __future__ import annotations

import struct

import pytest

from tests.dumps import PORT, SEQ, Plan
from tests.encoder import Item, Layout, attribute, message
from tests.equality import Row, assert_all_agree, assert_balanced
from tests.patience import fewer
from xtcp.batch import KernelMessage, Tally
from xtcp.chunk import Chunk, Context
from xtcp.decode.decoder import Decoder
from xtcp.schema.model import Order

ROW = bytes(72)
DONE, ERROR, OVERRUN, NOOP = 3, 2, 4, 1


def read(order: Order, *datagrams: bytes, seq: int | None = SEQ, port: int | None = None) -> tuple[list[Row], Tally]:
    """Rows and tally of these datagrams, on which all decoders agree."""
    chunk = Chunk.of(*datagrams, context=Context(order=order), seq=seq, port=port)
    return assert_all_agree(chunk), Decoder().decode(chunk).tally


def row(order: Order, seq: int = SEQ, port: int = PORT, flags: int = 2) -> bytes:
    """A row without attributes."""
    return message(order, ROW, 20, flags, seq, port)


def said(order: Order, kind: int, payload: bytes, flags: int = 2) -> bytes:
    """A control message with the sequence number of the dump."""
    return message(order, payload, kind, flags, SEQ, PORT)


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_06_message_across_the_end_of_a_datagram(order: Order) -> None:
    """Its part is set aside at every possible cut (every fourth or so where that takes long), and never joined with the
    datagram that follows.
    """
    layout = Layout((Item(2, 104), Item(4, 6)))
    dump = Plan(((layout, 3),), cut_every=1000, done=False).build(order)
    whole = b"".join(dump.messages)
    for cut in range(1, len(whole), 8 // fewer(8)):
        chunk = dump.chunk(whole[:cut], whole[cut:])
        batch = Decoder().decode(chunk)
        finished = sum(sum(map(len, dump.messages[: i + 1])) <= cut for i in range(3))
        assert_balanced(batch.tally)
        assert batch.rows >= finished
        if cut % 8 == 1:
            assert assert_all_agree(chunk)[:finished] == list(dump.rows[:finished])
        if cut not in (len(dump.messages[0]), len(dump.messages[0] + dump.messages[1])):
            assert batch.tally.faults[0].offset + batch.tally.faults[0].length == cut


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_08_acknowledgement_and_short_error(order: Order) -> None:
    """errno 0 is an acknowledgement and no failure; an error without its errno is set aside."""
    request = message(order, bytes(56), 20, 0x301, SEQ, 0)
    rows, tally = read(order, said(order, ERROR, struct.pack(order + "i", 0) + request[:16]), row(order))
    assert (len(rows), tally.control, tally.errors) == (1, {"ack": 1}, [])
    for payload in (b"", b"\1", b"\1\2\3"):
        _, tally = read(order, said(order, ERROR, payload), row(order))
        assert (tally.quarantined, tally.rows, tally.errors) == (1, 1, [])
        assert tally.faults[0].reason == "NLMSG_ERROR without its error code"


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_09_done_with_an_errno_or_without_any(order: Order) -> None:
    """Both are failures of the dump and tell themselves from a dump of no sockets."""
    for code in (-2, -22, -11):
        rows, tally = read(order, said(order, DONE, struct.pack(order + "i", code)))
        assert (rows, tally.done) == ([], KernelMessage(-code))
    for payload in (b"", b"\0\0\0"):
        _, tally = read(order, said(order, DONE, payload))
        assert tally.done is not None
        assert tally.done.errno != 0
        assert "without its error code" in tally.done.text
    _, tally = read(order, said(order, DONE, bytes(4)))
    assert tally.done == KernelMessage(0)


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_09_text_of_the_kernel(order: Order) -> None:
    """The extended acknowledgement's text is found behind the errno, the whole request or the request's header."""
    text = attribute(order, 2, bytes(4)) + attribute(order, 1, b"Unknown extension\0")
    code = struct.pack(order + "i", -22)
    request = message(order, bytes(56), 20, 0x301, SEQ, 0)
    for kind, payload, flags in (
        (ERROR, code + request + text, 0x200),
        (ERROR, code + request[:16] + text, 0x300),
        (DONE, code + text, 0x202),
    ):
        _, tally = read(order, said(order, kind, payload, flags))
        assert KernelMessage(22, "Unknown extension") in (tally.done, *tally.errors)
        _, tally = read(order, said(order, kind, payload, flags & ~0x200))
        assert KernelMessage(22) in (tally.done, *tally.errors)


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_10_overrun_noop_and_unknown_types(order: Order) -> None:
    """Counted each by its kind; an overrun tells of loss; the rows around them are read."""
    rows, tally = read(
        order,
        row(order) + said(order, NOOP, b"") + row(order) + said(order, OVERRUN, b"") + said(order, 77, bytes(5)),
        row(order),
    )
    assert len(rows) == 3
    assert tally.control == {"noop": 1, "overrun": 1, "other": 1}
    assert tally.quarantined == 0


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_11_done_among_the_data(order: Order) -> None:
    """DONE in the datagram of rows ends it: what is behind it there is set aside, the next datagram is read."""
    done = said(order, DONE, bytes(4))
    rows, tally = read(order, row(order) + done, row(order))
    assert (len(rows), tally.quarantined, tally.control) == (2, 0, {"done": 1})
    rows, tally = read(order, row(order) + done + row(order) + done + row(order, seq=1), row(order))
    assert (len(rows), tally.quarantined, tally.control) == (2, 3, {"done": 1})
    assert {fault.reason for fault in tally.faults} == {"after NLMSG_DONE"}


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_12_answers_to_somebody_else(order: Order) -> None:
    """Another sequence number (a dump that was given up) or port id: dropped and counted, the dump goes on."""
    mixed = row(order) + row(order, seq=SEQ - 1) + row(order, port=PORT + 1) + row(order)
    rows, tally = read(order, mixed, port=PORT)
    assert (len(rows), tally.control, tally.quarantined) == (2, {"foreign": 2}, 0)
    rows, tally = read(order, mixed)
    assert (len(rows), tally.control) == (3, {"foreign": 1})
    rows, tally = read(order, mixed, seq=None)
    assert (len(rows), tally.control) == (4, {})
    late_done = message(order, bytes(4), DONE, 2, SEQ - 1, PORT)
    rows, tally = read(order, late_done + row(order))
    assert (len(rows), tally.control, tally.done) == (1, {"foreign": 1}, None)
    requests = row(order, flags=0x301)
    rows, tally = read(order, requests, row(order))
    assert (len(rows), tally.control) == (1, {"request": 1})


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_12_interrupted_dump_of_somebody_else(order: Order) -> None:
    """NLM_F_DUMP_INTR counts on our own messages only."""
    _, tally = read(order, row(order, seq=SEQ - 1, flags=0x12), row(order))
    assert not tally.interrupted
    _, tally = read(order, row(order, flags=0x12), row(order))
    assert tally.interrupted
