"""Records as google.protobuf's objects, filled row by row in plain Python: the witness of what the encoder writes.

It reads the tables of the layouts and nothing else of the encoder's: `SerializeToString(deterministic=True)` of each
message is what the encoder must give for that row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from xtcp.batch import Batch
from xtcp.records.descriptor import message_classes
from xtcp.records.model import LONGEST_TEXT, Derivation, Layout, Message, Nested, Presence, RecordField

Row = Mapping[str, Any]


def messages_of(
    batch: Batch, layout: Layout, constants: Mapping[str, int | str] | None = None, first: int = 1
) -> Iterator[Any]:
    """A message a row, in the batch's order; `constants` as the encoder takes them; `first` is the counter of row 0."""
    record = message_classes(layout)[layout.record.name]
    known = {**dict(layout.constants), **(constants or {})}
    for number, row in enumerate(rows_of(batch)):
        message = record()
        _fill(message, layout.record, row, known, first + number)
        yield message


def rows_of(batch: Batch) -> Iterator[dict[str, Any]]:
    """Each row as Python values by column name, absent ones left out; the context's are in every row."""
    context = batch.context.constants()
    for row in range(batch.rows):
        yield {
            name: column[row].tobytes()
            if column.ndim == 2
            else column[row].item()
            if column.dtype != object
            else column[row]
            for name, column in batch.columns.items()
            if name not in batch.valid or batch.valid[name][row]
        } | context


def _fill(message: Any, table: Message, row: Row, constants: Row, counter: int) -> bool:
    """Sets the fields of `table`; returns whether any was given."""
    given = False
    for field in table.fields:
        if isinstance(field, Nested):
            inner = type(getattr(message, field.name))()
            if _fill(inner, field.message, row, constants, counter):
                getattr(message, field.name).CopyFrom(inner)
                given = True
            continue
        value = _value(field, row, constants, counter)
        if value is None or (field.presence is Presence.NONZERO and not value):
            continue
        setattr(message, field.name, value)
        given = True
    return given


def _value(field: RecordField, row: Row, constants: Row, counter: int) -> Any:
    if field.derivation is Derivation.CONSTANT:
        raw = constants.get(field.name)
    elif field.derivation is Derivation.COUNTER:
        raw = counter
    else:
        raw = row.get(field.column)
    if raw is None:
        return None
    if field.derivation is Derivation.CONGESTION:
        assert field.enum is not None
        return dict(field.enum.congestion).get(_text(raw), 0)
    return {
        Derivation.SECONDS: lambda: raw // 1_000_000_000,
        Derivation.NANOSECONDS: lambda: raw % 1_000_000_000,
        Derivation.LOW_WORD: lambda: raw & 0xFFFFFFFF,
        Derivation.HIGH_WORD: lambda: raw >> 32,
        Derivation.ADDRESS: lambda: raw[:4] if row.get("idiag_family") == 2 else raw,
    }.get(field.derivation, lambda: _text(raw) if field.type == "string" else raw)()


def _text(raw: str | bytes) -> str:
    """As the records have it: UTF-8, at most `LONGEST_TEXT` bytes of it, no character cut in two."""
    data = raw if isinstance(raw, bytes) else raw.encode("utf-8", "surrogatepass")
    text = data.decode("utf-8", "replace")
    while len(text.encode()) > LONGEST_TEXT:
        text = text[:-1]
    return text
