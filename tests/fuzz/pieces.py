"""Bytes as pieces, and what a target of records needs beside them."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tests.equality import assert_sound
from xtcp.batch import Batch
from xtcp.poll.trailer import Trailer
from xtcp.records.model import Layout, Nested, RecordField
from xtcp.records.reading.slots import Slot
from xtcp.records.reading.walk import BYTES, VARINT
from xtcp.sinks.sink import AtOnce

SETTINGS: Final = 2


class Rows(AtOnce):
    """A sink that looks at what comes."""

    error = None
    gone = False

    def __init__(self) -> None:
        self.rows = 0

    def accept(self, batch: Batch) -> None:
        """Looks at it, and counts."""
        assert_sound(batch)
        self.rows += batch.rows

    def end_poll(self, trailer: Trailer) -> None:
        """Its line can be written."""
        assert trailer.line()

    def flush(self, timeout_s: float = 0) -> None:
        """Nothing waits."""

    def close(self, timeout_s: float = 0) -> None:
        """Nothing waits."""


def split(data: bytes) -> list[bytes]:
    """What stands behind the first two bytes, in as many pieces as the second says, each behind its length where that
    is told by a byte of its own: so the fuzzer moves borders.
    """
    second, rest = data[1:SETTINGS].ljust(1, b"\0")[0], data[SETTINGS:]
    if second & 128:
        size = -(-len(rest) // (second % 32 + 1)) or 1
        return [rest[at : at + size] for at in range(0, len(rest), size)] or [b""]
    pieces, at = [], 0
    while at + 2 <= len(rest):
        (length,) = struct.unpack_from(">H", rest, at)
        pieces.append(rest[at + 2 : at + 2 + length])
        at += 2 + length
    return pieces or [b""]


def joined(pieces: list[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64], bytes]:
    """Where each begins and ends, in all of them one behind the other."""
    lengths = np.array([len(piece) for piece in pieces], np.int64)
    ends = np.cumsum(lengths, dtype=np.int64)
    return ends - lengths, ends, b"".join(pieces)


def slots_of(layout: Layout) -> tuple[list[Slot], list[tuple[int, ...]]]:
    """Its fields, and the paths of its nested messages."""
    slots, nests = [], []

    def inside(fields: tuple[RecordField | Nested, ...], path: tuple[int, ...]) -> None:
        for field in fields:
            here = (*path, field.number)
            if isinstance(field, Nested):
                nests.append(here)
                inside(field.message.fields, here)
            else:
                slots.append(
                    Slot(".".join(map(str, here)), here, BYTES if field.type in ("string", "bytes") else VARINT)
                )

    inside(layout.record.fields, ())
    return slots, nests
