"""ClickHouse: rows to a table, in inserts of many, each counted when the server has said that it is done.

The rows of a poll go together in inserts of `ENOUGH_ROWS` or more, or what the poll has; each has a token that no other
has and that stays with it, so that an insert which is sent again, because its answer was lost, is no second one
(`insert_deduplication_token`; a MergeTree that is not replicated needs `non_replicated_deduplication_window`, which our
DDL sets).

A server that is away, slow or overloaded is asked again after a pause that grows, with the same token; meanwhile the
sink is not `ready`, rows wait in the queue before it and are dropped there (`queue`). After `keep-trying` the insert's
rows are dropped, by the name of the last failure. What no asking will mend, a table, a column or a login that is not
right, drops the rows at once, and those of the next minute; a table of polls that is not right costs trailers alone.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xtcp.encode.native import block_of, columns_of
from xtcp.errors import ConfigurationError, PermissionMissing, Unavailable, XtcpError
from xtcp.ledger import CLOSED, Account
from xtcp.sinks.clickhouse.server import Failed, Server
from xtcp.sinks.sink import PATIENCE_S

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer
    from xtcp.sinks.clickhouse.target import Target

LOG: Final = logging.getLogger(__name__)

ENOUGH_ROWS: Final = 10_000
ENOUGH_BYTES: Final = 8 << 20
FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 30.0
# How long a server that refused for good is left alone.
OFF_S: Final = 60.0
_IDLE_S: Final = 60.0

_LOGIN: Final = frozenset({"AUTHENTICATION_FAILED", "REQUIRED_PASSWORD", "WRONG_PASSWORD", "UNKNOWN_USER"})
_TABLE: Final = frozenset({"UNKNOWN_TABLE", "UNKNOWN_DATABASE"})
_COLUMN: Final = frozenset(
    {"NO_SUCH_COLUMN_IN_TABLE", "UNKNOWN_IDENTIFIER", "NOT_FOUND_COLUMN_IN_BLOCK", "TYPE_MISMATCH"}
)
_DDL: Final = "xtcp schema clickhouse prints the DDL."


@dataclass
class _Insert:
    """A statement with its data: `rows` of the ledger's, or a trailer, which has none."""

    statement: str
    data: bytes
    rows: int
    token: str
    first_try: float | None = None
    tries: int = 0


