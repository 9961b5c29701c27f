"""What form a file has, in words, by its first bytes: `pcap, nanoseconds, big-endian, in zstd`."""

from __future__ import annotations

from typing import Final

from xtcp.sources.input_file import PCAP, PCAPNG

_ORDERS: Final = {True: "little-endian", False: "big-endian"}


def form_of(head: bytes, kind: str) -> str:
    """Of an uncompressed file of `kind`, which begins with `head`; the order is the file's own, not its messages'."""
    if kind == PCAP:
        unit = "nanoseconds" if 0x4D in (head[0], head[3]) else "microseconds"
        return f"pcap, {unit}, {_ORDERS[head[0] != 0xA1]} file"
    if kind == PCAPNG:
        return f"pcapng, {_ORDERS[head[8:9] == bytes([0x4D])]} file"
    return kind
