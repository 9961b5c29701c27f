"""Connections to a socket of this host: streams of frames, as `unix:PATH?format=envelopes` sends them.

A few at a time, each with the frame that is not whole yet, and no more than that: whoever sends what is no frame, or
one that is too large, is hung up on. A connection beyond `MOST` is closed at once. All of it is counted.
"""

from __future__ import annotations

import select
import socket
from collections import Counter
from typing import Final

from xtcp.collect.arrivals import Arrivals, InputCounts
from xtcp.collect.bounds import LARGEST_MESSAGE
from xtcp.collect.frames import FrameBuffer

MOST: Final = 16
BLOCK: Final = 256 << 10

REFUSED: Final = "connections refused, there were too many"
NO_FRAME: Final = "connections that sent no message"
CUT_OFF: Final = "connections that ended in a message"


class Connections:
    """An `Input` of a listening stream socket; `name` is for people."""

    def __init__(self, listener: socket.socket, name: str) -> None:
        self.name = name
        self.counts = InputCounts()
        self._listener = listener
        self._lost: Counter[str] = Counter()
        self._open: dict[int, tuple[socket.socket, FrameBuffer]] = {}
        listener.setblocking(False)
        self._events = select.epoll()
        self._events.register(listener, select.EPOLLIN)

    def descriptor(self) -> int | None:
        """Becomes readable when any connection has something, or another one comes."""
        return self._events.fileno()

    def take(self, wait_s: float) -> Arrivals | None:
        """The frames that are whole, a block of each connection; empty where time was up."""
        messages: list[bytes] = []
        for descriptor, _ in self._events.poll(wait_s, MOST + 1):
            if descriptor == self._listener.fileno():
                self._accept()
            else:
                messages += self._receive(descriptor)
        self.counts.messages += len(messages)
        self.counts.bytes += sum(map(len, messages))
        self.counts.lost = dict(self._lost)
        return Arrivals.of(messages)

    def mark(self) -> object:
        """None: what was sent is not sent again."""
        return None

    def settle(self, mark: object) -> None:
        """Nothing."""

    def close(self) -> None:
        """Ends all connections."""
        for descriptor in list(self._open):
            self._end(descriptor)
        self._events.close()
        self._listener.close()

    def _accept(self) -> None:
        try:
            fresh, _ = self._listener.accept()
        except OSError:  # it has gone again, or there is no descriptor left for it
            return
        if len(self._open) >= MOST:
            self._lost[REFUSED] += 1
            fresh.close()
            return
        fresh.setblocking(False)
        self._open[fresh.fileno()] = fresh, FrameBuffer(LARGEST_MESSAGE)
        self._events.register(fresh, select.EPOLLIN)

    def _receive(self, descriptor: int) -> list[bytes]:
        sock, buffer = self._open[descriptor]
        try:
            block = sock.recv(BLOCK)
        except BlockingIOError:
            return []
        except OSError:
            block = b""
        messages = buffer.feed(block)
        if buffer.damage:
            self._lost[NO_FRAME] += 1
        elif not block and buffer.held:
            self._lost[CUT_OFF] += 1
        if not block or buffer.damage:
            self._end(descriptor)
        return messages

    def _end(self, descriptor: int) -> None:
        sock, _ = self._open.pop(descriptor)
        self._events.unregister(sock)
        sock.close()
