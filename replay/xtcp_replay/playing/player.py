"""Player: a source through the production decoder to a sink, dump by dump.

What happens to a row is what `decode` does, in the same order: decoded, once a dump, filtered. Then its batch is sent
under as many contexts as there are hosts; the columns are the same arrays in all of them, so that a thousand hosts
cost no more memory than one. Each dump ends a poll, of each host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from xtcp.batch import Batch, Tally
from xtcp.chunk import Context
from xtcp.decode.decoder import Decoder
from xtcp.poll.trailer import FLAGS, Trailer
from xtcp.poll.unique import Unique
from xtcp_replay.playing.hosts import Hosts
from xtcp_replay.playing.pace import Pace

if TYPE_CHECKING:
    from xtcp.sinks.sink import Sink
    from xtcp.sources import Source


@dataclass
class Played:
    """Totals: `rows` were offered to the sink, `left_out` did not pass the filter; dumps that had rows to send."""

    rows: int = 0
    dumps: int = 0
    duplicates: int = 0
    left_out: int = 0


@dataclass
class _Dump:
    """One dump on its way. `stamp` is the time that is written instead of its own, once it has begun."""

    context: Context
    tally: Tally = field(default_factory=Tally)
    unique: Unique = field(default_factory=Unique)
    begun: bool = False
    stamp: int | None = None


class Player:
    """Plays sources, one `play` behind the other.

    `hosts` None: rows keep their host. `keep` chooses rows, None: all. `now_ns`, the wall clock in ns, makes times
    and poll ids new; None: they stay. `between` guards every call of the sink. `seen` is called after each batch.
    """

    def __init__(
        self,
        sink: Sink,
        pace: Pace,
        *,
        hosts: Hosts | None = None,
        keep: Callable[[Batch], Batch] | None = None,
        now_ns: Callable[[], int] | None = None,
        between: AbstractContextManager[None] | None = None,
        seen: Callable[[Played], None] = lambda _played: None,
    ) -> None:
        self.played = Played()
        self._sink = sink
        self._pace = pace
        self._hosts = hosts
        self._keep = keep
        self._now_ns = now_ns
        self._started_ns: int | None = None
        self._last_poll_id = 0
        self._between = nullcontext() if between is None else between
        self._seen = seen
        self._decoder = Decoder()

    @property
    def gone(self) -> bool:
        """Whether the sink takes nothing any more."""
        return self._sink.gone

    def play(self, source: Source) -> Tally:
        """All of `source`, or as much as it took until the sink was gone; what decoding counted."""
        total = Tally()
        dump: _Dump | None = None
        for chunk in source.chunks():
            if dump is None or chunk.context.dump != dump.context.dump:
                self._end(dump)
                dump = _Dump(chunk.context)
            batch = self._decoder.decode(chunk)
            total.add(batch.tally)
            dump.tally.add(batch.tally)
            for unique in dump.unique.add(batch):
                self._send(unique, dump)
            if self._sink.gone:
                return total
        self._end(dump)
        return total

    def _send(self, batch: Batch, dump: _Dump) -> None:
        if self._keep is not None:
            rows = batch.rows
            batch = self._keep(batch)
            self.played.left_out += rows - batch.rows
        if not batch.rows:
            return
        self._begin(dump)
        for context in self._contexts(batch.context, dump.stamp):
            with self._between:
                self._sink.accept(batch if context is batch.context else replace(batch, context=context))
                self.played.rows += batch.rows
            if self._sink.gone:
                break
            self._seen(self.played)

    def _begin(self, dump: _Dump) -> None:
        """Waits until the dump is due."""
        if dump.begun:
            return
        offset_ns = self._pace.wait(dump.context.timestamp_ns)
        dump.begun = True
        self.played.dumps += 1
        if self._now_ns is not None:
            if self._started_ns is None:
                self._started_ns = self._now_ns() - offset_ns
            dump.stamp = self._last_poll_id = max(self._started_ns + offset_ns, self._last_poll_id + 1)

    def _contexts(self, context: Context, stamp: int | None) -> Iterator[Context]:
        """The contexts that a batch is sent under."""
        if stamp is not None:
            context = replace(context, timestamp_ns=stamp, poll_id=stamp)
        if self._hosts is None:
            yield context
        else:
            for name in self._hosts.names(context.hostname):
                yield replace(context, hostname=name)

    def _end(self, dump: _Dump | None) -> None:
        """The dump is over: what was held back, and the end of the poll."""
        if dump is None:
            return
        for batch in dump.unique.end():
            self._send(batch, dump)
        self.played.duplicates += dump.unique.removed
        if self._sink.gone or (not dump.begun and self._keep is not None):
            return
        # A dump without a socket has its time, too.
        self._begin(dump)
        trailer = _trailer(dump, filtered=self._keep is not None)
        for context in self._contexts(dump.context, dump.stamp):
            with self._between:
                self._sink.end_poll(_of_host(trailer, context))


def _trailer(dump: _Dump, *, filtered: bool) -> Trailer:
    """What the capture tells of the poll; a packet's time is the only one there is, and no boot id."""
    tally, context = dump.tally, dump.context
    flags = {
        "interrupted": tally.interrupted,
        "overrun": bool(tally.control["overrun"]),
        "error": bool(tally.errors) or bool(tally.done and tally.done.errno),
        "incomplete": tally.done is None and not tally.errors,
        "filtered": filtered,
    }
    return Trailer(
        hostname=context.hostname or "",
        boot_id="",
        poll_id=0,
        netns=context.netns or "",
        release=context.release,
        byte_order="little" if context.order == "<" else "big",
        wall_start_ns=0,
        wall_end_ns=0,
        monotonic_start_ns=0,
        monotonic_end_ns=0,
        dumps=1,
        messages=tally.messages,
        rows=tally.rows,
        duplicates=dump.unique.removed,
        quarantined=tally.quarantined,
        damaged=tally.damaged,
        control=sum(tally.control.values()),
        forged=0,
        unknown=dict(sorted(tally.unknown.items())),
        surplus={f"{path}:{length}": count for (path, length), count in sorted(tally.surplus.items())},
        flags=tuple(flag for flag in FLAGS if flags.get(flag)),
    )


def _of_host(trailer: Trailer, context: Context) -> Trailer:
    time_ns = context.timestamp_ns or 0
    return replace(
        trailer,
        hostname=context.hostname or "",
        poll_id=context.poll_id or time_ns,
        wall_start_ns=time_ns,
        wall_end_ns=time_ns,
    )
