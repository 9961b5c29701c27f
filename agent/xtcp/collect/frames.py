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


class Frames:
    """An `Input` of the file at `path`, `-` for standard input. Raises `XtcpError` where it cannot be opened."""

    def __init__(self, path: str) -> None:
        self.name = "standard input" if path == "-" else path
        self.counts = InputCounts()
        self._file = _opened(path, self.name)
        self._held = bytearray()
        self._at = 0
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
        self._held += block
        messages, used = self._whole()
        del self._held[:used]
        self._at += used
        if not block:
            self._ended = True
            if self._held and not self.counts.damage:
                self.counts.damage = f"it is cut in a message, {len(self._held):,} bytes at offset {self._at:,}"
        self.counts.messages += len(messages)
        self.counts.bytes += used
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

    def _whole(self) -> tuple[list[bytes], int]:
        """The whole frames held, and how many bytes they are."""
        held = bytes(self._held)
        messages: list[bytes] = []
        at = 0
        while at < len(held):
            length, body = _varint(held, at)
            if length is None:
                break
            if length > LONGEST_FRAME:
                self.counts.damage = f"no message begins at offset {self._at + at:,}"
                self._ended = True
                break
            if body + length > len(held):
                break
            messages.append(held[at : body + length])
            at = body + length
        return messages, at


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
