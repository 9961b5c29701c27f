"""decode/chains: many chains of length-prefixed elements in lockstep."""

from __future__ import annotations

import numpy as np
import pytest

from tests.encoder import attribute, message
from xtcp.chunk import Chunk
from xtcp.decode.chains import FEW_CHAINS, Elements, walk_attributes, walk_messages
from xtcp.schema.model import Order


def walk(order: Order, *chains: bytes, messages: bool = False) -> tuple[Elements, Chunk]:
    """The elements of each chain in a buffer of its own."""
    chunk = Chunk.of(*chains)
    return (walk_messages if messages else walk_attributes)(chunk.data, order, chunk.starts, chunk.ends), chunk


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("copies", [1, FEW_CHAINS - 1, FEW_CHAINS, 100])
def test_elements_of_chains(order: Order, copies: int) -> None:
    """Number of the chain, offset, length without padding, type without flags; by plain loop and in lockstep."""
    chain = attribute(order, 5, b"\1") + attribute(order, 0x8000 | 19, b"abcd") + attribute(order, 0x3FFF)
    found, chunk = walk(order, *[chain] * copies)
    assert found.chain.tolist() == sorted([*range(copies)] * 3)
    assert found.type.tolist() == [5, 19, 0x3FFF] * copies
    assert found.length.tolist() == [5, 8, 4] * copies
    assert found.offset.tolist() == [start + at for start in chunk.starts.tolist() for at in (0, 8, 16)]
    assert not len(found.broken_at)


@pytest.mark.parametrize("copies", [1, 50])
def test_broken_chains_are_told_in_order(copies: int) -> None:
    """A length below the header's, one past the end, a remnant: where each chain broke, by ascending offset."""
    good = attribute("<", 1, bytes(8))
    late, early, remnant = good * 3 + b"\3\0\1\0", good + b"\x40\0\1\0", good * 2 + b"\4\0"
    found, chunk = walk("<", *[late, early, remnant, good] * copies)
    ends = chunk.ends.reshape(-1, 4)
    assert found.broken_at.tolist() == (ends - [4, 4, 2, 0])[:, :3].ravel().tolist()
    assert found.broken_chain.tolist() == [i for i in range(4 * copies) if i % 4 != 3]
    assert len(found.offset) == 7 * copies


def test_no_chains() -> None:
    """Nothing, and empty chains among others, give nothing."""
    found, _ = walk("<")
    assert not len(found.offset)
    found, _ = walk("<", b"", attribute("<", 3), b"", b"")
    assert found.chain.tolist() == [1]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("copies", [1, 20])
def test_the_whole_length_of_a_message_counts(order: Order, copies: int) -> None:
    """nlmsg_len has 32 bits: one of 65536 + 20 is not one of 20."""
    one = bytearray(message(order, bytes(4), kind=0xFFFF))
    found, _ = walk(order, *[bytes(one)] * copies, messages=True)
    assert found.type.tolist() == [0xFFFF] * copies
    one[:4] = np.array([65536 + 20], order + "u4").tobytes()
    found, _ = walk(order, *[bytes(one)] * copies, messages=True)
    assert not len(found.offset)
    assert len(found.broken_at) == copies
