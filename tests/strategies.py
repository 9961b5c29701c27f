"""Hypothesis strategies driven by the schema: layouts, whole dumps, damaged dumps.

Hypothesis draws what shrinks well (layouts, repeats, cuts, damage) and one seed; a generator of that seed fills the
hundreds of columns, so that a dump large enough for templates stays cheap to draw.
"""

from __future__ import annotations

import struct

from hypothesis import strategies as st

from tests.dumps import MANY, PORT, SEQ, Dump, Plan
from tests.encoder import NLA_F_NESTED, NLA_F_NET_BYTEORDER, Item, Layout, places
from xtcp.schema.inet_diag import ATTRIBUTES, IPPROTO_MPTCP, IPPROTO_TCP, info_struct
from xtcp.schema.layout import kernel_release
from xtcp.schema.model import FLAG, TEXT, Attribute, Nest, Struct

RELEASES = ("", "2.6.32", "5.4.281", "6.1.0-50-s390x", "6.18.44-x86_64", "7.0.3", "7.1.0-rc2")
INFO_LENGTHS = (104, 192, 200, 224, 232, 240, 248, 280)
TEXTS = (b"cubic", b"bbr", b"", b"sixteen_letters_", b"\xff\xfe\x80", b"a long name of more than 16")
UNKNOWN_NUMBERS = (0, 23, 24, 63, 64, 200, 0x3FFF)

orders = st.sampled_from(("<", ">"))
seeds = st.integers(0, 2**32 - 1)


def _sizes(table: Attribute, protocol: int) -> st.SearchStrategy[int]:
    body = info_struct(protocol) if table.number == 2 and table.name == "INET_DIAG_INFO" else table.body
    if isinstance(body, Struct):
        size = places(body, None)[1]
        odd = st.sampled_from((0, size - 1, size + 1, size + 8)) | st.integers(0, size + 24)
        usual = st.sampled_from(INFO_LENGTHS) if size > 200 else st.just(size)
        return usual | usual | odd
    if body is None or body.kind is FLAG:  # type: ignore[union-attr]
        return st.just(0)
    if body.kind is TEXT:  # type: ignore[union-attr]
        return st.integers(1, 20)
    return st.sampled_from((0, 7, 100, 150, 200))


@st.composite
def items(draw: st.DrawFn, table: tuple[Attribute, ...] = ATTRIBUTES, protocol: int = IPPROTO_TCP) -> tuple[Item, ...]:
    """Attributes of one level, each number once, in any order, unknown ones among them."""
    by_number = {a.number: a for a in table}
    numbers = draw(st.lists(st.sampled_from([*by_number, *by_number, *UNKNOWN_NUMBERS]), unique=True, max_size=10))
    out = []
    for number in numbers:
        known = by_number.get(number)
        flags = draw(st.sampled_from((0, 0, 0, NLA_F_NET_BYTEORDER)))
        if known is None:
            out.append(Item(number, draw(st.integers(0, 12)), flags=flags))
        elif isinstance(known.body, Nest):
            inner = draw(items(known.body.attributes, protocol))
            out.append(Item(number, 0, inner, draw(st.sampled_from((0, NLA_F_NESTED)))))
        else:
            out.append(Item(number, draw(_sizes(known, protocol)), (), flags, draw(st.sampled_from(TEXTS))))
    return tuple(out)


@st.composite
def layouts(draw: st.DrawFn, release: str = "", protocol: int = IPPROTO_TCP) -> Layout:
    """One layout for a kernel release and protocol."""
    padding = draw(st.sampled_from((b"\0", b"\xa5")))
    return Layout(draw(items(ATTRIBUTES, protocol)), kernel_release(release), protocol, padding, draw(st.booleans()))


@st.composite
def plans(draw: st.DrawFn, *, control: bool = True, most: int = MANY + 6) -> Plan:
    """Whole dumps: up to three layouts, of which some repeat often enough for a template."""
    release = draw(st.sampled_from(RELEASES))
    protocol = draw(st.sampled_from((IPPROTO_TCP, IPPROTO_TCP, IPPROTO_TCP, IPPROTO_MPTCP)))
    repeats = st.sampled_from([n for n in (1, 3, MANY, most) if n <= most])
    mixed = draw(st.lists(st.tuples(layouts(release, protocol), repeats), min_size=1, max_size=3))
    return Plan(
        tuple(mixed),
        release,
        protocol,
        draw(seeds),
        draw(st.sampled_from((SEQ, None))),
        draw(st.sampled_from((None, PORT))),
        control and draw(st.booleans()),
        draw(st.sampled_from((1, 4, 20, 1000))),
        draw(st.booleans()),
    )


@st.composite
def damaged(draw: st.DrawFn, dump: Dump) -> list[bytes]:
    """The dump's datagrams with bits flipped, lengths changed, ends cut, bytes lost and datagrams doubled."""
    out = [bytearray(d) for d in dump.datagrams]
    order = dump.context.order
    for _ in range(draw(st.integers(1, 6))):
        datagram = out[draw(st.integers(0, len(out) - 1))]
        if not datagram:
            continue
        at = draw(st.integers(0, len(datagram) - 1))
        match draw(st.sampled_from(("flip", "half", "half", "word", "cut", "lose", "double"))):
            case "flip":
                datagram[at] ^= 1 << draw(st.integers(0, 7))
            case "half":
                value = draw(st.sampled_from((0, 1, 2, 3, 4, 5, 8, 12, 64, 0xFFFF)) | st.integers(0, 400))
                at &= ~3
                datagram[at : at + 2] = struct.pack(order + "H", value)[: len(datagram) - at]
            case "word":
                at &= ~3
                word = draw(st.sampled_from((0, 15, 16, 17, 20, 87, 88, 2**31, 2**32 - 1, SEQ)))
                datagram[at : at + 4] = struct.pack(order + "I", word)[: len(datagram) - at]
            case "cut":
                del datagram[at:]
            case "lose":
                del datagram[at : at + draw(st.integers(1, 40))]
            case _:
                out.append(bytearray(datagram))
    return [bytes(d) for d in out]
