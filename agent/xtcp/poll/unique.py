"""Rows without duplicates: a socket once a poll, told by its cookie.

The kernel resumes a dump by (bucket, position in it), so under churn a socket comes twice, and one that changes from
SYN-RECV to ESTAB to TIME-WAIT keeps its cookie. Of two rows the one with `tcp_info` stays, of two alike the newer,
as long as both are in hand: a batch that has rows without `tcp_info` is held back until the next one for that. What
has been handed on stays as it is.

Cookies seen stand in a table of 8 MiB, each in the slot that its low bits name, those whose slot another one has in a
set beside it: the kernel counts cookies upwards, so few meet, and a set of all would cost 6 times the time (measured
with 118,800 cookies) and grow by 55 bytes a socket.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import Batch

# What this stage looks at, whoever else wants it.
NEEDED_COLUMNS: Final = frozenset({"idiag_cookie", "tcp_info_len"})

# A power of 2, at least 2.
SLOTS: Final = 1 << 20


class SeenCookies:
    """A set of u64 for whole arrays at a time."""

    def __init__(self) -> None:
        # Zeros are free slots; in slot 0, where cookie 0 belongs, the free one says 1, which belongs in slot 1.
        self._slots = np.zeros(SLOTS, np.uint64)
        self._slots[0] = 1
        self._others: set[int] = set()

    def add(self, cookies: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Adds `cookies` (n,), no two alike; tells which of them were there before, bool (n,)."""
        slot = (cookies & np.uint64(SLOTS - 1)).astype(np.int64)
        held = self._slots[slot]
        free = held == (slot == 0)
        seen: NDArray[np.bool_] = held == cookies
        if self._others:
            for index in np.flatnonzero(~seen & ~free).tolist():
                seen[index] = int(cookies[index]) in self._others
        self._slots[slot[free]] = cookies[free]
        apart = self._slots[slot] != cookies
        if apart.any():
            self._others.update(cookies[apart].tolist())
        return seen


class Unique:
    """Feeds batches of one dump (or of the dumps of one poll) through; counts what it removed in `removed`."""

    def __init__(self) -> None:
        self.removed = 0
        self._seen: SeenCookies | None = None
        self._first: NDArray[np.uint64] | None = None
        self._held: Batch | None = None

    def add(self, batch: Batch) -> Iterator[Batch]:
        """Takes a batch with the column `idiag_cookie` and, where wanted, `tcp_info_len`; yields what may go on."""
        if not batch.rows:
            return
        batch = self._within(batch)
        cookies = batch.columns["idiag_cookie"].astype(np.uint64, copy=False)
        if self._first is None:
            # Most dumps of a capture are one batch: the table costs more than they do.
            self._first = cookies
        else:
            if self._seen is None:
                self._seen = SeenCookies()
                self._seen.add(self._first)
            again = self._seen.add(cookies)
            if again.any():
                batch = self._against_held(batch, cookies, again)
        yield from self.end()
        if _has_info(batch).all():
            if batch.rows:
                yield batch
        else:
            self._held = batch

    def end(self) -> Iterator[Batch]:
        """Yields the batch held back."""
        if self._held is not None and self._held.rows:
            yield self._held
        self._held = None

    def _within(self, batch: Batch) -> Batch:
        """One row a cookie inside the batch."""
        cookies = batch.columns["idiag_cookie"]
        ordered = np.sort(cookies)
        if not (ordered[1:] == ordered[:-1]).any():
            return batch
        rank = np.lexsort((batch.position, _has_info(batch), cookies))
        ranked = cookies[rank]
        last = np.ones(batch.rows, np.bool_)
        last[:-1] = ranked[1:] != ranked[:-1]
        keep = np.zeros(batch.rows, np.bool_)
        keep[rank[last]] = True
        self.removed += batch.rows - int(keep.sum())
        return batch.take(keep)

    def _against_held(self, batch: Batch, cookies: NDArray[np.uint64], again: NDArray[np.bool_]) -> Batch:
        """Of cookies in both batches drops the lesser row; drops what was handed on before."""
        keep = ~again
        if self._held is not None and self._held.rows:
            held = self._held
            held_cookies = held.columns["idiag_cookie"]
            rank = np.argsort(held_cookies)
            rows = np.flatnonzero(again)
            slot = np.minimum(np.searchsorted(held_cookies, cookies[rows], sorter=rank), held.rows - 1)
            other = rank[slot]
            better = (held_cookies[other] == cookies[rows]) & (_has_info(batch)[rows] | ~_has_info(held)[other])
            keep[rows[better]] = True
            if better.any():
                held_keep = np.ones(held.rows, np.bool_)
                held_keep[other[better]] = False
                self._held = held.take(held_keep)
        self.removed += int(again.sum())
        return batch if keep.all() else batch.take(keep)


def _has_info(batch: Batch) -> NDArray[np.bool_]:
    """Which rows came with INET_DIAG_INFO."""
    if "tcp_info_len" not in batch.columns:
        return np.zeros(batch.rows, np.bool_)
    return batch.valid.get("tcp_info_len", np.ones(batch.rows, np.bool_))
