"""Arena: a buffer in slots, one datagram a slot, filled by one system call and used again.

Fresh buffers would cost a page fault every 4 KiB, as much as decoding them; so two or three arenas go round. The
kernel fills no more than 32 KiB a datagram unless BPF storages are asked for.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xtcp.chunk import SLACK
from xtcp.netlink.mmsghdr import IoVec, MMsgHdr, MsgHdr, recvmmsg

SLOT: Final = 32 << 10
ARENA: Final = 2 << 20
_NAME_LEN: Final = 12  # struct sockaddr_nl: u16 nl_family, u16 nl_pad, u32 nl_pid, u32 nl_groups
_MSG_WAITFORONE: Final = 0x10000


@dataclass(frozen=True)
class Received:
    """Datagrams of one call: start and end in the arena, int64 (n,); how many were cut (their end is the slot's) and
    how many came from another sender than the kernel (those are left out).
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    truncated: int
    forged: int


class Arena:
    """`data` is u8: `slots` slots of `slot` bytes, and slack for decode."""

    def __init__(self, size: int = ARENA, slot: int = SLOT) -> None:
        self.slot = slot
        self.slots = max(1, size // slot)
        self.data = np.zeros(self.slots * slot + SLACK, np.uint8)
        self._names = np.zeros((self.slots, _NAME_LEN), np.uint8)
        self._starts = np.arange(self.slots, dtype=np.int64) * slot
        self._view = memoryview(self.data.data)
        iovecs = (IoVec * self.slots)()
        self._headers: Any = (MMsgHdr * self.slots)()
        for number in range(self.slots):
            iovecs[number].base = self.data.ctypes.data + number * slot
            iovecs[number].len = slot
            header = self._headers[number].hdr
            header.name = self._names.ctypes.data + number * _NAME_LEN
            header.iov = ctypes.pointer(iovecs[number])
            header.iovlen = 1
        self._iovecs = iovecs
        self._filled = np.frombuffer(
            memoryview(self._headers),
            np.dtype({
                "names": ["namelen", "flags", "len"],
                "formats": ["u4", "i4", "u4"],
                "offsets": [MsgHdr.namelen.offset, MsgHdr.flags.offset, MMsgHdr.len.offset],
                "itemsize": ctypes.sizeof(MMsgHdr),
            }),
        )  # fmt: skip

    def fill(self, sock: socket.socket, *, one_call: bool = True) -> Received:
        """Waits for a datagram, then takes all that are there without waiting, at most one a slot.

        `one_call` uses recvmmsg where the C library has it; it runs without the interpreter's lock. Raises OSError:
        EAGAIN when the socket's receive timeout ended without a datagram.
        """
        if one_call and recvmmsg is not None:
            count = self._by_recvmmsg(sock)
        else:
            count = self._by_recvmsg(sock)
        lengths = self._filled["len"][:count].astype(np.int64)
        starts = self._starts[:count]
        truncated = int(np.count_nonzero(self._filled["flags"][:count] & socket.MSG_TRUNC))
        named = self._filled["namelen"][:count] >= _NAME_LEN
        sender = self._names[:count, 4:8].copy().view(np.uint32).reshape(-1)
        forged = named & (sender != 0)
        if forged.any():
            starts, lengths = starts[~forged], lengths[~forged]
        return Received(starts, starts + lengths, truncated, int(np.count_nonzero(forged)))

    def _by_recvmmsg(self, sock: socket.socket) -> int:
        assert recvmmsg is not None
        self._filled["namelen"] = _NAME_LEN
        self._filled["flags"] = 0
        count = recvmmsg(sock.fileno(), ctypes.addressof(self._headers), self.slots, _MSG_WAITFORONE, None)
        if count < 0:
            code = ctypes.get_errno()
            if code == errno.EINTR:
                raise InterruptedError(code, os.strerror(code))
            raise OSError(code, os.strerror(code))
        return count

    def _by_recvmsg(self, sock: socket.socket) -> int:
        flags = 0
        for number in range(self.slots):
            begin = number * self.slot
            try:
                length, _, said, sender = sock.recvmsg_into([self._view[begin : begin + self.slot]], 0, flags)
            except BlockingIOError:
                if number == 0:
                    raise
                return number
            self._filled[number] = (_NAME_LEN, said, length)
            port = sender[0] if isinstance(sender, tuple) else 0
            self._names[number, 4:8] = np.frombuffer(np.uint32(port).tobytes(), np.uint8)
            flags = socket.MSG_DONTWAIT
        return self.slots
