"""A kernel that follows a script: what each receive of a dump gives, for faults that a real one cannot be made to have.

A step is bytes (one datagram from the kernel), a `Datagram` (cut, or from another sender) or an `OSError` to raise.
After the last step nothing comes any more: every receive times out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from xtcp.netlink.numbers import NLM_F_MULTI, NLMSG_DONE, NLMSG_ERROR, SOCK_DIAG_BY_FAMILY

PORT = 4242
SEQ = 0x5EED1234


@dataclass(frozen=True)
class Datagram:
    """A datagram with recvmsg's flags and the sender's port id."""

    data: bytes
    flags: int = 0
    sender: int = 0


class ScriptedSocket:
    """Stands where the netlink socket would: only `recvmsg_into` is asked of it."""

    def __init__(self, steps: Iterable[bytes | Datagram | OSError]) -> None:
        self._steps = iter(steps)
        self.receives = 0

    def recvmsg_into(self, buffers: list[memoryview], _ancillary: int, flags: int) -> tuple[int, list[Any], int, Any]:
        """The next step of the script, one a call; with MSG_DONTWAIT nothing is there."""
        step = None if flags else next(self._steps, None)
        if step is None:
            raise BlockingIOError
        self.receives += 1
        if isinstance(step, OSError):
            raise step
        datagram = step if isinstance(step, Datagram) else Datagram(step)
        kept = datagram.data[: len(buffers[0])]
        buffers[0][: len(kept)] = kept
        cut = 0x20 if len(kept) < len(datagram.data) else 0
        return len(kept), [], datagram.flags | cut, (datagram.sender, 0)


class ScriptedDiag:
    """Stands for a `DiagSocket`; counts what is open."""

    open_now = 0

    def __init__(self, steps: Iterable[bytes | Datagram | OSError]) -> None:
        self.socket = ScriptedSocket(steps)
        self.port = PORT
        self.sent: list[bytes] = []
        ScriptedDiag.open_now += 1

    def send(self, message: bytes) -> None:
        """Keeps the request."""
        self.sent.append(message)

    def close(self) -> None:
        """Counts."""
        ScriptedDiag.open_now -= 1


def message(kind: int, payload: bytes, *, flags: int = NLM_F_MULTI, seq: int = SEQ, port: int = PORT) -> bytes:
    """One netlink message in host order, padded to 4."""
    body = struct.pack("=IHHII", 16 + len(payload), kind, flags, seq, port) + payload
    return body + bytes(-len(body) % 4)


def row(
    cookie: int, *, state: int = 1, info: bytes | None = bytes(280), flags: int = NLM_F_MULTI, **header: int
) -> bytes:
    """A row: IPv4, the given cookie and state, INET_DIAG_INFO unless None."""
    fixed = struct.pack("=BBBB", 2, state, 0, 0) + struct.pack(">HH", 80, 1024) + bytes(32)
    fixed += struct.pack("=III", 0, cookie & 0xFFFFFFFF, cookie >> 32) + bytes(20)
    attribute = b"" if info is None else struct.pack("=HH", 4 + len(info), 2) + info
    return message(SOCK_DIAG_BY_FAMILY, fixed + attribute, flags=flags, **header)


def done(code: int = 0, **header: int) -> bytes:
    """NLMSG_DONE with its errno."""
    return message(NLMSG_DONE, struct.pack("=i", code), **header)


def error(code: int, **header: int) -> bytes:
    """NLMSG_ERROR, answering an empty request."""
    return message(NLMSG_ERROR, struct.pack("=i", -code) + struct.pack("=IHHII", 16, 20, 0x301, SEQ, 0), **header)
