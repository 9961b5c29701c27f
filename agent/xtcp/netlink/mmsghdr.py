"""`struct iovec`, `msghdr` and `mmsghdr` (include/uapi/linux/uio.h, include/linux/socket.h) as C lays them out."""

from __future__ import annotations

import ctypes


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
