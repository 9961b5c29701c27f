"""Told: what a user says about a file, by options or in a side-car; it stands above what the file says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from xtcp.schema.model import Order

MAX_BYTES: Final = 64 << 30


@dataclass(frozen=True)
class Told:
    """`release` empty and the others None: not told. `max_bytes` is what may come out of one layer of compression."""

    order: Order | None = None
    release: str = ""
    hostname: str | None = None
    netns: str | None = None
    max_bytes: int = MAX_BYTES
