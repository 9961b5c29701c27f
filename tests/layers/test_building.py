"""Messages built from layers: what is built is read back, in both orders, right and wrong."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from tests.equality import assert_all_agree
from tests.patience import fewer
from tests.strategies import orders, seeds
from xtcp.chunk import Chunk, Context
from xtcp.schema.inet_diag import ATTRIBUTES
from xtcp.schema.layout import size_of
from xtcp.schema.model import Attribute, Nest, Order
from xtcp.schema.requests import ERROR_ATTRIBUTES, REQUEST_ATTRIBUTES
from xtcp.schema.tcp_info import TCP_INFO

layers = import_module("xtcp_replay.layers")
fields = import_module("xtcp_replay.layers.fields")

RELEASES = (None, (5, 4), (6, 18), (7, 0))


def drawn(cls: Any, random: Random, **given: Any) -> Any:
    """A layer with a value in every field that is not given, lengths and padding left to be computed."""
    values = dict(given)
    for field in cls.fields_desc:
        name = field.name
        if name in given or name in ("nla_type", "code", "nlmsg_type", "nlmsg_flags"):
            continue
        if isinstance(field, fields.BitMember):
            values[name] = random.getrandbits(field.mask.bit_length())
        elif isinstance(field, fields.Pair):
            values[name] = random.getrandbits(64)
        elif isinstance(field, fields.Member) and not isinstance(field, fields.Computed):
            values[name] = random.getrandbits(8 * field.sz - field.fmt[-1].islower())
        elif isinstance(field, fields.Text):
            values[name] = random.choice(("cubic", "bbr", "", "x" * 15))
        elif isinstance(field, fields.Flag | fields.Padding | fields.Remainder):
            continue
        elif isinstance(field, fields.Bytes):
            values[name] = random.randbytes(random.choice((4, 16)) if field.length is None else field.length)
    return cls(**values)


def attributes(nl: Any, table: tuple[Attribute, ...], random: Random) -> list[Any]:
    """Some attributes of a table, with all they can hold."""
    found = []
    for row in random.sample(table, random.randint(0, min(len(table), 6))):
        cls = getattr(nl, row.name)
        more: dict[str, Any] = {}
        if isinstance(row.body, Nest):
            more = {"attributes": attributes(nl, row.body.attributes, random), "nla_type": row.number | 0x8000}
        elif row.name == "INET_DIAG_MD5SIG":
            more = {"md5sig": [drawn(nl.tcp_diag_md5sig, random) for _ in range(random.randint(0, 3))]}
        elif row.name == "INET_DIAG_REQ_BYTECODE":
            names = [name for name in nl.classes if name.startswith("INET_DIAG_BC_")]
            more = {"bytecode": [drawn(getattr(nl, random.choice(names)), random) for _ in range(random.randint(0, 4))]}
        found.append(drawn(cls, random, **more))
    if random.random() < 0.3:
        found.append(nl.nlattr(nla_type=random.choice((23, 77)), data=random.randbytes(random.randint(0, 9))))
    return found


def messages(nl: Any, random: Random) -> Iterator[Any]:
    """One message of each kind."""
    head = nl.nlmsghdr(nlmsg_seq=random.getrandbits(32), nlmsg_pid=random.getrandbits(32))
    rows = attributes(nl, ATTRIBUTES, random)
    yield head / drawn(nl.inet_diag_msg, random, idiag_family=random.choice((2, 10)), attributes=rows)
    for request in (nl.inet_diag_req_v2, nl.inet_diag_req):
        family = {request.fields_desc[0].name: random.choice((2, 10))}
        yield head / drawn(request, random, **family, attributes=attributes(nl, REQUEST_ATTRIBUTES, random))
    said = attributes(nl, ERROR_ATTRIBUTES, random)
    done = nl.nlmsghdr(nlmsg_flags=0x202 if said else 2)
    yield done / nl.NLMSG_DONE(error=-random.getrandbits(8), attributes=said)
    refused = nl.nlmsghdr(nlmsg_type=20, nlmsg_flags=0x301) / drawn(nl.inet_diag_req_v2, random, sdiag_family=2)
    head = nl.nlmsghdr(nlmsg_flags=0x200 if said else 0)
    yield head / nl.nlmsgerr(error=-22, msg=refused, attributes=said)
    yield nl.nlmsghdr(nlmsg_type="NLMSG_NOOP")


def forget(layer: Any) -> Any:
    """A layer without the lengths and the padding that dissection has found, inside it too."""
    for field in layer.fields_desc:
        value = layer.fields.get(field.name)
        if isinstance(field, fields.Computed | fields.Padding):
            layer.fields[field.name] = None
        for element in value if isinstance(value, list) else [value] if field.holds_packets and value else []:
            forget(element)
    if layer.payload:
        forget(layer.payload)
    return layer


@settings(max_examples=fewer(60), deadline=None)
@given(orders, seeds)
def test_what_is_built_is_read_back(order: Order, seed: int) -> None:
    """Every member of every struct and attribute, of each release: the layers are equal."""
    random = Random(seed)
    nl = layers.of(order, random.choice(RELEASES), random.choice((6, 262)))
    built = nl.datagram(messages=list(messages(nl, random)))
    read = nl.datagram(bytes(built))
    assert not read.rest
    assert forget(read) == built


@settings(max_examples=fewer(30), deadline=None)
@given(seeds)
def test_one_message_in_both_orders(seed: int) -> None:
    """The same layers in either order are the same row for all decoders: nothing is lost in a host's bit order."""
    rows = []
    for order in ("<", ">"):
        random = Random(seed)
        nl = layers.of(order, (7, 0))
        row = next(messages(nl, random))
        for attribute in row.payload.attributes:
            if type(attribute).__name__ in ("nlattr", "INET_DIAG_MD5SIG", "INET_DIAG_ULP_INFO"):
                attribute.nla_type, attribute.attributes = 14, []
        chunk = Chunk.of(bytes(row), context=Context(order=order, release="7.0.3"))
        rows += assert_all_agree(chunk)
        rows[-1].pop("unknown_attributes", None)
    assert rows[0] == rows[1]


