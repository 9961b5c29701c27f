"""The agent under strain, as a process: more sockets than time, stalled sinks, hardly a processor, a hundred polls."""

from __future__ import annotations

import math
import os
import signal
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.daemon.child import Child
from tests.sinks.receivers import Listener

pytestmark = pytest.mark.live


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


# --- row 74: a poll that is longer than the interval ---


def test_fault_74_a_host_with_more_sockets_than_the_interval_has_time_for() -> None:
    """20,000 sockets every 10 ms: polls follow each other and never overlap, every tick left out is counted."""
    with Child("--frequency", "10ms", "--dest", "null:", "--max-loops", "6", scripted="20000") as child:
        assert child.ended() == 0
        polls = child.named("poll")
        skipped = sum(line["count"] for line in child.named("ticks_skipped"))
        (end,) = child.named("ended")
    assert [line["sockets"] for line in polls] == [20_000] * 6
    begun = [line["poll_id"] / 1e9 for line in polls]
    assert all(began + poll["seconds"] <= after for began, poll, after in zip(begun, polls, begun[1:], strict=False))
    # Of one event six lines a minute are written, so none of these was left out. What a poll's figures and lines
    # take is not in its seconds, but before the end; of a poll's own ticks the first and the last may not be whole.
    ticks = (datetime.fromisoformat(end["time"]).timestamp() - begun[0]) / 0.01
    assert sum(poll["seconds"] for poll in polls) / 0.01 - 2 * 6 <= skipped <= ticks + 1


# --- row 76: memory ---


def test_fault_76_stalled_sinks_do_not_make_it_grow(tmp_path: Path) -> None:
    """Every far side takes nothing: their queues come to their bounds, rows are dropped and counted, the one sink
    that works gets every row, and the process stays under its limit.
    """
    pipes = [tmp_path / f"pipe{number}" for number in range(4)]
    for path in pipes:
        os.mkfifo(path)
    readers = [os.open(path, os.O_RDONLY | os.O_NONBLOCK) for path in pipes]
    limit = 192 << 20
    try:
        dests = [part for path in pipes for part in ("--dest", f"file:{path}")]
        more = ("--dest", "null:", "--frequency", "50ms", "--memory-limit", str(limit))
        with Child(*dests, *more, scripted="5000") as child:
            child.until(lambda: len({line["sink"] for line in child.named("rows_dropped")}) == 4, "full queues")
            polls = len(child.named("poll"))
            child.wait_for("poll", polls + 30)
            peak = child.status("VmHWM") << 10
            assert peak < limit, f"{peak >> 20} MiB"
            assert {line["reason"] for line in child.named("rows_dropped")} == {"queue"}
            assert all(line["sockets"] == 5000 for line in child.named("poll"))
            for reader in readers:
                os.close(reader)
            readers.clear()
            child.signal(signal.SIGTERM)
            # Nobody reads the pipes any more, which is an end: closing need not wait.
            child.ended(12)
            accounts = child.named("ledger")
        assert (accounts[-1]["sink"], accounts[-1]["dropped"]) == ("null", {})
        assert all(account["balanced"] and not account["in_flight"] for account in accounts), accounts
    finally:
        for reader in readers:
            os.close(reader)


# --- xTCP's moduli ---


def test_udp_gets_its_share_and_others_every_row() -> None:
    """1 in 2 × 5, the same connections in each poll, one record a datagram; the null sink gets all."""
    with Listener() as listener:
        where = f"udp:{listener.address}"
        moduli = ("--sampling-modulus", "2", "--report-modulus", "5")
        dests = ("--dest", where, "--dest", "null:", "--frequency", "200ms", "--max-loops", "2")
        # What two polls send, a fifth of these, finds room however late the listener is.
        rows = min(3000, 3 * listener.room)
        with Child(*dests, *moduli, scripted=str(rows)) as child:
            assert child.ended() == 0
            udp, null = child.named("ledger")
        offered = udp["offered"]
        datagrams = listener.wait_for(offered)
    assert null["accepted"] == 2 * rows
    # Of 3,000 rows 600 are expected; the standard deviation of such a sample is 16.4.
    assert abs(offered - 2 * rows / 10) < 2 * 5 * math.sqrt(rows * 0.1 * 0.9)
    assert len(datagrams) == offered


# --- row 77: starvation ---


def test_fault_77_one_percent_of_a_processor() -> None:
    """Stopped 99 % of the time: polls take longer, ticks are skipped, nothing hangs, and the ledger holds."""
    with Child("--frequency", "200ms", "--dest", "null:", "--max-loops", "4") as child:
        child.wait_for("poll", 1)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            child.signal(signal.SIGSTOP)
            time.sleep(0.099)
            child.signal(signal.SIGCONT)
            time.sleep(0.001)
        assert child.ended() == 0
        assert len(child.named("poll")) == 4
        assert child.named("ledger")[0]["balanced"]


def test_fault_77_stopped_for_longer_than_the_deadline() -> None:
    """One late poll, the ticks between counted; no burst of polls to catch up."""
    with Child("--frequency", "100ms", "--deadline", "300ms", "--dest", "null:") as child:
        child.wait_for("poll", 2)
        child.signal(signal.SIGSTOP)
        time.sleep(0.5)
        before = len(child.named("poll"))
        time.sleep(0.5)
        child.signal(signal.SIGCONT)
        child.wait_for("poll", before + 4)
        child.signal(signal.SIGTERM)
        assert child.ended() == 0
        starts = [int(line["poll_id"]) for line in child.named("poll")]
        gaps = [(b - a) / 1e9 for a, b in pairwise(starts)]
        late = max(range(len(gaps) - 2), key=gaps.__getitem__)
        assert gaps[late] > 0.8
        # The late poll is followed by the next tick, not by ten polls at once.
        assert sum(gaps[late + 1 : late + 3]) > 0.1


def test_threads_and_descriptors_stay_flat() -> None:
    """A hundred polls leave nothing behind."""
    with Child("--frequency", "10ms", "--dest", "null:") as child:
        child.wait_for("poll", 20)
        before = (child.status("Threads"), descriptors(child.pid))
        child.wait_for("poll", 100)
        after = (child.status("Threads"), descriptors(child.pid))
        assert after[0] <= before[0] + 1 and after[1] <= before[1] + 2
