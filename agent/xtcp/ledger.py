"""Ledger: for each sink, what became of every row that it was offered.

    offered == accepted + sum(dropped) + in_flight            at every moment, in every snapshot

The three counters belong to the `Account`. `in_flight` does not: it is asked of the sink, which counts what it holds
(the rows in its hand, in its queue, sent and not confirmed yet). So the equation is a check, not a definition: a sink
that loses or repeats a row is found by it.

Moves are atomic: a sink changes what it holds and the counters inside one `with account:`, and a snapshot takes the
same lock. No I/O happens inside, so a snapshot never waits for a far side.

Accepted means what the sink's own docstring promises (handed to the operating system, acknowledged by the broker).
Reasons of drops are few and fixed, because metrics are labelled with them: the name of an errno (`ENOSPC`, `EPIPE`),
or a word (`closed`: not confirmed when the sink was closed; `fault`: the sink failed by a fault of this program;
`queue`: no room in the queue before it; `oversize`: larger than a message may be; `resolve`: its name has no address).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

CLOSED: Final = "closed"
FAULT: Final = "fault"


@dataclass(frozen=True)
class Balance:
    """An account at one moment: rows, and `bytes` of the accepted ones as they were encoded."""

    name: str
    offered: int
    accepted: int
    dropped: Mapping[str, int]
    in_flight: int
    bytes: int

    @property
    def missing(self) -> int:
        """Rows unaccounted for; negative: rows that were counted twice. 0 but for a fault of this program."""
        return self.offered - self.accepted - sum(self.dropped.values()) - self.in_flight

    @property
    def balanced(self) -> bool:
        """Whether the equation holds."""
        return self.missing == 0

    def line(self) -> str:
        """One line for people."""
        dropped = f"{sum(self.dropped.values()):,} dropped"
        if self.dropped:
            dropped += f" ({', '.join(f'{reason} {count:,}' for reason, count in sorted(self.dropped.items()))})"
        parts = f"{self.accepted:,} accepted + {dropped} + {self.in_flight:,} in flight"
        text = f"{self.name}: {self.offered:,} offered {'=' if self.balanced else '!='} {parts}"
        if self.bytes:
            text += f"; {self.bytes:,} bytes"
        return text if self.balanced else f"{text}; NOT BALANCED, {self.missing:,} rows unaccounted for"

    def as_dict(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "sink": self.name,
            "offered": self.offered,
            "accepted": self.accepted,
            "dropped": dict(sorted(self.dropped.items())),
            "in_flight": self.in_flight,
            "bytes": self.bytes,
            "balanced": self.balanced,
        }


class Account:
    """Counts the rows of one sink; any thread may call. A context manager: what happens inside is one move."""

    def __init__(self, name: str, lock: threading.RLock | None = None) -> None:
        self.name = name
        self._lock = lock or threading.RLock()
        self._held: Callable[[], int] = _nothing
        self._offered = self._accepted = self._bytes = 0
        self._dropped: Counter[str] = Counter()
        self._ended = False

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def ask(self, held: Callable[[], int]) -> None:
        """`held` tells the rows in flight whenever a snapshot is taken; it must be quick, and is called locked."""
        self._held = held

    @property
    def offered(self) -> int:
        """Rows offered so far."""
        return self._offered

    def offer(self, rows: int) -> None:
        """The sink was given `rows`; in the same move it holds them, or accepts or drops them."""
        with self:
            self._offered += rows

    def accept(self, rows: int, size: int = 0) -> None:
        """`rows` have arrived, in `size` bytes."""
        with self:
            if not self._ended:
                self._accepted += rows
                self._bytes += size

    def drop(self, rows: int, reason: str) -> None:
        """`rows` are lost."""
        with self:
            if rows and not self._ended:
                self._dropped[reason] += rows

    def refuse(self, rows: int, reason: str) -> None:
        """`rows` were offered to a sink that takes nothing any more."""
        with self:
            self._offered += rows
            if rows:
                self._dropped[reason] += rows

    def behind(self) -> InnerAccount:
        """The account of a sink behind a queue whose account this is."""
        return InnerAccount(self, self._lock)

    def condition(self) -> threading.Condition:
        """A condition over the account's own lock: to wait for a move, and to make one, are one thing."""
        return threading.Condition(self._lock)

    def abandon(self, reason: str) -> None:
        """Drops what the sink holds, and listens to it no longer: it has failed."""
        with self:
            self.drop(self._held(), reason)
            self._held, self._ended = _nothing, True

    def balance(self) -> Balance:
        """The account now."""
        with self:
            held = self._held()
            return Balance(self.name, self._offered, self._accepted, dict(self._dropped), held, self._bytes)


class InnerAccount(Account):
    """The account of a sink that stands behind another's queue: its rows were offered to the `outer` account before.

    `offer` takes rows out of `moving`, what the queue has handed over and the sink has not taken yet; `accept` and
    `drop` count in the outer account. So the outer equation holds with `held` = queue + `moving` + what the sink holds,
    and the sink itself does nothing but what it would do without a queue.
    """

    def __init__(self, outer: Account, lock: threading.RLock) -> None:
        super().__init__(outer.name, lock)
        self._outer = outer
        self.moving = 0

    @property
    def held(self) -> int:
        """Rows between the queue and the outer account's counters; call locked."""
        return self.moving + self._held()

    def offer(self, rows: int) -> None:
        """The sink has taken `rows` of those that were moving; after `abandon` they move no longer."""
        with self:
            super().offer(rows)
            if not self._ended:
                self.moving -= rows

    def accept(self, rows: int, size: int = 0) -> None:
        """Counted in the outer account."""
        with self:
            if not self._ended:
                self._outer.accept(rows, size)

    def drop(self, rows: int, reason: str) -> None:
        """Counted in the outer account."""
        with self:
            if not self._ended:
                self._outer.drop(rows, reason)

    def refuse(self, rows: int, reason: str) -> None:
        """The sink takes none of `rows`, which were moving."""
        with self:
            self.offer(rows)
            self.drop(rows, reason)

    def abandon(self, reason: str) -> None:
        """Drops what is moving and what the sink holds, and listens to it no longer: it has failed."""
        with self:
            self.drop(self.held, reason)
            self.moving, self._held, self._ended = 0, _nothing, True


class Ledger:
    """The accounts of a run, in the order of their opening."""

    def __init__(self) -> None:
        self._accounts: list[Account] = []

    def open(self, name: str) -> Account:
        """A new account; a name that is taken gets a number: `null`, `null (2)`."""
        taken = {account.name for account in self._accounts}
        free, number = name, 1
        while free in taken:
            number += 1
            free = f"{name} ({number})"
        account = Account(free)
        self._accounts.append(account)
        return account

    def snapshot(self) -> list[Balance]:
        """Every account, each as it was at one moment."""
        return [account.balance() for account in self._accounts]

    def balanced(self) -> bool:
        """Whether nothing has vanished from any account."""
        return all(balance.balanced for balance in self.snapshot())

    def lines(self) -> list[str]:
        """A line an account, for people."""
        return [balance.line() for balance in self.snapshot()]

    def as_dict(self) -> dict[str, object]:
        """The same for programs."""
        snapshot = self.snapshot()
        return {"balanced": all(b.balanced for b in snapshot), "sinks": [b.as_dict() for b in snapshot]}


def _nothing() -> int:
    return 0
