"""Frames: a file or standard input of messages, each behind its length as a varint, back to back.

That is how `file:…?format=envelopes` writes envelopes, xtcp2 its files, and protobuf's own writeDelimitedTo any message
(https://protobuf.dev/programming-guides/techniques/#streaming). A frame with its length is a message as a datagram is.

A length that no message has ends the file: behind it there is no telling where the next one begins.
"""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path
from typing import BinaryIO, Final

from xtcp.collect.arrivals import Arrivals, InputCounts
from xtcp.errors import DamagedInput, PermissionMissing, UsageError

BLOCK: Final = 1 << 20
# No sink of ours and no peer writes an envelope of a tenth of it; whoever reads it sets aside what is too large.
LONGEST_FRAME: Final = 16 << 20
_LONGEST_LENGTH: Final = 5


class FrameBuffer:
    """Bytes of a stream in, whole frames out. `damage` says where no frame begins; from there on nothing comes out."""

    def __init__(self, longest: int = LONGEST_FRAME) -> None:
        self.damage = ""
        self._longest = longest
        self._held = bytearray()
        self._at = 0

    @property
    def held(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._held)

    @property
    def at(self) -> int:
        """Where that begins in the stream."""
        return self._at

    def feed(self, block: bytes) -> list[bytes]:
        """The frames that are whole now."""
        self._held += block
        held = bytes(self._held)
        messages: list[bytes] = []
        at = 0
        while at < len(held) and not self.damage:
            length, body = _varint(held, at)
            if length is None:
                break
            if length > self._longest:
                self.damage = f"no message begins at offset {self._at + at:,}"
            elif body + length > len(held):
                break
            else:
                messages.append(held[at : body + length])
                at = body + length
        del self._held[:at]
        self._at += at
        return messages


class Frames:
    """An `Input` of the file at `path`, `-` for standard input. Raises `XtcpError` where it cannot be opened."""

    def __init__(self, path: str) -> None:
        self.name = "standard input" if path == "-" else path
        self.counts = InputCounts()
        self._file = _opened(path, self.name)
        self._buffer = FrameBuffer()
        self._ended = False

    def descriptor(self) -> int | None:
        """None: `take` waits by itself."""
        return None

    def take(self, wait_s: float) -> Arrivals | None:
        """The frames of the next block; empty where a pipe has nothing yet."""
        if self._ended:
            return None
        try:
            if not select.select([self._file], [], [], wait_s)[0]:
                return Arrivals.of([])
            block = os.read(self._file.fileno(), BLOCK)
        except OSError as error:
            raise DamagedInput(f"{self.name}: {error.strerror or error}.", "It cannot be read.") from error
        messages = self._buffer.feed(block)
        damage = self._buffer.damage
        if not block and self._buffer.held and not damage:
            damage = f"it is cut in a message, {self._buffer.held:,} bytes at offset {self._buffer.at:,}"
        self.counts.damage = damage
        self._ended = not block or bool(damage)
        self.counts.messages += len(messages)
        self.counts.bytes += sum(map(len, messages))
        return Arrivals.of(messages)

    def mark(self) -> object:
        """None: a file can be read again."""
        return None

    def settle(self, mark: object) -> None:
        """Nothing."""

    def close(self) -> None:
        """Closes the file; standard input stays open."""
        if self.name != "standard input":
            self._file.close()


def _varint(held: bytes, at: int) -> tuple[int | None, int]:
    """The length at `at` and where it ends; None where it is not all there yet."""
    value = 0
    for byte in range(_LONGEST_LENGTH):
        if at + byte >= len(held):
            return None, at
        value |= (held[at + byte] & 0x7F) << 7 * byte
        if held[at + byte] < 0x80:
            return value, at + byte + 1
    return LONGEST_FRAME + 1, at


def _opened(path: str, name: str) -> BinaryIO:
    if path == "-":
        if sys.stdin is None:
            raise UsageError("standard input is closed.", "", "Name a file.")
        return sys.stdin.buffer
    try:
        return Path(path).open("rb", buffering=0)
    except PermissionError as error:
        raise PermissionMissing(f"{name}: {error.strerror}.", "The file belongs to another user.") from error
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}.", "", "Name a file of envelopes or records.") from error
