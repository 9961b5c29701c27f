"""Packing: batches to datagrams, bare xtcp records or envelopes under a size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from xtcp.sinks.network.transmission import Datagrams

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer
    from xtcp.records.envelopes import Packet
    from xtcp.sinks.record_choice import RecordChoice


class Packing(Protocol):
    """Batches and trailers to datagrams."""

    def rows(self, batch: Batch) -> Datagrams:
        """All rows of `batch` that fit a datagram; the others are in none."""
        ...

    def trailer(self, trailer: Trailer) -> Datagrams | None:
        """The poll's end, None where the form has none."""
        ...


def packing(records: RecordChoice, limit_bytes: int) -> Packing:
    """Records without an envelope stand bare, one a datagram, as xTCP sends them, all others in envelopes."""
    return BareRecords(records, limit_bytes) if records.bare else InEnvelopes(records, limit_bytes)


class BareRecords:
    """A record a datagram, nothing before or behind it, no end of a poll."""

    def __init__(self, records: RecordChoice, limit_bytes: int) -> None:
        self._encoder = records.encoder()
        self._limit = limit_bytes

    def rows(self, batch: Batch) -> Datagrams:
        """Those that fit."""
        records = self._encoder.encode(batch)
        fits = records.ends - records.starts <= self._limit
        ones = np.ones(int(np.count_nonzero(fits)), np.int64)
        return Datagrams(records.data, records.starts[fits], records.ends[fits], ones)

    def trailer(self, trailer: Trailer) -> None:
        """Nothing."""


class InEnvelopes:
    """Envelopes with a sequence number each, as many rows in one as fit; ours end a poll with its trailer."""

    def __init__(self, records: RecordChoice, limit_bytes: int) -> None:
        self._envelopes = records.envelopes(limit_bytes)

    def rows(self, batch: Batch) -> Datagrams:
        """Those that fit."""
        return _datagrams([packet for packet in self._envelopes.cut(batch) if not packet.oversize])

    def trailer(self, trailer: Trailer) -> Datagrams | None:
        """An envelope of its own."""
        packet = self._envelopes.end_poll(trailer)
        return None if packet is None or packet.oversize else _datagrams([packet])


def _datagrams(packets: Sequence[Packet]) -> Datagrams:
    lengths = np.array([len(packet.data) for packet in packets], np.int64)
    ends = np.cumsum(lengths)
    data = np.frombuffer(b"".join(packet.data for packet in packets) or b"\0", np.uint8)
    return Datagrams(data, ends - lengths, ends, np.array([packet.rows for packet in packets], np.int64))
