"""Hosts: the names under which each row is sent.

A pattern is text with `{name}`, the row's own host name (`host` where the capture tells none), and `{n}`, the number
of the host from 1; `{n:04d}` has four digits, as Python's str.format writes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from xtcp.errors import UsageError

PATTERN: Final = "{name}-{n:04d}"
NAMELESS: Final = "host"


class Hosts:
    """`count` hosts named after `pattern`. Raises `UsageError` for a pattern that makes no distinct names."""

    def __init__(self, count: int = 1, pattern: str = PATTERN) -> None:
        self.count = count
        self._pattern = pattern
        how = "Write text with {name}, the row's own, and {n}, the host's number, like {name}-{n:04d}."
        try:
            first, second = (pattern.format(name=NAMELESS, n=n) for n in (1, 2))
        except (LookupError, ValueError, AttributeError, TypeError) as error:
            raise UsageError(f"{pattern!r} is no pattern of host names: {error}.", "", how) from error
        if count > 1 and first == second:
            raise UsageError(f"{pattern!r} gives {count:,} hosts one name.", "There is no {n} in it.", how)

    def names(self, own: str | None) -> Iterator[str]:
        """The names for a row whose host is `own`."""
        name = own or NAMELESS
        return (self._pattern.format(name=name, n=n) for n in range(1, self.count + 1))
