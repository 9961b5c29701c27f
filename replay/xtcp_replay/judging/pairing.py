"""Rows of two streams brought together by (dump, cookie), however they are ordered. Holds only what waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain

from xtcp_replay.judging.golden_file import Fields


class Pairing:
    """`add` takes rows of side 0 and side 1, and calls `paired(row of 0, row of 1)` for each two of one socket.

    `held` rows wait for their partner; `reordered` once two came that were not added with the same `step`.
    """

    def __init__(self, paired: Callable[[Fields, Fields], None]) -> None:
        self.held = 0
        self.reordered = False
        self._paired = paired
        self._waiting: tuple[dict[str, deque[tuple[int, Fields]]], ...] = ({}, {})

    def add(self, side: int, step: int, row: Fields) -> None:
        """One row. Rows of the same socket in one dump are paired in their order."""
        key = f"{row.get('dump')} {row.get('idiag_cookie')}"
        others = self._waiting[1 - side].get(key)
        if not others:
            self._waiting[side].setdefault(key, deque()).append((step, row))
            self.held += 1
            return
        added, other = others.popleft()
        self.held -= 1
        if not others:
            del self._waiting[1 - side][key]
        self.reordered |= added != step
        self._paired(*((other, row) if side else (row, other)))

    def alone(self, side: int) -> Iterator[Fields]:
        """The rows of a side that found no partner."""
        return (row for _, row in chain.from_iterable(self._waiting[side].values()))
