"""Where members lie and how their bytes become values, for both byte orders on any host."""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np
import pytest

from xtcp.schema.columns import COLUMNS
from xtcp.schema.inet_diag import INET_DIAG_MSG, INET_DIAG_SOCKOPT, SK_MEMINFO
from xtcp.schema.layout import Member, column_dtype, members, size_of
from xtcp.schema.model import Order, Struct
from xtcp.schema.mptcp_info import MPTCP_INFO
from xtcp.schema.tcp_info import TCP_BBR_INFO, TCP_INFO

ORDERS: tuple[Order, Order] = ("<", ">")
SCALED = 0xA7  # a byte whose two halves differ


def _member(of: Struct, column: str, order: Order, release: tuple[int, int] | None = None) -> Member:
    return next(member for member in members(of, order, release) if member.column == column)


def _read(member: Member, raw: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """The member's value in each of the structs that `raw` holds, as the decoder reads it."""
    return member.value(np.frombuffer(raw, member.wire, 1, member.offset))


@pytest.mark.parametrize("order", ORDERS)
def test_wire_dtypes_have_the_order_asked_for(order: Order) -> None:
    """A dtype is built for an order: u16, u32 and u64 alike, single bytes have none."""
    assert _member(TCP_INFO, "tcpi_rtt", order).wire == np.dtype(f"{order}u4")
    assert _member(TCP_INFO, "tcpi_delivery_rate", order).wire == np.dtype(f"{order}u8")
    assert _member(TCP_INFO, "tcpi_total_rto", order).wire == np.dtype(f"{order}u2")
    assert _member(TCP_INFO, "tcpi_state", order).wire == np.dtype("u1")
    assert _member(TCP_INFO, "tcpi_ecn_mode", order, (7, 0)).wire == np.dtype(f"{order}u4")


def test_offsets_are_the_same_in_both_orders() -> None:
    """Byte order moves bits inside a holder, never a member."""
    for of in (INET_DIAG_MSG, TCP_INFO, MPTCP_INFO, SK_MEMINFO, INET_DIAG_SOCKOPT):
        little, big = (members(of, order, (7, 0)) for order in ORDERS)
        assert [(m.column, m.offset, m.end) for m in little] == [(m.column, m.offset, m.end) for m in big]


@pytest.mark.parametrize(
    ("of", "column", "offset"),
    [
        (INET_DIAG_MSG, "idiag_sport", 4),
        (INET_DIAG_MSG, "idiag_src", 8),
        (INET_DIAG_MSG, "idiag_cookie", 44),
        (INET_DIAG_MSG, "idiag_inode", 68),
        (TCP_INFO, "tcpi_rto", 8),
        (TCP_INFO, "tcpi_pacing_rate", 104),
        (TCP_INFO, "tcpi_total_rto_recoveries", 242),
        (TCP_INFO, "tcpi_received_ce_bytes", 272),
        (MPTCP_INFO, "mptcpi_flags", 8),
        (MPTCP_INFO, "mptcpi_write_seq", 16),
        (MPTCP_INFO, "mptcpi_retransmits", 44),
        (MPTCP_INFO, "mptcpi_last_data_sent", 84),
    ],
)
def test_offsets_skip_the_padding_of_the_c_abi(of: Struct, column: str, offset: int) -> None:
    """A member lies at a multiple of its alignment; some of the holes before one are seen here."""
    assert _member(of, column, "<").offset == offset


@pytest.mark.parametrize("order", ORDERS)
def test_members_do_not_overlap_and_stay_inside(order: Order) -> None:
    """Apart from bit fields that share a holder, each member begins where the one before it has ended, or later."""
    for of in (INET_DIAG_MSG, TCP_INFO, MPTCP_INFO, SK_MEMINFO, TCP_BBR_INFO):
        spans = sorted({(m.offset, m.end) for m in members(of, order, (7, 0))})
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
        assert spans[-1][1] == size_of(of, (7, 0))


@pytest.mark.parametrize(
    ("column", "order", "shift", "value"),
    [
        ("tcpi_snd_wscale", "<", 0, 0x7),
        ("tcpi_rcv_wscale", "<", 4, 0xA),
        ("tcpi_snd_wscale", ">", 4, 0xA),
        ("tcpi_rcv_wscale", ">", 0, 0x7),
    ],
)
def test_window_scales_change_places_with_the_byte_order(column: str, order: Order, shift: int, value: int) -> None:
    """snd_wscale, declared first, is the low half of its byte on a little-endian host, the high half on a big one."""
    member = _member(TCP_INFO, column, order)
    assert (member.offset, member.shift, member.mask) == (6, shift, 0xF)
    assert _read(member, bytes([0] * 6 + [SCALED, 0])).tolist() == [value]


@pytest.mark.parametrize(
    ("column", "order", "byte"),
    [
        ("tcpi_delivery_rate_app_limited", "<", 0b0000_0001),
        ("tcpi_fastopen_client_fail", "<", 0b0000_0110),
        ("tcpi_delivery_rate_app_limited", ">", 0b1000_0000),
        ("tcpi_fastopen_client_fail", ">", 0b0110_0000),
    ],
)
def test_bits_beside_unused_ones(column: str, order: Order, byte: int) -> None:
    """A big-endian host fills a byte from its top: the unused bits are then the low ones."""
    member = _member(TCP_INFO, column, order)
    assert member.mask is not None and member.mask << member.shift == byte
    assert _read(member, bytes([0] * 7 + [byte])).tolist() == [member.mask]
    assert _read(member, bytes([0] * 7 + [0xFF ^ byte])).tolist() == [0]


@pytest.mark.parametrize("order", ORDERS)
def test_sockopt_bits(order: Order) -> None:
    """The eleven options of two bytes: each bit is one column and no two share one."""
    found = members(INET_DIAG_SOCKOPT, order, None)
    places = {(m.offset, m.shift) for m in found}
    assert len(found) == len(places) == 11 and all(m.mask == 1 for m in found)
    first = _member(INET_DIAG_SOCKOPT, "sockopt_recverr", order)
    ninth = _member(INET_DIAG_SOCKOPT, "sockopt_bind_address_no_port", order)
    top = 0 if order == "<" else 7
    assert [(first.offset, first.shift), (ninth.offset, ninth.shift)] == [(0, top), (1, top)]


@pytest.mark.parametrize("order", ORDERS)
def test_the_tail_of_7_0_as_its_host_writes_it(order: Order) -> None:
    """A word of four bit fields, filled in C's order of declaration from the host's low or top bit, is taken apart."""
    values = {"tcpi_ecn_mode": 2, "tcpi_accecn_opt_seen": 1, "tcpi_accecn_fail_mode": 9, "tcpi_options2": 0xABCDE5}
    widths = {"tcpi_ecn_mode": 2, "tcpi_accecn_opt_seen": 2, "tcpi_accecn_fail_mode": 4, "tcpi_options2": 24}
    declared = list(widths) if order == ">" else list(reversed(widths))
    word = 0
    for name in declared:
        word = word << widths[name] | values[name]
    raw = bytes(276) + struct.pack(f"{order}I", word)
    assert {name: int(_read(_member(TCP_INFO, name, order, (7, 0)), raw)[0]) for name in values} == values


@pytest.mark.parametrize("order", ORDERS)
def test_the_tail_of_6_18(order: Order) -> None:
    """The same four bytes as two u16, in the host's order."""
    raw = bytes(276) + struct.pack(f"{order}HH", 9, 1)
    assert _read(_member(TCP_INFO, "tcpi_accecn_fail_mode", order, (6, 18)), raw).tolist() == [9]
    assert _read(_member(TCP_INFO, "tcpi_accecn_opt_seen", order, (6, 19)), raw).tolist() == [1]


@pytest.mark.parametrize("order", ORDERS)
def test_ports_and_addresses_are_network_order_on_every_host(order: Order) -> None:
    """Ports are big-endian and addresses bytes, whatever the host's order; the members around them follow it."""
    address = bytes(range(16))
    raw = struct.pack(f"{order}4B", 10, 1, 0, 0) + struct.pack(">2H", 443, 51820) + address + bytes(16)
    raw += struct.pack(f"{order}I", 7)
    assert _read(_member(INET_DIAG_MSG, "idiag_sport", order), raw).tolist() == [443]
    assert _read(_member(INET_DIAG_MSG, "idiag_dport", order), raw).tolist() == [51820]
    assert _read(_member(INET_DIAG_MSG, "idiag_src", order), raw).tobytes() == address
    assert _read(_member(INET_DIAG_MSG, "idiag_if", order), raw).tolist() == [7]


@pytest.mark.parametrize("order", ORDERS)
def test_two_words_low_first_become_one_number(order: Order) -> None:
    """A cookie and BBR's bandwidth are two u32, low word first, on a big-endian host as well."""
    words = struct.pack(f"{order}2I", 0x89ABCDEF, 0x01234567)
    cookie, bandwidth = _member(INET_DIAG_MSG, "idiag_cookie", order), _member(TCP_BBR_INFO, "bbr_bw", order)
    assert cookie.swap is bandwidth.swap is (order == ">")
    assert _read(cookie, bytes(44) + words).tolist() == [0x0123456789ABCDEF]
    assert _read(bandwidth, words).tolist() == [0x0123456789ABCDEF]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(0,), (1,), (5,), (2, 3)])
