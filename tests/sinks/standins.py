"""Sinks that only tests have, and batches for them."""

# ruff: noqa: D102 - the Protocol says what they do
from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterator

import numpy as np

from tests.batches import batch_of
from tests.rows import Row, rows_of
from xtcp.batch import Batch, Tally
from xtcp.chunk import Context
from xtcp.errors import XtcpError
from xtcp.ledger import CLOSED, Account
from xtcp.poll.trailer import Trailer
from xtcp.sinks.sink import PATIENCE_S, AtOnce

TRAILER = Trailer(
    hostname="",
    boot_id="",
    poll_id=7,
    netns="4026531840",
    release="6.18.0",
    byte_order="little",
    wall_start_ns=1_700_000_000_000_000_000,
    wall_end_ns=1_700_000_000_250_000_000,
    monotonic_start_ns=5_000_000_000,
    monotonic_end_ns=5_250_000_000,
    dumps=1,
    messages=3,
    rows=2,
    duplicates=0,
    quarantined=0,
    damaged=0,
    control=1,
    forged=0,
)


def blank(rows: int) -> Batch:
    """A batch of rows without columns: `{}` in JSON."""
    return Batch(Context(), rows, {}, {}, np.arange(rows, dtype=np.int64) * 4, Tally())


def cookies(*numbers: int, hostname: str | None = None) -> Batch:
    """A batch of a row for each cookie."""
    return batch_of([{"idiag_cookie": number} for number in numbers], Context(hostname=hostname))


def cookies_in(text: str) -> list[int]:
    """The cookies of JSON lines."""
    return [json.loads(line)["idiag_cookie"] for line in text.splitlines()]


class Collected(AtOnce):
    """A sink that keeps what it is given, in `events`: a batch or a trailer."""

    error: XtcpError | None = None
    gone = False

    def __init__(self, account: Account) -> None:
        self._account = account
        self.events: list[Batch | Trailer] = []

    @property
    def rows(self) -> list[Row]:
        """All rows, as JSON."""
        return rows_of(event for event in self.events if isinstance(event, Batch))

    @property
    def trailers(self) -> list[Trailer]:
        """All trailers."""
        return [event for event in self.events if isinstance(event, Trailer)]

    def accept(self, batch: Batch) -> None:
        self.events.append(batch)
        with self._account as account:
            account.offer(batch.rows)
            account.accept(batch.rows)

    def end_poll(self, trailer: Trailer) -> None:
        self.events.append(trailer)

    def flush(self, timeout_s: float = PATIENCE_S) -> None:
        pass

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        pass


class Failing(Collected):
    """A sink with a fault: it raises at its batch number `at`, before or after it holds the rows."""

    def __init__(self, account: Account, at: int, *, holding: bool) -> None:
        super().__init__(account)
        self._left = at
        self._holding = holding
        self._held = 0
        self.closed = False
        account.ask(lambda: self._held)

    def accept(self, batch: Batch) -> None:
        self._left -= 1
        if self._left:
            super().accept(batch)
            return
        if self._holding:
            with self._account as account:
                account.offer(batch.rows)
                self._held += batch.rows
        raise ZeroDivisionError("a fault")

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        self.closed = True


class Unconfirmed(AtOnce):
    """A sink with a queue and a thread that sends, and another thread that brings the reports.

    `fate` says what becomes of each message: `ok`, `never` (no report comes), or the reason of a drop. `loses`: a
    fault that the ledger must show, a message that is forgotten.
    """

    error: XtcpError | None = None
    gone = False

    def __init__(self, account: Account, room: int, fate: Iterator[str], *, loses: bool = False) -> None:
        self._account = account
        self._room = room
        self._fate = fate
        self._loses = loses
        self._queue: deque[int] = deque()
        self._sending = 0
        self._unconfirmed: dict[int, int] = {}
        self._reports: deque[tuple[int, str]] = deque()
        self._stop = threading.Event()
        account.ask(lambda: sum(self._queue) + self._sending + sum(self._unconfirmed.values()))
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._send, self._report)]
        for thread in self._threads:
            thread.start()

    def accept(self, batch: Batch) -> None:
        with self._account as account:
            account.offer(batch.rows)
            if sum(self._queue) + batch.rows > self._room:
                account.drop(batch.rows, "queue")
            else:
                self._queue.append(batch.rows)

    def end_poll(self, trailer: Trailer) -> None:
        pass

    def flush(self, timeout_s: float = PATIENCE_S) -> None:
        end = time.monotonic() + timeout_s
        while self._account.balance().in_flight and time.monotonic() < end:
            time.sleep(0.0005)

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        self.flush(timeout_s)
        self._stop.set()
        for thread in self._threads:
            thread.join()
        with self._account as account:
            account.drop(sum(self._queue) + self._sending + sum(self._unconfirmed.values()), CLOSED)
            self._queue.clear()
            self._unconfirmed.clear()
            self._sending = 0

    def _send(self) -> None:
        message = 0
        while not self._stop.is_set():
            with self._account:
                if self._queue:
                    self._sending = self._queue.popleft()
            if not self._sending:
                time.sleep(0.0002)
                continue
            message += 1
            fate = next(self._fate, "ok")
            with self._account as account:
                rows, self._sending = self._sending, 0
                if self._loses:
                    continue
                if fate in ("ok", "never"):
                    self._unconfirmed[message] = rows
                else:
                    account.drop(rows, fate)
            if fate == "ok":
                self._reports.append((message, fate))

    def _report(self) -> None:
        while not self._stop.is_set():
            if not self._reports:
                time.sleep(0.0002)
                continue
            message, _ = self._reports.popleft()
            with self._account as account:
                rows = self._unconfirmed.pop(message)
                account.accept(rows, 10 * rows)
