"""DiagSocket: a `NETLINK_SOCK_DIAG` socket for one dump. One dump a socket, so a second can never meet EBUSY."""

from __future__ import annotations

import socket
import struct
from typing import Final

from xtcp.errors import KernelRefused
from xtcp.netlink.numbers import NETLINK_SOCK_DIAG

_SOL_NETLINK: Final = 270
_NETLINK_EXT_ACK: Final = 11
_RECEIVE_BUFFER: Final = 4 << 20

# How long one receive waits before the reader looks at its deadline again.
WAIT_S: Final = 0.1


class DiagSocket:
    """Opened at once; a receive waits `wait_s`. Raises `KernelRefused` where the kernel or a limit forbids it."""

    def __init__(self, wait_s: float = WAIT_S) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)
        except OSError as error:
            raise KernelRefused("opening a sock_diag socket", error.errno or 0) from error
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            timeout = struct.pack("@ll", int(wait_s), int(wait_s % 1 * 1_000_000))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
            self._ask_for_text()
            self._socket.bind((0, 0))
        except OSError as error:
            self._socket.close()
            raise KernelRefused("preparing a sock_diag socket", error.errno or 0) from error
        self.port: int = self._socket.getsockname()[0]

    def _ask_for_text(self) -> None:
        """Error texts from the kernel, since 4.12; an older one refuses the option and sends numbers alone."""
        try:
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        except OSError:
            return

    @property
    def socket(self) -> socket.socket:
        """The socket itself, for `Arena.fill`."""
        return self._socket

    def send(self, message: bytes) -> None:
        """Sends a request. Raises `KernelRefused`."""
        try:
            self._socket.send(message)
        except OSError as error:
            raise KernelRefused("sending a request", error.errno or 0) from error

    def close(self) -> None:
        """Ends the dump, wherever it is."""
        self._socket.close()
