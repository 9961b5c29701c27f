"""Rows as a proxy of a large site has them: 118,800 connections, for figures and for bounds of memory.

Values are drawn so that they look like those of live connections: counters over many orders of magnitude that go
together (segments, bytes, acknowledgements), round trips around that of each peer's place, most of what is rare at 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import Batch, Tally
from xtcp.chunk import Context
from xtcp.schema.columns import COLUMNS
from xtcp.schema.layout import column_dtype

ROWS = 118_800
BATCH_ROWS = 4096
START_NS = 1_795_471_200_000_000_000
INTERVAL_NS = 30_000_000_000

# Columns of sockets that most have, by a kernel of 6.18: the fixed part, tcp_info, skmem, and what is one value.
_HAVING = (
    "idiag_",
    "tcpi_",
    "skmem_",
    "sockopt_",
    "tcp_info_len",
    "attributes",
    "cong",
    "tos",
    "shutdown",
    "cgroup_id",
)


def _drawn(name: str, dtype: np.dtype[Any], random: np.random.Generator, rows: int, size: NDArray[Any]) -> NDArray[Any]:
    """Values of a column of numbers; `size` is how much each connection has carried, bytes."""
    if name.startswith("tcpi_bytes") or "segs" in name or name in {"tcpi_delivered", "tcpi_busy_time"}:
        scale = 1.0 if "bytes" in name else 1 / 1400
        values: NDArray[Any] = size * scale * random.uniform(0.5, 1.0, rows)
    elif "rtt" in name or name in {"tcpi_rto", "tcpi_ato"}:
        values = random.lognormal(10, 1, rows)
    elif name.endswith(("rate", "snd_cwnd", "ssthresh", "rcv_space", "window", "wnd")) or name.startswith("skmem"):
        values = random.lognormal(9, 2, rows) * (random.random(rows) < 0.8)
    elif name in {"idiag_sport"}:
        values = random.choice([80, 443, 8080], rows)
    elif name == "idiag_dport":
        values = random.integers(1024, 65536, rows)
    elif name in {"idiag_cookie", "idiag_inode"}:
        values = 1_000_000 + np.cumsum(random.integers(1, 40, rows))
    elif "last" in name:
        values = random.exponential(20_000, rows)
    elif dtype.itemsize == 1:
        values = random.choice([0, 1, 7], rows, p=[0.8, 0.15, 0.05])
    else:
        values = random.lognormal(1, 1, rows) * (random.random(rows) < 0.05)
    limits = np.iinfo(dtype)
    kept: NDArray[Any] = np.clip(values, limits.min, min(limits.max, 2**62)).astype(dtype)
    return kept


def columns(rows: int = ROWS, seed: int = 1) -> dict[str, NDArray[Any]]:
    """A column of `rows` values for each that such a socket has."""
    random = np.random.default_rng(seed)
    size = random.lognormal(11, 3, rows)
    made: dict[str, NDArray[Any]] = {}
    for column in COLUMNS:
        dtype = column_dtype(column.name)
        if column.name.startswith(_HAVING) and dtype.kind in "ui" and dtype.shape == ():
            made[column.name] = _drawn(column.name, dtype, random, rows, size)
    made["idiag_family"] = np.full(rows, 2, np.uint8)
    made["idiag_state"] = random.choice(np.array([1, 8, 4], np.uint8), rows, p=[0.97, 0.02, 0.01])
    made["tcp_info_len"] = np.full(rows, 280, np.uint32)
    made["cong"] = random.choice(np.array([b"cubic", b"bbr"], "S16"), rows, p=[0.9, 0.1])
    for name in ("idiag_src", "idiag_dst"):
        made[name] = np.zeros((rows, 16), np.uint8)
    made["idiag_src"][:, :4] = (192, 0, 2, 1)
    made["idiag_dst"][:, :4] = random.integers(1, 224, (rows, 4))
    return made


def poll(number: int = 0, rows: int = ROWS, made: dict[str, NDArray[Any]] | None = None) -> Iterator[Batch]:
    """The batches of poll `number`, as decode makes them; counters grow from poll to poll."""
    made = columns(rows) if made is None else made
    start = START_NS + number * INTERVAL_NS
    context = Context(release="6.18.44", timestamp_ns=start, hostname="web-1", netns="4026531840", poll_id=start)
    for at in range(0, rows, BATCH_ROWS):
        piece = slice(at, min(at + BATCH_ROWS, rows))
        count = piece.stop - piece.start
        yield Batch(
            context,
            count,
            {name: np.ascontiguousarray(values[piece]) for name, values in made.items()},
            {},
            np.arange(count, dtype=np.int64) * 516,
            Tally(),
        )
