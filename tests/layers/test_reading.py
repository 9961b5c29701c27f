"""Dissection against the decoders, and against the bytes themselves: captures, whole dumps, damaged ones."""

from __future__ import annotations

import gc
from importlib import import_module
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dumps import Plan, soup
from tests.equality import rows_of as decoded_rows
from tests.layers.columns import OWN, messages_of, packets_of, rows_of
from tests.patience import fewer
from tests.strategies import damaged, orders, plans, seeds
from xtcp.chunk import Chunk, Context
from xtcp.decode.decoder import Decoder
from xtcp.decode.reference import decode as decode_plainly
from xtcp.schema.model import Order
from xtcp_replay.reading.diag_request import NOT_INET

layers = import_module("xtcp_replay.layers")


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_hidden() -> object:
    """scapy makes bytes of what fails to dissect; here it fails."""
    from scapy.config import conf

    before, conf.debug_dissector = conf.debug_dissector, True
    yield
    conf.debug_dissector = before


@pytest.mark.parametrize("path", OWN, ids=lambda p: p.parent.name)
def test_rows_are_those_of_both_decoders(path: Path) -> None:
    """Every column of every row of this project's captures, by a third way, and every byte built again."""
    compared = 0
    for packet in packets_of(path):
        release = packet.interface.release
        dissected = layers.dissect(packet.data, release=Context(release=release).kernel)
        assert bytes(dissected) == packet.data
        order: Order = ">" if "s390x" in release else "<"
        chunk = Chunk.of(packet.data[16:], context=Context(order=order, release=release))
        rows = rows_of(dissected)
        assert rows == decode_plainly(chunk, md5_keys=True)[0]
        assert rows == decoded_rows(Decoder(md5_keys=True).decode(chunk))
        compared += len(rows)
    assert compared > 100


def test_captures_are_built_again(captures: Path) -> None:
    """Every packet of the captures that others made, from its fields; other netlink families too."""
    seen: set[bytes] = set()
    messages = 0
    gc.disable()  # a million objects, none in a circle: looking for them takes half of the time
    try:
        for path in sorted(captures.rglob("*.pcap*")):
            for packet in packets_of(path):
                if packet.data not in seen:
                    seen.add(packet.data)
                    dissected = layers.dissect(packet.data)
                    assert bytes(dissected) == packet.data, path
                    messages += len(messages_of(dissected))
    finally:
        gc.enable()
    assert len(seen) > 300 and messages > 5000


@settings(max_examples=fewer(40), deadline=None)
@given(plans(most=3), orders)
def test_made_dumps(plan: Plan, order: Order) -> None:
    """Any layout in either order: the columns are the encoder's, and the bytes come back."""
    dump = plan.build(order)
    for datagram in dump.datagrams:
        dissected = layers.of(order, dump.context.kernel, dump.context.protocol).datagram(datagram)
        assert bytes(dissected) == datagram
        rows = decode_plainly(Chunk.of(datagram, context=dump.context), md5_keys=True)[0]
        # Rows of other sockets have another shape, and stay bytes.
        assert rows_of(dissected) == [row for row in rows if row["idiag_family"] not in NOT_INET]


@settings(max_examples=fewer(40), deadline=None)
@given(st.data(), plans(most=3), orders)
def test_damaged_dumps(data: st.DataObject, plan: Plan, order: Order) -> None:
    """No damage makes dissection raise or lose a byte; what is not understood stays in the layers."""
    dump = plan.build(order)
    for datagram in data.draw(damaged(dump)):
        for either in ("<", ">"):
            dissected = layers.of(either, dump.context.kernel, dump.context.protocol).datagram(datagram)
            assert bytes(dissected) == datagram


@settings(max_examples=fewer(60), deadline=None)
@given(orders, seeds)
def test_soups(order: Order, seed: int) -> None:
    """Nor does a soup of plausible headers, requests and errors inside errors among them."""
    for datagram in soup(order, Random(seed)):
        assert bytes(layers.of(order).datagram(datagram)) == datagram
        packet = bytes(layers.CookedNetlink()) + datagram
        assert bytes(layers.dissect(packet)) == packet


def test_errors_inside_errors_end() -> None:
    """An error about an error about an error: one level is read, the rest are bytes, so no depth is reached."""
    nl = layers.of("<")
    inner = b""
    for _ in range(3000):
        inner = bytes(nl.nlmsghdr(nlmsg_type="NLMSG_ERROR") / (b"\xea\xff\xff\xff" + inner))
    message = layers.of("<").datagram(inner).messages[0]
    assert type(message.payload).__name__ == "nlmsgerr"
    assert type(message.payload.msg.payload).__name__ == "Raw"
    assert bytes(message) == inner


def test_time_grows_with_the_bytes_alone() -> None:
    """64 KiB of empty attributes or messages are read at once, not in their square."""
    nl = layers.of("<")
    attributes = bytes(nl.nlmsghdr() / (nl.inet_diag_msg() / (b"\4\0\0\0" * 16000)))
    assert len(nl.datagram(attributes).messages[0].payload.attributes) == 16000
    noops = bytes(nl.nlmsghdr(nlmsg_type="NLMSG_NOOP")) * 4000
    assert len(nl.datagram(noops).messages) == 4000
