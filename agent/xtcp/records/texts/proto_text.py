"""The .proto text of a layout, for protoc, ClickHouse and people; from the same tables as all else.

`PROTO_FILES` says which file of proto/ each layout's is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from xtcp.records.envelope_messages import messages_of
from xtcp.records.model import EnumType, Layout, Message, Nested, RecordField

PROTO_FILES: Final = {
    "xtcp": "xtcp_record.proto",
    "flat": "xtcp_flat.proto",
    "xtcp2-1": "xtcp2_flat_v1.proto",
    "xtcp2-2": "xtcp2_flat_v2.proto",
}

_ABOUT: Final = {
    "xtcp": "The record of xTCP. A datagram, and a Kafka message, is one bare xtcp_record.",
    "flat": "The flat record of this agent, and its envelope. A datagram, a Kafka message, a piece of a file is an\n"
    "// Envelope with its length before it, as a varint.",
    "xtcp2-1": "The flat record of xtcp2 and its envelope, as of schema_version 1.",
    "xtcp2-2": "The flat record of xtcp2 and its envelope, as of schema_version 2.",
}


def proto_text(layout: Layout) -> str:
    """The whole file."""
    head = (
        f"// {_ABOUT[layout.name]}\n"
        "// Made from agent/xtcp/records by 'make columns'. Do not edit.\n\n"
        f'syntax = "{layout.syntax}";\n\npackage {layout.package};\n'
    )
    # An envelope first, as what a reader begins with; protoc takes any order.
    messages = reversed(messages_of(layout)) if layout.envelope else messages_of(layout)
    return head + "".join(f"\n{''.join(_message(message, layout))}" for message in messages)


def _message(message: Message, layout: Layout) -> Iterator[str]:
    if message.comment:
        yield f"// {message.comment}\n"
    yield f"message {message.name} {{\n"
    for enum in enums_of(message):
        yield from _enum(enum)
    for field in message.fields:
        comment = f"  // {field.comment}" if field.comment else ""
        yield f"  {_label(field, layout)}{type_name(field)} {field.name} = {field.number};{comment}\n"
    yield "}\n"


def _enum(enum: EnumType) -> Iterator[str]:
    yield f"  enum {enum.name} {{\n"
    for name, number in enum.values:
        yield f"    {name} = {number};\n"
    yield "  }\n"


def _label(field: RecordField | Nested, layout: Layout) -> str:
    if field.repeated:
        return "repeated "
    return "optional " if layout.syntax == "proto2" else ""


def type_name(field: RecordField | Nested) -> str:
    """The type of a field, as the text writes it."""
    if isinstance(field, Nested):
        return field.message.name
    return field.enum.name if field.enum is not None else field.type


def enums_of(message: Message) -> tuple[EnumType, ...]:
    """The enums of a message's own fields, each once."""
    fields = (field for field in message.fields if isinstance(field, RecordField))
    return tuple(dict.fromkeys(field.enum for field in fields if field.enum is not None))
