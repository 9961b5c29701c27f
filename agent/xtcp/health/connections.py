"""What each connection's counters were in the poll before, so that what they grew by can be added up.

A total over connections cannot be had by summing their counters: it would fall whenever one closes. So the growth of
each is added to counters that only grow.

1. A connection is told by its cookie and namespace. Of one that was there before, the growth counts. 32 bits are
   kept of a counter, and growth is taken modulo 2**32; `wide` ones keep 64.
2. If a wide counter went back, the socket was disconnected and used again: what its counters say now counts.
3. One that was not there before counts with all it has if it can only be new: the poll before was complete for its
   namespace, and nothing in its `tcp_info` is older than that poll. Otherwise it only begins to be known.
4. A connection missing from one poll is remembered (dumps leave sockets out under churn), after two it is forgotten.
   What it did after the last poll that saw it is not counted.
5. After more than `LONGEST_NS` between two polls everything is forgotten: 32 bits of microseconds would not do.

Memory is 61 bytes a connection, and 4 to 8 for the index: a row number in the slot that the low bits of a cookie name
(the kernel counts them upwards, so few meet), and those whose slot another one has in a sorted list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

LONGEST_NS: Final = 30 * 60 * 10**9
MOST_CONNECTIONS: Final = 1 << 20
_FORGOTTEN: Final = 2

Counters: TypeAlias = NDArray[np.unsignedinteger[Any]]
_T = TypeVar("_T", bound=np.generic)


class Connections:
    """A row a connection: its key, its counters, and for how many polls it was missing.

    `wide` says of each counter whether its 64 bits are kept. `untracked` are the connections of this poll that there
    was no room for: `most` is the limit.
    """

    def __init__(self, wide: Sequence[bool], most: int = MOST_CONNECTIONS) -> None:
        self._most = most
        self._wide = tuple(wide)
        self._rows = 0
        self._keys = np.zeros(0, np.uint64)
        self._missing = np.zeros(0, np.uint8)
        self._counters: list[Counters] = [np.zeros(0, np.uint64 if w else np.uint32) for w in wide]
        self.untracked = 0
        self._index()

    def __len__(self) -> int:
        return self._rows

    @property
    def nbytes(self) -> int:
        """What all of it takes."""
        columns: list[NDArray[Any]] = [self._keys, self._missing, *self._counters]
        return sum(array.nbytes for array in (*columns, self._slots, self._met, self._met_rows))

    def grow(
        self, keys: NDArray[np.uint64], counters: Sequence[NDArray[np.generic] | None], new: NDArray[np.bool_]
    ) -> list[Counters | None]:
        """What `counters` (n,) grew by since the poll before, 0 where that is not known; None stays None.

        No two `keys` (n,) are alike in a poll. `new` (n,) tells which rows count with all they have where they are not
        known.
        """
        row = self._find(keys)
        unknown = np.flatnonzero(row < 0)
        if len(unknown):
            row[unknown] = self._append(keys[unknown])
        begins = unknown[~new[unknown] | (row[unknown] < 0)]
        self._missing[row] = 0
        grown: list[Counters | None] = []
        back = np.zeros(len(keys), np.bool_)
        for counter, values, wide in zip(self._counters, counters, self._wide, strict=True):
            if values is None:
                grown.append(None)
                continue
            before, now = counter[row], values.astype(counter.dtype, copy=False)
            counter[row] = now
            if wide:
                back |= now < before
            grown.append(np.subtract(now, before, out=before))
        again = np.flatnonzero(back)
        for growth, values in zip(grown, counters, strict=True):
            if growth is not None and values is not None:
                if len(again):
                    growth[again] = values[again].astype(growth.dtype)
                growth[begins] = 0
        return grown

    def end_poll(self) -> None:
        """Forgets what was missing twice; who is not seen from here on is missing. `untracked` begins anew."""
        self.untracked = 0
        keep = self._missing[: self._rows] < _FORGOTTEN
        if not keep.all():
            self._keep(keep)
        self._index()
        self._missing[: self._rows] += 1

    def forget(self) -> None:
        """Everything."""
        self._keep(np.zeros(self._rows, np.bool_))
        self._index()

    def _find(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The row of each key, -1 for those that are not known; rows of this poll are not looked for."""
        if not self._indexed:
            return np.full(len(keys), -1, np.int64)
        row = self._slots[self._slot(keys)].astype(np.int64)
        wrong = self._keys[row] != keys
        if wrong.any():
            row[wrong] = -1
            if len(self._met):
                lost = np.flatnonzero(wrong)
                place = np.minimum(np.searchsorted(self._met, keys[lost]), len(self._met) - 1)
                same = self._met[place] == keys[lost]
                row[lost[same]] = self._met_rows[place[same]]
        return row

    def _slot(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        return (keys & np.uint64(len(self._slots) - 1)).astype(np.int64)

    def _index(self) -> None:
        """Makes the index anew; a free slot says row 0, whose key is then another one."""
        self._indexed = self._rows
        keys = self._keys[: self._rows]
        rows = np.arange(self._rows, dtype=np.uint32)
        self._slots = np.zeros(1 << max(self._rows - 1, 1).bit_length(), np.uint32)
        slot = self._slot(keys)
        self._slots[slot] = rows
        apart = np.flatnonzero(self._slots[slot] != rows)
        order = np.argsort(keys[apart])
        self._met, self._met_rows = keys[apart][order], rows[apart][order]

    def _append(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Room for connections whose counters are 0; their rows, and for those that find none the spare one, -1."""
        taken = min(len(keys), self._most - self._rows)
        self.untracked += len(keys) - taken
        end = self._rows + taken
        # One more, for those that find none.
        if end >= len(self._keys):
            self._resize(max(end, min(self._most, self._rows + self._rows // 8)) + 1)
        here = slice(self._rows, end)
        self._keys[here] = keys[:taken]
        for counter in self._counters:
            counter[here] = 0
        rows = np.full(len(keys), -1, np.int64)
        rows[:taken] = np.arange(self._rows, end)
        self._rows = end
        return rows

    def _keep(self, keep: NDArray[np.bool_]) -> None:
        kept = np.flatnonzero(keep)
        columns: list[NDArray[Any]] = [self._keys, self._missing, *self._counters]
        for column in columns:
            column[: len(kept)] = column[: self._rows][kept]
        self._rows = len(kept)
        # A host that had a million connections once does not need the room for ever.
        if len(self._keys) > 2 * self._rows + 1:
            self._resize(self._rows + 1)

    def _resize(self, rows: int) -> None:
        self._keys = _resized(self._keys, rows, self._rows)
        self._missing = _resized(self._missing, rows, self._rows)
        self._counters = [_resized(counter, rows, self._rows) for counter in self._counters]


def _resized(array: NDArray[_T], rows: int, kept: int) -> NDArray[_T]:
    new = np.zeros(rows, array.dtype)
    new[:kept] = array[:kept]
    return new
