"""Rows without duplicates: a socket once a poll, told by its cookie.

The kernel resumes a dump by (bucket, position in it), so under churn a socket comes twice, and one that changes from
SYN-RECV to ESTAB to TIME-WAIT keeps its cookie. Of two rows the one with `tcp_info` stays, of two alike the newer,
as long as both are in hand: one batch is held back for that. What has been handed on stays as it is.

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

    def among(self, cookies: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of `cookies` (n,) were added before, bool (n,)."""
        slot = _slot(cookies)
        held = self._slots[slot]
        seen: NDArray[np.bool_] = held == cookies
        if self._others:
            for index in np.flatnonzero(~seen & (held != (slot == 0))).tolist():
                seen[index] = int(cookies[index]) in self._others
        return seen

    def add(self, cookies: NDArray[np.uint64]) -> None:
        """Adds `cookies` (n,)."""
        slot = _slot(cookies)
        free = self._slots[slot] == (slot == 0)
        self._slots[slot[free]] = cookies[free]
        self._others.update(cookies[self._slots[slot] != cookies].tolist())


def _slot(cookies: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (cookies & np.uint64(SLOTS - 1)).astype(np.int64)


class Unique:
    """Feeds batches of one dump (or of the dumps of one poll) through; counts what it removed in `removed`."""

    def __init__(self) -> None:
        self.removed = 0
        self._seen = SeenCookies()
        self._held: Batch | None = None

    def add(self, batch: Batch) -> Iterator[Batch]:
        """Takes a batch with the column `idiag_cookie` and, where wanted, `tcp_info_len`; yields the one before it."""
        if not batch.rows:
            return
        batch = self._within(batch)
        cookies = batch.columns["idiag_cookie"].astype(np.uint64, copy=False)
        again = self._seen.among(cookies)
        if again.any():
            batch = self._against_held(batch, cookies, again)
            cookies = batch.columns["idiag_cookie"].astype(np.uint64, copy=False)
        self._seen.add(cookies)
        if self._held is not None and self._held.rows:
            yield self._held
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
