"""What a witness is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from xtcp.chunk import NATIVE
from xtcp.schema.model import Order
from xtcp_replay.rewriting.twin import twin


@dataclass(frozen=True, slots=True)
class Subject:
    """One socket: the message that the kernel sent, in `order`, and the row that we made of it.

    `row` has our columns by name, absent ones left out: addresses as text, `idiag_state` by ss's name, integers, text,
    bytes. `dump` counts the dumps of the file. `unasked` is why only our own decoders are asked about it, "" where the
    others are too.
    """

    message: bytes
    row: dict[str, object]
    dump: int | None = None
    order: Order = NATIVE
    kernel: tuple[int, int] | None = None
    protocol: int = 6
    unasked: str = ""

    def native(self) -> bytes:
        """The message as this host would have sent it: for programs that know no other byte order."""
        if self.order == NATIVE:
            return self.message
        return twin(self.message, self.order, self.kernel, self.protocol)


@dataclass(frozen=True, slots=True)
class Difference:
    """`theirs` (None: nothing) is not among `ours`, what we have or they may print of it (empty: nothing).

    `field` is a column, or a token of ss ("rtt:").
    """

    field: str
    ours: tuple[str, ...]
    theirs: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a witness says of one subject: how many `values` were compared, and which differ. Where it is not asked,
    `unasked` says why, and there are none.
    """

    subject: Subject
    values: int = 0
    differences: Sequence[Difference] = ()
    unasked: str = ""


class WitnessFailed(Exception):
    """The witness crashed, hangs, or says what nobody can read; the text says how."""


class Witness(Protocol):
    """Another program that reads the same messages."""

    @property
    def name(self) -> str:
        """As people type it."""
        ...

    @property
    def version(self) -> str:
        """As it says it."""
        ...

    @property
    def reads_any_order(self) -> bool:
        """Whether it takes messages of either byte order; all others are given twins (`Subject.native`)."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What a reader of its answers must know."""
        ...

    def answers(self, subjects: Sequence[Subject]) -> Iterator[Answer]:
        """One a subject, in any order. Raises `WitnessFailed`; what was answered before that stands."""
        ...
