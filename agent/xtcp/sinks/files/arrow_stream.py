"""Rows as an Arrow IPC stream, for `file:PATH.arrow` and `stdout:?format=arrow`: a schema, record batches, an end.

https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format. Each batch comes with the dictionaries of its
own texts, so that a batch which is cut out again, because the disk was full, takes nothing away from the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from xtcp.encode.arrow import record_batch, schema
from xtcp.encode.arrow_library import pa

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer

# A continuation marker and a length of 0.
END: Final = b"\xff\xff\xff\xff\0\0\0\0"

_BATCH_ROWS: Final = 4096


class ArrowForm:
    """A `Form`."""

    def begin(self) -> bytes:
        """The schema, its fields with unit, since which kernel, meaning and source."""
        return bytes(schema().serialize())

    def rows(self, batch: Batch) -> Iterator[bytes]:
        """A record batch, or several of a large batch, each with its dictionaries."""
        made = record_batch(batch)
        for start in range(0, made.num_rows, _BATCH_ROWS):
            yield self._message(made.slice(start, _BATCH_ROWS))

    def _message(self, batch: Any) -> bytes:
        buffer = pa.BufferOutputStream()
        with pa.ipc.new_stream(buffer, batch.schema) as writer:
            writer.write_batch(batch)
        whole = memoryview(buffer.getvalue())
        return bytes(whole[len(self.begin()) : -len(END)])

    def trailer(self, trailer: Trailer) -> bytes:  # noqa: ARG002 - a stream has one schema, that of rows
        """Nothing."""
        return b""

    def end(self) -> bytes:
        """The mark of the end."""
        return END
