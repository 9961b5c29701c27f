"""What systemd is told: sd_notify(3), its protocol and nothing else.

Each message is one datagram to the socket that `NOTIFY_SOCKET` names. The watchdog is fed by progress, not by time: a
batch delivered, a poll ended, a wait that is due; an agent that hangs in a poll is not fed by any other thread.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final

_USEC: Final = 1_000_000


class Notifier:
    """Sends to `NOTIFY_SOCKET`; without one, or where nobody reads it, every method does nothing."""

    def __init__(self, environ: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if path else None
        self._clock = clock
        self._fed = clock()
        usec = environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watchdog_s = int(usec) / _USEC if usec.isdecimal() and mine and self._socket is not None else 0.0

    @property
    def feed_every_s(self) -> float:
        """How long a wait may be before the watchdog wants to hear again; inf without one."""
        return self._watchdog_s / 3 if self._watchdog_s else float("inf")

    def ready(self, status: str) -> None:
        """The agent works; also after a reload."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """One line that `systemctl status` shows."""
        self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """The configuration is read again; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """The agent ends."""
        self._send(f"STOPPING=1\nSTATUS={status}")

    def progress(self) -> None:
        """Something has been done: the watchdog is fed, where it is due."""
        if self._watchdog_s and self._clock() - self._fed >= self._watchdog_s / 4:
            self._fed = self._clock()
            self._send("WATCHDOG=1")

    def close(self) -> None:
        """Lets go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            # A manager that does not read may not hold up a poll.
            self._socket.sendto(message.replace("\n\n", "\n").encode(), socket.MSG_DONTWAIT, self._address)
        except OSError:
            return
