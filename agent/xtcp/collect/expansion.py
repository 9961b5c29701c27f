"""Compressed messages, told by their first bytes: gzip (RFC 1952) and zstd (RFC 8878), expanded in bounds.

A message is looked at before: what it says of its own size is believed only where it is too much. Then it is expanded
up to the limit and no further, so a bomb costs what the limit allows. Compressed twice is not expanded twice.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import zstandard

GZIP: Final = b"\x1f\x8b\x08"
ZSTD: Final = b"\x28\xb5\x2f\xfd"

# A datagram of 64 KiB full of rows is a few times as much when expanded.
LIMIT: Final = 1 << 20
# What a frame may ask its reader to keep, whatever its content: RFC 8878, section 3.1.1.1.2 advises 8 MB.
_WINDOW: Final = 8 << 20

TOO_LARGE: Final = "too large when expanded"
DAMAGED: Final = "compressed data damaged"
NO_ZSTD: Final = "compressed with zstd, which is not installed (pip install zstandard)"


class NotExpanded(Exception):
    """A message that stays compressed; its text is the reason, one of the three."""


def is_compressed(message: bytes | memoryview) -> bool:
    """Whether a message begins as gzip or zstd data does; no record and no envelope does."""
    head = bytes(message[:4])
    return head[:3] == GZIP or head == ZSTD


def expanded(message: bytes, limit: int = LIMIT) -> bytes:
    """What a compressed message holds, `limit` bytes at most. Raises `NotExpanded`."""
    return _gzip(message, limit) if message[:3] == GZIP else _zstd(message, limit)


def _gzip(message: bytes, limit: int) -> bytes:
    engine = zlib.decompressobj(wbits=31)
    try:
        content = engine.decompress(message, limit + 1)
    except zlib.error as error:
        raise NotExpanded(DAMAGED) from error
    if len(content) > limit:
        raise NotExpanded(TOO_LARGE)
    if not engine.eof or engine.unused_data:
        raise NotExpanded(DAMAGED)
    return content


def _zstd(message: bytes, limit: int) -> bytes:
    try:
        import zstandard
    except ImportError as error:
        raise NotExpanded(NO_ZSTD) from error
    engine = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    try:
        if zstandard.frame_content_size(message) > limit:
            raise NotExpanded(TOO_LARGE)
        content: bytes = engine.decompress(message, max_output_size=limit, allow_extra_data=False)
    except zstandard.ZstdError as error:
        # A frame that does not say its size fails the same way for being cut and for being too large.
        raise NotExpanded(TOO_LARGE if _exceeds(engine, message, limit) else DAMAGED) from error
    return content


def _exceeds(engine: zstandard.ZstdDecompressor, message: bytes, limit: int) -> bool:
    """Whether more than `limit` bytes come out."""
    import zstandard

    try:
        with engine.stream_reader(message) as reader:
            return len(reader.read(limit + 1)) > limit
    except zstandard.ZstdError:
        return False