def test_values_of_arrays_keep_their_shape(order: Order, shape: tuple[int, ...]) -> None:
    """`value` works on arrays of any shape, none included, and keeps the width of the holder."""
    count = int(np.prod(shape))
    holders = np.arange(count, dtype="u1").reshape(shape) * 17
    member = _member(TCP_INFO, "tcpi_snd_wscale", order)
    low, high = holders & 15, holders >> 4
    cut = member.value(holders)
    assert cut.shape == shape and cut.dtype == np.dtype("u1")
    assert np.array_equal(cut, low if order == "<" else high)


def test_a_plain_value_is_not_copied() -> None:
    """Where nothing is to be cut or swapped, the array that was read is the value."""
    read = np.arange(3, dtype=">u4")
    assert _member(TCP_INFO, "tcpi_rtt", ">").value(read) is read


def test_bits_of_a_wide_holder_keep_their_dtype() -> None:
    """The 24 bits of options2 are cut without overflow, from u32 in either order."""
    for order in ORDERS:
        member = _member(TCP_INFO, "tcpi_options2", order, (7, 0))
        full = np.full(4, 0xFFFFFFFF, member.wire)
        assert member.value(full).tolist() == [0xFFFFFF] * 4


def test_column_dtypes_are_native_and_every_column_has_one() -> None:
    """A batch is native order on every host: no column's dtype names another."""
    for column in COLUMNS:
        assert column_dtype(column.name).isnative
    assert column_dtype("idiag_cookie") == np.dtype("u8")
    assert column_dtype("idiag_src") == np.dtype(("u1", (16,)))
    assert column_dtype("cong") == np.dtype("S16")
    assert column_dtype("unknown_attributes") == np.dtype(object)
