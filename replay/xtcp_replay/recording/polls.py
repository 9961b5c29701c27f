"""Polls of this host, recorded as if a netlink monitor had seen them: for kernels without nlmon, and without privilege.

Each poll is one dump a family by the newer request, which every other tool reads. Rows are looked at only as far as
it takes to tell whether a poll is whole.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

from xtcp.decode.decoder import Decoder
from xtcp.errors import Temporary, XtcpError
from xtcp.poll.live import LivePoll, Wanted
from xtcp.poll.trailer import Trailer
from xtcp.poll.unique import NEEDED_COLUMNS
from xtcp.sources import Tap


class Polls:
    """Iterate for a `Trailer` a poll. `errors` has what ended or flagged polls."""

    def __init__(
        self,
        tap: Tap,
        interval_s: float,
        stop: Callable[[int], bool],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.errors: list[XtcpError] = []
        self._tap = tap
        self._interval_s = interval_s
        self._stop = stop
        self._clock = clock
        self._sleep = sleep

    def __iter__(self) -> Iterator[Trailer]:
        """A poll at once and every interval, until `stop`, asked with the number of polls done, says so."""
        decoder = Decoder(NEEDED_COLUMNS)
        started = self._clock()
        done = 0
        while not self._stop(done):
            yield self._poll(decoder)
            done += 1
            # By the plan, not by the end of the last poll; one that took too long leaves out those it ran over.
            elapsed = self._clock() - started
            due = (elapsed // self._interval_s + 1) * self._interval_s
            while not self._stop(done) and (left := started + due - self._clock()) > 0:
                self._sleep(min(left, 0.2))

    def _poll(self, decoder: Decoder) -> Trailer:
        poll = LivePoll(Wanted((socket.AF_INET, socket.AF_INET6)), decoder, tap=self._tap)
        for _ in poll:
            pass
        assert poll.trailer is not None
        if poll.error is not None:
            self.errors.append(poll.error)
        elif poll.trailer.flags:
            self.errors.append(Temporary(f"A poll is not whole: {' '.join(poll.trailer.flags)}.", "", "Record again."))
        return poll.trailer
