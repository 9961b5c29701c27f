"""Batch: rows as columns with presence; Tally: what decoding counted beside them.

The one type between decode and all that follows. Arrays are contiguous, in native order, and belong to the batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.chunk import Context

# Faults and kernel errors are counted without end, described up to this many.
MAX_DESCRIBED: Final = 64

# What a Python object of bytes costs with a few bytes in it.
CELL_BYTES: Final = 64


@dataclass(frozen=True, order=True)
class Fault:
    """Bytes that were set aside: where in the chunk, how many, and why."""

    offset: int
    length: int
    reason: str


@dataclass(frozen=True)
class KernelMessage:
    """An `NLMSG_ERROR` or `NLMSG_DONE`: errno (positive, 0 for none) and the extended acknowledgement's text."""

    errno: int
    text: str = ""


@dataclass
class Tally:
    """What came in a chunk, or in several: `messages == rows + quarantined + sum(control.values())` always.

    `quarantined` counts messages, and remnants that make no message, that gave no row; `damaged` rows whose
    attributes end in bytes that make none. `control` counts by kind: done, error, ack, noop, overrun, request,
    foreign (another sequence number or port id), other. `unknown` counts attributes by path (`23`, `19.2.9`),
    `surplus` payloads longer than the struct by path and length, `repeated` attributes that came twice in one place.
    """

    messages: int = 0
    rows: int = 0
    quarantined: int = 0
    damaged: int = 0
    repeated: int = 0
    interrupted: bool = False
    control: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    surplus: Counter[tuple[str, int]] = field(default_factory=Counter)
    info_lengths: Counter[int] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    errors: list[KernelMessage] = field(default_factory=list)
    done: KernelMessage | None = None

    def fault(self, offset: int, length: int, reason: str) -> None:
        """Describes a fault, as long as there is room; the caller counts it."""
        if len(self.faults) < MAX_DESCRIBED:
            self.faults.append(Fault(offset, length, reason))

    def add(self, other: Tally) -> None:
        """Adds the counts of the next chunk."""
        self.messages += other.messages
        self.rows += other.rows
        self.quarantined += other.quarantined
        self.damaged += other.damaged
        self.repeated += other.repeated
        self.interrupted |= other.interrupted
        self.control += other.control
        self.unknown += other.unknown
        self.surplus += other.surplus
        self.info_lengths += other.info_lengths
        self.faults += other.faults[: MAX_DESCRIBED - len(self.faults)]
        self.errors += other.errors[: MAX_DESCRIBED - len(self.errors)]
        self.done = other.done or self.done


@dataclass(frozen=True)
class Batch:
    """`rows` rows of one context.

    `columns` holds one array a column, (rows,), an address (rows, 16); a column that no row has is not in it.
    `valid` holds a bool (rows,) for those that only some rows have; where it is False the cell is 0 or empty.
    `position` is each message's offset in the chunk: rows come grouped by layout, `in_order` undoes that.
    """

    context: Context
    rows: int
    columns: Mapping[str, NDArray[np.generic]]
    valid: Mapping[str, NDArray[np.bool_]]
    position: NDArray[np.int64]
    tally: Tally

    @property
    def nbytes(self) -> int:
        """Bytes that keeping it costs; a cell of bytes or text is taken for `CELL_BYTES`, for it is rare and short."""
        masks = {id(mask): mask.nbytes for mask in self.valid.values()}
        cells = sum(c.nbytes if c.dtype != object else c.nbytes + CELL_BYTES * self.rows for c in self.columns.values())
        return cells + sum(masks.values()) + self.position.nbytes

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Batch:
        """The rows at `index` (numbers, or a bool a row), with the tally unchanged."""
        position = self.position[index]
        masks: dict[int, NDArray[np.bool_]] = {}
        for mask in self.valid.values():
            if id(mask) not in masks:
                masks[id(mask)] = mask[index]
        some = {name for name, mask in self.valid.items() if not masks[id(mask)].all()}
        none = {name for name, mask in self.valid.items() if not masks[id(mask)].any()}
        return replace(
            self,
            rows=len(position),
            columns={name: column[index] for name, column in self.columns.items() if name not in none},
            valid={name: masks[id(mask)] for name, mask in self.valid.items() if name in some - none},
            position=position,
        )

    def in_order(self) -> Batch:
        """The rows in the order in which the kernel sent them; the batch itself where they are."""
        if self.rows < 2 or bool((self.position[1:] > self.position[:-1]).all()):
            return self
        return self.take(np.argsort(self.position, kind="stable"))

    def select(self, names: frozenset[str]) -> Batch:
        """Only the columns in `names`."""
        return replace(
            self,
            columns={name: column for name, column in self.columns.items() if name in names},
            valid={name: mask for name, mask in self.valid.items() if name in names},
        )
