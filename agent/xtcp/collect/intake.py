"""Intake: what became of every message and of every row that came.

    messages == kept + sum(messages_aside)          rows == delivered + sum(rows_aside)

A record that is a message by itself is counted in both. The rows of an envelope that comes again are set aside with it;
those of one that is damaged are not known. What the sinks make of the delivered ones is in the ledger.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from xtcp.collect.arrivals import Input
from xtcp.collect.streams import Streams

MOST_SOURCES: Final = 4096
MOST_HOSTS: Final = 16
MOST_FIELDS: Final = 1024
# So many of each are told to people; all that is kept goes to --stats.
SHOWN: Final = 8


@dataclass
class Source:
    """One address: what came from it, and under which host names."""

    messages: int = 0
    rows: int = 0
    aside: int = 0
    hosts: OrderedDict[str, None] = field(default_factory=OrderedDict)
    more_hosts: bool = False


@dataclass
class Intake:
    """All counts, of bounded size whatever comes."""

    messages: int = 0
    bytes: int = 0
    kept: int = 0
    messages_aside: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    delivered: int = 0
    rows_aside: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    trailers: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    sources: OrderedDict[str, Source] = field(default_factory=OrderedDict)
    forgotten_sources: int = 0

    @property
    def balanced(self) -> bool:
        """Whether both equations hold."""
        return self.messages == self.kept + self.messages_aside.total() and self.rows == (
            self.delivered + self.rows_aside.total()
        )

    def source(self, address: str) -> Source:
        """The entry of an address; the one that was silent longest makes room."""
        found = self.sources.get(address)
        if found is None:
            if len(self.sources) >= MOST_SOURCES:
                self.sources.popitem(last=False)
                self.forgotten_sources += 1
            found = self.sources[address] = Source()
        else:
            self.sources.move_to_end(address)
        return found

    def claim(self, address: str, host: str) -> None:
        """Rows from `address` bear the name `host`."""
        found = self.source(address)
        if host in found.hosts:
            return
        if len(found.hosts) >= MOST_HOSTS:
            found.more_hosts = True
            found.hosts.popitem(last=False)
        found.hosts[host] = None

    def skipped(self, layout: str, unknown: Mapping[tuple[int, ...], int]) -> None:
        """Fields of records that are not in their layout."""
        for path, count in unknown.items():
            name = f"{layout} {'.'.join(map(str, path))}"
            if name in self.unknown or len(self.unknown) < MOST_FIELDS:
                self.unknown[name] += count
            else:
                self.unknown["others"] += count

    def as_dict(self, streams: Streams, inputs: Iterable[Input]) -> dict[str, Any]:
        """All of it for programs."""
        return {
            "balanced": self.balanced,
            "inputs": [
                {
                    "name": one.name,
                    "messages": one.counts.messages,
                    "bytes": one.counts.bytes,
                    "lost": dict(one.counts.lost),
                }
                for one in inputs
            ],
            "messages": self.messages,
            "bytes": self.bytes,
            "kept": self.kept,
            "messages_aside": dict(self.messages_aside),
            "rows": self.rows,
            "delivered": self.delivered,
            "rows_aside": dict(self.rows_aside),
            "records": dict(self.records),
            "trailers": self.trailers,
            "unknown_fields": dict(self.unknown),
            "streams": {**vars(streams.counts), "known": len(streams)},
            "sources": {
                address: {
                    "messages": one.messages,
                    "rows": one.rows,
                    "aside": one.aside,
                    "hosts": list(one.hosts),
                    "more_hosts": one.more_hosts,
                }
                for address, one in self.sources.items()
            },
            "forgotten_sources": self.forgotten_sources,
        }

    def lines(self, streams: Streams, inputs: Iterable[Input]) -> list[str]:
        """All that is worth a word, for people; the first line is there always."""
        counts = streams.counts
        lines = [
            f"{self.messages:,} messages = {self.kept:,} kept{_aside(self.messages_aside)}",
            f"{self.rows:,} rows = {self.delivered:,} delivered{_aside(self.rows_aside)}",
        ]
        if not self.balanced:
            lines.append("THE INTAKE DOES NOT ADD UP; this is a fault of xtcp")
        lost = [f"{count:,} {why} ({one.name})" for one in inputs for why, count in one.counts.lost.items()]
        if counts.lost:
            lost.append(f"{counts.lost:,} envelopes missing by their sequence numbers")
        if lost:
            lines.append(f"lost before they came: {', '.join(lost)}")
        if counts.late or counts.restarted:
            lines.append(f"{counts.late:,} envelopes came late, {counts.restarted:,} streams jumped")
        if self.unknown:
            lines.append(f"unknown fields skipped: {_some(self.unknown)}")
        return lines


def _aside(reasons: Counter[str]) -> str:
    return f" + {reasons.total():,} set aside ({_some(reasons)})" if reasons else ""


def _some(counts: Counter[str]) -> str:
    """The most frequent, by name."""
    parts = [f"{name} {count:,}" for name, count in sorted(counts.most_common(SHOWN))]
    return ", ".join(parts + ["…"] * (len(counts) > SHOWN))
