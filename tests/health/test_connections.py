"""Counters that only grow, made of counters that come and go with their connections."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.batches import batch_of
from tests.health.made import SECOND, Clock, connection, hostile, poll, trailer
from xtcp.chunk import Context
from xtcp.health.connections import Connections
from xtcp.health.health import Health
from xtcp.health.snapshot import COUNTED, HealthSnapshot

WIDE = [counted.wide for counted in COUNTED]


def total(snapshot: HealthSnapshot, name: str) -> float:
    """A counter over all classes."""
    return sum(snapshot.counters[name].values())


class Model:
    """The rules of `connections`, one dictionary entry a connection."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[list[int], int]] = {}
        self.totals = [0] * len(WIDE)

    def poll(self, rows: dict[int, list[int]], complete_before: bool) -> None:
        """Adds what a poll's rows say, by cookie, the counters in the order of `COUNTED`."""
        for cookie, values in rows.items():
            before, missing = self.known.get(cookie, (None, 0))
            if before is not None and missing < 2:
                back = any(now < old for now, old, wide in zip(values, before, WIDE, strict=True) if wide)
                for place, (now, old, wide) in enumerate(zip(values, before, WIDE, strict=True)):
                    grown = now if back else (now - old)
                    self.totals[place] += grown if wide else grown % 2**32
            elif complete_before:
                for place, (now, wide) in enumerate(zip(values, WIDE, strict=True)):
                    self.totals[place] += now if wide else now % 2**32
        seen = {cookie: (values, 0) for cookie, values in rows.items()}
        gone = {c: (v, missing + 1) for c, (v, missing) in self.known.items() if c not in rows and missing + 1 < 2}
        self.known = seen | gone


values = st.lists(
    st.one_of(st.integers(0, 5), st.integers(0, 2**40), st.sampled_from([2**32 - 1, 2**32, 2**31])),
    min_size=len(WIDE),
    max_size=len(WIDE),
)
# Cookies whose low bits are alike meet in the index.
cookies = st.one_of(st.integers(1, 40), st.sampled_from([1 << 20, 1 << 21, 3 << 20, 1 << 40]))
polls = st.lists(st.tuples(st.dictionaries(cookies, values, max_size=30), st.booleans()), min_size=1, max_size=8)


@given(polls, st.integers(1, 40))
def test_the_same_as_a_dictionary(polls: list[tuple[dict[int, list[int]], bool]], size: int) -> None:
    """Over random polls, in batches of any size, totals are those of a plain model, and never go back."""
    health, model = Health(clock=Clock()), Model()
    complete_before = False
    before = [0.0] * len(COUNTED)
    for rows, complete in polls:
        made = [
            connection(cookie, **{c.column: _fits(c.column, v) for c, v in zip(COUNTED, row, strict=True)})
            for cookie, row in rows.items()
        ]
        snapshot = poll(health, made, *([] if complete else ["deadline"]), size=size)
        fitting = {
            cookie: [_fits(c.column, v) for c, v in zip(COUNTED, row, strict=True)] for cookie, row in rows.items()
        }
        model.poll(fitting, complete_before)
        complete_before = complete and bool(rows)
        now = [sum(snapshot.counters.get(c.name, {}).values()) for c in COUNTED]
        assert now == pytest.approx([t * c.scale for t, c in zip(model.totals, COUNTED, strict=True)])
        assert all(new >= old for new, old in zip(now, before, strict=True))
        before = now


def _fits(column: str, value: int) -> int:
    # What has been busy for longer than polls are apart is not new; there is a test of that below.
    if column == "tcpi_busy_time":
        return 0
    return value % 2**32 if column in NARROW_COLUMNS else value


NARROW_COLUMNS = {
    *("tcpi_segs_out", "tcpi_segs_in", "tcpi_total_retrans"),
    *("tcpi_delivered_ce", "tcpi_dsack_dups", "tcpi_reord_seen"),
}


