"""Templates, lockstep and reference give the same rows and the same tally, whatever the bytes are."""

from __future__ import annotations

from random import Random

from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from tests.dumps import PORT, SEQ, Plan, soup
from tests.equality import assert_all_agree, rows_by_template
from tests.strategies import damaged, orders, plans, seeds
from xtcp.chunk import Chunk, Context
from xtcp.schema.model import Order

MANY_EXAMPLES = settings.default.max_examples * 3  # type: ignore[union-attr]


@given(plan=plans(), order=orders)
def test_valid_dumps(plan: Plan, order: Order) -> None:
    """On what a kernel could send."""
    dump = plan.build(order)
    event(f"templates: {rows_by_template(dump.chunk()) > 0}")
    assert_all_agree(dump.chunk())


@given(data=st.data(), plan=plans(), order=orders)
def test_damaged_dumps(data: st.DataObject, plan: Plan, order: Order) -> None:
    """On dumps with flipped bits, wrong lengths, cuts and losses."""
    dump = plan.build(order)
    chunk = dump.chunk(*data.draw(damaged(dump)))
    event(f"templates: {rows_by_template(chunk) > 0}")
    assert_all_agree(chunk, md5_keys=data.draw(st.booleans()))


@settings(max_examples=MANY_EXAMPLES)
@given(seed=seeds, order=orders, seq=st.sampled_from((SEQ, None)), port=st.sampled_from((PORT, None)))
def test_plausible_headers(seed: int, order: Order, seq: int | None, port: int | None) -> None:
    """On headers with anything behind them: broken and repeated attributes, nests at any depth, control messages."""
    random = Random(seed)
    context = Context(order=order, release=random.choice(("", "6.18", "7.0")), protocol=random.choice((6, 262)))
    assert_all_agree(Chunk.of(*soup(order, random), context=context, seq=seq, port=port))


@settings(max_examples=MANY_EXAMPLES)
@given(datagrams=st.lists(st.binary(max_size=200), max_size=20), order=orders, seq=st.sampled_from((0, None)))
@example(datagrams=[b"\x14\0\0\0\x03" + bytes(15), b"", b"\x10" + bytes(15)], order="<", seq=0)
def test_random_bytes(datagrams: list[bytes], order: Order, seq: int | None) -> None:
    """On any bytes at all, empty datagrams between others included."""
    assert_all_agree(Chunk.of(*datagrams, context=Context(order=order), seq=seq))
