"""Who may have a connection, and who has to go for another."""

from __future__ import annotations

from xtcp.web.admission import IDLE, NEW, Admission


class Visitor:
    """A connection that notes its end."""

    def __init__(self, address: str, rank: int | None = NEW) -> None:
        self.address = address
        self.rank = rank
        self.ended = ""

    def end(self, reason: str) -> None:
        """Notes why."""
        self.ended = reason

    def abandon(self) -> None:
        """Is not called by an admission."""
        raise AssertionError


def test_new_ones_go_before_idle_ones() -> None:
    """The oldest that has never been served goes first, then the oldest that is only kept."""
    admission = Admission(most=3)
    kept, first, second = Visitor("a", IDLE), Visitor("b"), Visitor("c")
    assert all(map(admission.admit, (kept, first, second)))
    for gone in (first, second, kept):
        assert admission.admit(Visitor("d", None))
        assert [v.ended for v in (kept, first, second) if v is gone] == ["crowded out"]
    assert not admission.admit(Visitor("e"))
    assert len(admission) == 3


def test_an_address_makes_room_for_itself() -> None:
    """At its own limit an address loses one of its own, never another's."""
    admission = Admission(most=10, most_each=2)
    other, mine = Visitor("other"), [Visitor("mine"), Visitor("mine")]
    assert all(map(admission.admit, (other, *mine, Visitor("mine"))))
    assert (other.ended, mine[0].ended, mine[1].ended) == ("", "crowded out", "")
    mine[1].rank = None
    for guest in admission:
        if isinstance(guest, Visitor) and guest.address == "mine":
            guest.rank = None
    assert not admission.admit(Visitor("mine"))
    assert other.ended == ""


def test_who_leaves_makes_room() -> None:
    """Leaving is counted once, however often it is told."""
    admission = Admission(most=1)
    first = Visitor("a", None)
    assert admission.admit(first)
    assert not admission.admit(Visitor("b"))
    admission.leave(first)
    admission.leave(first)
    assert len(admission) == 0
    assert admission.admit(Visitor("a", None))
    assert not admission.admit(Visitor("a"))
