"""Server: a thread with an event loop of its own, which accepts, refuses, answers, and reloads without a pause.

A connection is counted from the moment it is accepted, before its TLS handshake. A new configuration holds for the
connections that come after it. Files that the configuration was read from are looked at again when a connection comes,
once a second at most; where one has changed for the worse, what was read before stays.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import socket
import ssl
import threading
import time
from collections import Counter
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xtcp.errors import ConfigurationError, PermissionMissing, Temporary, Unavailable, UsageError, XtcpError
from xtcp.metrics.agent_state import WebState
from xtcp.web.admission import Admission
from xtcp.web.application import Application
from xtcp.web.configuration import WebConfiguration, load

if TYPE_CHECKING:
    from xtcp.metrics.exposition import Exposition
    from xtcp.settings.values import Address
    from xtcp.web.protocol import BoundedProtocol, Surroundings

_log: Final = logging.getLogger(__name__)

_BACKLOG: Final = 128
_LOOK_AGAIN_S: Final = 1.0
# After an accept that failed, for want of descriptors mostly.
_PAUSE_S: Final = 0.2
# A reload waits for the server's thread, and polls for the reload.
_RELOAD_S: Final = 10.0
_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\nRetry-After: 5\r\n\r\n"


class Server:
    """Serves `exposition` at `address`; port 0 is any free one. `web_config` is exporter-toolkit's file.

    `exposition` counts this server's answers among its metrics.
    """

    def __init__(self, address: Address, exposition: Exposition, web_config: Path | None = None) -> None:
        self._wanted = address
        self._web_config = web_config
        self._application = Application(exposition)
        self._configuration = WebConfiguration()
        self._signature: tuple[object, ...] = ()
        self._looked = 0.0
        self._admission = Admission()
        self._refused: Counter[str] = Counter()
        self._opening: set[asyncio.Task[None]] = set()
        self._listeners: list[socket.socket] = []
        self._around: Surroundings | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._grace_s = 0.0
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        exposition.web = self.state

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._listeners[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Where a person finds it."""
        scheme = "http" if self._configuration.context is None else "https"
        return f"{scheme}://{replace(self._wanted, port=self.port)}/"

    def start(self) -> None:
        """Listens. Raises `XtcpError` where the configuration is bad, an extra missing, or the port in use."""
        try:
            import uvicorn  # noqa: F401 - imported here so that its absence is said here
        except ImportError as error:
            raise ConfigurationError(
                "The web server needs uvicorn, which is not installed.",
                "It is an extra: the core needs only NumPy.",
                "Install it: pip install 'xtcp[prometheus]', or run with --listen off.",
            ) from error
        self._take(self._load())
        self._listeners = _listeners(self._wanted)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._close()
            raise Temporary(
                "There is no thread to be had for the web server.",
                "Usually a limit on tasks is reached: of the user (ulimit -u) or of the control group (TasksMax).",
                "Raise it, or run with --listen off.",
            ) from error
        try:
            self._started.result()
        except Exception as error:
            raise _ended() from error

    def reload(self) -> None:
        """Reads the web configuration and its files again. Raises `XtcpError` for bad ones: the old ones stay."""
        configuration = self._load()
        assert self._loop is not None
        taken: Future[None] = Future()

        def take() -> None:
            if taken.set_running_or_notify_cancel():
                try:
                    self._take(configuration)
                except Exception as error:  # noqa: BLE001 - handed to the thread that waits for it
                    taken.set_exception(error)
                else:
                    taken.set_result(None)

        try:
            self._loop.call_soon_threadsafe(take)
        except RuntimeError as error:
            raise _ended() from error
        try:
            taken.result(_RELOAD_S)
        except TimeoutError:
            if taken.cancel():
                raise Temporary(
                    f"The web server has not answered within {_RELOAD_S:g} s: its old configuration stays.",
                    "Usually this host has no processor time to spare.",
                    "Send SIGHUP again.",
                ) from None
            taken.result()  # it was being taken just then

    def stop(self, timeout_s: float = 2.0) -> None:
        """Accepts nothing more, lets answers be finished for half of the time, and ends."""
        if self._thread.is_alive() and self._loop is not None:
            self._grace_s = timeout_s / 2
            with suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(timeout_s)
        self._application.close()

    def state(self) -> WebState:
        """What it has counted."""
        return WebState(len(self._admission), dict(self._application.answers), dict(self._refused))

    # --- configuration ---

    def _load(self) -> WebConfiguration:
        return WebConfiguration() if self._web_config is None else load(self._web_config)

    def _take(self, configuration: WebConfiguration) -> None:
        self._application.configure(configuration)
        self._configuration = configuration
        self._signature = _signature(configuration.files)
        if self._around is not None:
            self._around = replace(self._around, allowed_sans=configuration.allowed_sans)

    def _look_again(self) -> None:
        now = time.monotonic()
        if not self._configuration.files or now < self._looked + _LOOK_AGAIN_S:
            return
        self._looked = now
        signature = _signature(self._configuration.files)
        if signature != self._signature:
            # Only once for each change, good or bad.
            self._signature = signature
            try:
                self._take(self._load())
            except XtcpError as error:
                _log.warning("the web configuration has changed, and is not taken: %s", error.what)
            else:
                _log.info("the web configuration has changed, and is taken")

    # --- the thread ---

    def _close(self) -> None:
        for listener in self._listeners:
            listener.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - the agent goes on without it
            _log.exception("the web server has ended by a fault of this program")
            self._close()  # so that clients are refused, and do not wait
            if not self._started.done():
                self._started.set_exception(error)

    async def _serve(self) -> None:
        from uvicorn.config import Config
        from uvicorn.server import ServerState

        from xtcp.web.protocol import HEAD_BYTES, KEPT_S, Surroundings

        loop = self._loop = asyncio.get_running_loop()
        config = Config(
            self._application,
            interface="asgi3",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=KEPT_S,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        config.load()
        sans = self._configuration.allowed_sans
        self._around = Surroundings(
            config, ServerState(), loop, self._admission, self._application.answers, self._refused, sans
        )
        accepting = [loop.create_task(self._accept(listener)) for listener in self._listeners]
        self._started.set_result(None)
        await self._stopping.wait()
        for task in accepting:
            task.cancel()
        self._close()
        await self._part()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(listener)
            except ConnectionAbortedError:
                continue
            except OSError:
                self._refused["accept"] += 1
                await asyncio.sleep(_PAUSE_S)
                continue
            try:
                self._look_again()
                self._welcome(connection, _address(peer))
            except Exception:  # noqa: BLE001 - one connection's fault is not the server's
                _log.exception("a connection failed by a fault of this program")
                connection.close()

    def _welcome(self, connection: socket.socket, address: str) -> None:
        from xtcp.web.protocol import BoundedProtocol

        assert self._around is not None and self._loop is not None
        context = self._configuration.context
        guest = BoundedProtocol(self._around, address, connection)
        if self._admission.admit(guest):
            opening = self._loop.create_task(self._open(guest, connection, context))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)
            return
        self._refused["full"] += 1
        with suppress(OSError):
            if context is None:
                connection.send(_FULL)
                self._application.answers[503] += 1
        connection.close()

    async def _open(self, guest: BoundedProtocol, connection: socket.socket, context: ssl.SSLContext | None) -> None:
        from xtcp.web.protocol import HEAD_S

        limit = None if context is None else HEAD_S
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: guest, connection, ssl=context, ssl_handshake_timeout=limit, ssl_shutdown_timeout=limit
            )
        except OSError:
            # A handshake that failed, or took too long; `ssl.SSLError` is one of these.
            if not guest.abandoned:
                self._refused["tls"] += 1
            self._admission.leave(guest)

    async def _part(self) -> None:
        """Ends all connections, those that are being answered a little later."""
        until = time.monotonic() + self._grace_s
        while any(g.rank is None for g in self._admission) and time.monotonic() < until:  # noqa: ASYNC110 - once a life
            await asyncio.sleep(0.02)
        for guest in self._admission:
            guest.abandon()
        if self._opening:
            await asyncio.wait(self._opening, timeout=self._grace_s)
        await asyncio.sleep(0)


