"""The cases that deliver: a poll into a destination as the agent has it, and the encoders alone.

A destination is opened once and kept, as an agent keeps it; a run of a case is one poll, its rows taken and flushed.
CPU is that of all threads, so a sink's own is in it; a broker's is not, which is a process of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from tests.bench.cases import TOPIC
from tests.sockets.netns import enter
from xtcp.batch import Batch
from xtcp.chunk import Chunk
from xtcp.decode.decoder import Decoder
from xtcp.poll.live import LivePoll, Wanted
from xtcp.records.descriptor import message_classes
from xtcp.records.encoder import RecordEncoder
from xtcp.records.layouts import LAYOUTS
from xtcp.sinks.destination import parse
from xtcp.sinks.fan_out import FanOut

FLUSH_S: Final = 60.0


class Delivery:
    """Polls into one destination, opened in the network namespace of the process `home`, where a broker is.

    Its threads stay there, and its connections are none of the farm's sockets.
    """

    def __init__(self, destination: str, home: int) -> None:
        self._opened: list[FanOut] = []
        thread = threading.Thread(target=self._open, args=(destination, home))
        thread.start()
        thread.join()
        (self._fan,) = self._opened

    def _open(self, destination: str, home: int) -> None:
        enter(home)
        self._opened.append(FanOut.of([parse(destination)], own_threads=True, wait=True))

    def poll(self) -> int:
        """One poll to its end; returns the rows that were offered. Raises where one was lost."""
        before = self._fan.ledger.snapshot()[0]
        live = LivePoll(Wanted(families=(0,)), Decoder())
        for batch in live:
            self._fan.accept(batch)
        if live.error is not None:
            raise live.error
        assert live.trailer is not None
        self._fan.end_poll(live.trailer)
        self._fan.flush(FLUSH_S)
        after = self._fan.ledger.snapshot()[0]
        if after.dropped or not after.balanced:
            raise RuntimeError(after.line())
        return after.offered - before.offered

    def close(self) -> None:
        """Closes the destination."""
        self._fan.close(FLUSH_S)


def encoded(batches: Sequence[Batch], layout: str) -> int:
    """All batches to records of a layout; returns how many."""
    encoder = RecordEncoder(LAYOUTS[layout])
    return sum(len(encoder.encode(batch).ends) for batch in batches)


def as_objects(batches: Sequence[Batch]) -> int:
    """The same by google.protobuf: a message object a row, its fields set from lists of Python objects, serialised."""
    layout, count = LAYOUTS["flat"], 0
    record = message_classes(layout)["Record"]
    for batch in batches:
        constants = batch.context.constants()
        lists = [(name, values_of(column)) for name, column in batch.columns.items() if name not in constants]
        for row in range(batch.rows):
            message = record(**constants)
            for name, values in lists:
                if values[row]:
                    setattr(message, name, values[row])
            count += bool(message.SerializeToString())
    return count


def values_of(column: NDArray[Any]) -> list[Any]:
    """A column as Python's objects, as the message takes them; cells of rows that do not have it are zero."""
    if column.ndim == 2:
        return [bytes(value) for value in column]
    return [value.decode() for value in column.tolist()] if column.dtype.kind == "S" else column.tolist()


def cases(
    folder: Path, broker: str, home: int, chunks: Iterable[Chunk], stack: ExitStack
) -> dict[str, Callable[[], int | None]]:
    """By name; a `broker` of "" is none; `home` as `Delivery` has it. What is opened is closed with `stack`."""
    destinations = {
        "to-null": "null:",
        "to-envelopes": f"file:{folder}/farm.envelopes?format=envelopes",
        "to-parquet": f"parquet:{folder}/parquet",
    }
    if broker:
        destinations["to-kafka"] = f"kafka:{broker}/{TOPIC}"
    out: dict[str, Callable[[], int | None]] = {}
    for name, destination in destinations.items():
        delivery = Delivery(destination, home)
        stack.callback(delivery.close)
        out[name] = delivery.poll
    decoder = Decoder()
    batches = [decoder.decode(chunk) for chunk in chunks]
    out["encode-flat"] = partial(encoded, batches, "flat")
    out["encode-xtcp"] = partial(encoded, batches, "xtcp")
    out["encode-objects"] = partial(as_objects, batches)
    return out
