"""Supervision: what follows from polls that fail by a fault of this program. Times are monotonic ns."""

from __future__ import annotations

from collections import deque
from typing import Final

from xtcp.daemon.clocks import NS
from xtcp.errors import XtcpError

MOST: Final = 5
WINDOW_NS: Final = 60 * NS
LONGEST_PAUSE_S: Final = 60
# So many in a row, and it is no progress any more that the agent waits for the next.
HOPELESS: Final = 3


class Supervision:
    """Counts faults. After each comes a pause, twice as long as the one before; more than `MOST` in a minute are the
    end.
    """

    def __init__(self) -> None:
        self._at: deque[int] = deque()
        self._in_a_row = 0
        self.not_before = 0

    @property
    def progressing(self) -> bool:
        """Whether polls come to an end, now and then."""
        return self._in_a_row < HOPELESS

    def good(self) -> None:
        """A poll came to its end."""
        self._in_a_row = 0

    def fault(self, error: Exception, now: int) -> XtcpError | None:
        """A poll broke; what to end with, None where the next one may be tried, at `not_before`."""
        self._in_a_row += 1
        self.not_before = now + min(1 << min(self._in_a_row - 1, 16), LONGEST_PAUSE_S) * NS
        self._at.append(now)
        while self._at[0] < now - WINDOW_NS:
            self._at.popleft()
        if len(self._at) <= MOST:
            return None
        return XtcpError(
            f"{len(self._at)} polls failed within a minute, the last by {type(error).__name__}: {error}.",
            "This is a fault of xtcp.",
            "Please report it with the log.",
        )
