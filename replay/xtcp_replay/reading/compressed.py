"""Decompressed: what is in gzip, zstd or xz data, as a file that is read once, in constant memory.

1. Members, frames and streams that follow each other are read as one; padding of zero bytes between and behind them,
   where the format has it, and skippable frames of zstd are passed over.
2. What is whole is given. Where the data is cut or damaged, or something else stands behind it, the content ends, and
   `damage` is told the place in the compressed data and how much content stood before it.
3. No call expands more than `_OUTPUT` bytes, no window is larger than `WINDOW`, and the content ends at `max_bytes`.

Formats: RFC 1952 (gzip), RFC 8878 (zstd), https://tukaani.org/xz/xz-file-format.txt. The frames and blocks of zstd
are walked here: its library gives all that a piece of input expands to at once, or takes a cut frame for an end.
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from xtcp.errors import ConfigurationError, DamagedInput
from xtcp_replay.reading.findings import Findings
from xtcp_replay.reading.input_bytes import InputBytes

# As large as `zstd -d` takes, and `xz -9` needs half of it.
WINDOW: Final = 128 << 20

_INPUT: Final = 32 << 10
_OUTPUT: Final = 256 << 10
# What lzma has expanded is lost with the call in which it finds damage, so its calls are small, and up to `_XZ_KEPT`
# bytes of a stream are kept to go there again byte by byte.
_XZ_INPUT: Final = 256
_XZ_OUTPUT: Final = 4 << 10
_XZ_KEPT: Final = 256 << 10
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_NAME: Final = 64 << 10
_XZ_MAGIC: Final = b"\xfd7zXZ\0"
_ZSTD_MAGIC: Final = 0xFD2FB528
_ZSTD_SKIPPABLE: Final = 0x184D2A50
_ZSTD_BLOCK: Final = 128 << 10
_RAW, _REPEATED, _RESERVED = 0, 1, 3

_Found: TypeAlias = Callable[[str], None]


class _Broken(Exception):
    """Nothing behind this place can be decompressed; `back` bytes before it were read already."""

    def __init__(self, what: str, back: int = 0) -> None:
        super().__init__(what)
        self.what, self.back = what, back


class Decompressed(io.RawIOBase):
    """The content of `packed`, compressed as `kind` (one of `KINDS`); `within` says in words what that is in.

    Reading raises `ConfigurationError` where the module for `kind` is missing, and what `packed` raises.
    """

    def __init__(self, packed: InputBytes, kind: str, within: str, max_bytes: int, damage: Findings) -> None:
        super().__init__()
        self._packed = packed
        self._name = f"{kind} data{within}"
        self._pieces = KINDS[kind](packed, self._found)
        self._piece = memoryview(b"")
        self._max_bytes = max_bytes
        self._damage = damage
        self._broken = ""
        self._ended = False
        self._count = 0

    def insist(self, name: str) -> None:
        """Raises `DamagedInput` where damage is why there is no content; `name` is that of the file."""
        if _TOO_LARGE in self._broken:
            raise DamagedInput(
                f"{name}: {self._broken}.",
                "Usually it was compressed with --long.",
                f"Decompress it first: zstd --long=31 -dc {name} | xtcp-replay decode -",
            )
        if self._broken:
            raise DamagedInput(
                f"{name}: {self._broken}. Nothing of it can be decompressed.",
                "Usually the copy was interrupted.",
                "Copy it again.",
            )

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """The next bytes of the content, 0 at its end."""
        while not self._piece and not self._ended:
            self._next()
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def _next(self) -> None:
        try:
            piece = next(self._pieces, None)
        except _Broken as broken:
            self._found(broken.what, broken.back)
            piece = None
        if piece is None:
            self._ended = True
            return
        if self._count + len(piece) > self._max_bytes:
            piece = piece[: self._max_bytes - self._count]
            self._count += len(piece)
            self._found("expands to more than --max-bytes; nothing behind it is read")
            self._ended = True
        else:
            self._count += len(piece)
        self._piece = memoryview(piece)

    def _found(self, what: str, back: int = 0) -> None:
        self._broken = f"the {self._name} {what}"
        where = f"at byte {self._packed.offset - back:,}, after {self._count:,} decompressed bytes"
        self._damage.add(self._broken, where)


def _gzip(packed: InputBytes, found: _Found) -> Iterator[bytes]:
    _gzip_header(packed)
    while True:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        check = length = 0
        left = b""
        while not inflate.eof:
            left = left or packed.read(_INPUT)
            ended = not left
            before = inflate.copy()
            try:
                piece = inflate.decompress(left, _OUTPUT)
            except zlib.error:
                piece, back = _before_damage(before, left)
                yield piece
                raise _Broken("is damaged; nothing behind it is read", back) from None
            left = inflate.unconsumed_tail
            if ended and not piece and not inflate.eof:
                raise _Broken("is cut")
            check = zlib.crc32(piece, check)
            length += len(piece)
            if piece:
                yield piece
        packed.unread(inflate.unused_data)
        trailer = packed.read(8)
        if len(trailer) < 8:
            raise _Broken("is cut")
        if trailer != struct.pack("<II", check, length & 0xFFFFFFFF):
            found("does not have the checksum or length that it names")
        _skip_zeros(packed)
        if not _peek(packed, 1):
            return
        _gzip_header(packed)


def _gzip_header(packed: InputBytes) -> None:
    """Passes over the header of a member."""
    head = packed.read(10)
    if not head.startswith(_GZIP_MAGIC[: len(head)]):
        raise _Broken(_OTHER_BYTES, len(head))
    if len(head) < 10:
        raise _Broken("is cut")
    flags = head[3]
    if head[2] != zlib.DEFLATED or flags & 0xE0:
        raise _Broken("has a header that cannot be; nothing behind it is read", len(head))
    if flags & 4:
        size = int.from_bytes(packed.read(2), "little")
        packed.skip(size)
    for bit in (8, 16):
        if flags & bit:
            text = packed.read(_GZIP_NAME)
            end = text.find(0)
            if end < 0:
                raise _Broken("is cut" if len(text) < _GZIP_NAME else "has a name without end")
            packed.unread(text[end + 1 :])
    if flags & 2:
        packed.skip(2)


def _before_damage(before: Any, packed: bytes) -> tuple[bytes, int]:
    """What `packed` expands to up to where it is damaged, and how many bytes of it are left there."""
    content = bytearray()
    for at in range(len(packed)):
        try:
            content += before.decompress(packed[at : at + 1])
        except zlib.error:
            return bytes(content), len(packed) - at
    return bytes(content), 0


def _zstd(packed: InputBytes, found: _Found) -> Iterator[bytes]:  # noqa: ARG001 - what is wrong ends the data
    try:
        import zstandard
    except ImportError as error:
        raise ConfigurationError(
            f"{packed.name} is zstd data; it is read with zstandard, which is not installed here.",
            "Usually xtcp was installed without its extra for captures.",
            "Install it: pip install 'xtcp[replay]'",
        ) from error
    unpack = zstandard.ZstdDecompressor(max_window_size=WINDOW)
    while head := packed.read(4):
        number = int.from_bytes(head, "little")
        if len(head) == 4 and number & ~0xF == _ZSTD_SKIPPABLE:
            size = packed.read(4)
            length = int.from_bytes(size, "little")
            if len(size) < 4 or packed.skip(length) < length:
                raise _Broken("is cut")
        elif number == _ZSTD_MAGIC:
            frame = unpack.decompressobj()
            for part in _zstd_frame(packed, head):
                try:
                    piece = frame.decompress(part)
                except zstandard.ZstdError:
                    raise _Broken("is damaged; nothing behind it is read", len(part)) from None
                if piece:
                    yield piece
        elif len(head) < 4 and _ZSTD_MAGIC.to_bytes(4, "little").startswith(head):
            raise _Broken("is cut")
        else:
            raise _Broken(_OTHER_BYTES, len(head))


def _zstd_frame(packed: InputBytes, magic: bytes) -> Iterator[bytes]:
    """The header, each block and the checksum of a frame, the last piece shorter where the data is cut."""
    descriptor = packed.read(1)
    flags = int.from_bytes(descriptor, "little")
    single = bool(flags & 0x20)
    size_len = (int(single), 2, 4, 8)[flags >> 6]
    dictionary_len = (0, 1, 2, 4)[flags & 3]
    rest = packed.read((not single) + dictionary_len + size_len)
    if not descriptor or len(rest) < (not single) + dictionary_len + size_len:
        raise _Broken("is cut")
    if single:
        window = int.from_bytes(rest[dictionary_len:], "little") + 256 * (size_len == 2)
    else:
        base = 1 << 10 + (rest[0] >> 3)
        window = base + (base >> 3) * (rest[0] & 7)
    if window > WINDOW:
        raise _Broken(_TOO_LARGE, 5 + len(rest))
    if any(rest[not single : (not single) + dictionary_len]):
        raise _Broken("needs a dictionary, which is not at hand; nothing behind it is read", 5 + len(rest))
    yield magic + descriptor + rest
    last = False
    while not last:
        head = packed.read(3)
        word = int.from_bytes(head, "little")
        last, kind, size = bool(word & 1), word >> 1 & 3, word >> 3
        if len(head) == 3 and (kind == _RESERVED or size > _ZSTD_BLOCK):
            raise _Broken("is damaged; nothing behind it is read", 3)
        length = 1 if kind == _REPEATED else size
        body = packed.read(length) if len(head) == 3 else b""
        yield head + body
        if len(head) < 3 or len(body) < length:
            raise _Broken("is cut")
    if flags & 4:
        check = packed.read(4)
        yield check
        if len(check) < 4:
            raise _Broken("is cut")


def _xz(packed: InputBytes, found: _Found) -> Iterator[bytes]:  # noqa: ARG001 - what is wrong ends the data
    while True:
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=WINDOW)
        begin, given = packed.offset, 0
        kept = bytearray()
        while not stream.eof:
            piece = packed.read(_XZ_INPUT) if stream.needs_input else b""
            if stream.needs_input and not piece:
                raise _Broken("is cut")
            if packed.offset - begin <= _XZ_KEPT:
                kept += piece
            try:
                content = stream.decompress(piece, _XZ_OUTPUT)
            except lzma.LZMAError as error:
                if "Memory usage limit" in str(error):
                    raise _Broken(_TOO_LARGE, len(piece)) from None
                if packed.offset - begin <= _XZ_KEPT:
                    yield from _xz_again(kept, given)
                raise _Broken("is damaged; nothing behind it is read", len(piece)) from None
            given += len(content)
            if content:
                yield content
        packed.unread(stream.unused_data)
        if _skip_zeros(packed) % 4:
            raise _Broken("ends in padding of a length that cannot be")
        head = _peek(packed, len(_XZ_MAGIC))
        if not head:
            return
        if not _XZ_MAGIC.startswith(head):
            raise _Broken(_OTHER_BYTES)


def _xz_again(packed: bytearray, given: int) -> Iterator[bytes]:
    """What a stream that begins with `packed` expands to beyond `given` bytes, up to where it is damaged."""
    stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=WINDOW)
    for at in range(len(packed)):
        piece = packed[at : at + 1]
        while piece or not (stream.needs_input or stream.eof):
            try:
                content = stream.decompress(piece, _XZ_OUTPUT)
            except lzma.LZMAError:
                return
            if len(content) > given:
                yield content[given:]
            given = max(0, given - len(content))
            piece = bytearray()


def _skip_zeros(packed: InputBytes) -> int:
    """Passes over zero bytes; how many there were."""
    skipped = 0
    while piece := packed.read(_INPUT):
        rest = piece.lstrip(b"\0")
        skipped += len(piece) - len(rest)
        if rest:
            packed.unread(rest)
            break
    return skipped


def _peek(packed: InputBytes, size: int) -> bytes:
    """The next bytes, left where they are."""
    piece = packed.read(size)
    packed.unread(piece)
    return piece


_OTHER_BYTES: Final = "is followed by something else, which is not read"
_TOO_LARGE: Final = f"needs a window of more than {WINDOW >> 20} MiB to decompress; nothing behind it is read"
KINDS: Final[dict[str, Callable[[InputBytes, _Found], Iterator[bytes]]]] = {"gzip": _gzip, "zstd": _zstd, "xz": _xz}
