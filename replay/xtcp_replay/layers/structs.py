"""A struct of the schema as scapy fields, and the class that all layers here are of.

Offsets follow from the order of the members and their alignment: a hole between two is a field of its own, so that
what is read is built again byte for byte, and no bytes need to be kept beside the fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final

from scapy.packet import Packet

from xtcp.schema.model import ADDRESS, BE16, PAIR64, Field, Order, Struct
from xtcp_replay.layers.fields import Address, BitMember, Bytes, Computed, Member, Padding, Pair, Remainder
from xtcp_replay.layers.words import FLAGS, NAMES

_CODES: Final = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "i4": "i", "i8": "q"}


class Layer(Packet):
    """A packet that is nothing but its fields: it keeps no copy of the bytes it was read from.

    Of members that do not fit into the bytes, and all behind them, the value is None. `length_name` names the field
    that says how long the layer is with its payload, `length_at` where that stands: it is computed where it is None.
    `struct` is the row of the schema that its members are of.
    """

    length_name: ClassVar[str | None] = None
    length_at: ClassVar[int] = 0
    struct: ClassVar[Struct | None] = None

    def do_dissect(self, s: bytes) -> bytes:
        """Reads the fields; what is left is the payload's."""
        self.explicit = 1
        end = self._end(s)
        inside, behind = s[:end], s[end:]
        values = self.fields
        short = False
        for field in self.fields_desc:
            value: Any
            if short and not isinstance(field, Remainder):
                value = [] if field.islist else None
            else:
                inside, value = field.getfield(self, inside)
                short = short or value is None
            values[field.name] = value
        if "padding" in values:
            values["padding"] = behind
        return inside

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fills in the length where it is None, and pads."""
        whole = pkt + pay
        if self.length_name is not None and self.getfieldval(self.length_name) is None:
            code = self.get_field(self.length_name).struct
            whole = whole[: self.length_at] + code.pack(len(whole)) + whole[self.length_at + code.size :]
        if "padding" in self.fieldtype:
            whole += Padding.ending(self.getfieldval("padding"), len(whole))
        return whole

    def _end(self, s: bytes) -> int:
        """Where the layer ends in `s` and padding begins."""
        if self.length_name is None:
            return len(s)
        code = self.get_field(self.length_name).struct
        if len(s) < self.length_at + code.size:
            return len(s)
        return int(code.unpack_from(s, self.length_at)[0])


def layer(name: str, fields: list[Any], base: type[Layer] = Layer, **more: Any) -> type[Layer]:
    """A class of layers with these fields, of the given name."""
    make: Any = type(base)
    made: type[Layer] = make(name, (base,), {"fields_desc": fields, "name": name, "__module__": __name__, **more})
    return made


def length_field(name: str, order: Order, code: str) -> Computed:
    """A length in a header."""
    return Computed(name, order + code)


def struct_fields(struct: Struct, order: Order, release: tuple[int, int] | None) -> list[Any]:
    """The members of `struct` on a host of `order` with kernel `release` (major, minor; None: unknown)."""
    return list(_members(struct, order, release))


def _members(struct: Struct, order: Order, release: tuple[int, int] | None) -> Iterator[Any]:
    end = holes = 0
    family = next((field.name for field in struct.fields if field.name.endswith("_family")), "")
    for field in struct.members(release):
        hole = -end % field.kind.align
        if hole:
            yield Bytes(f"_hole{holes}", bytes(hole), hole)
            holes += 1
        end += hole + field.kind.size
        if field.bits:
            yield from _bit_fields(field, order)
        else:
            yield member_field(field, order, family)


def member_field(field: Field, order: Order, family: str = "") -> Any:
    """One member; `family` names the member that says what an address is."""
    kind, name = field.kind, field.name
    if kind is ADDRESS:
        return Address(name, family)
    if kind is PAIR64:
        return Pair(name, order)
    if kind.column not in _CODES:
        return Bytes(name, bytes(kind.size), kind.size)
    code = ">H" if kind is BE16 else order + _CODES[kind.column]
    return Member(name, code, names=NAMES.get(name), flags=FLAGS.get(name))


def _bit_fields(field: Field, order: Order) -> Iterator[BitMember]:
    """The bit fields of a holder, in the order of the declaration: the first has the lowest bits on a little-endian
    host, the highest on a big-endian one.
    """
    code = order + _CODES[field.kind.column]
    declared = 0
    for number, bits in enumerate(field.bits):
        shift = declared if order == "<" else 8 * field.kind.size - declared - bits.width
        declared += bits.width
        # Unnamed ones occur in several holders of a struct.
        name = field.name + bits.name if bits.name.startswith("_") else bits.name
        yield BitMember(name, code, shift, bits.width, first=number == 0, last=number == len(field.bits) - 1)
