"""Many datagrams in one system call: sendmmsg(2), or send(2) one after the other where the C library lacks it.

A call ends early at the first datagram that fails, and says why only where that is its very first one; an error that
was waiting on the socket, the answer to an earlier datagram, is used up by it and lost. So whoever wants to know turns
on the socket's error queue (`datagram_socket`).
"""

from __future__ import annotations

import ctypes
import os
import socket
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xtcp.netlink.mmsghdr import MMsgHdr, MsgHdr, sendmmsg

# UIO_MAXIOV, include/uapi/linux/uio.h: what a call takes at most.
MOST: Final = 1024


class SendMany:
    """The headers of a call, made once. Not for two threads at a time."""

    def __init__(self, *, one_call: bool = True) -> None:
        self._one_call = one_call and sendmmsg is not None
        self._pieces = np.zeros((MOST, 2), np.uintp)  # struct iovec: base, len
        self._headers: Any = (MMsgHdr * MOST)()
        headers = np.frombuffer(
            memoryview(self._headers),
            np.dtype({
                "names": ["iov", "iovlen"],
                "formats": [np.uintp, np.uintp],
                "offsets": [MsgHdr.iov.offset, MsgHdr.iovlen.offset],
                "itemsize": ctypes.sizeof(MMsgHdr),
            }),
        )  # fmt: skip
        headers["iov"] = self._pieces.ctypes.data + np.arange(MOST) * self._pieces.strides[0]
        headers["iovlen"] = 1

    def send(
        self, sock: socket.socket, data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> int:
        """Sends datagram i, `data[starts[i]:ends[i]]`, i from 0, at most `MOST`; returns how many went, 1 or more.

        Runs without the interpreter's lock. Raises OSError where not even the first did.
        """
        count = min(len(starts), MOST)
        if not self._one_call:
            return _one_by_one(sock, data, starts[:count], ends[:count])
        assert sendmmsg is not None
        self._pieces[:count, 0] = data.ctypes.data + starts[:count]
        self._pieces[:count, 1] = ends[:count] - starts[:count]
        sent = sendmmsg(sock.fileno(), ctypes.addressof(self._headers), count, 0)
        if sent < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return sent


def _one_by_one(
    sock: socket.socket, data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> int:
    view = memoryview(data)
    for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        try:
            sock.send(view[start:end])
        except OSError:
            if number:
                return number
            raise
    return len(starts)
