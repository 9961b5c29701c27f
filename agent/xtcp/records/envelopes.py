"""Envelopes: batches cut into messages of many records, none longer than a limit, numbered so that loss shows.

A packet is `varint(length) || Envelope`: a UDP datagram, a Kafka message, a piece of a file, for our own envelopes and
xtcp2's alike (ClickHouse reads it as ProtobufList). Ours carry a header: the host, the stream, which is drawn at random
when a sender begins, and the envelope's number in it, from 0; and after a poll's records its trailer. xtcp2's have
neither.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xtcp.records import plain, varints
from xtcp.records.encoder import RecordEncoder
from xtcp.records.envelope_messages import HEADER, TRAILER
from xtcp.records.layouts import LAYOUTS

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer

# What readers of xtcp2's envelopes are set to (kafka_max_rows_per_message).
MOST_ROWS: Final = 10_000


class Packet(NamedTuple):
    """`data` holds `rows` records and is number `first_sequence` of its stream.

    One whose `oversize` is True stands for a row that is longer than the limit by itself; its `data` is empty.
    """

    data: bytes
    rows: int
    first_sequence: int
    oversize: bool = False


class Envelopes:
    """Envelopes of the layout `name`, each at most `limit_bytes` with the length before it.

    `stream` tells this sender's envelopes from those of others, None: drawn at random; `constants` as `RecordEncoder`
    has them. Raises ValueError for a layout without envelopes.
    """

    def __init__(
        self,
        name: str,
        *,
        limit_bytes: int,
        stream: int | None = None,
        constants: Mapping[str, int | str] | None = None,
    ) -> None:
        form = LAYOUTS[name].envelope
        if form is None:
            raise ValueError(f"records of the layout {name} have no envelope")
        self._form = form
        self._limit = limit_bytes
        self.stream = secrets.randbits(64) if stream is None else stream
        self._sequence = 0
        self._encoder = RecordEncoder(LAYOUTS[name], constants, frame=form.record)

    def cut(self, batch: Batch) -> Iterator[Packet]:
        """All rows of `batch`, as many in an envelope as fit. Take all before the next batch is cut."""
        for length, records, header, rows in self.pieces(batch):
            if records is None:
                yield Packet(b"", 1, self._sequence, oversize=True)
            else:
                yield Packet(b"".join((length, records, header)), rows, self._sequence - 1)

    def pieces(self, batch: Batch) -> Iterator[tuple[bytes, NDArray[np.uint8] | None, bytes, int]]:
        """The same without copying: the length, records where they stand in the encoder's buffer, header, and rows of
        each envelope. None for the records of one row: it is too long.
        """
        encoded = self._encoder.encode(batch)
        first, rows = 0, len(encoded.ends)
        while first < rows:
            header = self._header(batch.context.hostname)
            start = int(encoded.begins[first])
            room = self._room(header)
            behind = min(int(np.searchsorted(encoded.ends, start + room, "right")), first + MOST_ROWS)
            if behind <= first:
                yield b"", None, b"", 1
                first += 1
                continue
            end = int(encoded.ends[behind - 1])
            self._sequence += 1
            length = varints.varint(end - start + len(header))
            yield length, encoded.data[start:end], header, behind - first
            first = behind

    def end_poll(self, trailer: Trailer) -> Packet | None:
        """The trailer in an envelope of its own, None where the layout has none. Where it is too long for one, without
        its lists of what was unknown.
        """
        if self._form.trailer is None:
            return None
        header = self._header(trailer.hostname)
        body = plain.delimited(self._form.trailer, _trailer(trailer))
        if len(body) > self._room(header):
            body = plain.delimited(self._form.trailer, _trailer(replace(trailer, unknown={}, surplus={})))
        if len(body) > self._room(header):
            return Packet(b"", 0, self._sequence, oversize=True)
        packet = Packet(varints.varint(len(header) + len(body)) + header + body, 0, self._sequence)
        self._sequence += 1
        return packet

    def _header(self, hostname: str | None) -> bytes:
        if self._form.header is None:
            return b""
        values = {"hostname": hostname or "", "stream": self.stream, "sequence": self._sequence}
        return plain.delimited(self._form.header, plain.encoded(HEADER, values))

    def _room(self, header: bytes) -> int:
        """Bytes for records, or a trailer."""
        return self._limit - varints.size(self._limit) - len(header)


def _trailer(trailer: Trailer) -> bytes:
    values = trailer.as_dict()
    for name in ("unknown", "surplus"):
        counts = getattr(trailer, name)
        values[name] = [{"name": key, "count": count} for key, count in counts.items()]
    return plain.encoded(TRAILER, values)
