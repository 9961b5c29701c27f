"""Backoff: how long to leave a far side alone after it failed, twice as long each time, never quite the same.

The jitter keeps a fleet whose receiver was restarted from coming back all at once.
"""

from __future__ import annotations

import random
from typing import Final

FIRST_S: Final = 0.25
LONGEST_S: Final = 30.0


class Backoff:
    """Pauses between `first_s` and `longest_s`, each between half and all of its length."""

    def __init__(self, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self._first = self._length = first_s
        self._longest = longest_s

    def next(self) -> float:
        """Seconds to wait now."""
        length, self._length = self._length, min(2 * self._length, self._longest)
        return length * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret

    def reset(self) -> None:
        """It works again."""
        self._length = self._first
