"""Inventory: what a capture holds, counted by one pass through it. Memory does not grow with the file.

Rows are counted as they came, duplicates too: this tells what is in the file, not what a decoder makes of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from xtcp.batch import Batch, Tally
from xtcp.decode.decoder import Decoder
from xtcp.encode.cells import clean_text
from xtcp.netlink.numbers import NETLINK_SOCK_DIAG
from xtcp.schema.inet_diag import ATTRIBUTES
from xtcp.schema.names import FAMILIES, STATES, name_of
from xtcp_replay.reading.datagrams import NETLINK_FAMILIES
from xtcp_replay.reading.opening import ReplaySource

# What is counted by value; a hostile file cannot make a counter longer than this.
MAX_VALUES: Final = 256
OTHER: Final = "(more)"
_COUNTED: Final = frozenset({"idiag_state", "idiag_family", "cong", "attributes", "tcp_info_len"})
_NAMES: Final = {a.number: a.name.removeprefix("INET_DIAG_") for a in ATTRIBUTES}


@dataclass
class Inventory:
    """Sockets by what they have; `tally` is decode's. Attributes are those that came, by number."""

    rows: int = 0
    families: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    congestion: Counter[str] = field(default_factory=Counter)
    attributes: Counter[int] = field(default_factory=Counter)
    rows_by_dump: Counter[int] = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)
    releases: Counter[str] = field(default_factory=Counter)
    hosts: Counter[str] = field(default_factory=Counter)
    namespaces: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)

    def add(self, batch: Batch) -> None:
        """Counts the rows of `batch`."""
        self.tally.add(batch.tally)
        self.rows += batch.rows
        context = batch.context
        if context.dump is not None:
            self.rows_by_dump[context.dump] += batch.rows
        order = "little-endian" if context.order == "<" else "big-endian"
        for counter, value in (
            (self.orders, order),
            (self.releases, context.release),
            (self.hosts, context.hostname or ""),
            (self.namespaces, context.netns or ""),
        ):
            if value:
                _count(counter, clean_text(value), batch.rows)
        self._count_values(batch, "idiag_family", self.families, lambda number: name_of(FAMILIES, number))
        self._count_values(batch, "idiag_state", self.states, lambda number: name_of(STATES, number))
        self._count_values(batch, "cong", self.congestion, clean_text)
        if "attributes" in batch.columns:
            masks, times = np.unique(batch.columns["attributes"], return_counts=True)
            for mask, count in zip(masks.tolist(), times.tolist(), strict=True):
                for number in range(64):
                    if mask >> number & 1:
                        self.attributes[number] += count

    @staticmethod
    def _count_values(batch: Batch, column: str, counter: Counter[str], name: Callable[[Any], str]) -> None:
        values = batch.columns.get(column)
        if values is None:
            return
        having = batch.valid.get(column)
        values, times = np.unique(values if having is None else values[having], return_counts=True)
        for value, count in zip(values.tolist(), times.tolist(), strict=True):
            _count(counter, name(value), count)

    def as_dict(self) -> dict[str, object]:
        """All of it, for `--json`; counters by falling count."""
        tally = self.tally
        return {
            "sockets": self.rows,
            "families": dict(self.families.most_common()),
            "states": dict(self.states.most_common()),
            "congestion_controls": dict(self.congestion.most_common()),
            "tcp_info_lengths": {str(length): n for length, n in sorted(tally.info_lengths.items())},
            "attributes": {str(number): n for number, n in sorted(self.attributes.items())},
            "unknown_attributes": dict(sorted(tally.unknown.items())),
            "longer_than_known": {f"{path}:{length}": n for (path, length), n in sorted(tally.surplus.items())},
            "messages": tally.messages,
            "control": dict(tally.control.most_common()),
            "quarantined": tally.quarantined,
            "damaged": tally.damaged,
            "repeated_attributes": tally.repeated,
            "faults": [{"offset": f.offset, "length": f.length, "reason": f.reason} for f in tally.faults],
            "kernel_errors": [{"errno": e.errno, "text": e.text} for e in tally.errors],
            "byte_orders": dict(self.orders),
            "kernel_releases": dict(self.releases),
            "hosts": dict(self.hosts),
            "namespaces": dict(self.namespaces),
        }


def take_inventory(source: ReplaySource) -> Inventory:
    """Decodes all of `source` once. Raises as `source.chunks` does."""
    inventory = Inventory()
    decoder = Decoder(_COUNTED)
    for chunk in source.chunks():
        inventory.add(decoder.decode(chunk))
    return inventory


def attribute_name(number: int) -> str:
    """`2 INFO`; the number alone where the schema has none."""
    return f"{number} {_NAMES[number]}" if number in _NAMES else str(number)


def family_name(number: int) -> str:
    """Of a netlink protocol: `sock_diag`, `route` …, or its number."""
    return "sock_diag" if number == NETLINK_SOCK_DIAG else NETLINK_FAMILIES.get(number, str(number))


def _count(counter: Counter[str], value: str, times: int) -> None:
    if value not in counter and len(counter) >= MAX_VALUES:
        value = OTHER
    counter[value] += times
