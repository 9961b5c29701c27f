"""Rows 18 to 33 of the fault list: what attributes can do wrong, and what a row must then be."""

from __future__ import annotations

import socket
import struct
from random import Random

import pytest

from tests.dumps import MANY, Plan, soup
from tests.encoder import (
    NLA_F_NESTED,
    NLA_F_NET_BYTEORDER,
    Item,
    Layout,
    Row,
    Writer,
    attribute,
    encode,
    message,
    values,
)
from tests.equality import assert_all_agree, rows_by_template
from tests.patience import fewer
from xtcp.batch import Tally
from xtcp.chunk import Chunk, Context
from xtcp.decode.decoder import Decoder
from xtcp.schema.columns import BY_NAME
from xtcp.schema.model import Order
from xtcp.schema.names import CA_STATES, FAMILIES, STATES, TIMERS, name_of

FIXED = bytes(72)


def read(order: Order, *attributes: bytes, release: str = "", fixed: bytes = FIXED) -> Row:
    """The one row of a message with these attributes; all decoders agree on it, alone and repeated."""
    row, _ = read_with_tally(order, *attributes, release=release, fixed=fixed)
    return row


def read_with_tally(order: Order, *attributes: bytes, release: str = "", fixed: bytes = FIXED) -> tuple[Row, Tally]:
    """The same with the tally of the message alone."""
    one = message(order, fixed + b"".join(attributes))
    context = Context(order=order, release=release)
    many = assert_all_agree(Chunk.of(one * MANY, context=context))
    alone = Chunk.of(one, context=context)
    assert many == assert_all_agree(alone) * MANY
    return many[0], Decoder().decode(alone).tally


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_18_unknown_attribute(order: Order) -> None:
    """An attribute number of a newer kernel: the row is otherwise equal, the number counted, the bytes kept."""
    known = attribute(order, 15, struct.pack(order + "I", 7)), attribute(order, 4, b"bbr\0")
    plain = read(order, *known)
    for number in (*range(23, 201, 11), 63, 64, 200):
        strange = attribute(order, number, bytes(number % 7))
        row, tally = read_with_tally(order, known[0], strange, known[1])
        assert row.pop("unknown_attributes") == strange[: 4 + number % 7]
        assert row.pop("attributes") == int(plain["attributes"]) | (1 << number if number < 64 else 0)
        assert row == {name: cell for name, cell in plain.items() if name != "attributes"}
        assert tally.unknown == {str(number): 1}


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_19_tcp_info_longer_than_known(order: Order) -> None:
    """280 bytes are read as ever, what is beyond is kept, the received length is a column and counted."""
    info = Random(19).randbytes(400)
    whole = read(order, attribute(order, 2, info[:280]), release="7.0")
    for length in (281, 284, 288, 400):
        row, tally = read_with_tally(order, attribute(order, 2, info[:length]), release="7.0")
        assert row.pop("tcp_info_surplus") == info[280:length]
        assert row == {**whole, "tcp_info_len": length}
        assert tally.surplus == {("2", length): 1}
        assert tally.info_lengths == {length: 1}


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_20_tcp_info_shorter(order: Order) -> None:
    """Members beyond the end, and one that the end cuts, are absent, not 0."""
    info = b"\xff" * 280
    for length, present, absent in (
        (0, [], ["tcpi_state"]),
        (3, ["tcpi_state", "tcpi_retransmits"], ["tcpi_probes"]),
        (104, ["tcpi_total_retrans"], ["tcpi_pacing_rate"]),
        (111, ["tcpi_total_retrans"], ["tcpi_pacing_rate"]),
        (192, ["tcpi_sndbuf_limited"], ["tcpi_delivered"]),
        (224, ["tcpi_reord_seen"], ["tcpi_rcv_ooopack", "tcpi_snd_wnd"]),
        (241, ["tcpi_rehash"], ["tcpi_total_rto"]),
        (280, ["tcpi_received_ce_bytes"], ["tcpi_options2"]),
    ):
        row = read(order, attribute(order, 2, info[:length]), release="6.18")
        assert row["tcp_info_len"] == length
        assert set(present) <= row.keys()
        assert not set(absent) & row.keys()


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_21_length_not_a_multiple_of_four(order: Order) -> None:
    """Padding, whatever is in it, is stepped over and is no part of a value; the last may lack it."""
    for padding in (b"\0", b"\xff"):
        tos = attribute(order, 5, b"\x48", padding=padding)
        cong = attribute(order, 4, b"cubic\0", padding=padding)
        shutdown = attribute(order, 8, b"\x02", padding=padding)
        row = read(order, tos, cong, shutdown[:5])
        assert (row["tos"], row["cong"], row["shutdown"]) == (0x48, b"cubic", 2)
        assert "damaged" not in row


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_fault_22_attribute_shorter_than_its_header(order: Order, length: int) -> None:
    """The row is kept up to there and marked, the walk goes on at the next message."""
    assert_stops(order, struct.pack(order + "HH", length, 15))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("length", [9 + 8, 100, 0xFFFF])
