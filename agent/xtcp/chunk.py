"""Chunk: the bytes of a piece of a dump with all that is needed to read them.

The one type between sources and decode. A source says once what the bytes cannot say themselves (byte order, kernel
release, namespace, time); decode reads nothing else.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.schema.inet_diag import IPPROTO_TCP
from xtcp.schema.layout import kernel_release
from xtcp.schema.model import Order
from xtcp.spelling import cleaned

NATIVE: Final[Order] = "<" if sys.byteorder == "little" else ">"

# Decode gathers whole structs by one load each; the last of them may reach this far past the last message.
SLACK: Final = 512


@dataclass(frozen=True)
class Context:
    """What is the same for all rows of a chunk.

    `order` is that of the captured host; `release` its `uname -r` (empty: unknown); `protocol` the one that was asked
    for; `timestamp_ns` the wall clock just before the request; `weight` how many sockets each row stands for (None: all
    are there); `dump` counts dumps in a capture (None: live); `received_from` is the address that sent the rows to a
    collector (None: they are this host's, or their source has no address).
    """

    order: Order = NATIVE
    release: str = ""
    protocol: int = IPPROTO_TCP
    timestamp_ns: int | None = None
    hostname: str | None = None
    netns: str | None = None
    poll_id: int | None = None
    weight: int | None = None
    dump: int | None = None
    received_from: str | None = None
    kernel: tuple[int, int] | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", kernel_release(self.release))
        if self.hostname is not None:
            object.__setattr__(self, "hostname", cleaned(self.hostname))
        if self.netns is not None:
            object.__setattr__(self, "netns", cleaned(self.netns))

    def constants(self) -> dict[str, int | str]:
        """The columns that are the same in all rows, absent ones left out."""
        values = {
            "timestamp_ns": self.timestamp_ns,
            "hostname": self.hostname,
            "netns": self.netns,
            "poll_id": self.poll_id,
            "weight": self.weight,
            "dump": self.dump,
            "received_from": self.received_from,
        }
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Chunk:
    """Datagrams in one buffer.

    `data` is u8, at least `SLACK` bytes longer than the last datagram's end; datagram i is
    `data[starts[i]:ends[i]]`, starts are multiples of 4 and ascend. `seq` and `port` are the `nlmsg_seq` and
    `nlmsg_pid` that a reply must carry, None where any will do. The buffer may be used again by the source once the
    next chunk is asked for.
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    context: Context = Context()
    seq: int | None = None
    port: int | None = None

    def __post_init__(self) -> None:
        if len(self.ends) and len(self.data) < int(self.ends[-1]) + SLACK:
            raise ValueError(f"a chunk's buffer needs {SLACK} bytes after its last datagram")

    @classmethod
    def of(
        cls, *datagrams: bytes, context: Context = Context(), seq: int | None = None, port: int | None = None
    ) -> Chunk:
        """A chunk of its own buffer, each datagram at a multiple of 4."""
        lengths = np.array([len(d) for d in datagrams], np.int64)
        slots = (lengths + 3) & ~3
        starts = np.zeros(len(lengths), np.int64)
        np.cumsum(slots[:-1], out=starts[1:])
        data = np.zeros(int(slots.sum()) + SLACK, np.uint8)
        for start, datagram in zip(starts.tolist(), datagrams, strict=True):
            data[start : start + len(datagram)] = np.frombuffer(datagram, np.uint8)
        return cls(data, starts, starts + lengths, context, seq, port)
