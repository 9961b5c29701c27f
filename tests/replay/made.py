"""Captures made by hand, byte by byte from the formats' descriptions, for what no program would write."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from tests.encoder import message
from xtcp.batch import Tally
from xtcp.decode.decoder import Decoder
from xtcp.schema.model import Order
from xtcp.sources import Source
from xtcp_replay.reading.opening import ReplaySource, open_source

SEQ = 123456
PORT = 4711
REQUEST_FLAGS = 0x301
MULTI = 2
T0 = 1_700_000_000_123_456_789


def row(
    cookie: int, *, order: Order = "<", family: int = 2, seq: int = SEQ, port: int = PORT, flags: int = MULTI
) -> bytes:
    """A socket without attributes, told by its cookie."""
    body = bytearray(72)
    body[0], body[1] = family, 1
    body[44:52] = struct.pack(order + "II", cookie & 0xFFFFFFFF, cookie >> 32)
    return message(order, bytes(body), 20, flags, seq, port)


def done(*, order: Order = "<", seq: int = SEQ, port: int = PORT, errno: int = 0) -> bytes:
    """NLMSG_DONE."""
    return message(order, struct.pack(order + "i", -errno), 3, MULTI, seq, port)


def request(
    *, order: Order = "<", family: int = 2, protocol: int = 6, seq: int = SEQ, port: int = 0, attributes: bytes = b""
) -> bytes:
    """A dump request of the newer form."""
    body = struct.pack(order + "BBBBI", family, protocol & 0xFF, 0xFF, 0, 0xFFFFFFFF) + bytes(48) + attributes
    return message(order, body, 20, REQUEST_FLAGS, seq, port)


def cooked(netlink: bytes, family: int = 4) -> bytes:
    """A packet of LINKTYPE_NETLINK."""
    return struct.pack(">HH10xH", 4, 824, family) + netlink


def pcap_header(order: str = "<", *, nano: bool = False, link_type: int = 253, major: int = 2) -> bytes:
    """The 24 bytes before the first record."""
    return struct.pack(order + "IHHIIII", 0xA1B23C4D if nano else 0xA1B2C3D4, major, 4, 0, 0, 262144, link_type)


def record(
    packet: bytes, time_ns: int = T0, order: str = "<", *, nano: bool = False, wirelen: int | None = None
) -> bytes:
    """A pcap's packet."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    fraction = rest if nano else rest // 1000
    length = len(packet) if wirelen is None else wirelen
    return struct.pack(order + "IIII", seconds, fraction, len(packet), length) + packet


def pcap(datagrams: Iterable[bytes], order: str = "<", *, nano: bool = False) -> bytes:
    """A whole capture of sock_diag datagrams, a millisecond apart."""
    records = (record(cooked(d), T0 + i * 1_000_000, order, nano=nano) for i, d in enumerate(datagrams))
    return pcap_header(order, nano=nano) + b"".join(records)


def option(order: str, code: int, value: bytes) -> bytes:
    """A pcapng option."""
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def block(order: str, kind: int, body: bytes) -> bytes:
    """A pcapng block."""
    length = 12 + len(body) + -len(body) % 4
    return struct.pack(order + "II", kind, length) + body + bytes(-len(body) % 4) + struct.pack(order + "I", length)


def section(order: str = "<", options: bytes = b"") -> bytes:
    """A section header block."""
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1) + options)


def interface(order: str = "<", link_type: int = 253, options: bytes = b"", snaplen: int = 0) -> bytes:
    """An interface description block; without options its times are in µs."""
    return block(order, 1, struct.pack(order + "HHI", link_type, 0, snaplen) + options)


def enhanced(
    packet: bytes,
    ticks: int = T0 // 1000,
    order: str = "<",
    *,
    number: int = 0,
    caplen: int | None = None,
    wirelen: int | None = None,
) -> bytes:
    """An enhanced packet block."""
    captured = len(packet) if caplen is None else caplen
    length = len(packet) if wirelen is None else wirelen
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, captured, length)
    return block(order, 6, head + packet + bytes(-len(packet) % 4))


def dump(cookies: Iterable[int], *, family: int = 2, seq: int = SEQ, port: int = PORT) -> list[bytes]:
    """Request, one datagram with a row for each cookie, and DONE."""
    rows = b"".join(row(cookie, family=family, seq=seq, port=port) for cookie in cookies)
    return [request(family=family, seq=seq), rows, done(seq=seq, port=port)]


# Two dumps, and the rows in them: (dump, cookie).
DATAGRAMS = [*dump((1, 2, 3)), *dump((4, 5), family=10)]
ROWS = [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5)]


def pcapng(order: str = "<", cookies: Iterable[int] = (1, 2), options: bytes = b"") -> bytes:
    """One section with `options`, one interface, one dump, a microsecond between packets."""
    packets = b"".join(enhanced(cooked(d), T0 // 1000 + i, order) for i, d in enumerate(dump(cookies)))
    return section(order, options) + interface(order) + packets


def saved(folder: Path, content: bytes, name: str = "made.pcap") -> str:
    """The path of a file with `content`."""
    path = folder / name
    path.write_bytes(content)
    return str(path)


def read(folder: Path, content: bytes) -> ReplaySource:
    """The source of a file with `content`."""
    return open_source(saved(folder, content, "made"))


def sockets(source: Source, tally: Tally | None = None) -> list[tuple[int | None, int]]:
    """(dump, cookie) of each row, in the order of the source; adds up what decoding counted in `tally`."""
    decoder = Decoder()
    found: list[tuple[int | None, int]] = []
    for chunk in source.chunks():
        batch = decoder.decode(chunk).in_order()
        if tally is not None:
            tally.add(batch.tally)
        cookies = batch.columns["idiag_cookie"].tolist() if batch.rows else []
        found += [(chunk.context.dump, cookie) for cookie in cookies]
    return found
