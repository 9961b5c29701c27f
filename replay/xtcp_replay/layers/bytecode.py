"""The filter in a request, INET_DIAG_REQ_BYTECODE: a class for each of its operations, with what it compares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from scapy.packet import Packet

from xtcp.schema.model import Order, Struct
from xtcp.schema.requests import CONDITIONS, INET_DIAG_BC_OP, INET_DIAG_HOSTCOND
from xtcp_replay.layers.fields import Address, Chain, Member, Remainder
from xtcp_replay.layers.structs import Layer, layer, length_field, struct_fields
from xtcp_replay.layers.words import OPERATIONS


class _Operation(Layer):
    """`struct inet_diag_bc_op` and its condition; `yes` is how long both are, as the kernel walks them."""

    length_name = "yes"
    length_at = 1


def bytecode(order: Order, made: dict[str, type[Layer]]) -> Callable[[], Chain]:
    """What makes the field of a filter's operations; their classes are added to `made`."""
    classes: dict[int, type[Packet]] = {}
    for number, name in OPERATIONS.items():
        condition = _condition(order, CONDITIONS.get(number))
        made[name] = classes[number] = layer(name, [*_head(order, number), *condition, Remainder("rest")], _Operation)
    unknown = layer(INET_DIAG_BC_OP.name, [*_head(order, 0), Remainder("rest")], _Operation)
    made[unknown.__name__] = unknown

    def pick(element: bytes) -> type[Packet]:
        return classes.get(element[0], unknown)

    return lambda: Chain("bytecode", order + "BBH", 1, pick, cell=1)


def _head(order: Order, number: int) -> list[Any]:
    code, length = Member("code", order + "B", number, names=OPERATIONS), length_field("yes", order, "B")
    return [code, length, Member("no", order + "H")]


def _condition(order: Order, struct: Struct | None) -> list[Any]:
    if struct is None:
        return []
    if struct is INET_DIAG_BC_OP:
        # A second operation holds the port where the first has `no`.
        fields = (replace(f, name="port" if f.name == "no" else f"_{f.name}") for f in struct.fields)
        struct = replace(struct, fields=tuple(fields))
    # A host's address is as long as its family's; what is left is the address.
    address = [Address("addr", "family", None)] if struct is INET_DIAG_HOSTCOND else []
    return [*struct_fields(struct, order, None), *address]
