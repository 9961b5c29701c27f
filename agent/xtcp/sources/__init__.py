"""Where chunks come from. A source is a small class behind one Protocol; it does not decode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from xtcp.chunk import Chunk


class Source(Protocol):
    """Gives chunks, each valid until the next is asked for.

    `damage` grows while `chunks` runs: in words, what of the input could not be read, where and why. `chunks` can be
    called again where the input can be read again.
    """

    damage: list[str]

    def chunks(self) -> Iterator[Chunk]:
        """The chunks, in the order of the input; those of one dump follow each other."""
        ...


class Tap(Protocol):
    """Takes a copy of what passes on a netlink socket, requests and replies, as whole datagrams."""

    def write(self, netlink: bytes | memoryview, time_ns: int) -> None:
        """One datagram of netlink messages and the wall clock of its passing, ns since 1970."""
        ...