def test_a_closed_connection_takes_nothing_back() -> None:
    """What a connection added stays when it closes."""
    health = Health(clock=Clock())
    poll(health, [connection(1, tcpi_bytes_sent=10), connection(2, tcpi_bytes_sent=1000)])
    assert (
        total(poll(health, [connection(1, tcpi_bytes_sent=15), connection(2, tcpi_bytes_sent=4000)]), "sent_bytes")
        == 3005
    )
    assert total(poll(health, [connection(1, tcpi_bytes_sent=16)]), "sent_bytes") == 3006


def test_what_is_there_at_the_first_poll_only_begins_to_be_known() -> None:
    """Years of traffic before the agent started are not a burst."""
    health = Health(clock=Clock())
    assert total(poll(health, [connection(1, tcpi_bytes_sent=10**15)]), "sent_bytes") == 0


def test_a_connection_that_is_new_counts_with_all_it_has() -> None:
    """Between two complete polls a connection was born: its bytes are this interval's."""
    clock = Clock()
    health = Health(clock=clock)
    poll(health, [connection(1)])
    clock.ns += 30 * SECOND
    assert total(poll(health, [connection(1), connection(2, tcpi_bytes_sent=700)]), "sent_bytes") == 700


@pytest.mark.parametrize("flag", ["error", "deadline", "truncated", "interrupted", "shed", "limit"])
def test_after_an_incomplete_poll_nobody_is_new(flag: str) -> None:
    """A connection that the last poll may have missed only begins to be known."""
    health = Health(clock=Clock())
    poll(health, [connection(1)], flag)
    assert total(poll(health, [connection(1), connection(2, tcpi_bytes_sent=700)]), "sent_bytes") == 0


@pytest.mark.parametrize(
    "age",
    [
        {"tcpi_busy_time": 31 * 10**6},
        {"tcpi_last_data_sent": 31_000},
        {"tcpi_last_data_recv": 31_000},
        {"tcpi_last_ack_recv": 31_000},
    ],
)
def test_a_connection_older_than_the_last_poll_is_not_new(age: dict[str, int]) -> None:
    """Dumps leave sockets out under churn: one that proves its age was missed, not born."""
    clock = Clock()
    health = Health(clock=clock)
    poll(health, [connection(1)])
    clock.ns += 30 * SECOND
    assert total(poll(health, [connection(1), connection(2, tcpi_bytes_sent=700, **age)]), "sent_bytes") == 0
    clock.ns += 30 * SECOND
    assert total(poll(health, [connection(2, tcpi_bytes_sent=701, **age)]), "sent_bytes") == 1


def test_a_connection_missing_once_is_still_known() -> None:
    """After one absence its growth counts; after two it is forgotten, and as it is not new, it begins anew."""
    health = Health(clock=Clock())
    poll(health, [connection(1), connection(2, tcpi_bytes_sent=100)])
    poll(health, [connection(1)])
    assert total(poll(health, [connection(1), connection(2, tcpi_bytes_sent=150)]), "sent_bytes") == 50
    poll(health, [connection(1)])
    snapshot = poll(health, [connection(1)])
    assert snapshot.connections == 1


def test_counters_of_32_bits_wrap() -> None:
    """From 2**32 - 10 to 5 are 15, not a fall."""
    health = Health(clock=Clock())
    poll(health, [connection(1, tcpi_segs_out=2**32 - 10, tcpi_bytes_sent=1)])
    assert total(poll(health, [connection(1, tcpi_segs_out=5, tcpi_bytes_sent=1)]), "sent_segments") == 15


def test_more_than_32_bits_in_an_interval() -> None:
    """A connection of 100 Gbit/s sends 375 GB in 30 s."""
    health = Health(clock=Clock())
    poll(health, [connection(1, tcpi_bytes_sent=7)])
    assert total(poll(health, [connection(1, tcpi_bytes_sent=375 * 10**9)]), "sent_bytes") == 375 * 10**9 - 7


