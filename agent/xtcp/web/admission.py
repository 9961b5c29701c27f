"""Who may have a connection: so many in all, so many for each address.

Where an address, or the server, has as many as it may, room is made by ending the connection that has waited longest
without being served: one that has not sent a whole request yet, or one that is only kept for a next one. So clients
that dribble their requests end each other, and a scraper that sends its request at once is served among them. Only
when every connection is being answered is the new one refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, Protocol

MOST: Final = 64
MOST_EACH: Final = 8

# Ranks of connections that may be ended for another, the first ones first.
NEW: Final = 0
IDLE: Final = 1


class Guest(Protocol):
    """A connection, from the moment it was accepted."""

    @property
    def address(self) -> str:
        """Whose it is."""
        ...

    @property
    def rank(self) -> int | None:
        """`NEW` until it has been served once, then `IDLE`; None while it is being answered."""
        ...

    def end(self, reason: str) -> None:
        """Closes it at once, and counts why."""
        ...

    def abandon(self) -> None:
        """Closes it at once."""
        ...


class Admission:
    """The connections that there are, oldest first; call from the event loop only."""

    def __init__(self, most: int = MOST, most_each: int = MOST_EACH) -> None:
        self._most, self._most_each = most, most_each
        self._guests: dict[Guest, None] = {}
        self._each: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._guests)

    def __iter__(self) -> Iterator[Guest]:
        return iter(list(self._guests))

    def admit(self, guest: Guest) -> bool:
        """Whether there is room for it, or room could be made."""
        address = guest.address
        if self._each[address] >= self._most_each and not self._end_one(lambda other: other.address == address):
            return False
        if len(self._guests) >= self._most and not self._end_one(lambda _: True):
            return False
        self._guests[guest] = None
        self._each[address] += 1
        return True

    def leave(self, guest: Guest) -> None:
        """It is gone; may be told twice."""
        if guest in self._guests:
            del self._guests[guest]
            self._each[guest.address] -= 1
            if not self._each[guest.address]:
                del self._each[guest.address]

    def _end_one(self, among: Callable[[Guest], bool]) -> bool:
        waiting = [guest for guest in self._guests if among(guest) and guest.rank is not None]
        if not waiting:
            return False
        guest = min(waiting, key=lambda guest: guest.rank or 0)
        self.leave(guest)
        guest.end("crowded out")
        return True
