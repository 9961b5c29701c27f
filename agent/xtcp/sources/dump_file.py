"""DumpFile: raw netlink messages of a file, as `ss -D FILE` writes them and `TCPDIAG_FILE` reads them.

1. Messages stand back to back, each padded to 4, in the order of the host that wrote them; a `NLMSG_DONE` ends a
   dump, behind which those of another host may stand. Datagram boundaries, times, host and kernel are not in the file.
2. Chunks are whole messages, at most `ARENA` bytes, never beyond a `NLMSG_DONE`. Memory does not grow with the file.
3. Only lengths are looked at here; what the messages hold is decode's to judge. Behind damage nothing is read,
   because nothing says where the next message begins.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from xtcp.chunk import SLACK, Chunk, Context
from xtcp.errors import DamagedInput
from xtcp.netlink.byte_order import LONGEST_MESSAGE, detect
from xtcp.netlink.numbers import NLMSG_DONE, NLMSG_HDRLEN, aligned
from xtcp.schema.inet_diag import IPPROTO_TCP
from xtcp.schema.model import Order
from xtcp.sources.input_file import (
    COMPRESSED,
    EMPTY,
    HEAD,
    MODIFIED_PCAP,
    PCAP,
    PCAPNG,
    input_error,
    kind_of,
    open_input,
)

ARENA: Final = 2 << 20
_HOW_TO_MAKE: Final = "Make one with: ss -tinaD FILE, or with: xtcp once --record FILE.pcap for xtcp-replay."


class Stream(Protocol):
    """An open file."""

    def readinto(self, buffer: memoryview, /) -> int:
        """The next bytes into `buffer`; how many they are, 0 at the end."""
        ...


class DumpFile:
    """A `Source` of the dumps in `path` (`-`: standard input), numbered from 1 in `Context.dump`.

    `order` None: found from the first messages. `release` is the `uname -r` of the host that wrote the file. A
    `stream` is read in the file's place, once, and left open; `path` then is its name.
    `chunks` raises `DamagedInput` at once where nothing can be read; `damage` has the rest.
    """

    def __init__(
        self,
        path: str,
        *,
        order: Order | None = None,
        release: str = "",
        protocol: int = IPPROTO_TCP,
        stream: Stream | None = None,
    ) -> None:
        self.damage: list[str] = []
        self._path = path
        self._stream = stream
        self._name = "standard input" if path == "-" else path
        self._order = order
        self._context = Context(release=release, protocol=protocol)

    def chunks(self) -> Iterator[Chunk]:
        """All whole messages, dump by dump."""
        self.damage.clear()
        opened: AbstractContextManager[Stream]
        opened = open_input(self._path) if self._stream is None else nullcontext(self._stream)  # type: ignore[assignment]
        with opened as file:
            buffer = _Buffer(file, self._name)
            buffer.fill(0)
            head = buffer.data[: min(buffer.filled, HEAD)].tobytes()
            context = replace(self._context, order=self._order or self._find_order(head))
            yield from self._messages(buffer, context)

    def _find_order(self, head: bytes) -> Order:
        order = detect(head)
        if order is not None:
            return order
        kind = kind_of(head)
        what = f"{self._name} is {kind}{' data' if kind in COMPRESSED else ''}, not a dump of netlink messages."
        if kind in {PCAP, PCAPNG, MODIFIED_PCAP}:
            raise DamagedInput(what, "", f"Read it with: xtcp-replay decode {self._path}")
        if kind in COMPRESSED:
            raise DamagedInput(what, "", f"Decompress it first: {kind} -dc {self._path} | xtcp once --from -")
        why = "the capture or the copy was interrupted" if kind == EMPTY else "this is another file than was meant"
        raise DamagedInput(what, f"Usually {why}.", _HOW_TO_MAKE)

    def _messages(self, buffer: _Buffer, context: Context) -> Iterator[Chunk]:
        header = struct.Struct(context.order + "IHHII")
        at, dump, inside = 0, 1, False
        while True:
            if not inside and self._order is None and dump > 1:
                order = detect(buffer.view[at : min(at + NLMSG_HDRLEN, buffer.filled)])
                if order is not None and order != context.order:
                    context = replace(context, order=order)
                    header = struct.Struct(context.order + "IHHII")
            run = _walk(buffer, at, header)
            if run.end > at:
                starts, ends = np.array([at], np.int64), np.array([run.end], np.int64)
                yield Chunk(buffer.data, starts, ends, replace(context, dump=dump), run.seq, run.port)
                at, inside = run.end, not run.closed
                dump += run.closed
            elif run.impossible is None and not buffer.ended:
                buffer.fill(at)
                at = 0
            else:
                break
        self._end(buffer, at, run.impossible, dump if inside else None)

    def _end(self, buffer: _Buffer, at: int, impossible: int | None, dump: int | None) -> None:
        """Judges where reading ended: at `at`, at a length that is `impossible`, in the middle of `dump`."""
        left = buffer.filled - at
        if impossible is not None:
            problem = f"a message of {impossible:,} bytes cannot be; nothing behind it is read"
        elif left:
            problem = f"the file is cut in a message, of which {left:,} bytes are there"
        elif dump is not None:
            problem = f"the file ends in dump {dump}, without its NLMSG_DONE; later sockets are missing"
        else:
            return
        where = f"{self._name}: at byte {buffer.base + at:,}: {problem}."
        if buffer.base + at == 0:
            given = f"The byte order given is {'little' if self._order == '<' else 'big'}." if self._order else ""
            raise DamagedInput(where, given or "Usually the copy was interrupted.", _HOW_TO_MAKE)
        self.damage.append(where)


class _Buffer:
    """A window on the file: `data[:filled]` are its bytes from offset `base`; `ended` once there are no more."""

    def __init__(self, file: Stream, name: str) -> None:
        self.data: NDArray[np.uint8] = np.zeros(ARENA + SLACK, np.uint8)
        self.view = memoryview(self.data)
        self.filled = self.base = 0
        self.ended = False
        self._file = file
        self._name = name

    def fill(self, keep: int) -> None:
        """Forgets what stands before `keep` and reads on."""
        left = self.filled - keep
        self.data[:left] = self.data[keep : self.filled].copy()
        self.base += keep
        self.filled = left
        while self.filled < ARENA and not self.ended:
            try:
                count = self._file.readinto(self.view[self.filled : ARENA])
            except OSError as error:
                raise input_error(self._name, error) from error
            self.filled += count
            self.ended = not count


class _Run(NamedTuple):
    """Whole messages of one dump up to `end`; `seq` and `port` if they all have the same; `closed` by a NLMSG_DONE.

    `impossible` is the length that the next message claims, where no message can have it.
    """

    end: int
    seq: int | None
    port: int | None
    closed: bool
    impossible: int | None


def _walk(buffer: _Buffer, at: int, header: struct.Struct) -> _Run:
    begin, filled, view, read = at, buffer.filled, buffer.view, header.unpack_from
    first: tuple[int | None, int | None] = (None, None)
    same = True
    closed = False
    impossible = None
    while not closed and at + NLMSG_HDRLEN <= filled:
        length, kind, _, seq, port = read(view, at)
        if not NLMSG_HDRLEN <= length <= LONGEST_MESSAGE:
            impossible = length
            break
        if length > filled - at:
            break
        if at == begin:
            first = (seq, port)
        same &= first == (seq, port)
        at = min(at + aligned(length), filled)
        closed = kind == NLMSG_DONE
    return _Run(at, *(first if same else (None, None)), closed, impossible)