def test_packets_that_a_person_writes() -> None:
    """Names of states, addresses as text, a flag by being there; `/` sets type and flags."""
    nl = layers.of(">", (6, 1))
    row = nl.nlmsghdr() / nl.inet_diag_msg(
        idiag_family="inet6",
        idiag_state="LISTEN",
        idiag_src="fe80::1",
        idiag_sport=443,
        attributes=[
            nl.INET_DIAG_CONG(cong="bbr"),
            nl.INET_DIAG_ULP_INFO(attributes=[nl.INET_ULP_INFO_NAME(ulp_name="tls")]),
        ],
    )
    (told,) = assert_all_agree(Chunk.of(bytes(row), context=Context(order=">")))
    assert (told["idiag_family"], told["idiag_state"], told["idiag_sport"]) == (10, 10, 443)
    assert told["idiag_src"] == b"\xfe\x80" + bytes(13) + b"\1"
    assert (told["cong"], told["ulp_name"]) == (b"bbr", b"tls")
    assert bytes(row)[4:8] == b"\x00\x14\x00\x02"
    assert bytes(row)[:4] == len(bytes(row)).to_bytes(4, "big")


def test_bit_fields_stand_where_the_host_puts_them() -> None:
    """The first declared is the lowest bits of a little-endian byte and the highest of a big-endian one."""
    for order, byte in (("<", 0x97), (">", 0x79)):
        info = layers.of(order).INET_DIAG_INFO(tcpi_snd_wscale=7, tcpi_rcv_wscale=9)
        assert bytes(info)[4 + 6] == byte
    tail = {"tcpi_ecn_mode": 1, "tcpi_accecn_opt_seen": 2, "tcpi_accecn_fail_mode": 3, "tcpi_options2": 0xABCDEF}
    assert bytes(layers.of("<", (7, 0)).INET_DIAG_INFO(**tail))[-4:] == (0xABCDEF39).to_bytes(4, "little")
    assert bytes(layers.of(">", (7, 0)).INET_DIAG_INFO(**tail))[-4:] == (0x63ABCDEF).to_bytes(4, "big")


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_two_ends_of_tcp_info(order: Order) -> None:
    """Two u16 in 6.18, bit fields in 7.0, and without a release 4 bytes that nobody reads."""
    middle = layers.of(order, (6, 18)).INET_DIAG_INFO(tcpi_accecn_fail_mode=0x1234)
    names = [field.name for field in layers.of(order, (7, 1)).INET_DIAG_INFO.fields_desc]
    assert "tcpi_ecn_mode" in names and "tcpi_accecn_opt_seen" in names
    unknown = layers.of(order).INET_DIAG_INFO(bytes(middle))
    assert "tcpi_accecn_fail_mode" not in unknown.fields
    assert len(unknown.rest) == 4
    assert layers.of(order, (6, 19)).INET_DIAG_INFO(bytes(middle)).tcpi_accecn_fail_mode == 0x1234
    # Releases that lay out alike share their classes.
    assert layers.of(order, (7, 0)) is layers.of(order, (9, 3)) and layers.of(order, (5, 4)) is layers.of(order)


