"""`unix:PATH` and `unixgram:PATH`: sockets of this host, streams or datagrams; `@NAME` is an abstract one (unix(7))."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Final

from xtcp import amounts
from xtcp.errors import UsageError
from xtcp.sinks.destination import Destination, amount
from xtcp.sinks.files.forms import form_of
from xtcp.sinks.record_choice import record_choice

if TYPE_CHECKING:
    from xtcp.ledger import Account
    from xtcp.sinks.destination import Maker
    from xtcp.sinks.sink import Sink

# sizeof(struct sockaddr_un.sun_path), and the zero at its end.
LONGEST_PATH: Final = 107
GRAM_BYTES: Final = 65_507


def stream(destination: Destination) -> Maker:
    """`unix:PATH`."""
    path = _path(destination)
    make_form = form_of(destination, socket=True)

    def make(account: Account) -> Sink:
        from xtcp.sinks.network.stream_rows import StreamRows

        return StreamRows(destination.name, account, partial(_connected, path, socket.SOCK_STREAM), make_form)

    return make


def gram(destination: Destination) -> Maker:
    """`unixgram:PATH`."""
    path = _path(destination)
    records = record_choice(destination)
    limit_bytes = amount(destination, "mtu", amounts.within(256, GRAM_BYTES), GRAM_BYTES)

    def make(account: Account) -> Sink:
        from xtcp.sinks.network.datagram_rows import DatagramRows
        from xtcp.sinks.network.datagram_socket import DatagramSocket
        from xtcp.sinks.network.packing import packing

        sender = DatagramSocket(destination.name, partial(_connected, path, socket.SOCK_DGRAM))
        return DatagramRows(account, sender, packing(records, limit_bytes))

    return make


def _path(destination: Destination) -> str:
    path = destination.address
    if not path.removeprefix("@"):
        raise UsageError(f"{destination.scheme}: names no socket.", "", f"Write {destination.scheme}:PATH")
    if len(os.fsencode(path)) > LONGEST_PATH or "\0" in path:
        raise UsageError(f"{destination.name}: a path of a socket has at most {LONGEST_PATH} bytes.", "", "")
    return f"\0{path[1:]}" if path.startswith("@") else path


def _connected(path: str, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        sock.setblocking(False)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock
