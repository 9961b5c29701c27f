"""Which members of a struct are present is a question of the received length alone, for every length."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dumps import Plan
from tests.encoder import Item, Layout, Row, Writer, encode, message, struct_columns, values
from tests.equality import assert_all_agree
from tests.strategies import UNKNOWN_NUMBERS, items, orders, seeds
from xtcp.chunk import Chunk, Context
from xtcp.schema.inet_diag import ATTRIBUTES, IPPROTO_MPTCP
from xtcp.schema.model import Attribute, Nest, Order, Struct
from xtcp.schema.tcp_info import TCP_INFO

# offsetof + sizeof of members of struct tcp_info, counted by hand from include/uapi/linux/tcp.h: what must be present
# at a length and absent one byte below it. The table is not asked.
ENDS = {
    "tcpi_state": 1,
    "tcpi_options": 6,
    "tcpi_snd_wscale": 7,
    "tcpi_rcv_wscale": 7,
    "tcpi_delivery_rate_app_limited": 8,
    "tcpi_fastopen_client_fail": 8,
    "tcpi_rto": 12,
    "tcpi_unacked": 28,
    "tcpi_pmtu": 64,
    "tcpi_rtt": 72,
    "tcpi_total_retrans": 104,
    "tcpi_pacing_rate": 112,
    "tcpi_bytes_received": 136,
    "tcpi_min_rtt": 152,
    "tcpi_delivery_rate": 168,
    "tcpi_sndbuf_limited": 192,
    "tcpi_delivered_ce": 200,
    "tcpi_bytes_retrans": 216,
    "tcpi_reord_seen": 224,
    "tcpi_snd_wnd": 232,
    "tcpi_rehash": 240,
    "tcpi_total_rto": 242,
    "tcpi_total_rto_recoveries": 244,
    "tcpi_total_rto_time": 248,
    "tcpi_received_ce": 252,
    "tcpi_received_ce_bytes": 276,
}
U16_TAIL = {"tcpi_accecn_fail_mode": 278, "tcpi_accecn_opt_seen": 280}
U32_TAIL = dict.fromkeys(("tcpi_ecn_mode", "tcpi_accecn_opt_seen", "tcpi_accecn_fail_mode", "tcpi_options2"), 280)


def one_row(layout: Layout, order: Order) -> tuple[Row, Row]:
    """A row of `layout` as it was encoded, and as all three decoders read it."""
    payload, row = encode(values(layout, Random(7)), layout, Writer(order))
    context = Context(order=order, protocol=layout.protocol)
    (decoded,) = assert_all_agree(Chunk.of(message(order, payload), context=context), md5_keys=True)
    return row, decoded


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("release", "kernel", "tail"),
    [
        ("", None, {}),
        ("6.17.0", (6, 17), {}),
        ("6.18.0", (6, 18), U16_TAIL),
        ("6.19.9", (6, 19), U16_TAIL),
        ("7.0.3", (7, 0), U32_TAIL),
    ],
)
def test_every_length_of_tcp_info(
    order: Order, release: str, kernel: tuple[int, int] | None, tail: dict[str, int]
) -> None:
    """0 to 288 bytes: a member is present exactly when its end lies inside; the tail is the release's."""
    ends = {**ENDS, **tail}
    known = 280 if tail else 276
    every = {column.name for column in struct_columns(TCP_INFO, kernel, 280)}
    assert ends.keys() <= every
    messages, rows = [], []
    for length in range(289):
        layout = Layout((Item(2, length),), kernel)
        payload, row = encode(values(layout, Random(length)), layout, Writer(order))
        messages.append(message(order, payload))
        rows.append(row)
    chunk = Chunk.of(*messages, context=Context(order=order, release=release))
    assert assert_all_agree(chunk) == rows
    for length, decoded in enumerate(rows):
        assert {name for name in ends if name in decoded} == {name for name, end in ends.items() if end <= length}
        assert decoded["tcp_info_len"] == length
        assert len(bytes(decoded.get("tcp_info_surplus", b""))) == max(0, length - known)


def structs(table: tuple[Attribute, ...], path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Struct]]:
    """Every struct of the table with the path of attributes it stands at."""
    for attribute in table:
        if isinstance(attribute.body, Struct):
            yield (*path, attribute.number), attribute.body
        elif isinstance(attribute.body, Nest):
            yield from structs(attribute.body.attributes, (*path, attribute.number))


@pytest.mark.parametrize(
    ("path", "table"), list(structs(ATTRIBUTES)), ids=lambda v: v.name if isinstance(v, Struct) else ""
)
def test_each_struct_one_less_and_one_more(path: tuple[int, ...], table: Struct) -> None:
    """At n - 1 its last member is absent, at n all are there, at n + 1 and n + 8 the surplus is kept and counted."""
    size = sum(member.kind.size for member in table.fields)
    protocols = (6, IPPROTO_MPTCP) if path == (2,) else (6,)
    for order in ("<", ">"):
        for protocol in protocols:
            for length in (0, size - 1, size, size + 1, size + 8):
                item = Item(path[-1], length)
                for number in reversed(path[:-1]):
                    item = Item(number, 0, (item,))
                row, decoded = one_row(Layout((item,), None, protocol), order)
                assert decoded == row
                if path != (2,):
                    assert ("unknown_attributes" in decoded) == (length > size)
                    last = [column.name for column in struct_columns(table, None, size)][-1]
                    assert (last in decoded) == (length >= size)


@given(chosen=items(), order=orders, seed=seeds, unknown=st.sampled_from(UNKNOWN_NUMBERS[1:]))
def test_order_of_attributes_does_not_matter(chosen: tuple[Item, ...], order: Order, seed: int, unknown: int) -> None:
    """Any permutation, with unknown attributes in between, gives the same columns."""
    random = Random(seed)
    known = [item for item in chosen if item.number not in UNKNOWN_NUMBERS]
    shuffled = [*known]
    random.shuffle(shuffled)
    mixed = [*shuffled]
    mixed.insert(random.randint(0, len(mixed)), Item(unknown, random.randint(0, 9)))
    drawn = values(Layout(tuple(known)), Random(seed))
    decoded = []
    for order_of_items in (known, shuffled, mixed):
        payload, _ = encode(drawn, Layout(tuple(order_of_items)), Writer(order))
        (row,) = assert_all_agree(Chunk.of(message(order, payload), context=Context(order=order)), md5_keys=True)
        row.pop("unknown_attributes", None)
        decoded.append(row)
    assert decoded[0] == decoded[1]
    bit = 1 << unknown if unknown < 64 else 0
    assert decoded[2] == {**decoded[0], "attributes": int(decoded[0]["attributes"]) | bit}


def test_templates_read_every_length_too() -> None:
    """What is true of one row is true of a group large enough for a template."""
    for length in (0, 3, 104, 231, 232, 280, 281, 400):
        plan = Plan(((Layout((Item(2, length), Item(7, 32)), (7, 0)), 64),), "7.0", seed=length)
        for order in ("<", ">"):
            dump = plan.build(order)
            assert assert_all_agree(dump.chunk()) == list(dump.rows)
