"""Interrupts: Ctrl-C and SIGTERM end what is played between two batches, so that the ledger stays exact.

Inside `with interrupts:` the signal waits until the block ends; a second one does not wait, because a block may hang
on a reader that stands still. Everywhere else, in a read or while waiting for the next dump, it acts at once. It acts
as `KeyboardInterrupt`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Holds signals back inside a `with` of it."""

    def __init__(self) -> None:
        self._inside = False
        self._waiting = False

    def __enter__(self) -> None:
        self._inside = True

    def __exit__(self, kind: object, *_: object) -> None:
        self._inside = False
        if self._waiting and kind is None:
            self._waiting = False
            raise KeyboardInterrupt

    @contextmanager
    def handled(self) -> Iterator[None]:
        """While this lasts the signals come here. Works in the main thread only, which Python gives signals to."""
        before = {number: signal.signal(number, self._came) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _came(self, _number: int, _frame: FrameType | None) -> None:
        if self._inside and not self._waiting:
            self._waiting = True
            return
        self._waiting = False
        raise KeyboardInterrupt
