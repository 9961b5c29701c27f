"""Many datagrams in one system call: recvmmsg(2) and sendmmsg(2) of the C library, None where it lacks them, and their
structs `iovec`, `msghdr` and `mmsghdr` (include/uapi/linux/uio.h, include/linux/socket.h) as C lays them out.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final


class IoVec(ctypes.Structure):
    """A piece of memory."""

    _fields_ = (("base", ctypes.c_void_p), ("len", ctypes.c_size_t))


class MsgHdr(ctypes.Structure):
    """A message to be sent or filled."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint),
        ("iov", ctypes.POINTER(IoVec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class MMsgHdr(ctypes.Structure):
    """One of several messages of a call, and how many bytes of it went."""

    _fields_ = (("hdr", MsgHdr), ("len", ctypes.c_uint))


def _found(name: str, *arguments: Any) -> Callable[..., int] | None:
    try:
        function: Any = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (OSError, AttributeError):
        return None
    function.argtypes = arguments
    return function  # type: ignore[no-any-return]


# Descriptor, mmsghdr[], how many, flags; and for receiving a time limit.
sendmmsg: Final = _found("sendmmsg", ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
recvmmsg: Final = _found("recvmmsg", ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
