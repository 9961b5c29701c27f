"""The form `envelopes`: protobuf one behind the other, whole envelopes in a file or a stream.

flat, xtcp2-1, xtcp2-2   `varint(length) || Envelope`, as many rows in one as xtcp2's limit takes, so as a Kafka message
                         of either has it; ours have a sequence number each and end a poll with its trailer
xtcp                     `varint(length) || xtcp_record`, because xTCP has no envelope

On a stream socket xtcp2 has one more length before each of its envelopes, and so have we, for its readers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from xtcp.records.varints import varint

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer
    from xtcp.sinks.files.form import Form, Piece
    from xtcp.sinks.record_choice import RecordChoice

# xtcp2's limit of an envelope; a row is never as large, for it comes in a datagram of the kernel's.
LIMIT_BYTES: Final = 768 << 10


def envelope_form(records: RecordChoice, *, socket: bool = False) -> Form:
    """The form for records of a layout, in a file or on a stream socket."""
    if records.bare:
        return Delimited(records)
    return Enveloped(records, framed=socket and records.layout.startswith("xtcp2"))


class Enveloped:
    """Envelopes of one stream, their sequence numbers from 0; `framed`: each behind its length once more."""

    def __init__(self, records: RecordChoice, *, framed: bool = False) -> None:
        self._envelopes = records.envelopes(LIMIT_BYTES)
        self._framed = framed

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def rows(self, batch: Batch) -> Iterator[Piece]:
        """Envelopes one behind the other, their records as they stand in the encoder's buffer."""
        for length, records, header, _ in self._envelopes.pieces(batch):
            if records is None:
                raise ValueError("a row is larger than an envelope may be")
            if self._framed:
                yield varint(len(length) + len(records) + len(header))
            yield length
            yield records
            yield header

    def trailer(self, trailer: Trailer) -> bytes:
        """An envelope of its own."""
        packet = self._envelopes.end_poll(trailer)
        return b"" if packet is None else packet.data

    def end(self) -> bytes:
        """Nothing."""
        return b""


class Delimited:
    """xtcp records, each behind its length."""

    def __init__(self, records: RecordChoice) -> None:
        self._encoder = records.encoder(delimited=True)

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def rows(self, batch: Batch) -> Iterator[Piece]:
        """All at once."""
        yield self._encoder.encode(batch).data

    def trailer(self, trailer: Trailer) -> bytes:  # noqa: ARG002 - xTCP has none
        """Nothing."""
        return b""

    def end(self) -> bytes:
        """Nothing."""
        return b""
