"""Polls made up: connections as dictionaries, and trailers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np

from tests.batches import batch_of
from xtcp.batch import Batch, Tally
from xtcp.chunk import Context
from xtcp.health.health import NEEDED_COLUMNS, Health
from xtcp.health.snapshot import COUNTED, HealthSnapshot
from xtcp.poll.trailer import Trailer
from xtcp.schema.layout import column_dtype

SECOND = 10**9

Row: TypeAlias = dict[str, int | bytes]


class Clock:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.ns = 1000 * SECOND

    def __call__(self) -> int:
        """The time, ns."""
        return self.ns


def trailer(*flags: str, rows: int = 0) -> Trailer:
    """The end of a poll."""
    return Trailer("h", "b", 1, "n", "6.18.0", "little", 0, 1, 0, SECOND, 1, rows, rows, 0, 0, 0, 0, 0, flags=flags)


def connection(cookie: int, **columns: int | bytes) -> Row:
    """A row of an established connection, all counters 0 where not given."""
    zeros = {counted.column: 0 for counted in COUNTED}
    known: dict[str, int | bytes] = {
        "idiag_state": 1,
        "tcp_info_len": 280,
        "idiag_sport": 40000,
        "idiag_dport": 443,
        "cong": b"cubic",
    }
    return {"idiag_cookie": cookie, **zeros, **known, **columns}


def poll(
    health: Health,
    rows: Iterable[Row],
    *flags: str,
    netns: str = "n",
    weight: int | None = None,
    size: int = 1000,
) -> HealthSnapshot:
    """A poll of `rows` in batches of `size`."""
    every = list(rows)
    for start in range(0, len(every), size):
        health.observe(batch_of(every[start : start + size], Context(netns=netns, weight=weight)))
    return health.end_poll(trailer(*flags, rows=len(every)))


def hostile(rows: int, seed: int, first_cookie: int = 1) -> Batch:
    """Rows of every kind: all ports, states, congestion controls that nobody knows."""
    random = np.random.default_rng(seed)
    columns: dict[str, np.ndarray] = {}
    for name in sorted(NEEDED_COLUMNS):
        dtype = np.dtype(column_dtype(name))
        if dtype.kind == "S":
            columns[name] = random.integers(0, 256, (rows, 16), dtype=np.uint8).view("S16")[:, 0]
        else:
            columns[name] = random.integers(0, 256, (rows, dtype.itemsize), dtype=np.uint8).view(dtype)[:, 0]
    known = np.array([b"cubic", b"bbr", b"reno", b"dctcp", b"bbr2", b"bbr3"], "S16")
    columns["cong"] = np.where(random.random(rows) < 0.5, random.choice(known, rows), columns["cong"])
    for name in ("idiag_sport", "idiag_dport"):
        usual = random.choice(np.array([25, 80, 443, 587], np.uint16), rows)
        columns[name] = np.where(random.random(rows) < 0.5, usual, columns[name])
    columns["idiag_state"] = random.integers(0, 16, rows).astype(np.uint8)
    columns["idiag_cookie"] = np.arange(first_cookie, first_cookie + rows, dtype=np.uint64)
    netns = f'{seed}\udc80\n"{"x" * 300}'
    return Batch(Context(netns=netns), rows, columns, {}, np.arange(rows, dtype=np.int64) * 4, Tally())
