"""What becomes of single members and attributes, message by message, in both byte orders."""

from __future__ import annotations

import struct

import pytest

from tests.encoder import attribute, message
from tests.replay.made import done, request, row
from tests.rewriting.scrubbing import NAMES, capture, packets_of, scrubbed, told_of
from xtcp.schema import inet_diag, mptcp_info, requests, tcp_info
from xtcp.schema.model import ADDRESS, BE16, PAIR64, Nest, Order, Struct
from xtcp_replay.reading.told import Told
from xtcp_replay.rewriting.pseudonyms import Pseudonyms
from xtcp_replay.rewriting.scrub_datagram import DatagramScrub, Report

ORDERS: tuple[Order, ...] = ("<", ">")
orders = pytest.mark.parametrize("order", ORDERS)
SOURCE, PEER = bytes((203, 0, 113, 7)), bytes((198, 51, 100, 9))


def sockid(order: Order, sport: int = 443, dport: int = 51234, interface: int = 4, cookie: int = 77) -> bytes:
    """`struct inet_diag_sockid` of an IPv4 connection."""
    ports = struct.pack(">HH", sport, dport)
    return ports + SOURCE + bytes(12) + PEER + bytes(12) + struct.pack(order + "III", interface, cookie, cookie >> 32)


def a_row(order: Order, attributes: bytes = b"", flags: int = 2) -> bytes:
    """A row with those attributes."""
    fixed = bytes((2, 1, 0, 0)) + sockid(order) + struct.pack(order + "IIIII", 9, 8, 7, 1000, 4242)
    return message(order, fixed + attributes, 20, flags, 5, 4711)


def clean_payload(netlink: bytes, *, keep_unknown: bool = False) -> bytes:
    """The message's payload in the copy, from inet_diag_msg on, without the padding of the packet."""
    return packets_of(scrubbed(capture(netlink), keep_unknown=keep_unknown))[0][16:]


@orders
def test_every_member_of_the_fixed_part(order: Order) -> None:
    """Mapped are ports of clients, addresses, interface, cookie, uid, inode and the netlink port id, nothing else."""
    clean = packets_of(scrubbed(capture(a_row(order))))[0]
    assert clean[:12] == a_row(order)[:12]
    assert struct.unpack_from(order + "I", clean, 12) == (NAMES.netlink_port(4711),)
    body = clean[16:]
    assert body[:4] == bytes((2, 1, 0, 0))
    assert struct.unpack_from(">HH", body, 4) == (443, NAMES.port(51234))
    assert body[8:40] == NAMES.v4(SOURCE) + bytes(12) + NAMES.v4(PEER) + bytes(12)
    low, high = struct.unpack_from(order + "II", body, 44)
    assert (struct.unpack_from(order + "I", body, 40)[0], low | high << 32) == (NAMES.interface(4), NAMES.cookie(77))
    assert struct.unpack_from(order + "IIIII", body, 52) == (9, 8, 7, NAMES.uid(1000), NAMES.inode(4242))


