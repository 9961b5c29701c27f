"""Sampled: a sink that passes on one connection in N, always the same ones (`xtcp.poll.sampling`).

It stands before the queue, so what is not kept costs neither memory nor encoding. Rows that are not kept were never
offered to the sink, and its account does not know them; those that are say in `weight` how many they stand for.
"""

# ruff: noqa: D102 - the Protocol says what they do
from __future__ import annotations

from typing import TYPE_CHECKING

from xtcp.poll.sampling import Sampler
from xtcp.sinks.queued import Queued
from xtcp.sinks.sink import PATIENCE_S

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.errors import XtcpError
    from xtcp.poll.trailer import Trailer
    from xtcp.sinks.sink import Sink


class Sampled:
    """A `Sink` before `sink`, which gets one connection in `one_in`."""

    def __init__(self, sink: Sink, one_in: int) -> None:
        self._sink = sink
        self._sampler = Sampler(one_in)

    @property
    def error(self) -> XtcpError | None:
        return self._sink.error

    @property
    def gone(self) -> bool:
        return self._sink.gone

    @property
    def ready(self) -> bool:
        return self._sink.ready

    @property
    def queue(self) -> Queued | None:
        """The queue that stands behind, None where there is none."""
        return queue_of(self._sink)

    def tick(self) -> float:
        return self._sink.tick()

    def accept(self, batch: Batch) -> None:
        kept = self._sampler.keep(batch)
        if kept.rows:
            self._sink.accept(kept)

    def end_poll(self, trailer: Trailer) -> None:
        self._sink.end_poll(trailer)

    def flush(self, timeout_s: float = PATIENCE_S) -> None:
        self._sink.flush(timeout_s)

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        self._sink.close(timeout_s)


def queue_of(sink: Sink) -> Queued | None:
    """The queue before a sink, None where there is none."""
    return sink.queue if isinstance(sink, Sampled) else sink if isinstance(sink, Queued) else None
