"""Anatomy: every byte once, at the place where the kernel's headers have it, whatever the bytes."""

from __future__ import annotations

import struct
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dumps import Plan, soup
from tests.encoder import attribute, message
from tests.patience import fewer
from tests.replay.made import PORT, SEQ, request, row
from tests.rewriting.packets import real_datagrams
from tests.strategies import damaged, orders, plans, seeds
from xtcp.schema.inet_diag import NLMSGHDR
from xtcp.schema.model import Order
from xtcp.schema.requests import NLATTR
from xtcp_replay.rewriting.anatomy import NOT_UNDERSTOOD, Kernel, Part, What, parts, places

KERNELS: tuple[Kernel, ...] = (None, (5, 4), (6, 18), (7, 0))


def assert_covered(netlink: bytes, order: Order, kernel: Kernel, protocol: int | None) -> list[Part]:
    """Parts, and places, stand behind each other without gap, from the first byte to the last."""
    found = parts(netlink, order, kernel, protocol)
    for listed in (found, list(places(netlink, order, kernel, protocol))):
        at = 0
        for one in listed:
            assert one.offset == at and one.size > 0
            at += one.size
        assert at == len(netlink)
    return found


@given(plans(most=3, control=False), orders, st.data())
@settings(max_examples=fewer(60))
def test_every_byte_once(plan: Plan, order: Order, data: st.DataObject) -> None:
    """In dumps as a kernel sends them, and in damaged ones."""
    dump = plan.build(order)
    context = dump.context
    for datagram in dump.datagrams:
        found = assert_covered(datagram, order, context.kernel, context.protocol)
        assert What.REMNANT not in {part.what for part in found}
    for datagram in data.draw(damaged(dump)):
        assert_covered(datagram, order, context.kernel, context.protocol)


@given(seeds, orders, orders, st.sampled_from(KERNELS), st.sampled_from((6, 262, 17, None)))
@settings(max_examples=fewer(60))
def test_anything_has_an_anatomy(seed: int, order: Order, read: Order, kernel: Kernel, protocol: int | None) -> None:
    """Soups of headers in either order, and noise: no gap, no exception."""
    random = Random(seed)
    for datagram in [*soup(order, random), random.randbytes(random.randrange(400))]:
        assert_covered(datagram, read, kernel, protocol)


def test_every_byte_of_real_captures() -> None:
    """All datagrams of all captures; only those that a snaplen cut have bytes that are not understood."""
    cut = 0
    for number, (netlink, order) in enumerate(real_datagrams()):
        found = parts(netlink, order, (7, 0), 6) if number % 5 else assert_covered(netlink, order, (7, 0), 6)
        strange = {part.why for part in found if part.what in NOT_UNDERSTOOD}
        cut += bool(strange)
        assert not strange or len(netlink) == 1500 - 16, strange
    assert cut < 100


def named(netlink: bytes, order: Order = "<", kernel: Kernel = None, protocol: int | None = 6) -> dict[str, bytes]:
    """The bytes of every member of a name, one behind the other."""
    found: dict[str, bytes] = {}
    for place in places(netlink, order, kernel, protocol):
        name = place.name or place.what.value
        found[name] = found.get(name, b"") + netlink[place.offset : place.offset + place.size]
    return found


def test_members_of_a_row() -> None:
    """The header's, the row's and an attribute's members stand where include/uapi has them."""
    netlink = row(5 | 6 << 32, seq=7, port=9)
    found = named(netlink)
    assert found["nlmsg_len"] == struct.pack("<I", 88) and found["nlmsg_seq"] == struct.pack("<I", 7)
    assert found["idiag_cookie"] == struct.pack("<II", 5, 6)
    assert len(found["idiag_src"]) == len(found["idiag_dst"]) == 16
    assert "padding" not in found and "unknown" not in found


def test_the_end_of_tcp_info_by_release() -> None:
    """Two members in 6.18, one holder in 7.0, and bytes of unknown layout where the release is not known."""
    netlink = message("<", bytes(72) + attribute("<", 2, bytes(276) + b"tail"))
    assert named(netlink, kernel=(6, 18))["tcpi_accecn_opt_seen"] == b"il"
    assert named(netlink, kernel=(7, 0))["_accecn"] == b"tail"
    assert named(netlink, kernel=None)["surplus"] == b"tail"
    assert named(netlink, protocol=17)["unknown"] == bytes(276) + b"tail"