@orders
def test_a_request_and_its_filter(order: Order) -> None:
    """Ports, addresses, cgroup and interface in the bytecode of a request have the names they have in rows."""
    op = struct.Struct(order + "BBH").pack
    filters = op(2, 8, 12) + op(0, 0, 51234)  # sport ≥
    filters += op(12, 8, 12) + op(0, 0, 443)  # dport =
    filters += op(7, 16, 20) + struct.pack(order + "BBxxi", 2, 24, 51234) + SOURCE
    filters += op(8, 28, 32) + struct.pack(order + "BBxxi", 10, 64, -1) + bytes.fromhex("20010db8") + bytes(12)
    filters += op(9, 8, 12) + struct.pack(order + "I", 4)
    filters += op(10, 12, 16) + struct.pack(order + "II", 0xAB, 0xFF)
    filters += op(13, 12, 16) + struct.pack(order + "Q", 4321)
    filters += op(1, 4, 8) + op(0, 4, 4)
    body = struct.pack(order + "BBBBI", 2, 6, 0xFF, 0, 0xFFF) + sockid(order) + attribute(order, 1, filters)
    clean = clean_payload(message(order, body, 20, 0x301, 5, 0))
    assert len(clean) == len(body)
    assert clean[:8] == body[:8]
    assert clean[12:16] == NAMES.v4(SOURCE)
    assert clean[56:60] == body[56:60]
    expected = op(2, 8, 12) + op(0, 0, NAMES.port(51234)) + op(12, 8, 12) + op(0, 0, 443)
    expected += op(7, 16, 20) + struct.pack(order + "BBxxi", 2, 24, NAMES.port(51234)) + NAMES.v4(SOURCE)
    expected += op(8, 28, 32) + struct.pack(order + "BBxxi", 10, 64, -1)
    expected += NAMES.v6(bytes.fromhex("20010db8") + bytes(12))
    expected += op(9, 8, 12) + struct.pack(order + "I", NAMES.interface(4))
    expected += op(10, 12, 16) + struct.pack(order + "II", 0xAB, 0xFF)
    expected += op(13, 12, 16) + struct.pack(order + "Q", NAMES.cgroup_id(4321))
    expected += op(1, 4, 8) + op(0, 4, 4)
    assert clean[60:] == expected


@orders
def test_the_request_of_all_sockets_stays(order: Order) -> None:
    """A dump request without a filter, of either form, is byte for byte what it was."""
    old = message(order, bytes((0, 0, 0, 255)) + bytes(48) + struct.pack(order + "II", 0xFFF, 0), 18, 0x301, 5, 0)
    content = capture(request(order=order), old)
    assert scrubbed(content) == content


@orders
def test_an_error_echoes_its_request(order: Order) -> None:
    """The request in a refusal has the same names."""
    asked = message(order, struct.pack(order + "BBBBI", 2, 6, 0, 0, 1) + sockid(order), 20, 1, 5, 0)
    refusal = message(order, struct.pack(order + "i", -2) + asked, 2, 0, 5, 4711)
    clean = packets_of(scrubbed(capture(asked, refusal)))
    assert clean[1][20:] == clean[0]
    assert clean[1][16:20] == struct.pack(order + "i", -2)


@orders
def test_md5_keys(order: Order) -> None:
    """Addresses are mapped by their family, prefix and key lengths stay, keys are zeros."""
    keys = struct.pack(order + "BBH", 2, 24, 6) + SOURCE + bytes(12) + b"secret".ljust(80, b"\0")
    v6 = bytes.fromhex("20010db8") + bytes(11) + b"\1"
    keys += struct.pack(order + "BBH", 10, 128, 80) + v6 + b"k" * 80
    expected = struct.pack(order + "BBH", 2, 24, 6) + NAMES.v4(SOURCE) + bytes(12) + bytes(80)
    expected += struct.pack(order + "BBH", 10, 128, 80) + NAMES.v6(v6) + bytes(80)
    assert clean_payload(a_row(order, attribute(order, 18, keys)))[72:] == attribute(order, 18, expected)
    cut = a_row(order, attribute(order, 18, keys[:60]))
    assert b"secret" not in clean_payload(cut, keep_unknown=True)


