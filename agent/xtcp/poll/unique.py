"""Rows without duplicates: a socket once a poll, told by its cookie.

The kernel resumes a dump by (bucket, position in it), so under churn a socket comes twice, and one that changes from
SYN-RECV to ESTAB to TIME-WAIT keeps its cookie. Of two rows the one with `tcp_info` stays, of two alike the newer,
as long as both are in hand: one batch is held back for that. What has been handed on stays as it is.

Cookies seen are a bitmap above the smallest while they span less than 2^24 (one byte each), a set beyond that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import Batch

# What this stage looks at, whoever else wants it.
NEEDED_COLUMNS: Final = frozenset({"idiag_cookie", "tcp_info_len"})

BITMAP_SPAN: Final = 1 << 24
_ROOM: Final = 1 << 16


class SeenCookies:
    """A set of u64 for whole arrays at a time."""

    def __init__(self) -> None:
        self._base = 0
        self._bitmap: NDArray[np.bool_] | None = np.empty(0, np.bool_)
        self._set: set[int] = set()

    def among(self, cookies: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of `cookies` (n,) were added before, bool (n,)."""
        if self._bitmap is None:
            return np.fromiter((c in self._set for c in cookies.tolist()), np.bool_, len(cookies))
        bitmap = self._cover(cookies)
        if bitmap is None:
            return self.among(cookies)
        return bitmap[(cookies - np.uint64(self._base)).astype(np.int64)]

    def add(self, cookies: NDArray[np.uint64]) -> None:
        """Adds `cookies`, which `among` has been asked about."""
        if self._bitmap is None:
            self._set.update(cookies.tolist())
        else:
            self._bitmap[(cookies - np.uint64(self._base)).astype(np.int64)] = True

    def _cover(self, cookies: NDArray[np.uint64]) -> NDArray[np.bool_] | None:
        """Makes the bitmap reach over `cookies` and returns it, or gives it up for the set."""
        assert self._bitmap is not None
        if not len(cookies):
            return self._bitmap
        low, high = int(cookies.min()), int(cookies.max()) + 1
        old_end = self._base + len(self._bitmap)
        if len(self._bitmap) and low >= self._base and high <= old_end:
            return self._bitmap
        if len(self._bitmap):
            low, high = min(low, self._base), max(high, old_end)
        if high - low > BITMAP_SPAN:
            self._set = set((np.flatnonzero(self._bitmap).astype(np.uint64) + np.uint64(self._base)).tolist())
            self._bitmap = None
            return None
        base = max(0, low - _ROOM)
        bitmap = np.zeros(high + _ROOM - base, np.bool_)
        bitmap[self._base - base : self._base - base + len(self._bitmap)] = self._bitmap
        self._base, self._bitmap = base, bitmap
        return bitmap


class Unique:
    """Feeds batches of one dump (or of the dumps of one poll) through; counts what it removed in `removed`."""

    def __init__(self) -> None:
        self.removed = 0
        self._seen = SeenCookies()
        self._held: Batch | None = None

    def add(self, batch: Batch) -> Iterator[Batch]:
        """Takes a batch with the columns `idiag_cookie` and, where wanted, `tcpi_state`; yields the one before it."""
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
