"""Collector: messages to batches, every message and every row accounted for; hostile ones cost their share and no more.

A message goes through, in this order: its signature, where keys are given; expansion, where it is compressed; what it
is (`reader_messages`); its number in its stream (`streams`); its records (`reader`). Where it fails it is set aside
with the reason, and nothing that is in a message raises. Rows bear the address they came from beside the name that
they claim (`received_from`); trailers come behind the rows of the messages that were taken together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from xtcp.collect.arrivals import Arrivals
from xtcp.collect.bounds import LARGEST_MESSAGE, PIECE_BYTES, ROWS_PER_DATAGRAM
from xtcp.collect.expansion import LIMIT, NotExpanded, expanded, is_compressed
from xtcp.collect.intake import Intake
from xtcp.collect.streams import Key, Streams
from xtcp.records.layouts import LAYOUTS
from xtcp.records.model import Layout
from xtcp.records.reading.epochs import EPOCHS, LATEST, epochs
from xtcp.records.reading.messages import MESSAGE_REASONS, Form, Messages, read_messages
from xtcp.records.reading.poll_end import read_headers, read_trailer
from xtcp.records.reading.reader import REASONS, RecordReader
from xtcp.records.reading.varints import Ints, Varints
from xtcp.records.signature import FOOTER, MAGIC, Keys

if TYPE_CHECKING:
    from xtcp.sinks.sink import Sink

TOO_LARGE: Final = "too large"
CUT: Final = "longer than a datagram may be"
BAD_TRAILER: Final = "trailer"
NO_SUCH_VERSION: Final = "schema_version not known"


class Collector:
    """Reads messages and hands batches and trailers to `sink`, on the thread that calls.

    With `keys` only signed messages are kept; without, a signature is not looked at. `clock` is wall time in ns.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        keys: Keys | None = None,
        streams: Streams | None = None,
        expansion_limit: int = LIMIT,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.intake = Intake()
        self.streams = streams or Streams()
        self._sink = sink
        self._keys = keys
        self._limit = expansion_limit
        self._clock = clock
        self._readers: dict[str, RecordReader] = {}

    def take(self, arrivals: Arrivals, most_rows: int = ROWS_PER_DATAGRAM) -> None:
        """All messages of `arrivals`; one may have `most_rows` rows."""
        intake = self.intake
        intake.messages += len(arrivals.starts) + arrivals.cut
        intake.bytes += int((arrivals.ends - arrivals.starts).sum())
        if arrivals.cut:
            intake.messages_aside[CUT] += arrivals.cut
        for part in self._expanded(self._believed(arrivals)):
            for piece in self._pieces(part):
                self._read(piece, most_rows)

    def _believed(self, arrivals: Arrivals) -> Arrivals:
        """Those that are signed, where they must be; all without their footers."""
        data, starts, ends = arrivals.data, arrivals.starts, arrivals.ends
        if not len(starts):
            return arrivals
        footed = np.flatnonzero(_ends_with(data, starts, ends, MAGIC))
        if self._keys is not None:
            now, view = self._clock(), memoryview(data)
            faults = [self._keys.fault(view[a:b], now) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
            self._set_aside(arrivals, faults)
            good = np.flatnonzero([fault is None for fault in faults])
            arrivals = _some(arrivals, good, ends[good] - FOOTER)
        elif len(footed):
            ends = ends.copy()
            ends[footed] -= FOOTER
            arrivals = replace(arrivals, ends=ends)
        return arrivals

    def _expanded(self, arrivals: Arrivals) -> Iterator[Arrivals]:
        """With compressed messages as what they hold, some at a time, for a hundred of them are a hundred times the
        limit; those that cannot be expanded are set aside.
        """
        data, starts, ends = arrivals.data, arrivals.starts, arrivals.ends
        # The first byte of each kind; few datagrams begin so.
        head = data[np.minimum(starts, len(data) - 1)] if len(data) else np.zeros(len(starts), np.uint8)
        maybe = np.flatnonzero(((head == 0x1F) | (head == 0x28)) & (ends - starts > 4))
        view = memoryview(data)
        packed = {number for number in maybe.tolist() if is_compressed(view[starts[number] : starts[number] + 4])}
        if not packed:
            yield arrivals
            return
        part: list[bytes] = []
        sources: list[str] = []
        size = 0
        for number, (begin, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            message = bytes(view[begin:end])
            if number in packed:
                try:
                    message = expanded(message, self._limit)
                except NotExpanded as why:
                    self._aside(arrivals.sources[number], str(why))
                    continue
            part.append(message)
            sources.append(arrivals.sources[number])
            size += len(message)
            if size >= self._limit:
                yield Arrivals.of(part, sources)
                part, sources, size = [], [], 0
        yield Arrivals.of(part, sources)

    def _pieces(self, arrivals: Arrivals) -> Iterator[Arrivals]:
        """In pieces of about `PIECE_BYTES`; a message that is too large is set aside."""
        lengths = arrivals.ends - arrivals.starts
        large = lengths > LARGEST_MESSAGE
        if large.any():
            self._set_aside(arrivals, [TOO_LARGE if one else None for one in large.tolist()])
            kept = np.flatnonzero(~large)
            arrivals = _some(arrivals, kept, arrivals.ends[kept])
            lengths = lengths[kept]
        piece = np.cumsum(lengths) // PIECE_BYTES
        cuts = np.flatnonzero(np.diff(piece)) + 1
        for first, last in zip([0, *cuts.tolist()], [*cuts.tolist(), len(lengths)], strict=True):
            if first == last:
                continue
            begin, end = int(arrivals.starts[first]), int(arrivals.ends[last - 1])
            yield Arrivals(
                arrivals.data[begin:end],
                arrivals.starts[first:last] - begin,
                arrivals.ends[first:last] - begin,
                arrivals.sources[first:last],
            )

    def _read(self, arrivals: Arrivals, most_rows: int) -> None:
        """One piece."""
        intake = self.intake
        sources = list(dict.fromkeys(arrivals.sources))
        place = {address: number for number, address in enumerate(sources)}
        source = np.array([place[address] for address in arrivals.sources], np.int64)
        varints = Varints(arrivals.data)
        messages = read_messages(varints, arrivals.starts, arrivals.ends, most_rows)
        reasons: list[str | None] = [None if f < 0 else MESSAGE_REASONS[f] for f in messages.fault.tolist()]
        repeated = self._number(varints, messages, arrivals, reasons)
        intake.rows += len(messages.message)
        if repeated:
            again = np.isin(messages.message, list(repeated))
            for number, count in zip(*np.unique(messages.message[again], return_counts=True), strict=True):
                intake.rows_aside[repeated[int(number)]] += int(count)
            messages = replace(
                messages,
                message=messages.message[~again],
                start=messages.start[~again],
                end=messages.end[~again],
            )
        for layout, chosen in self._layouts(varints, messages, reasons):
            self._rows(layout, varints, messages, chosen, sources, source, reasons)
        bad = np.array([reason is not None for reason in reasons], np.bool_)
        self._set_aside(arrivals, reasons)
        intake.kept += len(reasons) - int(bad.sum())
        for number, count in zip(*np.unique(source, return_counts=True), strict=True):
            intake.source(sources[int(number)]).messages += int(count)
        self._end_polls(arrivals, messages, bad)

    def _number(
        self, varints: Varints, messages: Messages, arrivals: Arrivals, reasons: list[str | None]
    ) -> dict[int, str]:
        """Takes the envelopes' numbers; those that are known already get their reason, and are returned."""
        numbered = np.flatnonzero((messages.header[:, 1] > 0) & (messages.fault < 0))
        if not len(numbered):
            return {}
        begin, end = messages.header[numbered].T
        headers = read_headers(varints, begin, end)
        repeated: dict[int, str] = {}
        for number, stream, sequence, fault in zip(
            numbered.tolist(),
            headers.stream.tolist(),
            headers.sequence.tolist(),
            headers.fault.tolist(),
            strict=True,
        ):
            if fault >= 0:
                repeated[number] = reasons[number] = f"header: {REASONS[fault]}"
                continue
            verdict = self.streams.take(Key(arrivals.sources[number], stream), sequence)
            if not verdict.kept:
                repeated[number] = reasons[number] = verdict.value
        return repeated

    def _layouts(
        self, varints: Varints, messages: Messages, reasons: list[str | None]
    ) -> Iterator[tuple[Layout, Ints]]:
        """Each layout among the records, and which are of it; those of an unknown version are set aside."""
        form = messages.form[messages.message]
        for one, name in ((Form.XTCP, "xtcp"), (Form.FLAT, "flat")):
            chosen = np.flatnonzero(form == one)
            if len(chosen):
                yield LAYOUTS[name], chosen
        chosen = np.flatnonzero(form >= Form.XTCP2)
        if not len(chosen):
            return
        version = epochs(varints, messages.start[chosen], messages.end[chosen])
        for epoch, layout in enumerate(EPOCHS):
            if (version == epoch).any():
                yield layout, chosen[version == epoch]
        self._drop_records(
            messages, chosen[version > LATEST], [NO_SUCH_VERSION] * int((version > LATEST).sum()), reasons
        )

    def _rows(
        self,
        layout: Layout,
        varints: Varints,
        messages: Messages,
        chosen: Ints,
        sources: list[str],
        source: Ints,
        reasons: list[str | None],
    ) -> None:
        """The records `chosen`, to batches and on to the sink."""
        intake = self.intake
        whose = source[messages.message[chosen]]
        found = self._reader(layout).read(varints, messages.start[chosen], messages.end[chosen], sources, whose)
        intake.skipped(layout.name, found.unknown)
        bad = found.fault >= 0
        if bad.any():
            why = [REASONS[fault] for fault in found.fault[bad].tolist()]
            self._drop_records(messages, chosen[bad], why, reasons)
        for batch in found.batches:
            intake.delivered += batch.rows
            intake.records[layout.name] += batch.rows
            address = batch.context.received_from or ""
            intake.claim(address, batch.context.hostname or "")
            intake.source(address).rows += batch.rows
            self._sink.accept(batch)

    def _drop_records(self, messages: Messages, which: Ints, why: list[str], reasons: list[str | None]) -> None:
        """Sets records aside; one that is a message by itself sets that aside too."""
        alone = (messages.form[messages.message[which]] == Form.XTCP) | (
            messages.form[messages.message[which]] == Form.XTCP2_RECORD
        )
        for message, by_itself, reason in zip(messages.message[which].tolist(), alone.tolist(), why, strict=True):
            self.intake.rows_aside[reason] += 1
            if by_itself:
                reasons[message] = reason

    def _reader(self, layout: Layout) -> RecordReader:
        found = self._readers.get(layout.name)
        if found is None:
            seconds = 10 if layout is EPOCHS[0] else None
            found = self._readers[layout.name] = RecordReader(layout, seconds=seconds)
        return found

    def _set_aside(self, arrivals: Arrivals, reasons: Sequence[str | None]) -> None:
        """Counts those that have a reason."""
        for number, reason in enumerate(reasons):
            if reason is not None:
                self._aside(arrivals.sources[number], reason)

    def _aside(self, address: str, reason: str) -> None:
        self.intake.messages_aside[reason] += 1
        self.intake.source(address).aside += 1

    def _end_polls(self, arrivals: Arrivals, messages: Messages, bad: NDArray[np.bool_]) -> None:
        for number in np.flatnonzero((messages.trailer[:, 1] > 0) & ~bad).tolist():
            begin, end = messages.trailer[number].tolist()
            trailer = read_trailer(arrivals.data[begin:end].tobytes())
            if trailer is None:
                self.intake.unknown[BAD_TRAILER] += 1
                continue
            self.intake.trailers += 1
            self._sink.end_poll(trailer)


def _some(arrivals: Arrivals, which: Ints, ends: Ints) -> Arrivals:
    """Some of the messages, with other ends."""
    return Arrivals(arrivals.data, arrivals.starts[which], ends, [arrivals.sources[n] for n in which.tolist()])


def _ends_with(data: NDArray[np.uint8], starts: Ints, ends: Ints, magic: bytes) -> NDArray[np.bool_]:
    """Which messages are longer than a footer and end with `magic`."""
    long = ends - starts > FOOTER
    found = long.copy()
    for back, byte in enumerate(reversed(magic), 1):
        found &= data[np.where(long, ends - back, 0)] == byte if len(data) else False
    return found
