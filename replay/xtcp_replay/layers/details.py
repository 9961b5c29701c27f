"""A dissected packet as lines for people, as in Wireshark's packet details: what stands where, and what it means.

Every byte is in a line: of a member its value, unit and meaning from the schema, of what was not understood its
hexadecimal digits. Members that a shorter struct has not are named. Keys of INET_DIAG_MD5SIG are not shown unless asked
for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from scapy.packet import Packet

from xtcp.encode.cells import clean_text
from xtcp.encode.table import endpoint
from xtcp.netlink.numbers import INET_DIAG_MSG_LEN, NLA_HDRLEN, NLMSG_HDRLEN
from xtcp.schema.columns import BY_NAME
from xtcp.schema.inet_diag import INET_DIAG_MSG, INET_DIAG_REQ, INET_DIAG_REQ_V2
from xtcp.schema.layout import size_of
from xtcp.schema.model import Struct
from xtcp.schema.names import STATES, name_of
from xtcp.spelling import visible
from xtcp_replay.layers.attributes import NlAttr
from xtcp_replay.layers.fields import Address, BitMember, Bytes, Flag, Member, Padding, Remainder, Text
from xtcp_replay.layers.structs import Layer
from xtcp_replay.layers.words import MESSAGE_TYPES

Kind: TypeAlias = Literal["head", "member", "odd", "note"]

# Of bytes that were not understood so many are written out.
WRITTEN: Final = 256
_A_LINE: Final = 32
_KEY: Final = "tcpm_key"
_TWO_TAILS: Final = "6.18 and 7.0 lay out the last 4 bytes differently; give --kernel-release"
# These are masks, plainer in hexadecimal digits.
_MASKS: Final = frozenset({"nlmsg_flags", "idiag_states", "idiag_ext", "idiag_dbs", "mark", "mask"})


@dataclass(frozen=True)
class Line:
    """One line: `depth` of the tree, where in the packet it stands, name, value, and what is said of it."""

    depth: int
    at: int
    name: str
    value: str = ""
    said: str = ""
    kind: Kind = "member"


@dataclass(frozen=True)
class Details:
    """Makes the lines. `md5_keys` shows keys; `hidden` are the places in the packet that are not shown."""

    md5_keys: bool = False
    hidden: frozenset[int] = frozenset()

    def cooked(self, packet: Packet) -> Iterator[Line]:
        """The header of a packet alone."""
        yield Line(0, 0, "cooked netlink header", said=_bytes(len(packet.original)), kind="head")
        yield from self._members(packet, 0, 1)

    def message(self, message: Packet, at: int, which: str, depth: int = 0) -> Iterator[Line]:
        """One message."""
        said = ", ".join(text for text in (which, _bytes(message.nlmsg_len), summary(message)) if text)
        yield Line(depth, at, "nlmsghdr", said=said, kind="head")
        yield from self._members(message, at, depth + 1)
        behind = at + NLMSG_HDRLEN
        body = message.payload
        if isinstance(body, Layer):
            yield from self._body(body, behind, depth + 1)
        elif body:
            yield from self.unread(depth + 1, behind, bytes(body), "not a message that is read here")
        if any(message.padding):
            at += len(message.original) - len(message.padding)
            yield from self.unread(depth + 1, at, message.padding, "padding that is not zero")

    def _body(self, body: Packet, at: int, depth: int) -> Iterator[Line]:
        name = type(body).__name__
        said = _bytes(len(body.original))
        if name == INET_DIAG_MSG.name and len(body.original) < INET_DIAG_MSG_LEN:
            said += f" of {INET_DIAG_MSG_LEN}: too short, no row comes of it"
        yield Line(depth, at, name, said=said, kind="head")
        yield from self._members(body, at, depth + 1)

    def _members(self, layer: Packet, at: int, depth: int, leave_out: int = 0) -> Iterator[Line]:
        """The fields of a layer, from that of the number `leave_out` on; `at` is where this one stands."""
        absent: list[str] = []
        field: Any
        for field in layer.fields_desc[leave_out:]:
            value = layer.getfieldval(field.name)
            if isinstance(field, Padding):
                continue
            if field.islist:
                yield from self._elements(value, at, depth)
            elif field.holds_packets:
                if value is not None:
                    yield from self.message(value, at, "the request", depth)
            elif value is None:
                absent += [] if field.name.startswith("_") else [field.name]
            elif isinstance(field, Remainder):
                yield from self._rest(layer, value, at, depth)
            else:
                yield from self._member(layer, field, value, at, depth)
            at += field.size(value)
        if absent:
            yield Line(depth, at, "absent", said=_absent(layer, absent), kind="note")

    def _elements(self, elements: list[Packet], at: int, depth: int) -> Iterator[Line]:
        for element in elements:
            if isinstance(element, NlAttr):
                yield from self._attribute(element, at, depth)
            else:
                yield Line(depth, at, type(element).__name__, said=_bytes(len(element.original)), kind="head")
                yield from self._members(element, at, depth + 1)
            at += len(element.original)

    def _attribute(self, attribute: Any, at: int, depth: int) -> Iterator[Line]:
        name = attribute.get_field("nla_type").words(attribute.nla_type)
        fields = attribute.fields_desc[2:-1]
        said = f"type {attribute.nla_type & 0x3FFF}, {_bytes(attribute.nla_len)}"
        single = [f for f in fields if not isinstance(f, Remainder)]
        behind = at + NLA_HDRLEN
        if type(attribute).__name__ == "nlattr":
            yield Line(depth, at, "unknown attribute", said=said, kind="odd")
            yield from self.unread(depth + 1, behind, attribute.data, "")
        elif len(single) == 1 and isinstance(single[0], Member | Bytes) and not attribute.fields.get("rest"):
            value = attribute.getfieldval(single[0].name)
            yield Line(depth, at, name, said=said, kind="head")
            if value is None:
                yield Line(depth + 1, behind, "absent", said=_absent(attribute, [single[0].name]), kind="note")
            elif isinstance(single[0], Flag):
                yield Line(depth + 1, behind, single[0].name, "1", said=_meaning(single[0].name))
            else:
                yield from self._member(attribute, single[0], value, behind, depth + 1)
        else:
            table = attribute.struct
            more = f": {len(attribute.original[NLA_HDRLEN : attribute.nla_len])} bytes of {table.name}" if table else ""
            yield Line(depth, at, name, said=said + more, kind="head")
            yield from self._members(attribute, behind, depth + 1, leave_out=2)
        if any(attribute.padding):
            at += len(attribute.original) - len(attribute.padding)
            yield from self.unread(depth + 1, at, attribute.padding, "padding that is not zero")

    def _member(self, layer: Packet, field: Any, value: Any, at: int, depth: int) -> Iterator[Line]:
        """One member; holes and bits without a name only where something stands in them."""
        name = field.name
        if name.startswith("_"):
            if any(value) if isinstance(value, bytes) else value:
                yield Line(depth, at, name.strip("_"), _text(layer, field, value), "not used by the table", "odd")
            return
        if name == _KEY and not self.md5_keys:
            yield Line(depth, at, name, "", "not shown without --md5-keys", "note")
        elif isinstance(field, Bytes) and not isinstance(field, Text | Address) and len(value) > _A_LINE:
            yield Line(depth, at, name, _bytes(len(value)), _meaning(name))
            yield from self.unread(depth + 1, at, value, "", kind="member")
        else:
            words = field.words(value) if isinstance(field, Member) else ""
            yield Line(depth, at, name, _text(layer, field, value), words or _meaning(name))

    def _rest(self, layer: Packet, rest: bytes, at: int, depth: int) -> Iterator[Line]:
        if not rest:
            return
        if "attributes" in layer.fields:
            why = remnant(rest, "attribute", NLA_HDRLEN)
        elif any(layer.getfieldval(field.name) is None for field in layer.fields_desc):
            why = "ends in the middle of a member"
        elif _two_tails(layer, rest):
            why = _TWO_TAILS
        else:
            why = "longer than the table"
        yield from self.unread(depth, at, rest, why)

    def unread(self, depth: int, at: int, data: bytes, why: str, kind: Kind = "odd") -> Iterator[Line]:
        """Bytes in hexadecimal digits, with the reason why they are shown so."""
        if why:
            yield Line(depth, at, "not understood", _bytes(len(data)), why, kind)
            depth += 1
        for start in range(0, min(len(data), WRITTEN), _A_LINE):
            yield Line(depth, at + start, "", self.digits(at + start, data[start : start + _A_LINE]), kind=kind)
        if len(data) > WRITTEN:
            yield Line(
                depth, at + WRITTEN, "", said=f"{len(data) - WRITTEN:,} more bytes; --hex shows all", kind="note"
            )

    def digits(self, at: int, data: bytes) -> str:
        """Two a byte, a space behind four bytes; `--` for what is not shown."""
        two = ["--" if at + i in self.hidden else f"{byte:02x}" for i, byte in enumerate(data)]
        return " ".join("".join(two[i : i + 4]) for i in range(0, len(two), 4))

    def dump(self, data: bytes, at: int = 0) -> Iterator[Line]:
        """All bytes, 16 a line, with their letters."""
        for start in range(0, len(data), 16):
            piece = data[start : start + 16]
            letters = (
                "-" if at + start + i in self.hidden else chr(b) if 0x20 <= b < 0x7F else "."
                for i, b in enumerate(piece)
            )
            yield Line(0, at + start, "", f"{self.digits(at + start, piece):<35}  {''.join(letters)}")


def summary(message: Packet) -> str:
    """A message in a few words: its type, and of a row the state and both ends."""
    body = message.payload
    words = MESSAGE_TYPES.get(message.nlmsg_type, f"type {message.nlmsg_type}")
    if isinstance(body, Layer) and type(body).__name__ == INET_DIAG_MSG.name and body.idiag_cookie is not None:
        family = body.idiag_family
        ends = [
            endpoint(getattr(body, f"idiag_{side}"), getattr(body, f"idiag_{side[0]}port"), family, body.idiag_if)
            for side in ("src", "dst")
        ]
        return f"{name_of(STATES, body.idiag_state)} {' > '.join(ends)} cookie {body.idiag_cookie}"
    if isinstance(body, Layer) and type(body).__name__ in (INET_DIAG_REQ.name, INET_DIAG_REQ_V2.name):
        return f"{words}, a request"
    return words


def why_unread(datagram: Packet, rest: bytes) -> str:
    """Why the end of a packet, or all of it, makes no messages."""
    if isinstance(datagram, Layer):
        return remnant(rest, "message", NLMSG_HDRLEN)
    return "no messages of sock_diag"


def remnant(rest: bytes, what: str, header: int) -> str:
    """Why bytes make no element."""
    if len(rest) < header:
        return f"too short for the header of one more {what}"
    return f"make no whole {what}: its length is impossible, or it is cut"


def _absent(layer: Any, names: list[str]) -> str:
    """Which members a shorter struct has not."""
    listed = ", ".join(names) if len(names) <= 4 else f"{names[0]}, {names[1]} … {names[-1]} ({len(names)} members)"
    struct = layer.struct
    if struct is None:
        return listed
    there = len(layer.original) - (NLA_HDRLEN + len(layer.padding) if isinstance(layer, NlAttr) else 0)
    return f"{min(there, _longest(struct))} of {_longest(struct)} bytes are here, without {listed}"


def _two_tails(layer: Any, rest: bytes) -> bool:
    """Whether `rest` is the end of a tcp_info that two releases lay out differently."""
    struct = layer.struct
    return bool(struct and struct.tails) and len(rest) == _longest(struct) - size_of(struct)


def _longest(struct: Struct) -> int:
    return max([size_of(struct), *(size_of(struct, tail.since) for tail in struct.tails)])


def _text(layer: Packet, field: Any, value: Any) -> str:
    if isinstance(field, Text):
        return visible(clean_text(value.split(b"\0")[0]))
    if isinstance(field, Address):
        return str(field.i2repr(layer, value))
    if isinstance(value, bytes):
        return value.hex()
    if field.name in _MASKS and not isinstance(field, BitMember):
        return f"{value:#x}"
    column = BY_NAME.get(field.name)
    return f"{value} {column.unit}" if column and column.unit else str(value)


def _meaning(name: str) -> str:
    column = BY_NAME.get(name)
    return column.meaning if column else ""


def _bytes(count: int | None) -> str:
    return "1 byte" if count == 1 else f"{count or 0:,} bytes"
