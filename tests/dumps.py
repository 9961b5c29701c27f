"""Whole dumps from layouts and a seed, and soups of headers: what the tests of decoding feed it with."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from random import Random

from tests.encoder import Layout, Row, Writer, encode, message, values
from xtcp.chunk import Chunk, Context
from xtcp.decode.templates import SMALL_GROUP
from xtcp.schema.inet_diag import IPPROTO_TCP
from xtcp.schema.model import Order

# As many rows of one layout as a template is made for.
MANY = SMALL_GROUP
SEQ, PORT = 0x5EED_0001, 4711


@dataclass(frozen=True)
class Dump:
    """Datagrams with the rows that decoding them must give."""

    datagrams: tuple[bytes, ...]
    messages: tuple[bytes, ...]
    rows: tuple[Row, ...]
    context: Context
    seq: int | None
    port: int | None

    def chunk(self, *datagrams: bytes) -> Chunk:
        """This dump as a chunk, or other datagrams in its place."""
        return Chunk.of(*(datagrams or self.datagrams), context=self.context, seq=self.seq, port=self.port)


@dataclass(frozen=True)
class Plan:
    """A dump without its byte order: layouts and how many rows of each, what else comes, where datagrams end."""

    layouts: tuple[tuple[Layout, int], ...]
    release: str = ""
    protocol: int = IPPROTO_TCP
    seed: int = 0
    seq: int | None = SEQ
    port: int | None = None
    control: bool = False
    cut_every: int = 20
    done: bool = True

    def build(self, order: Order) -> Dump:
        """The dump as a host of `order` sends it; rows are the same for either, but for raw headers kept in them."""
        random = Random(self.seed)
        queue = [layout for layout, repeats in self.layouts for _ in range(repeats)]
        random.shuffle(queue)
        messages: list[bytes] = []
        rows: list[Row] = []
        for layout in queue:
            drawn = values(layout, random)
            payload, row = encode(drawn, layout, Writer(order, Random(random.getrandbits(32))))
            rows.append(row)
            messages.append(message(order, payload, random.choice((18, 20)), 2, SEQ, PORT))
            if self.control and random.random() < 0.1:
                messages.append(self._control(order, random))
        if self.done:
            messages.append(message(order, struct.pack(order + "i", 0), 3, 2, SEQ, PORT))
        datagrams = [b""]
        for one in messages:
            if random.randrange(self.cut_every) == 0:
                datagrams.append(b"")
            datagrams[-1] += one
        context = Context(order=order, release=self.release, protocol=self.protocol)
        return Dump(tuple(datagrams), tuple(messages), tuple(rows), context, self.seq, self.port)

    def _control(self, order: Order, random: Random) -> bytes:
        if self.seq is not None and random.random() < 0.5:
            return message(order, random.randbytes(80), 20, 2, SEQ ^ 1, PORT)
        return message(order, random.randbytes(20), random.choice((1, 4, 77)), 0, SEQ, PORT)


def soup(order: Order, random: Random) -> list[bytes]:
    """Datagrams of headers that are mostly plausible, with anything behind them: what a fuzzer reaches late."""
    datagrams = []
    for _ in range(random.randint(1, 30)):
        datagram = b""
        for _ in range(random.randint(0, 5)):
            payload = random.randbytes(72) + _attributes(order, random, 0) if random.random() < 0.9 else b""
            kind = random.choice((20, 20, 20, 20, 18, 1, 2, 3, 4, 16, 99))
            flags = random.choice((2, 2, 2, 2, 0x12, 0x302, 0x202, 0x301))
            if kind in (2, 3) and random.random() < 0.8:
                payload = struct.pack(order + "i", random.choice((0, -2, -22))) + _attributes(order, random, 3)
            one = bytearray(message(order, payload, kind, flags, random.choice((SEQ,) * 9 + (7,)), PORT))
            if random.random() < 0.1:
                one[:4] = struct.pack(order + "I", random.choice((0, 15, 16, len(one) + 4, len(one) - 3, 2**32 - 1)))
            datagram += one
        datagrams.append(datagram[: random.randint(0, len(datagram))] if random.random() < 0.1 else datagram)
    return datagrams


def _attributes(order: Order, random: Random, depth: int) -> bytes:
    out = b""
    for _ in range(random.randint(0, 6)):
        nested = depth < 3 and random.random() < 0.3
        payload = _attributes(order, random, depth + 1) if nested else random.randbytes(random.randint(0, 40))
        number = random.choice((2, 19) if nested and not depth else range(26)) | random.choice((0, 0, 0x8000, 0x4000))
        length = 4 + len(payload) if random.random() < 0.95 else random.choice((0, 3, 4, 0xFFFF, len(payload) + 9))
        out += struct.pack(order + "HH", length, number) + payload + bytes(-len(payload) % 4)
    return out
