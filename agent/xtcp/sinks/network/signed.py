"""Signed: datagrams with a footer each that says who sent them (`xtcp.records.signature`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from xtcp.records.signature import FOOTER, Keys
from xtcp.sinks.network.transmission import Datagrams

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer
    from xtcp.sinks.network.packing import Packing


class Signed:
    """A `Packing` of what `packing` makes, each datagram `FOOTER` bytes longer. `clock` is wall time in ns."""

    def __init__(self, packing: Packing, keys: Keys, clock: Callable[[], int] = time.time_ns) -> None:
        self._packing = packing
        self._keys = keys
        self._clock = clock

    def rows(self, batch: Batch) -> Datagrams:
        """The same rows."""
        return self._signed(self._packing.rows(batch))

    def trailer(self, trailer: Trailer) -> Datagrams | None:
        """The same, None where there is none."""
        mail = self._packing.trailer(trailer)
        return None if mail is None else self._signed(mail)

    def _signed(self, mail: Datagrams) -> Datagrams:
        data, now_ns = mail.data.tobytes(), self._clock()
        pieces: list[bytes] = []
        for start, end in zip(mail.starts.tolist(), mail.ends.tolist(), strict=True):
            body = data[start:end]
            pieces += (body, self._keys.footer(body, now_ns))
        lengths = mail.ends - mail.starts + FOOTER
        ends = np.cumsum(lengths)
        return Datagrams(np.frombuffer(b"".join(pieces) or b"\0", np.uint8), ends - lengths, ends, mail.rows)
