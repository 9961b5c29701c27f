"""Compressed files for tests, and what the libraries themselves get out of a beginning of one."""

from __future__ import annotations

import gzip
import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

from tests.libraries import library


def zstandard() -> Any:
    """The package, which has wheels for few architectures; a test that needs it skips where it is not."""
    return library("zstandard")


PACK: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": lambda content: gzip.compress(content, mtime=0),
    "zstd": lambda content: bytes(zstandard().ZstdCompressor(write_checksum=True).compress(content)),
    "xz": lzma.compress,
}
UNPACK_START: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": lambda start: zlib.decompressobj(31).decompress(start),
    "zstd": lambda start: bytes(zstandard().ZstdDecompressor().stream_reader(start).read()),
    "xz": lambda start: lzma.LZMADecompressor().decompress(start),
}


def zstd_zeros(size: int, before: bytes = b"") -> bytes:
    """A zstd frame of `before` and `size` zero bytes, four bytes for each 128 KiB of them."""
    zstandard()
    blocks = [(len(before) << 3).to_bytes(3, "little") + before] if before else []
    whole, rest = divmod(size, 128 << 10)
    blocks += [((128 << 10) << 3 | 2).to_bytes(3, "little") + b"\0"] * whole
    blocks.append((rest << 3 | 3).to_bytes(3, "little") + b"\0")
    # A window of 1 MiB, neither size nor checksum.
    return struct.pack("<IBB", 0xFD2FB528, 0, 10 << 3) + b"".join(blocks)


def zeros(kind: str, size: int, before: bytes = b"") -> bytes:
    """`before` and `size` (a multiple of 1 MiB) zero bytes behind it, as small as can be."""
    if kind == "zstd":
        return zstd_zeros(size, before)
    return (PACK[kind](before) if before else b"") + PACK[kind](bytes(1 << 20)) * (size >> 20)