def test_a_socket_that_is_connected_anew() -> None:
    """After a disconnect its counters begin at 0: what they say counts."""
    health = Health(clock=Clock())
    poll(health, [connection(1, tcpi_bytes_sent=1000, tcpi_segs_out=20)])
    snapshot = poll(health, [connection(1, tcpi_bytes_sent=300, tcpi_segs_out=4)])
    assert (total(snapshot, "sent_bytes"), total(snapshot, "sent_segments")) == (300, 4)


def test_after_a_long_pause_everything_begins_anew() -> None:
    """32 bits of microseconds are 71 minutes: after half an hour nothing is compared."""
    clock = Clock()
    health = Health(clock=clock)
    poll(health, [connection(1, tcpi_bytes_sent=1)])
    clock.ns += 31 * 60 * SECOND
    assert total(poll(health, [connection(1, tcpi_bytes_sent=9), connection(2, tcpi_bytes_sent=5)]), "sent_bytes") == 0


def test_the_same_cookie_in_two_namespaces() -> None:
    """Older kernels count cookies a namespace; they are two connections."""
    health, snapshot = Health(clock=Clock()), HealthSnapshot()
    for sent in (0, 100):
        health.observe(batch_of([connection(7, tcpi_bytes_sent=sent)], Context(netns="a")))
        health.observe(batch_of([connection(7, tcpi_bytes_sent=10 * sent)], Context(netns="b")))
        snapshot = health.end_poll(trailer())
    assert total(snapshot, "sent_bytes") == 1100
    assert snapshot.connections == 2


def test_a_row_that_stands_for_several() -> None:
    """Sampled 1 in 16, growth is multiplied; where the share changes, unknown rows are not new."""
    health = Health(clock=Clock())
    poll(health, [connection(1)], weight=16)
    assert total(poll(health, [connection(1, tcpi_bytes_sent=10)], weight=16), "sent_bytes") == 160
    snapshot = poll(health, [connection(1, tcpi_bytes_sent=10), connection(2, tcpi_bytes_sent=99)], weight=8)
    assert total(snapshot, "sent_bytes") == 160
    assert snapshot.sockets["ESTAB"] == 16


def test_memory_is_bounded() -> None:
    """No more connections than said are remembered, the others are counted, and count for nothing."""
    health = Health(most=100, clock=Clock())
    rows = [connection(cookie, tcpi_bytes_sent=cookie) for cookie in range(1, 151)]
    snapshot = poll(health, rows, size=40)
    assert (snapshot.connections, snapshot.untracked) == (100, 50)
    more = [connection(cookie, tcpi_bytes_sent=cookie + 1) for cookie in range(1, 151)]
    assert total(poll(health, more, size=40), "sent_bytes") == 100
    assert total(poll(health, more, size=40), "sent_bytes") == 100


def test_bytes_a_connection() -> None:
    """Room goes with the connections, up and down: less than 70 bytes each at 200,000, little after they have gone."""
    connections = Connections(WIDE)
    keys = np.arange(1, 200_001, dtype=np.uint64) * np.uint64(3)
    zeros = [np.zeros(50_000, np.uint64) for _ in WIDE]
    for start in range(0, 200_000, 50_000):
        connections.grow(keys[start : start + 50_000], zeros, np.zeros(50_000, np.bool_))
    connections.end_poll()
    assert connections.nbytes / len(connections) < 75
    for _ in range(2):
        connections.end_poll()
    assert len(connections) == 0
    assert connections.nbytes < 1000


def test_hostile_rows_do_not_raise() -> None:
    """Rows of random bytes give figures, none of them negative."""
    health, snapshot = Health({"web": [80, 443]}, clock=Clock()), HealthSnapshot()
    for seed in (1, 2, 1):
        health.observe(hostile(3000, seed))
        snapshot = health.end_poll(trailer())
    assert all(value >= 0 for found in snapshot.counters.values() for value in found.values())
    assert all(h.sum >= 0 for found in snapshot.histograms.values() for h in found.values())
