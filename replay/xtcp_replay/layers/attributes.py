"""Attributes: a class for each row of a table of the schema, and `nlattr` for every other number.

An attribute has its header, the members of its struct (or the attributes in it), `rest`, what is longer than the
table, and `padding`. Its name is the kernel's; `attribute` is its row in the schema, None for `nlattr`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from scapy.packet import Packet

from xtcp.netlink.numbers import NLA_HDRLEN, NLA_TYPE_MASK
from xtcp.schema.inet_diag import TCP_DIAG_MD5SIG, info_struct
from xtcp.schema.layout import size_of
from xtcp.schema.model import FLAG, TEXT, Attribute, Field, Nest, Order, Struct
from xtcp_replay.layers.fields import Array, Bytes, Chain, Flag, Member, Padding, Remainder, Text
from xtcp_replay.layers.structs import Layer, layer, length_field, struct_fields
from xtcp_replay.layers.words import attribute_type

Table: TypeAlias = tuple[Attribute, ...]


class NlAttr(Layer):
    """`struct nlattr` and what belongs to it."""

    length_name = "nla_len"
    attribute: ClassVar[Attribute | None] = None

    def _end(self, s: bytes) -> int:
        return max(super()._end(s), NLA_HDRLEN)


class _Type(Member):
    """`nla_type`, with the bits that are no part of the number."""

    __slots__ = ["called"]

    def __init__(self, called: str, code: str, number: int) -> None:
        super().__init__("nla_type", code, number)
        self.called = called

    def words(self, value: int) -> str:
        """The attribute's name and its flags."""
        return attribute_type(self.called, value)


@dataclass
class Attributes:
    """Makes the classes of attributes of one host: of its byte order, kernel release (major, minor) and protocol.

    `made` has all of them by name. `lists` gives, by the name of the attribute, the field of a payload that is a list.
    """

    order: Order
    release: tuple[int, int] | None
    protocol: int
    lists: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    made: dict[str, type[Layer]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        key = layer(TCP_DIAG_MD5SIG.name, struct_fields(TCP_DIAG_MD5SIG, self.order, None))
        self.made[key.__name__] = key
        self.lists = {**self.lists, "INET_DIAG_MD5SIG": lambda: Array("md5sig", key, size_of(TCP_DIAG_MD5SIG))}
        self.made["nlattr"] = self._class("nlattr", "attribute", 0, [Remainder("data")])

    def chain(self, table: Table, name: str = "attributes") -> Chain:
        """The field of a chain of attributes of `table`."""
        classes: dict[int, type[Packet]] = {row.number: self._of(row) for row in table}
        unknown = self.made["nlattr"]
        number = struct.Struct(self.order + "HH")

        def pick(element: bytes) -> type[Packet]:
            return classes.get(number.unpack_from(element)[1] & NLA_TYPE_MASK, unknown)

        return Chain(name, self.order + "HH", 0, pick)

    def _of(self, row: Attribute) -> type[Layer]:
        body = info_struct(self.protocol) if row.name == "INET_DIAG_INFO" else row.body
        struct = body if isinstance(body, Struct) else None
        made = self._class(row.name, row.name, row.number, self._body(row, body), attribute=row, struct=struct)
        self.made[row.name] = made
        return made

    def _body(self, row: Attribute, body: Struct | Nest | Field | None) -> list[Any]:
        if row.name in self.lists:
            return [self.lists[row.name](), Remainder("rest")]
        if isinstance(body, Struct):
            return [*struct_fields(body, self.order, self.release), Remainder("rest")]
        if isinstance(body, Nest):
            return [self.chain(body.attributes), Remainder("rest")]
        if body is None:
            return [Remainder("data")]
        if body.kind is FLAG:
            return [Flag(body.name), Remainder("rest")]
        return [Text(body.name) if body.kind is TEXT else Bytes(body.name)]

    def _class(self, name: str, called: str, number: int, body: list[Any], **more: Any) -> type[Layer]:
        head = [length_field("nla_len", self.order, "H"), _Type(called, self.order + "H", number)]
        return layer(name, [*head, *body, Padding()], NlAttr, **more)
