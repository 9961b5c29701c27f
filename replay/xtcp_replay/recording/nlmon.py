"""A netlink monitor: the interface on which the kernel shows a copy of every netlink datagram of a network namespace.

`monitor_interface` makes one (drivers/net/nlmon.c) by pyroute2 and removes it again; `Monitor` reads its packets by
a packet socket (packet(7)) and gives each the cooked header that libpcap gives it
(https://www.tcpdump.org/linktypes/LINKTYPE_NETLINK.html). Needs CAP_NET_ADMIN and CAP_NET_RAW.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, Self

from xtcp.errors import ConfigurationError, PermissionMissing, Temporary, Unavailable, UsageError, XtcpError

ARPHRD_NETLINK: Final = 824
LONGEST_DATAGRAM: Final = 1 << 20
WAIT_S: Final = 0.2

_ETH_P_ALL: Final = 0x0003
_SOL_PACKET: Final = 263
_PACKET_STATISTICS: Final = 6
_SO_RCVBUFFORCE: Final = 33
_SO_TIMESTAMPNS: Final = 35  # include/uapi/asm-generic/socket.h, and so on all that Debian builds for but sparc
_RECEIVE_BUFFER: Final = 128 << 20
_NO_MONITOR: Final = "Load the module (as root: modprobe nlmon), or record polls: --via polls."


class Seen(NamedTuple):
    """One datagram behind its `cooked` header: `wirelen` bytes before it was cut, `time_ns` since 1970."""

    cooked: bytes
    netlink: bytes
    wirelen: int
    time_ns: int
    family: int


@contextmanager
def monitor_interface() -> Iterator[str]:
    """The name of a netlink monitor that exists as long as the context does.

    Raises `Unavailable` where the kernel has none, `PermissionMissing`, `ConfigurationError` without pyroute2.
    """
    try:
        from pyroute2 import IPRoute
        from pyroute2.netlink.exceptions import NetlinkError
    except ImportError as error:
        raise ConfigurationError(
            "A netlink monitor is made with pyroute2, which is not installed here.",
            "Usually xtcp was installed without its extra for namespaces.",
            "Install it: pip install 'xtcp[netns]', or name an interface that is there: --interface nlmon0.",
        ) from error
    name = f"xtcp{os.getpid() % 10**9}"
    with IPRoute() as route:
        try:
            route.link("add", ifname=name, kind="nlmon")
            route.link("set", index=socket.if_nametoindex(name), state="up")
        except NetlinkError as error:
            raise _refused(error.code) from error
        try:
            yield name
        finally:
            route.link("del", ifname=name)


def _refused(code: int) -> XtcpError:
    if code in {errno.EPERM, errno.EACCES}:
        return PermissionMissing(
            "The kernel does not let this process make a netlink monitor.",
            "Usually CAP_NET_ADMIN is missing.",
            "Run as root, or record polls, which need no privilege: --via polls.",
        )
    why = "Usually it has no module nlmon." if code == errno.EOPNOTSUPP else ""
    return Unavailable(f"The kernel makes no netlink monitor: {os.strerror(code)}.", why, _NO_MONITOR)


class Monitor:
    """The packets of the netlink monitor `interface`; a context manager. Raises `XtcpError` at once."""

    def __init__(self, interface: str) -> None:
        self.dropped = 0
        self._buffer = memoryview(bytearray(LONGEST_DATAGRAM))
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except OSError as error:
            raise _not_opened(interface, error) from error
        try:
            self._prepare(interface)
        except OSError as error:
            self._socket.close()
            raise _not_opened(interface, error) from error

    def _prepare(self, interface: str) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.settimeout(WAIT_S)
        self._socket.bind((interface, _ETH_P_ALL))
        kind = self._socket.getsockname()[3]
        if kind != ARPHRD_NETLINK:
            self._socket.close()
            raise UsageError(
                f"{interface} is no netlink monitor (its hardware type is {kind}, not {ARPHRD_NETLINK}).",
                "Usually it is a network interface; sock_diag messages do not pass there.",
                "Leave --interface out to have a monitor made.",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def packets(self, stop: Callable[[], bool]) -> Iterator[Seen]:
        """Packets as they come; ends once `stop` says so and none is waiting. `dropped` grows by what was lost."""
        while True:
            try:
                length, ancillary, _, address = self._socket.recvmsg_into([self._buffer], 64, socket.MSG_TRUNC)
            except TimeoutError:
                self._count_dropped()
                if stop():
                    return
                continue
            except OSError as error:
                raise Temporary(f"The netlink monitor fails: {error.strerror}.", "Usually it was removed.") from error
            yield _seen(bytes(self._buffer[:length]), length, address, _time_ns(ancillary))

    def _count_dropped(self) -> None:
        _, drops = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self.dropped += drops


def _seen(netlink: bytes, wirelen: int, address: tuple[str, int, int, int, bytes], time_ns: int) -> Seen:
    _, family, packet_type, hardware, _ = address
    return Seen(struct.pack(">HH10xH", packet_type, hardware, family), netlink, wirelen, time_ns, family)


def _time_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    """SCM_TIMESTAMPNS: struct timespec, in this host's longs."""
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack_from("@ll", value)
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    import time

    return time.time_ns()


def _not_opened(interface: str, error: OSError) -> XtcpError:
    what = f"{interface}: {error.strerror or error}."
    if error.errno in {errno.EPERM, errno.EACCES}:
        return PermissionMissing(
            what,
            "Usually CAP_NET_RAW is missing.",
            "Run as root, or record polls, which need no privilege: --via polls.",
        )
    if error.errno in {errno.ENODEV, errno.ENXIO}:
        return UsageError(what, "There is no such interface.", "Leave --interface out to have a monitor made.")
    if error.errno == errno.ENETDOWN:
        return UsageError(what, "The interface is down.", f"Set it up: ip link set {interface} up")
    return Unavailable(what)
