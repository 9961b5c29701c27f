"""Transmission: datagrams through a socket, and what became of each.

sent        the operating system has taken it. Nobody promises more for datagrams.
an errno    `send` itself failed: no route (ENETUNREACH), a firewall (EPERM). Where there is only no room it waits,
            `WAIT_S` at most without getting on, and then counts EAGAIN, or ENOBUFS.
taken back  an answer came (`error_queue`: nobody listens at that port). What comes while the transmission lasts is its
            own, and the last datagrams that were sent are counted by the errno instead. For a receiver on this host
            that is exact; from far away answers may come later, and change no count.

After `MOST_FAILURES` in a row the rest is not tried and counts by the last errno: a receiver that is away must not
cost a system call a row.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.sinks.network.error_queue import answers
from xtcp.sinks.network.refusals import reason
from xtcp.sinks.network.sendmmsg import MOST, SendMany

MOST_FAILURES: Final = 16
WAIT_S: Final = 1.0

_NO_ROOM: Final = (errno.EAGAIN, errno.ENOBUFS)
_NAP_S: Final = 0.001
# With a rate, what goes at once; shorter sleeps are not worth waking up for.
_PACED_S: Final = 0.02


@dataclass(frozen=True)
class Datagrams:
    """Datagram i is `data[starts[i]:ends[i]]`, u8, and carries `rows[i]` rows; the last three int64 (n,)."""

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    rows: NDArray[np.int64]


@dataclass
class Outcome:
    """The rows and bytes that were sent, the rows that were not, by reason; the first error that there was."""

    rows: int = 0
    size: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    error: OSError | None = None


class Pace:
    """`rate` rows a second, on average over some milliseconds; None: as fast as it goes."""

    def __init__(
        self,
        rate: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._due = 0.0

    def at_once(self, rows_each: int) -> int:
        """How many datagrams of so many rows may go in one call."""
        if self._rate is None:
            return MOST
        return max(1, min(MOST, int(self._rate * _PACED_S) // max(1, rows_each)))

    def pay(self, rows: int) -> None:
        """Waits until the `rows` that have just gone are paid for."""
        if self._rate is None:
            return
        now = self._clock()
        self._due = max(self._due, now - _PACED_S) + rows / self._rate
        if self._due > now:
            self._sleep(self._due - now)


class Transmission:
    """One set of datagrams through `sock`, which does not block, by `many`."""

    def __init__(self, sock: socket.socket, many: SendMany, mail: Datagrams, pace: Pace) -> None:
        self._socket = sock
        self._many = many
        self._mail = mail
        self._pace = pace
        self._at_once = pace.at_once(int(mail.rows.max(initial=1)))
        self._outcome = Outcome()
        self._went = np.zeros(len(mail.starts), np.bool_)
        self._at = 0
        self._failures = 0
        self._waiting_since: float | None = None

    def run(self) -> Outcome:
        """Sends them in order."""
        mail, outcome = self._mail, self._outcome
        while self._at < len(mail.starts):
            code = self._step()
            if code and self._failures >= MOST_FAILURES:
                outcome.lost[reason(code)] += int(mail.rows[self._at :].sum())
                break
        self._take_back()
        outcome.rows = int(mail.rows[self._went].sum())
        outcome.size = int((mail.ends - mail.starts)[self._went].sum())
        return outcome

    def _step(self) -> int:
        """A call; returns the errno of what failed, 0 for nothing."""
        mail = self._mail
        block = slice(self._at, min(self._at + self._at_once, len(mail.starts)))
        try:
            count = self._many.send(self._socket, mail.data, mail.starts[block], mail.ends[block])
        except InterruptedError:
            return 0
        except OSError as error:
            # An answer to an earlier one: this one has not been tried yet.
            return error.errno if self._take_back() == error.errno else self._failed(error)
        self._waiting_since = None
        sent = slice(self._at, self._at + count)
        self._went[sent] = True
        self._at += count
        self._pace.pay(int(mail.rows[sent].sum()))
        if count == MOST:
            self._failures = 0
            return 0
        before = self._failures
        code = self._take_back()
        if self._failures - before < count:
            self._failures = 0
        return code

    def _failed(self, error: OSError) -> int:
        """The datagram at hand was not sent, for a reason of its own."""
        code = error.errno or errno.EIO
        if code in _NO_ROOM:
            if self._wait():
                return 0
            self._failures = MOST_FAILURES
        else:
            self._outcome.lost[reason(code)] += int(self._mail.rows[self._at])
            self._at += 1
            # One that is too long says nothing of the others.
            self._failures += code != errno.EMSGSIZE
        self._outcome.error = self._outcome.error or error
        return code

    def _wait(self) -> bool:
        """Waits a little for room; False where that has been too long."""
        now = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = now
        left = self._waiting_since + WAIT_S - now
        if left <= 0:
            return False
        room = select.poll()
        room.register(self._socket, select.POLLOUT)
        if room.poll(1000 * left):
            # It says that there is room also where a device's queue is full, or a receiver's.
            time.sleep(_NAP_S)
        return True

    def _take_back(self) -> int:
        """Counts answers against the last datagrams sent; returns the errno of one, 0 for none."""
        last = 0
        for code, count in answers(self._socket).items():
            back = np.flatnonzero(self._went)[-count:]
            self._went[back] = False
            self._outcome.lost[reason(code)] += int(self._mail.rows[back].sum())
            self._outcome.error = self._outcome.error or OSError(code, "")
            self._failures += count
            last = code
        return last