@orders
def test_cgroup_and_mptcp_tokens(order: Order) -> None:
    """One map for all three columns of tokens; a tcp_info has none, an mptcp_info has, by what was asked for."""
    subflow = attribute(order, 1, struct.pack(order + "I", 99)) + attribute(order, 2, struct.pack(order + "I", 98))
    attributes = attribute(order, 21, struct.pack(order + "Q", 4321)) + attribute(
        order, 19, attribute(order, 3, subflow)
    )
    info = attribute(order, 2, struct.pack(order + "8xII", 1, 98) + bytes(88))
    clean = clean_payload(a_row(order, info + attributes))[72:]
    tokens = attribute(order, 1, struct.pack(order + "I", NAMES.token(99)))
    tokens += attribute(order, 2, struct.pack(order + "I", NAMES.token(98)))
    expected = attribute(order, 21, struct.pack(order + "Q", NAMES.cgroup_id(4321)))
    expected += attribute(order, 19, attribute(order, 3, tokens))
    assert clean == info + expected
    asked = request(order=order, seq=5, attributes=struct.pack(order + "HHI", 8, 3, 262))
    clean = packets_of(scrubbed(capture(asked, a_row(order, info))))[1][88:]
    assert clean == attribute(order, 2, struct.pack(order + "8xII", 1, NAMES.token(98)) + bytes(88))


@orders
def test_what_is_not_understood_is_zeroed_or_kept(order: Order) -> None:
    """Payloads of unknown attributes, surplus, blobs and odd texts; headers and lengths stay."""
    unknown = attribute(order, 63, b"unknown!") + attribute(order, 7, bytes(36) + b"more")
    blobs = attribute(order, 20, b"storage.") + attribute(order, 12, b"sockaddr")
    texts = attribute(order, 4, b"cubic\0") + attribute(order, 4, b"10.1.2.3\0")
    clean, report, _ = told_of(capture(a_row(order, unknown + blobs + texts)))
    expected = attribute(order, 63, bytes(8)) + attribute(order, 7, bytes(40))
    expected += attribute(order, 20, bytes(8)) + attribute(order, 12, bytes(8))
    assert packets_of(clean)[0][88:] == expected + attribute(order, 4, b"cubic\0") + attribute(order, 4, bytes(9))
    assert sum(report.zeroed.values()) == 5
    assert clean_payload(a_row(order, unknown + blobs), keep_unknown=True)[72:] == unknown + expected[len(unknown) :]


@orders
def test_the_end_of_tcp_info_needs_no_release(order: Order) -> None:
    """Without a kernel release the last four bytes stay, for whoever knows it; members that are cut do not."""
    info = attribute(order, 2, bytes(range(1, 251)) + bytes(range(1, 41)))
    clean = clean_payload(a_row(order, info))[72:]
    assert clean == info[: 4 + 280] + bytes(len(info) - 284)
    assert clean == packets_of(scrubbed(capture(a_row(order, info)), told=Told(release="6.18.1")))[0][88:]
    assert clean_payload(a_row(order, attribute(order, 2, b"\1" * 11)))[72 + 4 :] == b"\1" * 8 + bytes(4)


@orders
def test_sockets_of_other_families(order: Order) -> None:
    """Of a UNIX socket's messages stay the type and the family; requests keep the protocol too."""
    asked = message(order, bytes((1, 5)) + b"\2\3" + b"/run/secret.sock", 20, 0x301, 5, 0)
    told = message(order, bytes((1, 5)) + b"\2\3" + b"/run/secret.sock", 20, 2, 5, 4711)
    clean = packets_of(scrubbed(capture(asked, told, done(order=order, seq=5))))
    assert clean[0][16:] == bytes((1, 5)) + bytes(18)
    assert clean[1][16:] == bytes((1,)) + bytes(19)


@orders
def test_a_damaged_message_is_emptied(order: Order) -> None:
    """Its header and family stay, so that the copy breaks at the same place; whole ones beside it stay."""
    broken = a_row(order, struct.pack(order + "HH", 400, 4) + SOURCE)
    clean = packets_of(scrubbed(capture(a_row(order) + broken + a_row(order))))[0]
    whole = packets_of(scrubbed(capture(a_row(order))))[0]
    assert clean[:88] == clean[184:] == whole
    assert clean[104:184] == bytes((2,)) + bytes(79)


