"""Form: what rows and trailers are as bytes, one behind the other, for a sink that writes a file or a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from xtcp.batch import Batch
    from xtcp.encode import Encoder
    from xtcp.poll.trailer import Trailer

    Piece: TypeAlias = bytes | NDArray[np.uint8]


class Form(Protocol):
    """Encodes; does no I/O."""

    def begin(self) -> bytes:
        """What stands before all rows."""
        ...

    def rows(self, batch: Batch) -> Iterator[Piece]:
        """All rows of `batch`, in pieces of about a megabyte at most."""
        ...

    def trailer(self, trailer: Trailer) -> bytes:
        """The end of a poll, empty where the form has none."""
        ...

    def end(self) -> bytes:
        """What stands behind the last row."""
        ...


class TextForm:
    """The form of a text encoder, in UTF-8: rows only."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def begin(self) -> bytes:
        """The encoder's."""
        return self._encoder.begin().encode()

    def rows(self, batch: Batch) -> Iterator[Piece]:
        """The encoder's lines."""
        for text in self._encoder.encode(batch):
            yield text.encode()

    def trailer(self, trailer: Trailer) -> bytes:  # noqa: ARG002 - text has rows only
        """Nothing."""
        return b""

    def end(self) -> bytes:
        """The encoder's."""
        return self._encoder.end().encode()
