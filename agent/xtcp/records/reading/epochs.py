"""xtcp2's records of any epoch: field 1 is read first, and says by which layout the rest is.

    epoch 0   no field 1, before 2026-08: other numbers, some of which mean something else later on
    epoch 1   schema_version 1; some daemons of it send fields of epoch 2 already, which are skipped as unknown
    epoch 2   schema_version 2

Of epoch 0 no .proto is kept here: it is the layout of epoch 1 with the numbers of its groups moved (`_MOVED`). Its
time was a double of seconds until 2026-08-11, and whole nanoseconds since; the wire type tells.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from xtcp.records.layouts import LAYOUTS
from xtcp.records.model import Layout, Message, Nested, RecordField
from xtcp.records.reading.slots import Slot, SlotReader
from xtcp.records.reading.varints import Ints, Varints
from xtcp.records.reading.walk import VARINT

# Of epoch 1 to epoch 0: first number, last, and how much less it was. What is in none of them was not there.
_MOVED: Final = (
    *((10, 10, 0), (20, 21, 0), (30, 30, 0), (31, 31, -2), (32, 32, -8), (40, 41, 9), (50, 50, 0), (51, 51, -9)),
    *((60, 60, -10), (61, 61, -19), (62, 62, -28)),
    *((1001, 1017, 900), (1101, 1104, 900), (1201, 1265, 900), (1300, 1301, 900), (1401, 1402, 900)),
    *((1501, 1509, 900), (1600, 1600, 900), (1701, 1704, 900), (1801, 1805, 900), (1901, 1905, 900)),
    *((2001, 2002, 900), (2103, 2103, 900)),
)
LATEST: Final = 2


def _before(number: int) -> int | None:
    """The number that a field of epoch 1 had in epoch 0."""
    return next((number - less for first, last, less in _MOVED if first <= number <= last), None)


def _oldest(newer: Layout) -> Layout:
    fields: list[RecordField | Nested] = []
    for field in newer.record.fields:
        number = _before(field.number)
        if number is not None:
            fields.append(replace(field, number=number))
    fields.sort(key=lambda field: field.number)
    return replace(newer, name="xtcp2-0", record=Message(newer.record.name, tuple(fields)), constants=())


# By epoch.
EPOCHS: Final = (_oldest(LAYOUTS["xtcp2-1"]), LAYOUTS["xtcp2-1"], LAYOUTS["xtcp2-2"])
_VERSION: Final = SlotReader([Slot("schema_version", (1,), VARINT)])


def epochs(varints: Varints, starts: Ints, ends: Ints) -> Ints:
    """`schema_version` of each record, 0 where there is none, int64 (n,); above `LATEST` it is one not known here."""
    # Whoever serialises puts field 1 first; in what does not begin with it, it is looked for.
    first = np.minimum(varints.at(starts), max(varints.count - 1, 0))
    begins = (varints.start[first] == starts) & (varints.value[first] == 1 << 3) & (varints.end[first + 1] < ends)
    version = np.where(begins, np.minimum(varints.value[first + 1], np.uint64(1 << 32)), np.uint64(0)).astype(np.int64)
    others = np.flatnonzero(~begins)
    if len(others):
        found = _VERSION.read(varints, starts[others], ends[others]).scalars["schema_version"]
        version[others] = np.minimum(found, np.uint64(1 << 32)).astype(np.int64)
    return version
