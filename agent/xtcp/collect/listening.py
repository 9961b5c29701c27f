"""Where the collector listens: `udp:[HOST][:PORT]`, `unix:PATH`, `unixgram:PATH`, and what is wrong where it cannot.

    udp:                     127.0.0.1:13000, where xTCP sends
    udp:0.0.0.0  udp:[::]    every address of this host; the second takes IPv4 as well
    unix:/run/xtcp.sock      streams, unixgram: datagrams, of this host alone; the file is made, and removed at the end;
                             `@NAME` is an abstract one

Nothing is listened on but what was asked for, and by default nobody outside this host can send.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xtcp.collect.arrivals import Input
from xtcp.collect.connections import MOST, Connections
from xtcp.collect.datagrams import Datagrams
from xtcp.errors import ConfigurationError, PermissionMissing, Temporary, Unavailable, UsageError, XtcpError
from xtcp.sinks.network.address import HostPort, host_port

DEFAULT: Final = HostPort("127.0.0.1", 13000)
FORMS: Final = ("udp:[HOST][:PORT]", "unix:PATH", "unixgram:PATH")


@dataclass(frozen=True)
class Listening:
    """Where to listen, as it was said."""

    scheme: str
    where: HostPort | str

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.scheme}:{self.where}"


def parsed(text: str) -> Listening:
    """What `text` means. Raises `UsageError`."""
    scheme, colon, rest = text.partition(":")
    if colon and scheme == "udp":
        # Port 0 is one that is free.
        zero = rest.endswith(":0")
        where = host_port(rest.removesuffix(":0") if zero else rest, DEFAULT, of=text)
        return Listening(scheme, HostPort(where.host, 0) if zero else where)
    if colon and scheme in {"unix", "unixgram"} and rest:
        return Listening(scheme, rest)
    raise UsageError(f"{text!r} says nothing to listen on.", "", f"Write {' or '.join(FORMS)}")


def opened(listening: Listening) -> Input:
    """The bound socket as an input. Raises `XtcpError`."""
    try:
        if isinstance(listening.where, str):
            if listening.scheme == "unix":
                return _Streams(_bound_unix(listening.where, socket.SOCK_STREAM), listening.name)
            return _Grams(_bound_unix(listening.where, socket.SOCK_DGRAM), listening.name)
        sock = _bound(listening.where)
    except OSError as error:
        raise _refusal(listening, error) from error
    host, port = sock.getsockname()[:2]
    return Datagrams(sock, f"udp:{HostPort(host, port)}")


def _bound(where: HostPort) -> socket.socket:
    found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _bound_unix(path: str, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        _remove_orphan(path, kind)
        sock.bind("\0" + path[1:] if path.startswith("@") else path)
        if kind == socket.SOCK_STREAM:
            sock.listen(MOST)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_orphan(path: str, kind: socket.SocketKind) -> None:
    """Removes a socket that nobody listens on any more; anything else stays, and binding says so."""
    file = Path(path)
    if not (file.exists() and stat.S_ISSOCK(file.stat().st_mode)):
        return
    with socket.socket(socket.AF_UNIX, kind) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            file.unlink()


class _Grams(Datagrams):
    """A socket in the file system, removed when it is closed."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        super().__init__(sock, name)
        self._path: str | bytes = sock.getsockname()

    def close(self) -> None:
        """Closes it and removes its file."""
        super().close()
        _unlink(self._path)


class _Streams(Connections):
    """The same for streams."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        super().__init__(sock, name)
        self._path: str | bytes = sock.getsockname()

    def close(self) -> None:
        """Closes it and removes its file."""
        super().close()
        _unlink(self._path)


def _unlink(path: str | bytes) -> None:
    with contextlib.suppress(OSError, ValueError):  # an abstract name begins with a zero, and has no file
        Path(os.fsdecode(path)).unlink()


def _refusal(listening: Listening, error: OSError) -> XtcpError:
    """What an OSError means to a person."""
    what = f"{listening.name}: {error.strerror or error}."
    if isinstance(error, socket.gaierror):
        return Unavailable(
            what, "The name has no address here.", "Name an address, or udp:[::] for all of this host's."
        )
    if error.errno == errno.EADDRINUSE:
        who = f"ss -ulpn sport = :{listening.where.port}" if isinstance(listening.where, HostPort) else "ss -xlp"
        return Temporary(what, "Usually another collector runs.", f"See who listens there: {who}. Or choose another.")
    if error.errno in {errno.EACCES, errno.EPERM}:
        why = "Ports below 1024 need root or CAP_NET_BIND_SERVICE; a file needs the right to write its folder."
        return PermissionMissing(what, why, "Choose another.")
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigurationError(what, "No interface of this host has that address.", "See: ip address")
    return ConfigurationError(what, "", "Choose another.")
