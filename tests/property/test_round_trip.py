"""What the encoder writes from the table, the decoder reads back: every column, either byte order."""

from __future__ import annotations

from hypothesis import event, given
from hypothesis import strategies as st

from tests.dumps import MANY, Plan
from tests.encoder import Item, Layout
from tests.equality import assert_sound, rows_by_template, rows_of
from tests.strategies import orders, plans
from xtcp.decode.decoder import Decoder
from xtcp.schema.columns import BY_NAME, CONTEXT_NAMES
from xtcp.schema.inet_diag import ATTRIBUTES
from xtcp.schema.model import FLAG, Nest, Order, Struct

# Kept with their headers, and those are in the order of the host.
RAW = {"unknown_attributes"}


@given(plan=plans(), order=orders)
def test_decoding_gives_the_rows_that_were_encoded(plan: Plan, order: Order) -> None:
    """Every column of every row, by templates and by lockstep; nothing is quarantined."""
    dump = plan.build(order)
    event(f"templates: {rows_by_template(dump.chunk()) > 0}")
    for templates in (True, False):
        batch = Decoder(md5_keys=True, templates=templates).decode(dump.chunk())
        assert_sound(batch)
        assert rows_of(batch) == list(dump.rows)
        assert not batch.tally.quarantined and not batch.tally.damaged and not batch.tally.faults
        assert (batch.tally.done is not None) == plan.done


@given(plan=plans())
def test_byte_order_does_not_matter(plan: Plan) -> None:
    """The same rows from a little-endian and from a big-endian host are equal, and so are the tallies."""
    little, big = (Decoder().decode(plan.build(order).chunk()) for order in ("<", ">"))
    assert little.tally == big.tally
    cleaned = [[{k: v for k, v in row.items() if k not in RAW} for row in rows_of(batch)] for batch in (little, big)]
    assert cleaned[0] == cleaned[1]


@given(plan=plans(), names=st.sets(st.sampled_from(sorted(BY_NAME))))
def test_chosen_columns_are_the_same_columns(plan: Plan, names: set[str]) -> None:
    """Asking for some columns leaves the others out and changes nothing else, not even the tally."""
    chunk = plan.build("<").chunk()
    whole = Decoder().decode(chunk)
    for templates in (True, False):
        some = Decoder(names, templates=templates).decode(chunk)
        assert some.tally == whole.tally
        assert rows_of(some) == rows_of(whole.select(frozenset(names)))


@given(plan=plans())
def test_a_decoder_remembers_nothing_but_templates(plan: Plan) -> None:
    """The same decoder gives the same rows for another byte order, release or protocol in between."""
    decoder = Decoder()
    first = rows_of(decoder.decode(plan.build("<").chunk()))
    decoder.decode(plan.build(">").chunk())
    assert rows_of(decoder.decode(plan.build("<").chunk())) == first


def full_layout(release: tuple[int, int]) -> Layout:
    """Every attribute of the table at its full length."""

    def items(table: tuple[object, ...]) -> tuple[Item, ...]:
        out = []
        for attribute in table:
            body = attribute.body  # type: ignore[attr-defined]
            number = attribute.number  # type: ignore[attr-defined]
            if isinstance(body, Nest):
                out.append(Item(number, 0, items(body.attributes)))
            elif isinstance(body, Struct):
                out.append(Item(number, 280 if number == 2 and body.name == "tcp_info" else _length(body)))
            else:
                out.append(Item(number, 0 if body is None or body.kind is FLAG else 8))
        return tuple(out)

    return Layout(items(ATTRIBUTES), release)


def _length(table: Struct) -> int:
    return sum(member.kind.size for member in table.fields)


def test_every_column_of_the_table_comes_and_by_templates() -> None:
    """No column is unreachable: a message with everything fills all but the notes of damage and surplus.

    Its equals are read by a template, so that the properties above do test templates.
    """
    reached: set[str] = set()
    for release in ("6.18.0", "7.0.3"):
        plan = Plan(((full_layout((int(release[0]), int(release.split(".")[1]))), MANY),), release, seed=1)
        for order in ("<", ">"):
            chunk = plan.build(order).chunk()
            assert rows_by_template(chunk) == MANY
            reached |= Decoder().decode(chunk).columns.keys()
    missing = BY_NAME.keys() - reached - CONTEXT_NAMES
    assert {name for name in missing if not name.startswith("mptcpi_")} == {
        "tcp_info_surplus",
        "unknown_attributes",
        "damaged",
    }
