"""The byte order of a host is found from its messages alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.encoder import message
from tests.replay.made import done, request, row
from xtcp.netlink.byte_order import KNOWN_TYPES, detect
from xtcp.schema.model import Order

ORDERS: tuple[Order, ...] = ("<", ">")


def test_every_known_message_decides_alone() -> None:
    """One message of any type that sock_diag uses is enough, in either order."""
    for order in ORDERS:
        for kind in KNOWN_TYPES:
            assert detect(message(order, bytes(4), kind)) == order


def test_a_dump_decides() -> None:
    """Requests, rows and DONE of a host are read in its order."""
    for order in ORDERS:
        assert detect(request(order=order)) == order
        assert detect(row(1, order=order) + row(2, order=order) + done(order=order)) == order


def test_a_cut_message_decides_by_its_header() -> None:
    """The last message may reach beyond what is there, down to its 16-byte header; less than that says nothing."""
    for order in ORDERS:
        whole = row(1, order=order)
        assert all(detect(whole[:size]) == order for size in range(16, len(whole)))
        assert all(detect(whole[:size]) is None for size in range(16))


def test_garbage_behind_whole_messages_does_not_matter() -> None:
    """What the leading messages say stands, whatever follows them."""
    for order in ORDERS:
        assert detect(row(1, order=order) + b"\xff" * 64) == order


def test_no_message_gives_no_order() -> None:
    """Text, zeros, impossible lengths and unknown types give None."""
    for garbage in (b"", bytes(64), b"State Recv-Q Send-Q Local Address", b"\xff" * 64, message("<", b"", 77)):
        assert detect(garbage) is None


@given(st.binary(max_size=200))
def test_any_bytes_give_an_answer(data: bytes) -> None:
    """No input raises, and an order that is given is one in which the first header makes sense."""
    order = detect(data)
    if order is not None:
        name = "little" if order == "<" else "big"
        assert 16 <= int.from_bytes(data[:4], name) <= 1 << 20  # type: ignore[arg-type]
        assert int.from_bytes(data[4:6], name) in KNOWN_TYPES  # type: ignore[arg-type]
