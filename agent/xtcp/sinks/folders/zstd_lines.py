"""JSON lines, compressed with zstd, in files below `lines:DIR`: what Parquet is where pyarrow has no build.

The layout is that of `partitions`, its rules `partitioned`, the lines those of `json_lines`; a trailer is a line too.
With gzip where zstandard is not installed either. DuckDB, ClickHouse and `zstdcat` read it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

from xtcp.encode.json_lines import JsonLines

zstandard: Any
try:
    import zstandard
except ImportError:
    zstandard = None

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer

# Higher levels take longer and gain next to nothing on such lines.
LEVEL: Final = 1


class Compressing(Protocol):
    """A stream that compresses what is written into it."""

    def write(self, data: bytes, /) -> int:
        """Takes `data`."""
        ...

    def close(self) -> None:
        """Writes the frame's end; the file below stays open."""
        ...


def compressing(file: BinaryIO, level: int) -> Compressing:
    """Into `file`, by what is installed."""
    if zstandard is None:
        return gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=min(level, 9), mtime=0)
    made: Compressing = zstandard.ZstdCompressor(level=level).stream_writer(file, closefd=False)
    return made


class LineRows:
    """A `RowWriter`; it keeps nothing but what the compressor does."""

    buffered: Final = 0
    full: Final = False

    def __init__(self, file: BinaryIO, level: int) -> None:
        self._encoder = JsonLines()
        self._stream = compressing(file, level)

    def write(self, batch: Batch) -> None:
        """A line a row."""
        for text in self._encoder.encode(batch):
            self._stream.write(text.encode())

    def spill(self) -> None:
        """Nothing."""

    def end(self) -> None:
        """The frame's end."""
        self._stream.close()


class Lines:
    """A `Format`; `level` is zstd's, or gzip's."""

    def __init__(self, level: int = LEVEL) -> None:
        self._level = level
        self.ending = "jsonl.gz" if zstandard is None else "jsonl.zst"

    def rows(self, file: BinaryIO) -> LineRows:
        """A writer of lines."""
        return LineRows(file, self._level)

    def polls(self, file: BinaryIO, trailers: Sequence[Trailer]) -> None:
        """A line a trailer."""
        stream = compressing(file, self._level)
        stream.write("".join(json.dumps(trailer.as_dict()) + "\n" for trailer in trailers).encode())
        stream.close()
