"""Hostile input costs no more than its size: every walk makes progress, no group of layouts costs a template each."""

from __future__ import annotations

import time
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dumps import SEQ, Plan
from tests.encoder import Item, Layout, attribute, message
from tests.equality import assert_all_agree, rows_of
from tests.patience import fewer, patient
from tests.strategies import orders
from xtcp.batch import Batch
from xtcp.chunk import SLACK, Chunk, Context
from xtcp.decode.chains import walk_attributes, walk_messages
from xtcp.decode.decoder import Decoder
from xtcp.decode.templates import TEMPLATES_A_LENGTH, TEMPLATES_IN_ALL
from xtcp.schema.model import Order

# Generous: the hosts of CI are slow and the suite runs under emulation too. What these bounds catch is quadratic.
SECONDS_A_MEGABYTE = 20.0
LITTLE = Context(order="<")


def decode_in_time(chunk: Chunk) -> Batch:
    """Decodes `chunk`, in processor time that is bounded by its size."""
    begin = time.process_time()
    batch = Decoder().decode(chunk)
    assert time.process_time() - begin < patient(SECONDS_A_MEGABYTE * len(chunk.data) / 1e6 + 1)
    return batch


@given(data=st.binary(max_size=3000), order=orders, cuts=st.lists(st.integers(0, 750), max_size=40))
def test_every_step_of_a_walk_makes_progress(data: bytes, order: Order, cuts: list[int]) -> None:
    """A step finds an element of at least a header's length or ends a chain, so there are at most len / 4 of them.

    Elements lie in their chain, in ascending order, without overlap.
    """
    edges = [*sorted({min(4 * cut, len(data)) & ~3 for cut in cuts} | {0}), len(data)]
    starts, ends = np.array(edges[:-1], np.int64), np.array(edges[1:], np.int64)
    buffer = np.frombuffer(data + bytes(SLACK), np.uint8)
    for walk, header in ((walk_messages, 16), (walk_attributes, 4)):
        found = walk(buffer, order, starts, ends)
        assert len(found.offset) <= len(data) // header
        assert len(found.broken_at) <= len(starts)
        assert (found.length >= header).all()
        assert (found.offset >= starts[found.chain]).all()
        assert (found.offset + found.length <= ends[found.chain]).all()
        assert (found.offset[1:] >= (found.offset + found.length)[:-1]).all()
        assert (np.diff(found.broken_at) > 0).all()


def tiny_attributes(order: Order, size: int, numbers: list[int]) -> bytes:
    """`size` bytes of attributes that are a header and nothing else."""
    return b"".join(attribute(order, numbers[i % len(numbers)]) for i in range(size // 4))


@pytest.mark.parametrize(
    ("order", "numbers"), [("<", [5]), (">", [200]), ("<", [23, 24]), (">", list(range(16384))), ("<", [2, 19, 4])]
)
def test_one_message_with_a_quarter_of_a_million_attributes(order: Order, numbers: list[int]) -> None:
    """1 MB of empty attributes, of one number or of all there are, takes seconds at most and loses none."""
    many = fewer(250_000)
    payload = bytes(72) + tiny_attributes(order, 4 * many, numbers)
    chunk = Chunk.of(message(order, payload), context=Context(order=order))
    tally = decode_in_time(chunk).tally
    assert tally.rows == 1
    assert tally.repeated == many - len(numbers)


@pytest.mark.parametrize("rows", [1, 11, 16])
def test_long_messages_in_few_chains(rows: int) -> None:
    """60 kB of empty attributes in each of a few messages, above and below the switch to the plain loop."""
    size = 4 * fewer(15_000)
    payload = bytes(72) + tiny_attributes("<", size, [23])
    chunk = Chunk.of(*[message("<", payload)] * rows, context=LITTLE)
    batch = decode_in_time(chunk)
    assert [len(cell) for cell in batch.columns["unknown_attributes"].tolist()] == [size] * rows


def test_messages_with_thousands_of_attributes_make_no_template() -> None:
    """64 equal messages of 15 kB of empty attributes: kept bytes are joined once, not attribute by attribute."""
    payload = bytes(72) + tiny_attributes("<", 15_000, list(range(100, 4000)))
    chunk = Chunk.of(*[message("<", payload)] * 64, context=LITTLE)
    assert decode_in_time(chunk).rows == 64


def test_thousands_of_layouts() -> None:
    """A chunk in which no layout occurs twice, and one in which every length has more layouts than templates."""
    random = Random(5)
    different = [message("<", bytes(72) + attribute("<", 100 + i, bytes(i % 300))) for i in range(3000)]
    same_length = [message("<", bytes(72) + attribute("<", 100 + i % 30)) for i in range(6000)]
    random.shuffle(different)
    for messages in (different, same_length):
        chunk = Chunk.of(b"".join(messages), context=LITTLE)
        decode_in_time(chunk)
        assert_all_agree(chunk)


def test_templates_are_forgotten_when_there_are_too_many() -> None:
    """A decoder that has seen every template it may keep begins anew, and gives the same rows as before."""
    decoder = Decoder()
    dump = Plan(((Layout((Item(2, 104), Item(4, 6))), 64),)).build("<")
    assert rows_of(decoder.decode(dump.chunk())) == list(dump.rows)
    lengths = TEMPLATES_IN_ALL // TEMPLATES_A_LENGTH + 2
    for number in range(TEMPLATES_A_LENGTH + 3):
        for length in range(lengths):
            one = message("<", bytes(72) + attribute("<", 100 + number, bytes(4 * length)))
            chunk = Chunk.of(*[one] * 64, context=LITTLE)
            assert decoder.decode(chunk).tally.unknown == {str(100 + number): 64}
    assert rows_of(decoder.decode(dump.chunk())) == list(dump.rows)


def test_tens_of_thousands_of_small_datagrams() -> None:
    """A DONE in each of 40,000 datagrams, with a row behind it that is set aside, is no quadratic search."""
    done, row = message("<", bytes(4), 3, seq=SEQ), message("<", bytes(72), seq=SEQ)
    chunk = Chunk.of(*[done + row] * 40_000, context=LITTLE, seq=SEQ)
    tally = decode_in_time(chunk).tally
    assert (tally.control["done"], tally.quarantined, len(tally.faults)) == (40_000, 40_000, 64)
