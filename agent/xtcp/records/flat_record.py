"""Our own layout, `flat`: every column a field of one message under its own name, zeros not sent.

Types follow the columns' kinds: integers up to 32 bits are uint32, 64 bits uint64, a signed time int64, texts string,
bytes and addresses bytes, an address always 16 of them as the kernel sends it. What is absent and what is zero are
told apart by `attributes` and `tcp_info_len`, which are sent with the rows. The numbers are those of `schema.tags`.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Final

from xtcp.records.model import EnvelopeForm, Layout, Message, RecordField, Scalar
from xtcp.schema.columns import BY_NAME
from xtcp.schema.model import ADDRESS, BLOB, I64, PAIR64, STRING, TEXT, U64, Column, Kind
from xtcp.schema.tags import TAGS

_TYPES: Final[dict[Kind, Scalar]] = {
    **dict.fromkeys((TEXT, STRING), "string"),
    **dict.fromkeys((BLOB, ADDRESS), "bytes"),
    **dict.fromkeys((U64, PAIR64), "uint64"),
    I64: "int64",
}


def _field(number: int, column: Column) -> RecordField:
    unit = f", {column.unit}" if column.unit else ""
    comment = f"{column.meaning}{unit}"
    return RecordField(number, column.name, _TYPES.get(column.kind, "uint32"), column.name, comment=comment)


RECORD: Final = Message(
    "Record",
    tuple(_field(tag, BY_NAME[name]) for name, tag in sorted(TAGS.items(), key=itemgetter(1)) if name in BY_NAME),
    "One socket at one time. A field that is not sent is zero or absent; attributes and tcp_info_len tell which.",
)

FLAT: Final = Layout("flat", "xtcp.v1", "proto3", RECORD, EnvelopeForm("Envelope", record=1, header=2, trailer=3))
