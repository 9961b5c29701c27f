"""InputBytes: a file read once from its start to its end, with the place where reading is. Never seeks."""

from __future__ import annotations

from typing import BinaryIO, Final

from xtcp.sources.input_file import HEAD, input_error

_PIECE: Final = 1 << 20


class InputBytes:
    """`head` is the beginning of the file, up to `HEAD` bytes, which `read` gives again; `offset` counts from 0."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self.offset = 0
        self.head = self._from_file(HEAD)
        self._left = self.head

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end of the file. Raises `XtcpError` where reading fails."""
        if self._left:
            piece, self._left = self._left[:size], self._left[size:]
            if len(piece) < size:
                piece += self._from_file(size - len(piece))
        else:
            piece = self._from_file(size)
        self.offset += len(piece)
        return piece

    def skip(self, size: int) -> int:
        """Passes over `size` bytes in constant memory; returns how many there were."""
        skipped = 0
        while skipped < size:
            piece = self.read(min(size - skipped, _PIECE))
            if not piece:
                break
            skipped += len(piece)
        return skipped

    def _from_file(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            raise input_error(self._name, error) from error
