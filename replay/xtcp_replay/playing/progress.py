"""Progress: one line on a terminal that is written over, a few times a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TextIO

from xtcp_replay.playing.player import Played

EVERY_S: Final = 0.25


class Progress:
    """Call it with what has been played; `end` takes the line away. `terminal` None: nothing is shown."""

    def __init__(self, terminal: TextIO | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._terminal = terminal
        self._clock = clock
        self._started = self._shown = clock()
        self._rows = self._width = 0

    def __call__(self, played: Played) -> None:
        """Shows the rows, those a second since the last time, and the time since the first."""
        if self._terminal is None:
            return
        now = self._clock()
        since = now - self._shown
        if since < EVERY_S:
            return
        rate = (played.rows - self._rows) / since
        self._rows, self._shown = played.rows, now
        dumps = f"{played.dumps:,} dump{'s' if played.dumps != 1 else ''}"
        text = f"{played.rows:,} rows of {dumps}, {rate:,.0f} rows/s, {now - self._started:.0f} s"
        self._write(f"\r{text:{self._width}}")
        self._width = len(text)

    def end(self) -> None:
        """Takes the line away."""
        if self._width:
            self._write(f"\r{'':{self._width}}\r")
            self._width = 0

    def _write(self, text: str) -> None:
        try:
            print(text, end="", file=self._terminal, flush=True)
        except OSError:  # nobody looks any more
            self._terminal = None