@pytest.mark.parametrize("length", [*range(100, 108), 192, 224, 232, 248, 276, 280, 284])
def test_tcp_info_of_any_length(length: int) -> None:
    """A member is there when its end lies inside; what is cut in the middle, or longer, is kept as bytes."""
    nl = layers.of("<", (7, 0))
    raw = bytes(nl.nlattr(nla_type=2, data=bytes(range(1, 256))[:length].ljust(length, b"\7")))
    info = nl.INET_DIAG_INFO(raw)
    there = [f.name for f in info.fields_desc if info.fields[f.name] is not None]
    assert ("tcpi_total_retrans" in there) == (length >= 104)
    assert ("tcpi_snd_wnd" in there) == (length >= 232)
    assert len(info.rest) == (length % 4 if length < 104 else max(length - size_of(TCP_INFO, (7, 0)), 0) or length % 4)
    assert bytes(info) == raw


def test_what_info_is_in_a_dump_of_mptcp() -> None:
    """The bytes do not say it; holes between its members are kept."""
    nl = layers.of("<", (6, 18), 262)
    info = nl.INET_DIAG_INFO(mptcpi_flags=3, mptcpi_token=9, _hole0=b"ab")
    assert bytes(info)[4:16] == bytes(6) + b"ab" + b"\3\0\0\0"
    assert nl.INET_DIAG_INFO(bytes(info)).mptcpi_token == 9


def test_hostile_messages() -> None:
    """Lengths given by hand stay as they are, None members are left out, and the decoders set aside what they must."""
    nl = layers.of("<")
    ok = nl.nlmsghdr() / nl.inet_diag_msg(idiag_cookie=1)
    long = nl.nlmsghdr(nlmsg_len=1000) / nl.inet_diag_msg(idiag_cookie=2)
    short = nl.nlmsghdr() / nl.inet_diag_msg(idiag_inode=None)
    wrong = nl.nlmsghdr() / nl.inet_diag_msg(
        idiag_cookie=3, attributes=[nl.INET_DIAG_MARK(mark=5), nl.INET_DIAG_TOS(nla_len=3), nl.INET_DIAG_CGROUP_ID()]
    )
    tight = nl.nlmsghdr(padding=b"") / nl.inet_diag_msg(attributes=[nl.INET_DIAG_TOS(tos=4, padding=b"")])
    assert len(bytes(tight)) == 16 + 72 + 5
    assert len(bytes(short)) == 16 + 68
    datagrams = (bytes(nl.datagram(messages=[ok, bad])) for bad in (long, short, wrong, tight))
    rows = assert_all_agree(Chunk.of(*datagrams, context=Context(order="<")))
    assert [row["idiag_cookie"] for row in rows] == [1, 1, 1, 3, 1, 0]
    assert rows[3]["mark"] == 5 and rows[3]["damaged"] == 1 and rows[5]["tos"] == 4


def test_bytecode_is_walked_as_the_kernel_walks_it() -> None:
    """The filter of `ss sport >= :443 and dst 10.0.0.0/8`, made by hand, and as layers."""
    raw = bytes.fromhex("02080018 000001bb08100014 02080000 ffffffff 0a000000".replace(" ", ""))
    nl = layers.of("<")
    attribute = nl.INET_DIAG_REQ_BYTECODE(bytes((len(raw) + 4, 0, 1, 0)) + raw)
    port, host = attribute.bytecode
    assert (type(port).__name__, port.port) == ("INET_DIAG_BC_S_GE", 0xBB01)
    assert (type(host).__name__, host.prefix_len, host.addr) == ("INET_DIAG_BC_D_COND", 8, bytes((10, 0, 0, 0)))
    assert host.yes == 16 and not attribute.rest
    again = nl.INET_DIAG_BC_D_COND(family="inet", prefix_len=8, port=0xFFFFFFFF, addr="10.0.0.0", no=0x1400)
    assert bytes(again) == raw[8:]