def _listeners(address: Address) -> list[socket.socket]:
    """Sockets that listen at every address of the host that was named."""
    try:
        found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{address}: there is no such address ({error}).", "", "Write 127.0.0.1:9000.") from error
    listeners: list[socket.socket] = []
    lacking: OSError | None = None
    for family, _, _, _, where in dict.fromkeys(found):
        # A second address of a name gets the port that the first one found.
        port = listeners[0].getsockname()[1] if listeners else address.port
        try:
            listeners.append(_listener(family, (where[0], port, *where[2:]), alone=len(found) == 1))
        except OSError as error:
            if error.errno in _NOT_HERE:
                # `localhost` may be ::1 too, on a host without IPv6.
                lacking = error
                continue
            for listener in listeners:
                listener.close()
            raise _refusal(address, error) from error
    if lacking is not None and not listeners:
        raise _refusal(address, lacking) from lacking
    return listeners


def _listener(family: socket.AddressFamily, where: tuple[object, ...], *, alone: bool) -> socket.socket:
    """`alone`: [::] is IPv4 too."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not alone)
        listener.setblocking(False)
        listener.bind(where)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _ended() -> XtcpError:
    return XtcpError("The web server has ended by a fault of this program.", "", "The log says which: report it.")


def _refusal(address: Address, error: OSError) -> XtcpError:
    what = f"Cannot listen at {address}: {os.strerror(error.errno or 0)}."
    other = "Choose another address (--listen HOST:PORT), or none (--listen off)."
    if error.errno == errno.EADDRINUSE:
        return Unavailable(what, "Usually another agent, or another program, listens there already.", other)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return PermissionMissing(what, "Ports below 1024 need CAP_NET_BIND_SERVICE.", other)
    return ConfigurationError(what, "Usually the address is not this host's.", other)


def _address(peer: tuple[object, ...]) -> str:
    """Whose connection it is: an IPv4 address, or the network of an IPv6 one, /64, which is one customer's."""
    try:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or int(address) >> 64)
    return str(address)


def _signature(files: tuple[Path, ...]) -> tuple[object, ...]:
    """What changes when one of the files does."""
    found = []
    for file in files:
        try:
            status = file.stat()
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError as error:
            found.append((error.errno or 0, 0, 0))
    return tuple(found)