def test_fault_23_attribute_past_the_end(order: Order, length: int) -> None:
    """Past its message, or past the chunk: the same. It is never clamped to what is left."""
    assert_stops(order, struct.pack(order + "HHI", length, 15, 0xDEAD))


def assert_stops(order: Order, broken: bytes) -> None:
    """Attributes before `broken` are read, those behind it are not, the message after it is whole."""
    before, behind = attribute(order, 5, b"\x10"), attribute(order, 8, b"\x01")
    row, tally = read_with_tally(order, before, broken, behind)
    assert row["tos"] == 0x10
    assert row["damaged"] == 1
    assert not {"mark", "shutdown", "unknown_attributes"} & row.keys()
    assert (tally.rows, tally.damaged, tally.quarantined) == (1, 1, 0)
    (fault,) = tally.faults
    assert (fault.offset, fault.length) == (88 + len(before), len(broken) + len(behind))
    whole = message(order, FIXED + before)
    rows = assert_all_agree(
        Chunk.of(message(order, FIXED + before + broken + behind) + whole, context=Context(order=order))
    )
    assert ["damaged" in row for row in rows] == [True, False]
    nested = attribute(order, 19 | NLA_F_NESTED, attribute(order, 1, b"tls\0") + broken)
    row, tally = read_with_tally(order, nested, behind)
    assert (row["ulp_name"], row["shutdown"], row["damaged"], tally.damaged) == (b"tls", 1, 1, 1)


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_24_message_length_out_of_range(order: Order) -> None:
    """nlmsg_len 0 to 15, past the datagram, 2^32 - 1: the datagram's rest is set aside, the next one is read."""
    good = message(order, FIXED)
    for length in (*range(16), 89, 2**31, 2**32 - 1):
        bad = struct.pack(order + "I", length) + good[4:]
        chunk = Chunk.of(good + bad, good, context=Context(order=order))
        assert len(assert_all_agree(chunk)) == 2
        tally = Decoder().decode(chunk).tally
        (fault,) = tally.faults
        assert (tally.quarantined, fault.offset, fault.length) == (1, 88, 88)


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_25_flags_of_the_type_and_deep_nests(order: Order) -> None:
    """NLA_F_NESTED and NLA_F_NET_BYTEORDER are no part of the number; ten thousand levels cost three."""
    mark = struct.pack(order + "I", 9)
    for flags in (0, NLA_F_NESTED, NLA_F_NET_BYTEORDER, NLA_F_NESTED | NLA_F_NET_BYTEORDER):
        row = read(order, attribute(order, 15 | flags, mark), attribute(order, 20 | flags, b"storages"))
        assert (row["mark"], row["bpf_storages"], row["attributes"]) == (9, b"storages", 1 << 15 | 1 << 20)
    for number in (19, 3, 2, 20):
        deep = b""
        for _ in range(10_000):
            deep = attribute(order, number | NLA_F_NESTED, deep)
            if len(deep) > 60_000:
                break
        row, tally = read_with_tally(order, deep)
        assert row["attributes"] == 1 << number
        assert sum(tally.unknown.values()) == (number == 19)
    tls = attribute(order, 2, attribute(order, 1, struct.pack(order + "H", 0x304)) + attribute(order, 6))
    row = read(order, attribute(order, 19 | NLA_F_NESTED, attribute(order, 1, b"tls\0") + tls))
    assert (row["ulp_name"], row["ulp_tls_version"], row["ulp_tls_rx_no_pad"]) == (b"tls", 0x304, 1)


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_26_attribute_twice(order: Order) -> None:
    """The last one wins, the others are counted; of unknown ones all are kept."""
    marks = [attribute(order, 15, struct.pack(order + "I", n)) for n in (1, 2, 3)]
    strange = attribute(order, 99, b"abcd"), attribute(order, 99, b"efgh")
    row, tally = read_with_tally(order, marks[0], strange[0], marks[1], strange[1], marks[2])
    assert row["mark"] == 3
    assert row["unknown_attributes"] == b"".join(strange)
    assert (tally.repeated, tally.unknown) == (3, {"99": 2})
    names = attribute(order, 19, attribute(order, 1, b"tls\0")), attribute(order, 19, attribute(order, 1, b"mptcp\0"))
    row, tally = read_with_tally(order, *names)
    assert (row["ulp_name"], tally.repeated) == (b"mptcp", 1)


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_27_wrong_size_for_a_fixed_type(order: Order) -> None:
    """A value that is too short is absent, an array has the elements that came, a longer one is read and kept whole."""
    row, tally = read_with_tally(order, attribute(order, 15, b"\1\2"))
    assert "mark" not in row
    assert int(row["attributes"]) == 1 << 15
    assert not tally.damaged
    words = struct.pack(order + "11I", *range(100, 111))
    row = read(order, attribute(order, 7, words[:32]))
    assert row["skmem_backlog"] == 107
    assert "skmem_drops" not in row
    longer = attribute(order, 7, words)
    row, tally = read_with_tally(order, longer)
    assert row["skmem_drops"] == 108
    assert row["unknown_attributes"] == longer
    assert tally.surplus == {("7", 44): 1}


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_28_congestion_control_that_is_no_text(order: Order) -> None:
    """Without a NUL, empty, of 16 bytes, not UTF-8: bytes up to the first NUL or the 16th, never an exception."""
    for sent, name in (
        (b"", b""),
        (b"\0", b""),
        (b"bbr", b"bbr"),
        (b"bbr\0junk", b"bbr"),
        (b"sixteen_letters_", b"sixteen_letters_"),
        (b"\xff\xfe\0", b"\xff\xfe"),
        (b"a\0b\0", b"a"),
    ):
        row = read(order, attribute(order, 4, sent))
        assert row["cong"] == name
        assert isinstance(name.decode("utf-8", "replace"), str)
    longer = attribute(order, 4, b"more_than_sixteen_letters")
    row = read(order, longer)
    assert row["cong"] == b"more_than_sixtee"
    assert row["unknown_attributes"] == longer[: 4 + 25]


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_29_family_state_or_timer_that_do_not_exist(order: Order) -> None:
    """The row is kept with the number; its name is UNKNOWN(n)."""
    for family in (0, 7, 255):
        for state in (0, 14, 255):
            row = read(order, fixed=bytes((family, state, 9, 0)) + FIXED[4:])
            assert (row["idiag_family"], row["idiag_state"], row["idiag_timer"]) == (family, state, 9)
            assert name_of(STATES, state) == f"UNKNOWN({state})"
            assert name_of(FAMILIES, family) == f"UNKNOWN({family})"
    assert name_of(TIMERS, 9) == "UNKNOWN(9)"
    assert name_of(CA_STATES, 0) == "Open"
    assert name_of(TIMERS, 0) == "off"


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_30_addresses_of_every_kind(order: Order) -> None:
    """Addresses and ports are network order on every host: what inet_ntop writes of the column is the address."""
    for family, text, port in (
        (socket.AF_INET, "127.0.0.1", 0),
        (socket.AF_INET, "0.0.0.0", 80),
        (socket.AF_INET6, "::ffff:192.0.2.7", 443),
        (socket.AF_INET6, "fe80::1:2ff:fe03:4", 65535),
        (socket.AF_INET6, "::", 1),
        (socket.AF_INET6, "2001:db8::", 13000),
    ):
        raw = socket.inet_pton(family, text)
        fixed = (
            bytes((10 if len(raw) == 16 else 2, 1, 0, 0))
            + struct.pack("!HH", port, 4000)
            + raw.ljust(16, b"\0") * 2
            + struct.pack(order + "III", 3, 1, 2)
            + bytes(20)
        )
        row = read(order, fixed=fixed)
        for column in ("idiag_src", "idiag_dst"):
            cell = row[column]
            assert isinstance(cell, bytes)
            assert socket.inet_ntop(family, cell[: len(raw)]) == text
        assert (row["idiag_sport"], row["idiag_dport"], row["idiag_if"]) == (port, 4000, 3)
        assert row["idiag_cookie"] == 1 | 2 << 32


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_31_extreme_values_stay_unsigned(order: Order) -> None:
    """Counters about to wrap, cookies of all ones, values of 2^63 and more: as sent, never negative."""
    layout = Layout((Item(2, 280), Item(16, 20), Item(21, 8), Item(15, 4), Item(17, 4)), (7, 0))
    row = values(layout, Random(0))
    for name, cell in row.items():
        if name not in ("attributes", "tcp_info_len") and isinstance(cell, int):
            kind = BY_NAME[name].kind
            width = _width(name) or 8 * kind.size
            row[name] = 2**width - 1
    payload, expected = encode(row, layout, Writer(order))
    chunk = Chunk.of(message(order, payload) * MANY, context=Context(order=order, release="7.0"))
    assert rows_by_template(chunk) == MANY
    assert assert_all_agree(chunk) == [expected] * MANY
    for name in ("tcpi_bytes_acked", "idiag_cookie", "cgroup_id", "bbr_bw"):
        assert expected[name] == 2**64 - 1
        assert Decoder().decode(chunk).columns[name].tolist() == [2**64 - 1] * MANY


def _width(name: str) -> int | None:
    """Bits of a bit field."""
    return {
        "tcpi_snd_wscale": 4,
        "tcpi_rcv_wscale": 4,
        "tcpi_delivery_rate_app_limited": 1,
        "tcpi_fastopen_client_fail": 2,
        "tcpi_ecn_mode": 2,
        "tcpi_accecn_opt_seen": 2,
        "tcpi_accecn_fail_mode": 4,
        "tcpi_options2": 24,
    }.get(name)


def test_fault_32_host_order_and_network_order() -> None:
    """The same socket seen by a little-endian and by a big-endian host is the same row, written out by hand here."""
    rows = []
    for order, wscale, limited, sockopt in (("<", 0x97, 0b0000_0101, 0x05), (">", 0x79, 0b1100_0000, 0xA0)):
        fixed = (
            bytes((2, 1, 0, 0))
            + bytes.fromhex("1f90 c350")
            + bytes((10, 0, 0, 1)).ljust(16, b"\0")
            + bytes((10, 0, 0, 2)).ljust(16, b"\0")
            + struct.pack(order + "III", 0, 0x89ABCDEF, 0x01234567)
            + struct.pack(order + "IIIII", 0, 1, 2, 1000, 4711)
        )
        info = bytes((1, 0, 0, 0, 0, 7, wscale, limited)) + struct.pack(order + "I", 204000)
        rows.append(
            read(
                order,  # type: ignore[arg-type]
                attribute(order, 2, info),  # type: ignore[arg-type]
                attribute(order, 22, bytes((sockopt, 0))),  # type: ignore[arg-type]
                fixed=fixed,
            )
        )
    assert rows[0] == rows[1]
    expected = {
        "idiag_sport": 8080,
        "idiag_dport": 50000,
        "idiag_src": bytes((10, 0, 0, 1)).ljust(16, b"\0"),
        "idiag_cookie": 0x0123456789ABCDEF,
        "idiag_inode": 4711,
        "tcpi_snd_wscale": 7,
        "tcpi_rcv_wscale": 9,
        "tcpi_delivery_rate_app_limited": 1,
        "tcpi_fastopen_client_fail": 2,
        "tcpi_rto": 204000,
        "sockopt_recverr": 1,
        "sockopt_is_icsk": 0,
        "sockopt_freebind": 1,
    }
    assert {name: rows[0][name] for name in expected} == expected


@pytest.mark.parametrize("order", ["<", ">"])
def test_fault_33_vectorised_and_plain_decoder_agree(order: Order) -> None:
    """Row by row and count by count, on valid dumps and on headers with anything behind them (see also tests/fuzz)."""
    layouts = Layout((Item(2, 232), Item(4, 6), Item(200, 3))), Layout((Item(7, 36), Item(19, 0, (Item(1, 4),))))
    dump = Plan(tuple((layout, MANY) for layout in layouts), control=True, seed=33).build(order)
    assert rows_by_template(dump.chunk()) == 2 * MANY
    assert_all_agree(dump.chunk())
    random = Random(33)
    for _ in range(fewer(60)):
        assert_all_agree(Chunk.of(*soup(order, random), context=Context(order=order, release="6.18")))
