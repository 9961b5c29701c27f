"""DatagramSocket: a connected socket for datagrams, opened, and opened anew, on the thread that sends.

Opening asks for the address of a name, which may take long, so nothing is opened before the first `refresh`. It is
tried again, after a pause, while there is no socket and after errors, because the name may have another address by
then; where it `changes` also every `STALE_S`. The old socket stays as long as there is none with another way to go, so
that a receiver sees one sender, not many.
"""

from __future__ import annotations

import math
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from xtcp.errors import XtcpError
from xtcp.sinks.backoff import Backoff
from xtcp.sinks.network.error_queue import answers, keep_answers
from xtcp.sinks.network.refusals import RESOLVE, reason, refusal
from xtcp.sinks.network.sendmmsg import SendMany
from xtcp.sinks.network.transmission import Datagrams, Outcome, Pace, Transmission

STALE_S: Final = 300.0


class DatagramSocket:
    """`connect` makes a connected socket, or raises OSError; `name` is for messages.

    `late` counts, by errno, the answers that came for datagrams of an earlier `send`.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], socket.socket],
        *,
        pace: Pace | None = None,
        changes: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._connect = connect
        self._pace = pace or Pace()
        self._stale_after = STALE_S if changes else math.inf
        self._clock = clock
        self._many = SendMany()
        self._backoff = Backoff()
        self._socket: socket.socket | None = None
        self._why = RESOLVE
        self._suspect = False
        self._opened_at = self._next_at = -math.inf
        self.error: XtcpError | None = None
        self.late: Counter[str] = Counter()

    @property
    def ready(self) -> bool:
        """Whether there is a socket; `refresh` tries for one."""
        return self._socket is not None

    def refresh(self) -> float:
        """Opens what should be opened; returns the seconds after which it wants to be called again."""
        now = self._clock()
        wanted = self._socket is None or self._suspect or now >= self._opened_at + self._stale_after
        if wanted and now >= self._next_at:
            self._open()
        return max(0.0, self._next_at - self._clock()) if self._socket is None else math.inf

    def send(self, mail: Datagrams) -> Outcome:
        """Sends them all, in order; never raises for what the far side or the network does."""
        self.refresh()
        if self._socket is None:
            return Outcome(lost=Counter({self._why: int(mail.rows.sum())}))
        for code, count in answers(self._socket).items():
            self.late[reason(code)] += count
            self._failed(OSError(code, ""))
        outcome = Transmission(self._socket, self._many, mail, self._pace).run()
        if outcome.error is not None:
            self._failed(outcome.error)
        elif outcome.rows:
            self._backoff.reset()
        return outcome

    def close(self) -> None:
        """Gives the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> None:
        try:
            fresh = self._connect()
        except OSError as error:
            self._why = RESOLVE if isinstance(error, socket.gaierror) else reason(error.errno)
            self._failed(error)
            # A name that has no address now keeps the one it had.
            self._opened_at = self._clock()
        else:
            if self._socket is not None and _same_way(self._socket, fresh):
                fresh.close()
            else:
                self.close()
                keep_answers(fresh)
                self._socket = fresh
            self._suspect = False
            self._opened_at = self._clock()
        self._next_at = self._clock() + self._backoff.next()

    def _failed(self, error: OSError) -> None:
        self._suspect = True
        self.error = refusal(self._name, error)


def _same_way(old: socket.socket, new: socket.socket) -> bool:
    """Whether two sockets go from one address to one address; local ones never, for who has a path may be another."""
    if old.family not in (socket.AF_INET, socket.AF_INET6) or old.family != new.family:
        return False
    return bool(old.getpeername() == new.getpeername() and old.getsockname()[0] == new.getsockname()[0])
