"""Distributions over connections, by class, with fixed buckets; each poll adds its observations to those before."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.health.snapshot import Distributed, Histogram

# The upper half of an f32: sign, exponent and 7 bits of the fraction tell a value's cell, 0.8 % wide.
# Those up to infinity; no NaN and nothing negative comes here.
_CELLS: Final = 0x7F80 + 1


class Distribution:
    """The histograms of one quantity, one a class. Sums are f64.

    A table by cell says how many bounds lie below the cell; one comparison with the next bound makes it exact, for no
    cell holds two. A binary search a value takes five times as long.
    """

    def __init__(self, what: Distributed, classes: int) -> None:
        self.what = what
        self._classes = classes
        self._buckets = len(what.bounds) + 1
        self._counts = np.zeros(classes * self._buckets, np.int64)
        self._sums = np.zeros(classes)
        self._bounds = np.array((*what.bounds, np.inf))
        edges = (np.arange(_CELLS, dtype=np.uint32) << 16).view(np.float32).astype(np.float64)
        self._below = np.searchsorted(self._bounds[:-1], edges)

    def observe(self, values: NDArray[np.generic], number: NDArray[np.intp], weight: int) -> None:
        """Adds `values` (n,), none negative, of the classes `number` (n,); each stands for `weight` sockets."""
        if self.what.absent is not None:
            there = values != self.what.absent
            if not there.all():
                values, number = values[there], number[there]
        exact = values.astype(np.float64)
        place = self._below.take(exact.astype(np.float32).view(np.uint32) >> 16)
        place += exact > self._bounds.take(place)
        place += number * self._buckets
        self._counts += weight * np.bincount(place, minlength=len(self._counts))
        self._sums += weight * np.bincount(number, exact, self._classes)

    def histogram(self, number: int) -> Histogram | None:
        """That of a class; None while it has no observation."""
        counts = self._counts[number * self._buckets : (number + 1) * self._buckets]
        if not counts.any():
            return None
        return Histogram(tuple(counts.tolist()), float(self._sums[number]) * self.what.scale)
