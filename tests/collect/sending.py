"""What senders send, and a sink that keeps what the collector makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from xtcp.batch import Batch, Tally
from xtcp.chunk import Context
from xtcp.collect.arrivals import Arrivals
from xtcp.collect.collector import Collector
from xtcp.poll.trailer import Trailer
from xtcp.records.encoder import RecordEncoder
from xtcp.records.envelopes import Envelopes
from xtcp.records.layouts import LAYOUTS
from xtcp.schema.layout import column_dtype
from xtcp.sinks.sink import PATIENCE_S, AtOnce

HOST = Context(timestamp_ns=1_790_000_000_000_000_001, hostname="web1", netns="4026531840", poll_id=7)


def follows(batch: Batch) -> bool:
    """Whether the values of `sockets` came as they were."""
    cookies = np.asarray(batch.columns["idiag_cookie"], np.uint64)
    rtt = cookies * np.uint64(2654435761) % np.uint64(2**32)
    acked = cookies * np.uint64(11400714819323198485)
    same = np.array_equal(batch.columns["tcpi_rtt"], rtt) and np.array_equal(batch.columns["tcpi_bytes_acked"], acked)
    return same and np.array_equal(batch.columns["idiag_sport"], cookies % np.uint64(65536))


class Kept(AtOnce):
    """A sink that keeps batches and trailers."""

    error = None
    gone = False

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.trailers: list[Trailer] = []

    def accept(self, batch: Batch) -> None:
        """Keeps it."""
        self.batches.append(batch)

    def end_poll(self, trailer: Trailer) -> None:
        """Keeps it."""
        self.trailers.append(trailer)

    def flush(self, timeout_s: float = PATIENCE_S) -> None:
        """Nothing."""

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        """Nothing."""

    def cookies(self) -> list[int]:
        """Of all rows."""
        return [cookie for batch in self.batches for cookie in batch.columns["idiag_cookie"].tolist()]


def sockets(cookies: Iterable[int], context: Context = HOST) -> Batch:
    """Connections, all of whose values follow from their cookies."""
    cookie = np.array(list(cookies), np.uint64)
    values: dict[str, Any] = {
        "attributes": 1 << 2 | 1 << 4,
        "tcp_info_len": 232,
        "idiag_family": 2,
        "idiag_state": 1,
        "idiag_sport": cookie % np.uint64(65536),
        "idiag_cookie": cookie,
        "tcpi_state": 1,
        "tcpi_rtt": cookie * np.uint64(2654435761) % np.uint64(2**32),
        "tcpi_bytes_acked": cookie * np.uint64(11400714819323198485),
        "tcpi_snd_wnd": cookie % np.uint64(3) + np.uint64(1),
        "cong": b"cubic",
    }
    rows = len(cookie)
    columns = {name: np.broadcast_to(value, rows).astype(column_dtype(name)) for name, value in values.items()}
    return Batch(context, rows, columns, {}, np.arange(rows, dtype=np.int64) * 4, Tally(messages=rows, rows=rows))


def messages(record: str, batch: Batch, limit: int = 1432, stream: Envelopes | None = None) -> list[bytes]:
    """As a sender of this record sends them, one datagram each."""
    if record == "xtcp":
        encoded = RecordEncoder(LAYOUTS["xtcp"]).encode(batch)
        data = encoded.data.tobytes()
        return [data[a:b] for a, b in zip(encoded.starts.tolist(), encoded.ends.tolist(), strict=True)]
    return [packet.data for packet in (stream or Envelopes(record, limit_bytes=limit)).cut(batch)]


def collected(
    sent: Sequence[bytes], collector: Collector | None = None, source: str = "192.0.2.1"
) -> tuple[Kept, Collector]:
    """What a collector makes of these messages, taken at once."""
    sink = Kept()
    made = collector or Collector(sink)
    made.take(Arrivals.of(sent, [source] * len(sent)))
    assert made.intake.balanced
    return sink, made
