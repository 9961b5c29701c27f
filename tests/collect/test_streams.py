"""Loss, duplicates and order by sequence numbers, and memory that no sender can fill."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from xtcp.collect.streams import FARTHEST, WINDOW, Key, Streams, Verdict

KEY = Key("192.0.2.1", 7)


@given(st.lists(st.integers(0, 300), max_size=200), st.integers(0, 2**64 - 400))
def test_counts_are_those_of_a_set(numbers: list[int], first: int) -> None:
    """Against a model that keeps every number."""
    streams, seen = Streams(), set[int]()
    begun = first + 100
    for number in [begun, *(first + n for n in numbers)]:
        assert streams.take(KEY, number).kept == (number not in seen)
        seen.add(number)
    counts = streams.counts
    # What was sent before the account began is taken, and no loss.
    assert counts.lost == max(seen) + 1 - begun - sum(number >= begun for number in seen)
    assert counts.envelopes == len(numbers) + 1
    assert counts.duplicates + len(seen) == counts.envelopes


def test_order_loss_and_repeats() -> None:
    """One of each, as a person would tell it."""
    streams = Streams()
    told = [streams.take(KEY, n) for n in (5, 6, 9, 7, 7, 6, 10)]
    assert [v.value for v in told] == ["new", "new", "new", "late", "duplicate", "duplicate", "new"]
    counts = streams.counts
    assert (counts.lost, counts.late, counts.duplicates, counts.streams) == (1, 1, 2, 1)


def test_numbers_that_are_made_up_count_as_no_loss() -> None:
    """A jump of a billion begins the stream anew; what is older than the window is set aside."""
    streams = Streams()
    streams.take(KEY, 0)
    assert streams.take(KEY, FARTHEST + 2) is Verdict.NEW
    assert streams.take(KEY, 2**64 - 1) is Verdict.NEW
    assert streams.take(KEY, 1) is Verdict.STALE
    assert (streams.counts.lost, streams.counts.restarted, streams.counts.stale) == (0, 2, 1)
    streams.take(Key("", 0), 0)
    assert streams.take(Key("", 0), WINDOW + 50) is Verdict.NEW
    assert streams.counts.lost == WINDOW + 49


def test_one_source_does_not_spoil_anothers_count() -> None:
    """The same stream from another address is another stream."""
    streams = Streams()
    streams.take(KEY, 1)
    streams.take(Key("203.0.113.9", KEY.stream), 2**40)
    assert streams.take(KEY, 2) is Verdict.NEW
    assert streams.counts.lost == streams.counts.restarted == 0


def test_a_source_that_makes_up_streams_evicts_its_own() -> None:
    """However many it makes up, those of others stay, and the number of all is bounded."""
    streams = Streams(most=100, per_source=10)
    honest = [Key(f"192.0.2.{n}", n) for n in range(50)]
    for key in honest:
        streams.take(key, 0)
    for number in range(10_000):
        streams.take(Key("203.0.113.9", number), 0)
    assert len(streams) == 60
    assert {streams.take(key, 0) for key in honest} == {Verdict.DUPLICATE}


def test_many_sources_that_come_once_evict_none_that_came_twice() -> None:
    """A flood with forged addresses: those that speak again are kept."""
    random = Random(1)
    streams = Streams(most=100, per_source=10)
    honest = [Key(f"192.0.2.{n}", n) for n in range(50)]
    for number in range(2):
        for key in honest:
            streams.take(key, number)
    for number in range(10_000):
        streams.take(Key(f"forged {random.random()}", number), 0)
    assert len(streams) == 100
    assert {streams.take(key, 1) for key in honest} == {Verdict.DUPLICATE}
    assert streams.sources() <= 100
