"""Streams: what sequence numbers say of envelopes that were lost, came twice, or came late.

A sender numbers the envelopes of a stream from 0, and draws the stream's name anew (a random u64) whenever it starts.
A stream here is (source address, stream): nobody can spoil another's count by claiming its name, and a sender of many
hosts numbers the envelopes of all of them in one row. The first number seen begins the account: what was sent before is
nobody's loss, and taken where it comes late.

    a number above the one expected   those between are lost, until they come
    below it, and missed              late: not lost after all
    below it, and seen                a duplicate: its rows are set aside
    more than `WINDOW` below          stale: too old to tell, set aside like a duplicate
    more than `FARTHEST` above        the stream begins anew there; nothing is counted as lost, for a number that was
                                      made up must not look like a billion lost envelopes

Memory is bounded: `most` streams in all, `per_source` of one address. Where there is no room, the one of that source
that was silent longest goes first; else of all those that came once only, and then of all. So one source that makes
up streams pushes out its own only, and many that come once push out none that has come twice.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import Final

WINDOW: Final = 1024
FARTHEST: Final = 1 << 20
MOST_STREAMS: Final = 16384
MOST_PER_SOURCE: Final = 256

_ALL: Final = (1 << WINDOW) - 1


class Verdict(Enum):
    """What the number of an envelope says of it."""

    NEW = "new"
    LATE = "late"
    DUPLICATE = "duplicate"
    STALE = "stale"

    @property
    def kept(self) -> bool:
        """Whether its rows are not known yet."""
        return self in (Verdict.NEW, Verdict.LATE)


@dataclass(frozen=True)
class Key:
    """Whose stream it is: the address that it comes from ("" where there is none), and its name."""

    source: str
    stream: int


@dataclass
class Counts:
    """Envelopes of all streams; `lost` are those missed and not come late, `streams` those that ever began."""

    streams: int = 0
    evicted: int = 0
    restarted: int = 0
    envelopes: int = 0
    lost: int = 0
    late: int = 0
    duplicates: int = 0
    stale: int = 0


class _Stream:
    """`begun` is the first number that is awaited, `expected` the next; bit i of `seen` tells whether
    `expected - 1 - i` came.
    """

    __slots__ = ("begun", "expected", "seen")

    def __init__(self, number: int) -> None:
        self.begin(number)

    def begin(self, number: int) -> None:
        """The account begins here."""
        self.begun, self.expected, self.seen = number, number + 1, 1


class Streams:
    """The account of all streams; the counts only grow, but for `lost`."""

    def __init__(self, most: int = MOST_STREAMS, per_source: int = MOST_PER_SOURCE) -> None:
        self.counts = Counts()
        self._most = most
        self._per_source = per_source
        # Least recently heard first; those that came once only apart.
        self._once: OrderedDict[Key, _Stream] = OrderedDict()
        self._known: OrderedDict[Key, _Stream] = OrderedDict()
        self._sources: dict[str, OrderedDict[Key, None]] = {}

    def __len__(self) -> int:
        return len(self._once) + len(self._known)

    def sources(self) -> int:
        """How many source addresses have a stream."""
        return len(self._sources)

    def take(self, key: Key, number: int) -> Verdict:
        """Envelope `number` of a stream came."""
        counts = self.counts
        counts.envelopes += 1
        stream = self._known.get(key)
        if stream is None:
            stream = self._once.pop(key, None)
            if stream is None:
                self._begin(key, number)
                return Verdict.NEW
            self._known[key] = stream
        else:
            self._known.move_to_end(key)
        self._sources[key.source].move_to_end(key)
        return self._place(stream, number)

    def _place(self, stream: _Stream, number: int) -> Verdict:
        counts = self.counts
        ahead = number - stream.expected
        if ahead > FARTHEST:
            counts.restarted += 1
            stream.begin(number)
            return Verdict.NEW
        if ahead >= 0:
            counts.lost += ahead
            stream.seen = (stream.seen << (ahead + 1) | 1) & _ALL if ahead < WINDOW else 1
            stream.expected = number + 1
            return Verdict.NEW
        behind = -ahead - 1
        if behind >= WINDOW:
            counts.stale += 1
            return Verdict.STALE
        if stream.seen >> behind & 1:
            counts.duplicates += 1
            return Verdict.DUPLICATE
        stream.seen |= 1 << behind
        counts.late += 1
        counts.lost -= number >= stream.begun
        return Verdict.LATE

    def _begin(self, key: Key, number: int) -> None:
        own = self._sources.get(key.source)
        if own is not None and len(own) >= self._per_source:
            self._forget(next(iter(own)))
        elif len(self) >= self._most:
            self._forget(next(iter(self._once or self._known)))
        self.counts.streams += 1
        self._once[key] = _Stream(number)
        self._sources.setdefault(key.source, OrderedDict())[key] = None

    def _forget(self, key: Key) -> None:
        self.counts.evicted += 1
        self._once.pop(key, None)
        self._known.pop(key, None)
        own = self._sources[key.source]
        del own[key]
        if not own:
            del self._sources[key.source]