class ClickHouse:
    """A `Sink`; accepted means that the server has said the insert is done.

    Raises `XtcpError` for a password or certificate that cannot be read; the server itself is not asked before there
    are rows. `clock` is monotonic seconds.
    """

    gone: Final = False

    def __init__(self, target: Target, account: Account, clock: Callable[[], float] = time.monotonic) -> None:
        self._target = target
        self._account = account
        self._clock = clock
        self._server = Server(target, clock)
        self._stream = f"{secrets.randbits(64):016x}"
        self._number = 0
        self._polls = target.polls
        self._gathered: list[Batch] = []
        self._gathered_rows = self._gathered_bytes = 0
        self._waiting: deque[_Insert] = deque()
        self._next_try = 0.0
        self._off_until = 0.0
        self._off_reason = ""
        self._held = 0
        self._closed = False
        self._error: XtcpError | None = None
        account.ask(lambda: self._held)

    @property
    def error(self) -> XtcpError | None:
        """The first reason for which rows were dropped."""
        return self._error

    @property
    def ready(self) -> bool:
        """Whether no insert waits for the server."""
        return not self._waiting

    def tick(self) -> float:
        """Asks again what is due."""
        self._send(self._target.timeout_s)
        return max(0.01, self._next_try - self._clock()) if self._waiting else _IDLE_S

    def accept(self, batch: Batch) -> None:
        """Gathers rows; sends them once there are enough."""
        if self._clock() < self._off_until:
            self._account.refuse(batch.rows, self._off_reason)
            return
        with self._account as account:
            account.offer(batch.rows)
            self._held += batch.rows
        self._gathered.append(batch)
        self._gathered_rows += batch.rows
        self._gathered_bytes += batch.nbytes
        if self._gathered_rows >= ENOUGH_ROWS or self._gathered_bytes >= ENOUGH_BYTES:
            self._cut(f"{batch.context.poll_id}")
            self._send(self._target.timeout_s)

    def end_poll(self, trailer: Trailer) -> None:
        """Sends what the poll has left, then its trailer, where there is a table for it."""
        self._cut(f"{trailer.poll_id}")
        if self._polls is not None and self._clock() >= self._off_until:
            statement = f"INSERT INTO {self._polls} FORMAT JSONEachRow"
            self._wait_for(statement, json.dumps(trailer.as_dict()).encode(), 0, f"{trailer.poll_id}")
        self._send(self._target.timeout_s)

    def flush(self, timeout_s: float = PATIENCE_S) -> None:
        """Sends all that is gathered, again and again while there is time."""
        end = self._clock() + timeout_s
        self._cut("flush")
        while self._waiting:
            left = end - self._clock()
            if left <= 0:
                break
            pause = self._next_try - self._clock()
            if pause > 0:
                time.sleep(min(pause, left, 0.05))
            else:
                self._send(min(self._target.timeout_s, left))

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        """Flushes, and drops what the server has not confirmed."""
        if self._closed:
            return
        self._closed = True
        self.flush(timeout_s)
        self._server.close()
        self._gathered.clear()
        self._waiting.clear()
        with self._account as account:
            account.drop(self._held, CLOSED)
            self._held = 0

    # --- inserts ---

    def _cut(self, poll: str) -> None:
        """What is gathered becomes an insert."""
        if not self._gathered_rows:
            return
        columns = ", ".join(column.name for column in columns_of(self._gathered))
        statement = f"INSERT INTO {self._target.table} ({columns}) FORMAT Native"
        self._wait_for(statement, block_of(self._gathered), self._gathered_rows, poll)
        self._gathered.clear()
        self._gathered_rows = self._gathered_bytes = 0

    def _wait_for(self, statement: str, data: bytes, rows: int, poll: str) -> None:
        self._waiting.append(_Insert(statement, data, rows, f"{self._stream}-{poll}-{self._number}"))
        self._number += 1

    def _send(self, timeout_s: float) -> None:
        """Has inserts done, until one fails that may not fail again later."""
        while self._waiting and self._clock() >= self._next_try:
            insert = self._waiting[0]
            if insert.first_try is None:
                insert.first_try = self._clock()
            insert.tries += 1
            try:
                self._server.post(insert.statement, insert.data, insert.token, timeout_s)
            except Failed as failure:
                if not self._given_up(insert, failure):
                    break
            else:
                self._settle(insert, None)

    def _given_up(self, insert: _Insert, failure: Failed) -> bool:
        """Whether the insert is dropped; otherwise a pause begins."""
        now = self._clock()
        if not failure.lasting and now - (insert.first_try or now) < self._target.keep_trying_s:
            longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(insert.tries, 16))
            self._next_try = now + longest * (0.5 + secrets.randbelow(1 << 16) / (1 << 17))
            if insert.tries == 1:
                LOG.warning("%s: not done, asked again with the same token: %s", self._target.name, failure)
            return False
        self._settle(insert, failure.reason)
        self._explain(failure, self._target.table if insert.rows else self._polls or "")
        if failure.lasting and not insert.rows:
            LOG.error("%s: no more trailers: %s", self._target.name, failure)
            self._polls = None
        elif failure.lasting:
            LOG.error("%s: off for %d s: %s", self._target.name, OFF_S, failure)
            self._off_until, self._off_reason = now + OFF_S, failure.reason
            for other in list(self._waiting):
                self._settle(other, failure.reason)
        return True

    def _settle(self, insert: _Insert, lost: str | None) -> None:
        self._waiting.remove(insert)
        with self._account as account:
            self._held -= insert.rows
            if lost is None:
                account.accept(insert.rows, len(insert.data))
            else:
                account.drop(insert.rows, lost)

    def _explain(self, failure: Failed, table: str) -> None:
        if self._error is not None:
            return
        reason = failure.reason
        named = "" if reason in failure.said else f" ({reason})"
        what = f"{self._target.name}: {failure.said.rstrip('.')}{named}."
        if reason in _LOGIN:
            self._error = PermissionMissing(what, "The server knows no such user, or the password is another.",
                                            "Check user and password.file.")  # fmt: skip
        elif reason == "ACCESS_DENIED":
            self._error = PermissionMissing(what, f"The user may not insert into {table}.", f"GRANT INSERT ON {table}")
        elif reason in _TABLE:
            self._error = ConfigurationError(what, f"{table} is not there.", f"Make it: {_DDL}")
        elif reason in _COLUMN:
            why = f"{table} has other columns than this version writes; it may be older."
            self._error = ConfigurationError(what, why, f"ALTER TABLE {table} ADD COLUMN …; {_DDL}")
        elif failure.lasting:
            self._error = ConfigurationError(what, "The server refuses the insert.", _DDL)
        else:
            why = f"It has failed for {self._target.keep_trying_s:g} s."
            self._error = Unavailable(what, why, "See that the server is up, and what its log says.")
