"""A format of files: how rows and trailers become the bytes of a file that `partitioned` opens, ends and publishes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer


class RowWriter(Protocol):
    """Writes rows in one format to one file. What the file fails of, it raises as `OSError`."""

    @property
    def buffered(self) -> int:
        """Bytes that it keeps in memory."""
        ...

    @property
    def full(self) -> bool:
        """Whether the file should end with this poll, because what stands at its end grows in memory."""
        ...

    def write(self, batch: Batch) -> None:
        """Takes all rows of `batch`."""
        ...

    def spill(self) -> None:
        """Writes what it keeps."""
        ...

    def end(self) -> None:
        """Writes what is left, and what the format has at its end; the file stays open."""
        ...


class Format(Protocol):
    """How rows and trailers become the bytes of a file."""

    @property
    def ending(self) -> str:
        """That of its files' names."""
        ...

    def rows(self, file: BinaryIO) -> RowWriter:
        """A writer of rows to `file`."""
        ...

    def polls(self, file: BinaryIO, trailers: Sequence[Trailer]) -> None:
        """Writes `trailers` to `file`, all of it."""
        ...
