"""Amounts as people write them: `500M`, `10m`, `3`. Each raises `ValueError` with a sentence for people."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_SIZE: Final = re.compile(r"([0-9]{1,15})([KMGT]?)", re.IGNORECASE)
_SHIFTS: Final = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|[smhd])?")
_SECONDS: Final = {None: 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def size(text: str) -> int:
    """Bytes, 1 or more; the suffixes are powers of 1024."""
    found = _SIZE.fullmatch(text)
    value = int(found[1]) << _SHIFTS[found[2].upper()] if found else 0
    if not value:
        raise ValueError(f"{text!r} is no size; write bytes, or 500K, 100M, 2G")
    return value


def duration(text: str) -> float:
    """Seconds, more than 0."""
    found = _DURATION.fullmatch(text)
    value = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not value:
        raise ValueError(f"{text!r} is no time; write 90, 1.5s, 50ms, 10m, 2h or 1d")
    return value


def count(text: str) -> int:
    """A number from 1."""
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise ValueError(f"{text!r} is no number from 1")
    return int(text)


def within(least: int, most: int) -> Callable[[str], int]:
    """What parses a number from `least` to `most`."""

    def parsed(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
            raise ValueError(f"{text!r} is no number from {least} to {most}")
        return int(text)

    return parsed
