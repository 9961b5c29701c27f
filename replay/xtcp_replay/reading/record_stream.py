"""RecordStream: checked records of a capture as a file object, without copying them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque


class RecordStream(ABC):
    """For a reader: `read`. For us, of the last record given: `offset`, where it begins; `cut`, whether the file ends
    in it; `captured`, the bytes of its packet. `ended` once a reader has been given all there is.

    A record is a few pieces, cut where readers of the format do: what is asked for piece by piece is given as it is.
    """

    def __init__(self) -> None:
        self.offset = 0
        self.cut = False
        self.captured = 0
        self.ended = False
        self._pieces: deque[bytes] = deque()

    def read(self, size: int) -> bytes:
        """At most `size` bytes, never beyond the end of a record; nothing where the good part ends."""
        pieces = self._pieces
        if not pieces and (self.ended or not self._next()):
            self.ended = True
            return b""
        piece = pieces.popleft()
        while len(piece) < size and pieces:
            piece += pieces.popleft()
        if len(piece) > size:
            pieces.appendleft(piece[size:])
            piece = piece[:size]
        return piece

    @abstractmethod
    def _next(self) -> bool:
        """Puts the next record into `_pieces`; False where there is none."""
