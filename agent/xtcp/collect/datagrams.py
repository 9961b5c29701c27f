"""Datagrams from a socket, UDP or unix: many in one system call, and who sent each.

`recvmmsg` fills one slot a datagram; where the C library lacks it, recvmsg does one after the other. A slot takes the
longest datagram that IP carries, and only the pages that are written cost memory.

The kernel drops what finds no room in the socket's receive buffer, and counts it. The count is that of SO_RXQ_OVFL;
it is asked for by SO_MEMINFO instead, which tells it at any moment and not only beside the next datagram.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xtcp.collect.arrivals import KERNEL_DROPS, Arrivals, InputCounts
from xtcp.netlink.mmsghdr import IoVec, MMsgHdr, MsgHdr, recvmmsg

SLOT: Final = 64 << 10
SLOTS: Final = 256
RECEIVE_BUFFER: Final = 16 << 20
LONGER: Final = "longer than a datagram may be"

_NAME_LEN: Final = 28  # struct sockaddr_in6, include/uapi/linux/in6.h
_SO_RCVBUFFORCE: Final = 33  # include/uapi/asm-generic/socket.h
_SO_MEMINFO: Final = 55
_MEMINFO: Final = struct.Struct("9I")  # enum SK_MEMINFO_*, include/uapi/linux/sock_diag.h; the last are drops
_MOST_NAMES: Final = 4096


class Datagrams:
    """An `Input` of a bound datagram socket; `name` is for people. `one_call` False: without recvmmsg."""

    def __init__(self, sock: socket.socket, name: str, *, slots: int = SLOTS, one_call: bool = True) -> None:
        self.name = name
        self.counts = InputCounts()
        self._socket = sock
        self._one_call = one_call and recvmmsg is not None
        self._slots = slots
        sock.setblocking(False)
        enlarge(sock)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._texts: dict[bytes, str] = {}
        self._data = np.empty(slots * SLOT, np.uint8)
        self._view = memoryview(self._data.data)
        self._names = np.zeros((slots, _NAME_LEN), np.uint8)
        self._iovecs = (IoVec * slots)()
        self._headers: Any = (MMsgHdr * slots)()
        for number in range(slots):
            self._iovecs[number].base = self._data.ctypes.data + number * SLOT
            self._iovecs[number].len = SLOT
            header = self._headers[number].hdr
            header.name = self._names.ctypes.data + number * _NAME_LEN
            header.iov = ctypes.pointer(self._iovecs[number])
            header.iovlen = 1
        self._filled = np.frombuffer(
            memoryview(self._headers),
            np.dtype({
                "names": ["namelen", "flags", "len"],
                "formats": ["u4", "i4", "u4"],
                "offsets": [MsgHdr.namelen.offset, MsgHdr.flags.offset, MMsgHdr.len.offset],
                "itemsize": ctypes.sizeof(MMsgHdr),
            }),
        )  # fmt: skip

    def descriptor(self) -> int | None:
        """The socket's."""
        return self._socket.fileno()

    def take(self, wait_s: float) -> Arrivals | None:
        """All that is there, at most a slot's worth each; empty where time was up."""
        if wait_s > 0 and not self._poll.poll(wait_s * 1000):
            return Arrivals.of([])
        count = self._by_recvmmsg() if self._one_call else self._by_recvmsg()
        lengths = self._filled["len"][:count].astype(np.int64)
        whole = self._filled["flags"][:count] & socket.MSG_TRUNC == 0
        cut = count - int(np.count_nonzero(whole))
        self.counts.messages += count
        self.counts.bytes += int(lengths.sum())
        if cut:
            self.counts.lost[LONGER] = self.counts.lost.get(LONGER, 0) + cut
        self._count_drops()
        taken = np.flatnonzero(whole)
        return self._compact(taken, lengths[taken], cut)

    def mark(self) -> object:
        """None: a datagram comes once."""
        return None

    def settle(self, mark: object) -> None:
        """Nothing."""

    def close(self) -> None:
        """Gives the socket back."""
        self._count_drops()
        self._socket.close()

    def _compact(self, taken: NDArray[np.int64], lengths: NDArray[np.int64], cut: int) -> Arrivals:
        """The datagrams in these slots, back to back in a buffer of their own."""
        view = self._view
        pieces = [
            view[slot * SLOT : slot * SLOT + length]
            for slot, length in zip(taken.tolist(), lengths.tolist(), strict=True)
        ]
        sources = [self._source(slot) for slot in taken.tolist()]
        ends = np.cumsum(lengths, dtype=np.int64)
        return Arrivals(np.frombuffer(b"".join(pieces), np.uint8), ends - lengths, ends, sources, cut)

    def _source(self, slot: int) -> str:
        """The address in a slot's name, as text; "" where the sender has none."""
        raw = self._names[slot, : min(int(self._filled["namelen"][slot]), _NAME_LEN)].tobytes()
        # Family and address; the ports of one host are one source.
        family = int.from_bytes(raw[:2], "little" if _LITTLE else "big")
        address = raw[4:8] if family == socket.AF_INET else raw[8:24] if family == socket.AF_INET6 else b""
        text = self._texts.get(address)
        if text is None:
            if len(self._texts) >= _MOST_NAMES:
                self._texts.clear()
            text = self._texts[address] = _text(family, address)
        return text

    def _by_recvmmsg(self) -> int:
        assert recvmmsg is not None
        self._filled["namelen"] = _NAME_LEN
        self._filled["flags"] = 0
        count = recvmmsg(self._socket.fileno(), ctypes.addressof(self._headers), self._slots, socket.MSG_DONTWAIT, None)
        if count >= 0:
            return count
        code = ctypes.get_errno()
        # ECONNREFUSED and the like are answers to what was never sent from here; the next call takes the datagrams.
        if code in _NOTHING_YET:
            return 0
        raise OSError(code, os.strerror(code))

    def _by_recvmsg(self) -> int:
        for number in range(self._slots):
            begin = number * SLOT
            try:
                length, _, said, sender = self._socket.recvmsg_into([self._view[begin : begin + SLOT]])
            except OSError as error:
                if error.errno in _NOTHING_YET:
                    return number
                raise
            name = _packed(self._socket.family, sender)
            self._names[number, : len(name)] = np.frombuffer(name, np.uint8)
            self._filled[number] = (len(name), said, length)
        return self._slots

    def _count_drops(self) -> None:
        dropped = drops(self._socket)
        if dropped:
            self.counts.lost[KERNEL_DROPS] = dropped


