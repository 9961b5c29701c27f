"""The ledger's equation, at every moment, with sinks of one and of several threads; and that it can fail."""

from __future__ import annotations

import json
import threading
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.patience import fewer, patient
from tests.sinks.receivers import until
from tests.sinks.standins import Unconfirmed, blank
from xtcp.ledger import CLOSED, Account, Balance, Ledger

FATES = st.sampled_from(["ok", "ok", "ok", "never", "oversize", "ECONNREFUSED"])


class Watcher(threading.Thread):
    """Takes snapshots as quickly as it can, and keeps those that do not add up."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(daemon=True)
        self.wrong: list[Balance] = []
        self.seen = 0
        self._ledger = ledger
        self._stop_it = threading.Event()

    def run(self) -> None:
        """The thread."""
        while not self._stop_it.is_set():
            self.wrong += [balance for balance in self._ledger.snapshot() if not balance.balanced]
            self.seen += 1
            time.sleep(0.00005)

    def stop(self) -> None:
        """Ends it, after a snapshot at least."""
        self._stop_it.set()
        self.join()
        assert self.seen


@settings(max_examples=fewer(30), deadline=None)
@given(
    sizes=st.lists(st.integers(0, 50), max_size=40),
    rooms=st.lists(st.integers(0, 400), min_size=1, max_size=3),
    fates=st.lists(FATES, max_size=40),
)
def test_every_snapshot_of_queued_sinks_adds_up(sizes: list[int], rooms: list[int], fates: list[str]) -> None:
    """With a queue, a thread that sends and reports that come later; after close nothing is in flight."""
    ledger = Ledger()
    sinks = [Unconfirmed(ledger.open("far"), room, iter(fates)) for room in rooms]
    watcher = Watcher(ledger)
    watcher.start()
    for size in sizes:
        for sink in sinks:
            sink.accept(blank(size))
    for sink in sinks:
        sink.close(0.005)
    watcher.stop()
    assert watcher.wrong == []
    for balance in ledger.snapshot():
        assert balance.offered == sum(sizes)
        assert balance.in_flight == 0
        assert balance.balanced


def test_what_is_not_confirmed_is_dropped_by_close() -> None:
    """A message whose report never comes is in flight until then."""
    ledger = Ledger()
    sink = Unconfirmed(ledger.open("far"), 100, iter(["ok", "never", "oversize"]))
    for rows in (5, 7, 11):
        sink.accept(blank(rows))
    expected = (5, 7, {"oversize": 11})
    assert until(lambda: [(one.accepted, one.in_flight, one.dropped) for one in ledger.snapshot()] == [expected])
    sink.close(0)
    (closed,) = ledger.snapshot()
    assert (closed.in_flight, closed.dropped) == (0, {"oversize": 11, CLOSED: 7})
    assert ledger.balanced()


def test_a_sink_that_loses_rows_is_found() -> None:
    """What is in flight is the sink's own count, so rows that it forgets are missing."""
    ledger = Ledger()
    sink = Unconfirmed(ledger.open("far"), 100, iter([]), loses=True)
    sink.accept(blank(7))
    sink.flush(patient(30))
    sink.close(0)
    assert not ledger.balanced()
    assert ledger.snapshot()[0].missing == 7
    assert "NOT BALANCED, 7 rows" in ledger.lines()[0]
    assert ledger.as_dict()["balanced"] is False


def test_a_sink_that_counts_twice_is_found() -> None:
    """Too much is as wrong as too little."""
    account = Account("twice")
    account.offer(3)
    account.accept(3)
    account.drop(3, "closed")
    assert account.balance().missing == -3


def test_a_move_is_one_for_every_other_thread() -> None:
    """While a sink is between two counters no snapshot is taken."""
    account = Account("slow")
    held = [0]
    account.ask(lambda: held[0])
    seen: list[Balance] = []
    reader = threading.Thread(target=lambda: seen.append(account.balance()), daemon=True)
    with account:
        account.offer(5)
        reader.start()
        reader.join(0.05)
        assert seen == []
        held[0] = 5
    reader.join()
    assert seen[0].balanced and seen[0].in_flight == 5


def test_line_and_json() -> None:
    """One line a sink, in the order of opening; names that are alike are numbered."""
    ledger = Ledger()
    first, second = ledger.open("null"), ledger.open("null")
    first.offer(12_000)
    first.accept(11_000, 123_456)
    first.drop(600, "ENOSPC")
    first.drop(400, "EIO")
    second.refuse(3, "EPIPE")
    assert ledger.lines() == [
        "null: 12,000 offered = 11,000 accepted + 1,000 dropped (EIO 400, ENOSPC 600) + 0 in flight; 123,456 bytes",
        "null (2): 3 offered = 0 accepted + 3 dropped (EPIPE 3) + 0 in flight",
    ]
    written = json.loads(json.dumps(ledger.as_dict()))
    assert written["balanced"] is True
    assert written["sinks"][0] == {
        "sink": "null",
        "offered": 12_000,
        "accepted": 11_000,
        "dropped": {"EIO": 400, "ENOSPC": 600},
        "in_flight": 0,
        "bytes": 123_456,
        "balanced": True,
    }


def test_an_abandoned_account_hears_nothing_more() -> None:
    """A report that comes after its sink was given up changes nothing."""
    account = Account("late")
    held = [4]
    account.ask(lambda: held[0])
    account.offer(4)
    account.abandon("fault")
    account.accept(4)
    account.drop(4, "closed")
    balance = account.balance()
    assert (balance.accepted, balance.dropped, balance.in_flight) == (0, {"fault": 4}, 0)
    assert balance.balanced
