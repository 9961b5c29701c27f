"""Envelopes: every row in one of them, none longer than the limit, numbered without a gap, read by google.protobuf."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.batches import Row, batch_of
from tests.protobuf_objects import messages_of
from xtcp.batch import Batch
from xtcp.chunk import Context
from xtcp.poll.trailer import Trailer
from xtcp.records import varints
from xtcp.records.descriptor import message_classes
from xtcp.records.envelopes import MOST_ROWS, Envelopes, Packet
from xtcp.records.layouts import LAYOUTS

HOST = Context(timestamp_ns=1_700_000_000_123_456_789, hostname="edge-1", netns="4026531840", poll_id=17)
ENVELOPED = tuple(name for name, layout in LAYOUTS.items() if layout.envelope is not None)
TRAILER = Trailer(
    *("edge-1", "boot", 17, "4026531840", "6.18.44", "little", 1, 2, -3, 4),
    *(2, 130, 120, 3, 4, 5, 6, 7),
    unknown={"23": 5, "19.2.9": 1},
    surplus={"2:300": 9},
    flags=("interrupted", "dropped"),
)


def sockets(count: int) -> Batch:
    """Rows that differ in length."""
    rows = [{"idiag_cookie": number**4, "idiag_sport": number & 0xFFFF, "tcpi_rtt": number} for number in range(count)]
    return batch_of(rows, HOST)


def opened(packet: Packet, name: str) -> Any:
    """The envelope in a packet, by google.protobuf; its length stands before it."""
    message = message_classes(LAYOUTS[name])["Envelope"]()
    body = message.ParseFromString
    for size in range(1, 6):
        if varints.varint(len(packet.data) - size) == packet.data[:size]:
            body(packet.data[size:])
            return message
    raise AssertionError(packet.data[:8].hex())


@given(rows=st.integers(0, 300), limit=st.integers(150, 5000), name=st.sampled_from(ENVELOPED))
def test_every_row_once_and_none_too_long(rows: int, limit: int, name: str) -> None:
    """As many as fit; in order; the limit counts the length before an envelope too."""
    envelopes = Envelopes(name, limit_bytes=limit, stream=7)
    batch = sockets(rows)
    packets = [*envelopes.cut(batch), *envelopes.cut(batch)]
    assert all(len(packet.data) <= limit for packet in packets)
    assert [packet.first_sequence for packet in packets] == list(range(len(packets)))
    field = "row" if name != "flat" else "record"
    found = [record for packet in packets for record in getattr(opened(packet, name), field)]
    assert [packet.rows for packet in packets] == [len(getattr(opened(packet, name), field)) for packet in packets]
    assert found == [*messages_of(batch, LAYOUTS[name]), *messages_of(batch, LAYOUTS[name], first=rows + 1)]
    for packet, behind in pairwise(packets):
        first, last = getattr(opened(behind, name), field)[0], getattr(opened(packet, name), field)[-1]
        ends_batch = last == found[rows - 1]
        assert ends_batch or len(packet.data) + first.ByteSize() + 5 > limit - 12


def test_headers_tell_the_stream_and_the_number() -> None:
    """And the host; two senders draw different streams."""
    envelopes = Envelopes("flat", limit_bytes=400)
    packets = [*envelopes.cut(sockets(20))]
    last = envelopes.end_poll(TRAILER)
    assert last is not None
    headers = [opened(packet, "flat").header for packet in [*packets, last]]
    assert len(headers) > 3
    assert [header.sequence for header in headers] == list(range(len(headers)))
    assert {header.stream for header in headers} == {envelopes.stream}
    assert {header.hostname for header in headers} == {"edge-1"}
    assert Envelopes("flat", limit_bytes=400).stream != envelopes.stream


def test_the_trailer_comes_whole() -> None:
    """Every field of it, by google.protobuf."""
    packet = Envelopes("flat", limit_bytes=1432).end_poll(TRAILER)
    assert packet is not None and packet.rows == 0
    trailer = opened(packet, "flat").trailer
    for name, value in TRAILER.as_dict().items():
        if name in ("unknown", "surplus"):
            assert {count.name: count.count for count in getattr(trailer, name)} == value
        elif name == "flags":
            assert list(trailer.flags) == value
        else:
            assert getattr(trailer, name) == value, name
    assert Envelopes("xtcp2-2", limit_bytes=1432).end_poll(TRAILER) is None


def test_a_trailer_that_is_too_long_loses_its_lists() -> None:
    """Not its counts; where not even these fit, it says so."""
    long = Trailer(**{**TRAILER.as_dict(), "unknown": {f"19.{n}": n for n in range(1, 500)}})  # type: ignore[arg-type]
    packet = Envelopes("flat", limit_bytes=400).end_poll(long)
    assert packet is not None and len(packet.data) <= 400
    trailer = opened(packet, "flat").trailer
    assert (trailer.messages, len(trailer.unknown)) == (130, 0)
    packet = Envelopes("flat", limit_bytes=60).end_poll(long)
    assert packet is not None and packet.oversize


@pytest.mark.parametrize("name", ENVELOPED)
def test_a_row_that_is_too_long_stands_alone(name: str) -> None:
    """It is told, and the others are sent."""
    column = "unknown_attributes" if name == "flat" else "cong"
    long = [b"x" * (900 if name == "flat" and number == 2 else 3) for number in range(5)]
    rows: list[Row] = [{column: data, "idiag_cookie": number} for number, data in enumerate(long, 1)]
    limit = 400 if name == "flat" else 40
    packets = list(Envelopes(name, limit_bytes=limit).cut(batch_of(rows, HOST)))
    lost = sum(packet.rows for packet in packets if packet.oversize)
    assert lost == (1 if name == "flat" else 5)
    assert sum(packet.rows for packet in packets) == 5
    assert all(not packet.data for packet in packets if packet.oversize)


def test_no_more_rows_than_readers_take() -> None:
    """However short they are."""
    packets = list(Envelopes("flat", limit_bytes=1 << 20).cut(batch_of([{} for _ in range(MOST_ROWS + 1)])))
    assert [packet.rows for packet in packets] == [MOST_ROWS, 1]


def test_bare_records_have_no_envelope() -> None:
    """xTCP's."""
    with pytest.raises(ValueError, match="no envelope"):
        Envelopes("xtcp", limit_bytes=1432)
