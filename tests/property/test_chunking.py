"""How messages are cut into datagrams and chunks changes nothing, and a cut loses only what is behind it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dumps import Plan
from tests.encoder import Item, Layout
from tests.equality import assert_all_agree, rows_of
from tests.strategies import orders, plans, seeds
from xtcp.batch import Tally
from xtcp.decode.decoder import Decoder
from xtcp.schema.model import Order


@given(plan=plans(), order=orders, where=st.floats(0, 1))
def test_two_chunks_are_one_chunk(plan: Plan, order: Order, where: float) -> None:
    """decode(a) + decode(b) == decode(a + b) for a split at any message's end; tallies add up."""
    dump = plan.build(order)
    split = round(where * len(dump.messages))
    whole = Decoder().decode(dump.chunk(b"".join(dump.messages)))
    rows, tally = [], Tally()
    decoder = Decoder()
    for part in (dump.messages[:split], dump.messages[split:]):
        batch = decoder.decode(dump.chunk(b"".join(part)))
        rows += rows_of(batch)
        tally.add(batch.tally)
    assert rows == rows_of(whole)
    assert tally == whole.tally


@given(plan=plans(), order=orders, seed=seeds, size=st.integers(1, 50))
def test_messages_in_any_datagrams(plan: Plan, order: Order, seed: int, size: int) -> None:
    """The same messages in other datagrams, empty ones among them, give the same rows and tally."""
    dump = plan.build(order)
    random = Random(seed)
    datagrams = [b""]
    for message in dump.messages:
        if random.randrange(size) == 0:
            datagrams += [b""] * random.randint(1, 2)
        datagrams[-1] += message
    expected, got = Decoder().decode(dump.chunk()), Decoder().decode(dump.chunk(*datagrams))
    assert rows_of(got) == rows_of(expected)
    assert got.tally == expected.tally


@given(plan=plans(control=False, most=3), order=orders, where=st.floats(0, 1))
def test_a_cut_dump_gives_a_prefix(plan: Plan, order: Order, where: float) -> None:
    """Every prefix decodes to a prefix of the rows and at most one fault, the message that was cut."""
    dump = plan.build(order)
    whole = b"".join(dump.messages)
    cut = round(where * len(whole))
    rows = assert_all_agree(dump.chunk(whole[:cut]), md5_keys=True)
    assert rows == list(dump.rows[: len(rows)])
    tally = Decoder().decode(dump.chunk(whole[:cut])).tally
    assert len(tally.faults) == tally.quarantined <= 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_every_prefix_of_a_dump(order: Order) -> None:
    """The same at every byte offset of two rows."""
    layout = Layout((Item(2, 104), Item(4, 6), Item(19, 0, (Item(1, 4), Item(2, 0, (Item(1, 2), Item(5)))))))
    dump = Plan(((layout, 2),), cut_every=1000).build(order)
    whole = b"".join(dump.messages)
    ends = [sum(map(len, dump.messages[: i + 1])) for i in range(len(dump.messages))]
    for cut in range(len(whole) + 1):
        batch = Decoder().decode(dump.chunk(whole[:cut]))
        finished = sum(end <= cut for end in ends)
        assert rows_of(batch) == list(dump.rows[:finished])
        assert batch.tally.quarantined == (cut not in (0, *ends))
