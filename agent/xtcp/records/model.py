"""What a layout of records is: which column becomes which field of a protobuf message, and when it is sent.

Pure data, standard library only. The layouts stand in `layouts` and the tables beside it; the encoder, the reader, the
.proto texts and the run-time descriptors are made from them.

1. Fields stand in ascending order of their numbers, as google.protobuf serialises them, nested ones too.
2. A field whose column the batch does not have, or has not in a row, is not sent in that row.
3. A nested message is sent where a field of it is given, with those fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, TypeAlias

Scalar: TypeAlias = Literal["uint32", "uint64", "int64", "string", "bytes", "enum"]
Syntax: TypeAlias = Literal["proto2", "proto3"]

# Texts are cut to so many bytes, at a character's end.
LONGEST_TEXT: Final = 255


class Presence(Enum):
    """When a field is sent in a row that has its column."""

    GIVEN = "always, zeros too (proto2)"
    NONZERO = "where it is not zero or empty (proto3; proto2 fields that xTCP leaves out so)"


class Derivation(Enum):
    """How a field's value comes from its column."""

    SAME = "the column itself"
    SECONDS = "whole seconds of a time in ns"
    NANOSECONDS = "what is left of them, ns"
    LOW_WORD = "the low 32 bits of a u64"
    HIGH_WORD = "its high 32 bits"
    ADDRESS = "4 bytes of an IPv4 socket, 16 of another, network order"
    CONGESTION = "the number of a congestion control's name in the field's enum, 0 for one that is not in it"
    CONSTANT = "no column: the same in every record, given to the encoder by the field's name"
    COUNTER = "no column: counts the records of an encoder, from 1"


@dataclass(frozen=True)
class EnumType:
    """An enum: its name, its values in order, and which congestion control's name each stands for (may be empty)."""

    name: str
    values: tuple[tuple[str, int], ...]
    congestion: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class RecordField:
    """A scalar field. `column` is empty where the value comes from none; one that nothing can fill (what only other
    programs know) has neither column nor constant, and is in the .proto alone.
    """

    number: int
    name: str
    type: Scalar
    column: str = ""
    presence: Presence = Presence.NONZERO
    derivation: Derivation = Derivation.SAME
    enum: EnumType | None = None
    comment: str = ""
    repeated: bool = False


@dataclass(frozen=True)
class Nested:
    """A field that is a message. Fields of a record are never `repeated`, those of an envelope may be."""

    number: int
    name: str
    message: Message
    comment: str = ""
    repeated: bool = False


@dataclass(frozen=True)
class Message:
    """A message type and its fields."""

    name: str
    fields: tuple[RecordField | Nested, ...]
    comment: str = ""

    def __post_init__(self) -> None:
        numbers = [field.number for field in self.fields]
        if numbers != sorted(set(numbers)):
            raise ValueError(f"the fields of {self.name} do not stand in ascending order of their numbers")

    def scalars(self) -> Iterator[RecordField]:
        """All scalar fields, those of nested messages in their place."""
        for field in self.fields:
            if isinstance(field, RecordField):
                yield field
            else:
                yield from field.message.scalars()


@dataclass(frozen=True)
class EnvelopeForm:
    """The message that holds many records: the numbers of its fields; None for one that the layout does not have."""

    name: str
    record: int
    header: int | None = None
    trailer: int | None = None
    record_name: str = "record"


@dataclass(frozen=True)
class Layout:
    """`constants` are the values of CONSTANT fields by name that every encoder of this layout begins with."""

    name: str
    package: str
    syntax: Syntax
    record: Message
    envelope: EnvelopeForm | None = None
    constants: tuple[tuple[str, int | str], ...] = ()
