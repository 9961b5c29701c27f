"""Arrivals: what an input hands to the collector, some messages in one buffer with where each came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

# What the kernel counted and this program did not see: by a name for the summary.
KERNEL_DROPS: Final = "dropped by the kernel"


@dataclass(frozen=True)
class Arrivals:
    """Message i is `data[starts[i]:ends[i]]` of u8; `sources[i]` is the address that it came from, "" for none.

    The buffer belongs to the receiver. `cut` counts messages that were longer than the input takes; they are not here.
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    sources: Sequence[str]
    cut: int = 0

    @classmethod
    def of(cls, messages: Sequence[bytes], sources: Sequence[str] = (), cut: int = 0) -> Arrivals:
        """Messages back to back in a buffer of their own."""
        lengths = np.array([len(message) for message in messages], np.int64)
        ends = np.cumsum(lengths, dtype=np.int64)
        data = np.frombuffer(b"".join(messages), np.uint8)
        return cls(data, ends - lengths, ends, sources or ("",) * len(messages), cut)


@dataclass
class InputCounts:
    """What an input counts itself: messages and bytes taken, messages that came cut or were not to be had, by why;
    `damage` says what of a file is not whole, once it has been read; `joined` is False while nothing can come yet.
    """

    messages: int = 0
    bytes: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    damage: str = ""
    joined: bool = True


class Input(Protocol):
    """Where messages come from; one thread calls it."""

    @property
    def name(self) -> str:
        """As it was said, without passwords."""
        ...

    @property
    def counts(self) -> InputCounts:
        """So far."""
        ...

    def descriptor(self) -> int | None:
        """What becomes readable when there is something to take; None: just call `take`, it waits by itself."""
        ...

    def take(self, wait_s: float) -> Arrivals | None:
        """What is there, waiting for it at most so long; None: nothing will ever come again. Raises `XtcpError`."""
        ...

    def mark(self) -> object:
        """How far has been taken, for `settle`."""
        ...

    def settle(self, mark: object) -> None:
        """The rows of all that was taken up to `mark` have been accepted by the sinks: they need not come again."""
        ...

    def close(self) -> None:
        """Lets go of everything."""
        ...
