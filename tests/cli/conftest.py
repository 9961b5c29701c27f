"""Sockets of the test's own in this host's namespace, and files to read."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.running import raw_dump

_SO_COOKIE = 57


@dataclass(frozen=True)
class Opened:
    """Cookies of what the test holds open: a listener and both ends of a connection, for each family."""

    listen4: int
    established4: frozenset[int]
    listen6: int
    established6: frozenset[int]

    @property
    def ipv4(self) -> frozenset[int]:
        """All of IPv4."""
        return self.established4 | {self.listen4}

    @property
    def ipv6(self) -> frozenset[int]:
        """All of IPv6."""
        return self.established6 | {self.listen6}

    @property
    def every(self) -> frozenset[int]:
        """All."""
        return self.ipv4 | self.ipv6


@pytest.fixture(scope="session")
def opened() -> Iterator[Opened]:
    """Sockets on loopback."""
    with ExitStack() as stack:
        found: list[int | frozenset[int]] = []
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            try:
                listener = stack.enter_context(socket.create_server((address, 0), family=family))
            except OSError:
                pytest.skip("this kernel has no IPv6 here")
            client = stack.enter_context(socket.create_connection(listener.getsockname()[:2]))
            server = stack.enter_context(listener.accept()[0])
            found += [_cookie(listener), frozenset({_cookie(client), _cookie(server)})]
        yield Opened(*found)  # type: ignore[arg-type]


def _cookie(of: socket.socket) -> int:
    (cookie,) = struct.unpack("=Q", of.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8))
    return int(cookie)


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """A raw dump of three sockets, cookies 1 to 3."""
    return raw_dump(tmp_path / "dump.bin", 1, 2, 3)