_NOTHING_YET: Final = frozenset({errno.EAGAIN, errno.EINTR, errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH})
_LITTLE: Final = np.dtype("=u2") == np.dtype("<u2")


def _packed(family: int, sender: object) -> bytes:
    """A sender as Python says it, as the kernel would: as much of it as `_source` reads."""
    if not isinstance(sender, tuple):
        return b""
    head = struct.pack("=H", family) + bytes(2)
    if family == socket.AF_INET:
        return head + socket.inet_aton(sender[0])
    return head + bytes(4) + socket.inet_pton(socket.AF_INET6, str(sender[0]).partition("%")[0])


def _text(family: int, address: bytes) -> str:
    """IPv4 in IPv6 as IPv4: a sender is the same by whichever socket it comes."""
    if not address:
        return ""
    if family == socket.AF_INET6 and address[:12] == bytes(10) + b"\xff\xff":
        return socket.inet_ntop(socket.AF_INET, address[12:])
    return socket.inet_ntop(family, address)


def enlarge(sock: socket.socket) -> int:
    """Asks for a receive buffer of `RECEIVE_BUFFER` bytes; returns what there is. Above net.core.rmem_max only root."""
    for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, RECEIVE_BUFFER)
            break
        except PermissionError:
            continue
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def drops(sock: socket.socket) -> int:
    """Datagrams that the kernel dropped for want of room in this socket's buffer; 0 where it does not tell (< 4.12)."""
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    except OSError:
        return 0
    return int(_MEMINFO.unpack(raw)[-1]) if len(raw) == _MEMINFO.size else 0
