"""Rotating: a row of capture files, each opened when the one before is full or old.

Without limits there is one file, of the name given. With a limit files are numbered, `NAME-00001.pcapng` and on; at
most `keep` of this run stay. A file ends where the caller says that a dump ends, so that none is torn, but at the
latest at twice its size.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar


class Closable(Protocol):
    """What is rotated."""

    def close(self) -> None:
        """Ends the file. Raises `XtcpError`."""
        ...


F = TypeVar("F", bound=Closable)


@dataclass(frozen=True)
class Limits:
    """When a file is full: `size` bytes of packets, `seconds` after it was opened; `keep` files stay. None: no end."""

    size: int | None = None
    seconds: float | None = None
    keep: int | None = None

    @property
    def rotates(self) -> bool:
        """Whether there is more than one file."""
        return self.size is not None or self.seconds is not None


class Rotating(Generic[F]):
    """`current` is the file to write to; `open_file` opens one at a path. A context manager that closes the last."""

    def __init__(
        self,
        path: str,
        open_file: Callable[[str], F],
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = Path(path)
        self._open_file = open_file
        self._limits = limits
        self._clock = clock
        self._written = 0
        self._there: deque[Path] = deque()
        self.files = 0
        self.removed = 0
        self.current = self._next()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.current.close()

    def wrote(self, size: int) -> None:
        """Says that a packet of `size` bytes was written to `current`."""
        self._written += size

    def may_rotate(self, *, between_dumps: bool) -> None:
        """Goes to the next file where this one is full; in the middle of a dump only at twice its size."""
        limits = self._limits
        full = limits.size is not None and self._written >= limits.size * (1 if between_dumps else 2)
        old = limits.seconds is not None and between_dumps and self._clock() - self._opened >= limits.seconds
        if full or old:
            self.current.close()
            self.current = self._next()

    def _next(self) -> F:
        self.files += 1
        path = self._path
        if self._limits.rotates:
            path = path.with_name(f"{path.stem}-{self.files:05d}{path.suffix}")
        opened = self._open_file(str(path))
        self._there.append(path)
        if self._limits.keep is not None and len(self._there) > self._limits.keep:
            self._there.popleft().unlink(missing_ok=True)
            self.removed += 1
        self._opened = self._clock()
        self._written = 0
        return opened

    @property
    def names(self) -> str:
        """The files that are there, for people."""
        first, last = self._there[0], self._there[-1]
        return str(first) if first == last else f"{first} to {last.name}"
