"""google.protobuf's classes of a layout's messages, made from the tables at run time: no generated code.

    classes = message_classes(LAYOUTS["flat"])
    envelope = classes["Envelope"].FromString(data)

For readers, tests and tools that want objects; the agent itself encodes and reads without them. Each layout has a pool
of its own, for the two of xtcp2 share a package and two messages of one name may not meet in a pool.

Importing this module raises `ConfigurationError` where google.protobuf is not installed.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from xtcp.errors import ConfigurationError
from xtcp.records.envelope_messages import messages_of
from xtcp.records.model import Layout, Message, Nested
from xtcp.records.texts.proto_text import enums_of

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError as error:
    raise ConfigurationError(
        "Descriptors of records need google.protobuf, which is not installed.",
        "It is an extra, because the agent encodes records without it.",
        "Install it: pip install 'xtcp[proto]'",
    ) from error

# The numbers of the types in google/protobuf/descriptor.proto, FieldDescriptorProto.Type.
_TYPES: Final = {"int64": 3, "uint64": 4, "string": 9, "bytes": 12, "uint32": 13, "enum": 14}
_MESSAGE: Final = 11
_OPTIONAL: Final = 1
_REPEATED: Final = 3


def file_descriptor(layout: Layout) -> Any:
    """The `FileDescriptorProto` of a layout: its record, what that holds, and its envelope."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{layout.name}.proto", package=layout.package)
    # proto2 is what a file is that says nothing; protoc leaves it out too.
    if layout.syntax != "proto2":
        file.syntax = layout.syntax
    for message in messages_of(layout):
        _add_message(file.message_type.add(), message, layout.package)
    return file


def _add_message(made: Any, message: Message, package: str) -> None:
    made.name = message.name
    for field in message.fields:
        if isinstance(field, Nested):
            row = made.field.add(name=field.name, number=field.number, type=_MESSAGE)
            row.type_name = f".{package}.{field.message.name}"
        else:
            row = made.field.add(name=field.name, number=field.number, type=_TYPES[field.type])
            if field.enum is not None:
                row.type_name = f".{package}.{message.name}.{field.enum.name}"
        row.label = _REPEATED if field.repeated else _OPTIONAL
        row.json_name = json_name(field.name)
    for enum in enums_of(message):
        made_enum = made.enum_type.add(name=enum.name)
        for name, number in enum.values:
            made_enum.value.add(name=name, number=number)


def json_name(name: str) -> str:
    """The name of a field in protobuf's JSON: an underscore is left out and what stands behind it is a capital."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


@cache
def message_classes(layout: Layout) -> dict[str, Any]:
    """The message classes of a layout by their names without the package (`xtcp_record`, `Envelope`)."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file_descriptor(layout))
    names = [message.name for message in messages_of(layout)]
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{layout.package}.{name}")) for name in names
    }