@orders
def test_a_message_before_damage_is_not_trusted(order: Order) -> None:
    """Bytes lost in one make the next one unreadable; where the capture was cut, nothing was moved."""
    clean = packets_of(scrubbed(capture(a_row(order) + a_row(order) + b"\xff" * 30)))[0]
    assert clean[88 + 16 :] == bytes((2,)) + bytes(71 + 30)
    assert clean[:88] == packets_of(scrubbed(capture(a_row(order))))[0]
    cut = capture(a_row(order) + a_row(order)[:50], wirelen=[500])
    assert packets_of(scrubbed(cut))[0][:88] == clean[:88]
    assert packets_of(scrubbed(cut))[0][104:] == bytes((2,)) + bytes(33)


@orders
def test_a_number_in_a_damaged_header_may_be_an_address(order: Order) -> None:
    """Sequence number and port id of an emptied message stay only where a whole one had the same before it."""
    broken = a_row(order, b"\1" * 4)
    header = struct.Struct(order + "IHHII").unpack_from
    alone = packets_of(scrubbed(capture(broken)))[0]
    behind = packets_of(scrubbed(capture(a_row(order) + broken)))[0]
    assert header(alone)[:3] == header(broken)[:3]
    assert header(alone)[3:] == (0, 0)
    assert header(behind, 88)[3:] == (5, NAMES.netlink_port(4711))


@orders
def test_bytes_that_should_be_zero(order: Order) -> None:
    """Behind an IPv4 address, in the unused part of a packet's header, padding and reserved bytes: zeroed if not."""
    dirty = bytearray(a_row(order, struct.pack(order + "HH", 5, 8) + b"\3\1\1\1"))
    dirty[28] = dirty[55] = 1
    content = bytearray(capture(bytes(dirty)))
    content[24 + 16 + 7] = 1
    clean, report, _ = told_of(bytes(content))
    expected = scrubbed(capture(a_row(order, attribute(order, 8, b"\3"))))
    assert clean == expected
    assert report.zeroed == {
        "bytes behind IPv4 addresses": 2, "padding that was not zero": 1, "unused bytes of packet headers": 1
    }  # fmt: skip


def test_every_address_port_and_cookie_of_the_schema_is_mapped() -> None:
    """A struct that comes new into the table with one of these is seen here."""
    mapped = DatagramScrub(Pseudonyms(bytes(32)), Report(), "<")._by_name
    found = set()
    for module in (inet_diag, tcp_info, mptcp_info, requests):
        tables = [value for value in vars(module).values() if isinstance(value, Struct)]
        for attribute_ in (*inet_diag.ATTRIBUTES, *requests.REQUEST_ATTRIBUTES):
            tables += _structs(attribute_.body)
        found |= {field.name for table in tables for field in table.fields if field.kind in {ADDRESS, BE16, PAIR64}}
    assert {"idiag_src", "idiag_dst", "idiag_sport", "idiag_dport", "idiag_cookie", "tcpm_addr"} == found - {"bbr_bw"}
    assert found - {"bbr_bw"} <= mapped.keys()
    columns = {c.name for t in (inet_diag.INET_DIAG_MSG, mptcp_info.MPTCP_INFO) for c in t.fields}
    columns |= {c.name for a in inet_diag.ATTRIBUTES for t in _structs(a.body) for c in t.fields}
    names = ("uid", "inode", "token", "cgroup", "_if", "cookie", "addr_", "port", "pid")
    local = {
        c for c in columns if any(name in c for name in names) and not c.startswith(("mptcpi_add", "mptcpi_local"))
    }
    assert local <= mapped.keys() | {"idiag_src", "idiag_dst"}


def _structs(body: object) -> list[Struct]:
    if isinstance(body, Nest):
        return [table for attribute_ in body.attributes for table in _structs(attribute_.body)]
    return [body] if isinstance(body, Struct) else []


def test_rows_of_the_same_socket_stay_the_same_socket() -> None:
    """The copy of a copy under the same key has other names: nothing is left as it was by chance."""
    content = capture(row(0x1234567890), a_row("<"))
    once = scrubbed(content)
    assert scrubbed(content) == once
    assert scrubbed(once) != once