def test_a_request_with_a_filter() -> None:
    """Operations, host conditions with their ports and addresses, devices, marks, cgroups and ports of a filter."""
    ops = struct.pack("<BBH", 7, 16, 20) + struct.pack("<BBxxi", 2, 32, 443) + b"\x0a\1\2\3"
    ops += struct.pack("<BBH", 8, 28, 32) + struct.pack("<BBxxi", 10, 64, -1) + bytes(range(16))
    ops += struct.pack("<BBHBBH", 3, 8, 12, 0, 0, 8080) + struct.pack("<BBHI", 9, 8, 12, 77)
    ops += (
        struct.pack("<BBHII", 10, 12, 16, 5, 6)
        + struct.pack("<BBHQ", 13, 12, 16, 1 << 40)
        + struct.pack("<BBH", 1, 4, 8)
    )
    found = named(request(attributes=attribute("<", 1, ops) + attribute("<", 3, struct.pack("<I", 262))))
    assert found["addr"] == b"\x0a\1\2\3" + bytes(range(16))
    assert found["port"] == struct.pack("<ii", 443, -1)
    assert found["ifindex"] == struct.pack("<I", 77) and found["mark"] == struct.pack("<I", 5)
    assert found["cgroup"] == struct.pack("<Q", 1 << 40)
    assert found["no"] == struct.pack("<8H", 20, 32, 12, 8080, 12, 16, 16, 8)
    assert found["req_protocol"] == struct.pack("<I", 262)
    assert found["padding"] == bytes(4)  # between prefix_len and port, twice


def test_a_refusal_with_its_request() -> None:
    """errno, the request's header and body as the error echoes them, the kernel's words."""
    asked = request()
    error = (
        struct.pack("<i", -22)
        + asked
        + attribute("<", 1, b"no such thing\0")
        + attribute("<", 2, struct.pack("<I", 16))
    )
    found = named(message("<", error, 2, 0x200, SEQ, PORT))
    assert found["error"] == struct.pack("<i", -22)
    assert found["sdiag_protocol"] == b"\6" and found["nlmsg_len"][4:] == struct.pack("<I", len(asked))
    assert found["text"] == b"no such thing\0" and found["offs"] == struct.pack("<I", 16)
    capped = struct.pack("<i", 0) + asked[:16] + attribute("<", 1, b"fine\0")
    found = named(message("<", capped, 2, 0x300, SEQ, PORT))
    assert found["text"] == b"fine\0" and "sdiag_protocol" not in found
    done = named(message("<", struct.pack("<i", -2) + attribute("<", 1, b"no module\0"), 3, 0x202, SEQ, PORT))
    assert done["error"] == struct.pack("<i", -2) and done["text"] == b"no module\0"


def test_what_is_not_understood_says_what_it_is() -> None:
    """Unknown attributes by their path, cut keys, other sockets, messages of unknown types, remnants."""
    nest = attribute("<", 2, attribute("<", 9, b"abc"))
    netlink = message(
        "<",
        bytes([2]) + bytes(71) + attribute("<", 23, b"12") + attribute("<", 19, nest) + attribute("<", 18, bytes(119)),
    )
    netlink += message("<", b"\x01" + bytes(30)) + message("<", b"xyz", kind=77) + b"\1\0\0"
    why = {part.why: part for part in parts(netlink, "<", None, 6) if part.why}
    assert set(why) == {
        "attribute 23", "attribute 19.2.9", "a cut MD5 key", "messages about UNIX sockets", "messages of type 77",
        "no whole message",
    }  # fmt: skip
    assert why["attribute 19.2.9"].path == (19, 2, 9)


def test_damage_keeps_a_header_apart() -> None:
    """Behind a length that cannot be, four bytes are a header's, in either order, and the rest a remnant."""
    netlink = message("<", bytes(72) + struct.pack("<HH", 3, 2) + b"rest")
    remnant = [part for part in parts(netlink, "<", None, 6) if part.what is What.REMNANT]
    assert [(p.size, p.layout is not None and p.layout.struct is NLATTR) for p in remnant] == [(4, True), (4, False)]
    broken = parts(struct.pack("<I", 15) + bytes(20), "<", None, 6)
    assert [(p.what, p.layout is not None and p.layout.struct is NLMSGHDR) for p in broken] == [
        (What.REMNANT, True), (What.REMNANT, False),
    ]  # fmt: skip


def test_a_cut_message_is_walked_as_far_as_it_is_there() -> None:
    """What a snaplen leaves of a row still has its addresses in their places."""
    netlink = row(5)[:65]
    found = named(netlink)
    assert len(found["idiag_src"]) == len(found["idiag_dst"]) == 16 and len(found["idiag_if"]) == 4
    assert found["surplus"] == netlink[60:]
