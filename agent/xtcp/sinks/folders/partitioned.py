"""Partitioned: rows to files below a folder, a file a partition at a time, in whichever format.

Accepted means that the file which holds the row is final: written, made durable, under its name (`local_folder`).
Until then the row is in flight, so what is accepted survives a crash and a loss of power, and what a crash takes was
never called accepted. Files end with a poll: with the first that ends when a file is as old or as large as the limits
say. So that there is something to read soon, a host's first poll has a file of its own, and no file gets older than
half the time that the sink has been open. Only a file of twice the size ends in the midst of a poll.

With each file of rows comes one of the trailers of the polls that ended in it, published after it: a poll whose trailer
can be read is whole.

Where writing fails, the file is given up: its rows are dropped by the errno's name, and the trailers of their polls say
`dropped`. The sink takes no rows for a pause, then tries again by itself.

Memory: formats keep rows in hand to write many at once; together at most `BUFFER_BYTES`. Files open at a time are at
most `MOST_OPEN`; the one that was written longest ago ends for another. Trailers wait for at most `MOST_WAITING` files.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from xtcp.errors import XtcpError
from xtcp.ledger import CLOSED, Account
from xtcp.sinks.backoff import Backoff
from xtcp.sinks.folders.file_format import Format, RowWriter
from xtcp.sinks.folders.local_folder import Draft, Folder, errno_name, failure
from xtcp.sinks.folders.partitions import POLLS, SOCKETS, Partition, stem
from xtcp.sinks.folders.retention import EVERYTHING, BelievedClock, Keep, surplus
from xtcp.sinks.sink import PATIENCE_S

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer

BUFFER_BYTES: Final = 24 << 20
MOST_OPEN: Final = 64
MOST_WAITING: Final = 1024
MOST_TRAILERS: Final = 4096
MOST_HOSTS: Final = 65_536
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
CLEANING_S: Final = 60.0

DEFAULT_AGE_S: Final = 600.0
DEFAULT_SIZE: Final = 128 << 20


@dataclass(frozen=True)
class Limits:
    """When files end, and how long they are kept."""

    age_s: float = DEFAULT_AGE_S
    size: int = DEFAULT_SIZE
    keep: Keep = EVERYTHING


@dataclass
class _Part:
    """The file of a partition that is open now: `draft` and `writer` come with its first row.

    `polling`: a poll has rows in it and has not ended.
    """

    partition: Partition
    name: str
    opened: float
    draft: Draft | None = None
    writer: RowWriter | None = None
    rows: int = 0
    polling: bool = False
    trailers: list[Trailer] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes written and kept; what is kept becomes less when it is written."""
        written = 0 if self.draft is None else self.draft.size
        return written + (0 if self.writer is None else self.writer.buffered)


