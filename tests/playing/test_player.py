"""A capture through decoder and sink, dump by dump, on a clock of the test's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.playing.clocks import Clock
from tests.replay.made import MULTI, cooked, done, pcap_header, record, request, row, saved
from tests.sinks.standins import Collected
from xtcp.batch import Batch
from xtcp.ledger import Account
from xtcp_replay.playing.hosts import Hosts
from xtcp_replay.playing.pace import Pace
from xtcp_replay.playing.player import Player
from xtcp_replay.reading.opening import open_source

NS = 1_000_000_000
T0 = 1_700_000_000 * NS
NOW = 1_900_000_000 * NS


def capture(folder: Path, *dumps: tuple[float, Sequence[int]], end: bool = True) -> str:
    """A capture of dumps: seconds since T0, and the cookies."""
    content = pcap_header(nano=True)
    for at, cookies in dumps:
        time_ns = T0 + int(at * NS)
        packets = [request(), b"".join(row(cookie) for cookie in cookies), *([done()] if end else [])]
        content += b"".join(record(cooked(packet), time_ns, nano=True) for packet in packets if packet)
    return saved(folder, content)


def play(path: str, passes: int = 1, speed: float | None = None, **options: Any) -> tuple[Collected, Player, Clock]:
    """Plays the capture."""
    clock = Clock()
    sink = Collected(Account("test"))
    pace = Pace(speed, clock=clock, sleep=clock.sleep)
    player = Player(sink, pace, **options)
    for _ in range(passes):
        player.play(open_source(path))
        pace.next_pass()
    return sink, player, clock


def stamps(sink: Collected) -> list[float]:
    """Seconds since NOW of each row, in the order they were sent."""
    return [(row["timestamp_ns"] - NOW) / NS for row in sink.rows]


def test_a_dump_is_sent_when_it_was_due(tmp_path: Path) -> None:
    """Rows once a dump, each dump closed by its trailer, the clock moved by the distances."""
    path = capture(tmp_path, (0, [1, 2, 2]), (30, [2, 3]), (45, []))
    sink, player, clock = play(path, speed=1.0)
    assert [(r["dump"], r["idiag_cookie"]) for r in sink.rows] == [(1, 1), (1, 2), (2, 2), (2, 3)]
    assert clock.slept == [30, 15]
    assert [type(event).__name__ for event in sink.events] == ["Batch", "Trailer", "Batch", "Trailer", "Trailer"]
    assert (player.played.rows, player.played.dumps, player.played.duplicates) == (4, 3, 1)


def test_trailers_say_what_the_capture_says(tmp_path: Path) -> None:
    """Counts as of a live poll; times are the dump's."""
    sink, _, _ = play(capture(tmp_path, (5, [1, 2, 2])))
    (trailer,) = sink.trailers
    assert (trailer.rows, trailer.duplicates, trailer.delivered) == (3, 1, 2)
    assert trailer.messages == trailer.rows + trailer.quarantined + trailer.control == 4
    assert trailer.wall_start_ns == trailer.poll_id == T0 + 5 * NS
    assert trailer.flags == ()


def test_a_dump_without_its_end_is_incomplete(tmp_path: Path) -> None:
    """The trailer does not claim more than the capture has."""
    sink, _, _ = play(capture(tmp_path, (0, [1]), end=False))
    assert sink.trailers[0].flags == ("incomplete",)


@pytest.mark.parametrize("speed", [None, 10.0])
def test_new_times_keep_their_distances(tmp_path: Path, speed: float | None) -> None:
    """From now on, whatever the speed; poll_id is the time, and differs for dumps of one moment."""
    path = capture(tmp_path, (100, [1, 2]), (100, [3]), (130, [4]))
    sink, _, _ = play(path, speed=speed, now_ns=lambda: NOW)
    assert stamps(sink) == pytest.approx([0, 0, 0, 30], abs=1e-6)
    polls = [row["poll_id"] for row in sink.rows]
    assert polls[0] == polls[1] < polls[2] < polls[3]
    assert [t.poll_id for t in sink.trailers] == sorted(set(polls)) == [t.wall_start_ns for t in sink.trailers]


def test_new_times_go_on_in_the_next_pass(tmp_path: Path) -> None:
    """At the distance of polls; without new times each pass is the same."""
    path = capture(tmp_path, (0, [1]), (30, [2]))
    assert stamps(play(path, 3, now_ns=lambda: NOW)[0]) == [0, 30, 60, 90, 120, 150]
    sink, player, clock = play(path, 2, speed=10.0)
    assert sink.rows[:2] == sink.rows[2:]
    assert clock.slept == [3, 3, 3]
    assert player.played.dumps == 4


def test_dumps_without_time_get_one(tmp_path: Path) -> None:
    """A raw dump, as ss -D writes it."""
    path = saved(tmp_path, row(1, flags=MULTI) + done(), "raw.bin")
    assert "timestamp_ns" not in play(path)[0].rows[0]
    assert stamps(play(path, 2, now_ns=lambda: NOW)[0]) == [0, 1]


def test_rows_of_many_hosts_share_their_columns(tmp_path: Path) -> None:
    """Every row as each host, each host's poll closed; the arrays are the same ones."""
    sink, player, _ = play(capture(tmp_path, (0, [1, 2])), hosts=Hosts(3))
    names = ["host-0001", "host-0002", "host-0003"]
    assert sorted((r["hostname"], r["idiag_cookie"]) for r in sink.rows) == [(n, c) for n in names for c in (1, 2)]
    assert [t.hostname for t in sink.trailers] == names
    batches = [event for event in sink.events if isinstance(event, Batch)]
    assert all(b.columns["idiag_cookie"] is batches[0].columns["idiag_cookie"] for b in batches)
    assert player.played.rows == 6


def only(*cookies: int) -> Callable[[Batch], Batch]:
    """A filter."""
    return lambda batch: batch.take(np.isin(batch.columns["idiag_cookie"], cookies))


def test_filtered_dumps_are_not_waited_for(tmp_path: Path) -> None:
    """Nor is there an end of a poll of which nothing is sent; the others say that rows were left out."""
    path = capture(tmp_path, (0, [1]), (30, [2, 3]), (60, [1]), (70, [2]))
    sink, player, clock = play(path, speed=1.0, keep=only(2))
    assert [r["dump"] for r in sink.rows] == [2, 4]
    assert clock.slept == [40]
    assert [t.flags for t in sink.trailers] == [("filtered",), ("filtered",)]
    assert (player.played.rows, player.played.left_out) == (2, 3)


class Leaving(Collected):
    """Its far side leaves after some batches."""

    left = 2

    @property
    def gone(self) -> bool:  # type: ignore[override]
        """After two."""
        return len(self.events) >= self.left


def test_nothing_is_read_for_a_sink_that_is_gone(tmp_path: Path) -> None:
    """Not even the other hosts of the batch."""
    sink = Leaving(Account("test"))
    player = Player(sink, Pace(None), hosts=Hosts(5))
    player.play(open_source(capture(tmp_path, (0, [1]), (1, [2]))))
    assert len(sink.events) == 2
    assert player.played.rows == 2
    assert player.gone