class Partitioned:
    """A `Sink`. `clock` is monotonic seconds, `wall` ns since 1970; `closing` lets go of what is not the folder's."""

    def __init__(
        self,
        folder: Folder,
        form: Format,
        account: Account,
        limits: Limits = Limits(),
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = time.time_ns,
        closing: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._form = form
        self._account = account
        self._limits = limits
        self._clock = clock
        self._believed = BelievedClock(wall, clock)
        self._closing = closing
        self._started = clock()
        self._token = secrets.token_hex(4)
        self._number = 0
        self._open: OrderedDict[Partition, _Part] = OrderedDict()
        # The partition of each host's poll, by its number, while it goes on.
        self._polls: OrderedDict[str | None, tuple[int | None, Partition]] = OrderedDict()
        self._seen: set[str] = set()
        self._lost: set[str] = set()
        # Ended, and not published yet, where the folder lets it be tried again.
        self._unpublished: deque[_Part] = deque()
        self._in_flight = 0
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._resume_at = -math.inf
        self._clean_at = -math.inf
        self._reason = ""
        self._closed = False
        self.error: XtcpError | None = None
        account.ask(lambda: self._in_flight)
        try:
            folder.clean()
        except OSError as error:
            raise failure(account.name, error) from error

    @property
    def gone(self) -> bool:
        """Never: there may be room again."""
        return False

    @property
    def ready(self) -> bool:
        """Whether no pause is on."""
        return self._clock() >= self._resume_at

    # --- rows and polls ---

    def accept(self, batch: Batch) -> None:
        """Takes the rows into the file of their poll's partition."""
        if self._closed or not self.ready:
            self._account.refuse(batch.rows, CLOSED if self._closed else self._reason)
            self._remember(self._lost, batch.context.hostname or "")
            return
        with self._account as account:
            account.offer(batch.rows)
            self._in_flight += batch.rows
        if not batch.rows:
            return
        part = self._part(self._partition(batch), batch.context.timestamp_ns)
        part.rows += batch.rows
        part.polling = True
        try:
            self._writer(part).write(batch)
        except OSError as error:
            self._give_up(part, error)
            return
        self._bound_memory()
        if self._open.get(part.partition) is part and part.size >= 2 * self._limits.size:
            self._publish(part)

    def end_poll(self, trailer: Trailer) -> None:
        """Keeps the trailer with its rows; ends the file where it is due."""
        if self._closed:
            return
        _, partition = self._polls.pop(trailer.hostname or None, (None, None))
        if partition is None:
            partition = Partition.of(trailer.hostname, trailer.wall_start_ns)
        if trailer.hostname in self._lost:
            self._lost.discard(trailer.hostname)
            trailer = trailer.flagged("dropped")
        if not self.ready and partition not in self._open and len(self._open) >= MOST_WAITING:
            return
        part = self._part(partition, trailer.wall_start_ns)
        part.polling = False
        part.trailers.append(trailer)
        first = trailer.hostname not in self._seen
        self._remember(self._seen, trailer.hostname)
        if self.ready and (first or self._due(part)):
            self._publish(part)

    def _remember(self, hosts: set[str], host: str) -> None:
        """Adds one, but no more than a fleet has: names may come from whoever sends to a collector."""
        if len(hosts) < MOST_HOSTS:
            hosts.add(host)

    def _partition(self, batch: Batch) -> Partition:
        """That of the poll which the rows belong to: its first rows say when it began."""
        context = batch.context
        poll, partition = self._polls.get(context.hostname, (None, None))
        if partition is None or poll != context.poll_id:
            partition = Partition.of(context.hostname, context.timestamp_ns)
            self._polls[context.hostname] = context.poll_id, partition
            if len(self._polls) > MOST_HOSTS:
                self._polls.popitem(last=False)
        return partition

    # --- files ---

    def _part(self, partition: Partition, start_ns: int | None) -> _Part:
        """The open part of a partition; a new one ends those of its host's other hours."""
        part = self._open.get(partition)
        if part is None:
            if self.ready:
                self._make_room(partition.host)
            part = self._open[partition] = self._new(partition, start_ns)
        self._open.move_to_end(partition)
        return part

    def _make_room(self, host: str | None) -> None:
        """Ends what a new file of `host` ends; each once, because what fails may come back as trailers that wait."""
        for other in [p for p in self._open.values() if p.partition.host == host and not p.polling]:
            self._publish(other)
        written = [p for p in self._open.values() if p.draft is not None]
        for other in written[: max(0, len(written) + 1 - MOST_OPEN)]:
            self._publish(other)
        for other in list(self._open.values())[: max(0, len(self._open) + 1 - MOST_WAITING)]:
            self._publish(other)

    def _new(self, partition: Partition, start_ns: int | None) -> _Part:
        self._number += 1
        return _Part(partition, stem(start_ns, self._token, self._number), self._clock())

    def _writer(self, part: _Part) -> RowWriter:
        if part.writer is None:
            part.draft = self._folder.create(self._path(SOCKETS, part))
            part.writer = self._form.rows(part.draft.file)
        return part.writer

    def _path(self, table: str, part: _Part) -> str:
        return f"{table}/{part.partition.folder}/{part.name}.{self._form.ending}"

    def _bound_memory(self) -> None:
        """Writes what is kept of the files that keep most of it."""
        kept = [(part.writer.buffered, part) for part in self._open.values() if part.writer is not None]
        total = sum(size for size, _ in kept)
        for size, part in sorted(kept, key=lambda item: -item[0]):
            if total <= BUFFER_BYTES:
                return
            total -= size
            try:
                assert part.writer is not None
                part.writer.spill()
            except OSError as error:
                self._give_up(part, error)

    def _due(self, part: _Part) -> bool:
        now = self._clock()
        old = now - part.opened >= min(self._limits.age_s, (now - self._started) / 2)
        full = part.size >= self._limits.size or (part.writer is not None and part.writer.full)
        return old or full or len(part.trailers) >= MOST_TRAILERS

    def _publish(self, part: _Part) -> None:
        """Ends the part's file."""
        del self._open[part.partition]
        try:
            if part.writer is not None:
                part.writer.end()
        except OSError as error:
            self._give_up(part, error)
        else:
            self._finish(part)

    def _finish(self, part: _Part) -> None:
        """Makes the part's rows appear, then its trailers."""
        try:
            if part.draft is not None:
                size = part.draft.size
                part.draft.publish()
                part.draft = part.writer = None
                with self._account as account:
                    self._in_flight -= part.rows
                    account.accept(part.rows, size)
        except OSError as error:
            if self._folder.keeps:
                self._pause(error)
                self._unpublished.append(part)
            else:
                self._give_up(part, error)
            return
        try:
            self._publish_trailers(part)
        except OSError as error:
            self._pause(error)
            self._keep_trailers(part)
        else:
            self._backoff.reset()

    def _publish_trailers(self, part: _Part) -> None:
        if not part.trailers:
            return
        draft = self._folder.create(self._path(POLLS, part))
        try:
            self._form.polls(draft.file, part.trailers)
            draft.publish()
        except OSError:
            draft.discard()
            raise

    # --- what fails ---

    def _give_up(self, part: _Part, error: OSError) -> None:
        """Drops the rows of a part whose file cannot be written, and remembers it for the trailers of their polls."""
        self._open.pop(part.partition, None)
        self._discard(part, errno_name(error))
        self._pause(error)
        if part.polling:
            self._remember(self._lost, part.partition.host or "")
        part.trailers = [trailer.flagged("dropped") for trailer in part.trailers]
        self._keep_trailers(part)

    def _discard(self, part: _Part, reason: str) -> None:
        if part.draft is not None:
            part.draft.discard()
        with self._account as account:
            self._in_flight -= part.rows
            account.drop(part.rows, reason)

    def _keep_trailers(self, part: _Part) -> None:
        """For the next file of the same partition; those are let go for which it takes too long, or are too many."""
        if not part.trailers or len(self._open) >= MOST_WAITING:
            return
        new = self._open.get(part.partition) or self._new(part.partition, part.trailers[0].wall_start_ns)
        new.trailers = (part.trailers + new.trailers)[-MOST_TRAILERS:]
        self._open[part.partition] = new

    def _pause(self, error: OSError) -> None:
        self._reason = errno_name(error)
        self._resume_at = self._clock() + self._backoff.next()
        self.error = self.error or failure(self._account.name, error)

    # --- by time ---

    def tick(self) -> float:
        """Ends files that are due without a poll to end them, removes old ones, tries again what failed."""
        if self._closed:
            return math.inf
        while self._unpublished and self.ready:
            self._finish(self._unpublished.popleft())
        for part in list(self._open.values()):
            if self.ready and self._clock() >= self._end_of(part):
                self._publish(part)
        if self._clock() >= self._clean_at and self._limits.keep != EVERYTHING:
            self._clean_at = self._clock() + CLEANING_S
            self._remove_surplus()
        due = [self._end_of(part) for part in self._open.values()]
        due += [self._clean_at] * (self._limits.keep != EVERYTHING)
        due += [self._resume_at] * (not self.ready)
        return max(0.0, min(due, default=math.inf) - self._clock())

    def _end_of(self, part: _Part) -> float:
        """When a part ends for its age; that with an unfinished poll later, in case the poll has no end."""
        return part.opened + self._limits.age_s * (2 if part.polling else 1)

    def _remove_surplus(self) -> None:
        try:
            for path in list(surplus(self._folder.files(), self._limits.keep, self._believed.now_ns())):
                self._folder.remove(path)
        except OSError as error:
            self.error = self.error or failure(self._account.name, error)

    def flush(self, timeout_s: float = PATIENCE_S) -> None:
        """Ends all files."""
        self._end(self._clock() + timeout_s)

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        """Ends all files; those for which there is no time are given up."""
        if self._closed:
            return
        self._closed = True
        self._end(self._clock() + timeout_s)
        for part in [*self._open.values(), *self._unpublished]:
            self._discard(part, CLOSED)
        self._open.clear()
        self._unpublished.clear()
        self._closing()

    def _end(self, deadline: float) -> None:
        """Publishes what there is, each part once."""
        waiting = len(self._unpublished)
        for _ in range(waiting):
            if self._clock() < deadline:
                self._finish(self._unpublished.popleft())
        for part in list(self._open.values()):
            if self._clock() < deadline:
                self._publish(part)
