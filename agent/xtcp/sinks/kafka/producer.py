"""Kafka: rows to a topic, each counted when the broker has acknowledged the message that holds it.

librdkafka keeps messages (64 MiB of them), compresses, sends and sends again; the producer is idempotent, so a message
stands in the topic once. What it makes of a message it tells in a delivery report, when it is polled. Its queue full:
the sink is not `ready` until there is room, rows wait in the queue before it, and are dropped there (`queue`).

Rows are dropped by the name of the error that librdkafka or the broker gives (`_MSG_TIMED_OUT`, `MSG_SIZE_TOO_LARGE`).
Two failures are mended first, once a message: one too large for the topic is sent again in halves, and later ones are
cut smaller; where the producer itself fails for good (a fatal error of idempotence) another takes its place and what
was not confirmed goes through it. All of it runs on the thread that calls the sink, reports and log lines too.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from xtcp.errors import ConfigurationError, PermissionMissing, Unavailable, XtcpError
from xtcp.ledger import CLOSED, Account
from xtcp.sinks.kafka.messages import OVERSIZE, Headers, Message, Messages, messages
from xtcp.sinks.sink import PATIENCE_S

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Producer
    from confluent_kafka import Message as Report

    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer
    from xtcp.sinks.kafka.target import Target

LOG: Final = logging.getLogger(__name__)

# Between two looks for reports: while room is waited for, while some are due, and otherwise.
FULL_S: Final = 0.02
DUE_S: Final = 0.1
IDLE_S: Final = 1.0

# A fatal error cuts a round of reports short.
_ROUNDS: Final = 10
_TOO_LARGE: Final = "MSG_SIZE_TOO_LARGE"
# The message is as good as any; it is the producer that has failed, or was given up for another.
_PRODUCER: Final = frozenset(
    {"_FATAL", "_GAPLESS_GUARANTEE", "_PURGE_INFLIGHT", "_PURGE_QUEUE"}
    | {"INVALID_PRODUCER_EPOCH", "OUT_OF_ORDER_SEQUENCE_NUMBER", "UNKNOWN_PRODUCER_ID"}
)

_TOPIC: Final = (
    Unavailable,
    "The brokers have no such topic, and make none by themselves.",
    "Create it: kafka-topics.sh --bootstrap-server {brokers} --create --topic {topic}",
)
_ACCESS: Final = (
    PermissionMissing,
    "The user may not write there.",
    "Allow it: kafka-acls.sh --bootstrap-server {brokers} --add --producer --topic {topic} --allow-principal User:NAME",
)
_LOGIN: Final = (
    PermissionMissing,
    "The brokers know no such user, or the password is another.",
    "Check security.protocol, sasl.mechanism, sasl.username and sasl.password.file.",
)
_EXPLAINED: Final[dict[str, tuple[type[XtcpError], str, str]]] = {
    "_UNKNOWN_TOPIC": _TOPIC,
    "UNKNOWN_TOPIC_OR_PART": _TOPIC,
    "TOPIC_AUTHORIZATION_FAILED": _ACCESS,
    "CLUSTER_AUTHORIZATION_FAILED": _ACCESS,
    "_AUTHENTICATION": _LOGIN,
    "SASL_AUTHENTICATION_FAILED": _LOGIN,
    "_MSG_TIMED_OUT": (Unavailable, "No broker took it in the time of message.timeout.ms.",
                       "See that {brokers} is up and can be reached from here."),
    _TOO_LARGE: (ConfigurationError, "A single row, or half a message, is larger than the topic takes.",
                 "Raise max.message.bytes of {topic}."),
}  # fmt: skip


class Kafka:
    """A `Sink`; accepted means acknowledged by the broker.

    Raises `ConfigurationError` where librdkafka is missing or does not take an option. `renewed` counts the producers
    that took the place of one that had failed.
    """

    gone: Final = False

    def __init__(self, target: Target, account: Account, form: Messages | None = None) -> None:
        self._target = target
        self._account = account
        self._config = target.config()
        self._messages = form or messages(target.records)
        self._pending: deque[Message] = deque()
        self._held = 0
        # What reports said and the account does not know yet.
        self._confirmed_rows = self._confirmed_bytes = 0
        self._lost: Counter[str] = Counter()
        self._error: XtcpError | None = None
        self._trouble = ""
        self._failed = self._closed = False
        self.renewed = 0
        self._producer: Producer | None = self._make()
        account.ask(lambda: self._held)

    @property
    def error(self) -> XtcpError | None:
        """The first reason for which rows were dropped, or that nothing can be sent at all."""
        return self._error

    @property
    def ready(self) -> bool:
        """Whether nothing waits for room in librdkafka's queue."""
        return not self._pending

    def tick(self) -> float:
        """Hears reports; sends what waited."""
        self._send()
        if self._pending:
            return FULL_S
        return DUE_S if self._held else IDLE_S

    def accept(self, batch: Batch) -> None:
        """Encodes all and hands librdkafka what it has room for."""
        made = self._messages.of(batch)
        oversize = sum(message.rows for message in made if not message.value)
        with self._account as account:
            account.offer(batch.rows)
            account.drop(oversize, OVERSIZE)
            self._held += batch.rows - oversize
        self._pending.extend(message for message in made if message.value)
        self._send()

    def end_poll(self, trailer: Trailer) -> None:
        """Sends the trailer behind the poll's rows, where the form of the records has one."""
        self._pending.extend(self._messages.end_poll(trailer))
        self._send()

    def flush(self, timeout_s: float = PATIENCE_S) -> None:
        """Waits for all reports."""
        end = time.monotonic() + timeout_s
        while self._producer is not None:
            self._send()
            left = end - time.monotonic()
            if left <= 0 or not (self._pending or len(self._producer)):
                break
            self._hear(self._producer.flush, min(left, 0.1))

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        """Flushes; what is not confirmed by then is dropped and taken back from librdkafka."""
        if self._producer is None:
            return
        self.flush(timeout_s)
        producer, self._producer = self._producer, None
        self._closed = True
        with self._account as account:
            account.drop(self._held, CLOSED)
            self._held = 0
        self._pending.clear()
        producer.purge()
        self._hear(producer.poll, 0)

    # --- sending ---

    def _send(self) -> None:
        """Hands over what is pending as far as there is room, then hears reports."""
        producer = self._producer
        if producer is None:
            return
        if not self._failed:
            self._hand_over(producer)
        self._hear(producer.poll, 0)
        if self._failed:
            self._renew(producer)

    def _hand_over(self, producer: Producer) -> None:
        pending, heard, produce, topic = self._pending, self._heard, producer.produce, self._target.topic
        while pending:
            value, rows, key, headers, again = message = pending[0]
            try:
                # The value comes back with the report: it is not kept twice.
                produce(topic, value, key, headers=headers, on_delivery=partial(heard, rows, headers, again))
            except BufferError:
                return
            except self._exception as error:
                refusal: KafkaError = error.args[0]
                if refusal.name() == "_FATAL":
                    self._failed = True
                    return
                self._not_sent(message, refusal)
            pending.popleft()

    def _hear(self, listen: Callable[[float], object], seconds: float) -> None:
        """Reports, errors and log lines, for `seconds` at most; then tells the account."""
        try:
            listen(seconds)
        except self._exception as error:  # a fatal error is raised, not told
            self._told(error.args[0])
        self._settle()

    def _renew(self, old: Producer) -> None:
        """Another producer, for what the old one has not confirmed and for all that follows."""
        LOG.warning("%s: the producer failed for good and is made anew: %s", self._target.name, self._trouble)
        old.purge()
        for _ in range(_ROUNDS):
            self._hear(old.poll, 0.1)
            if not len(old):
                break
        self._producer = self._make()
        self._failed = False
        self.renewed += 1

    def _settle(self) -> None:
        """Tells the account what the reports said: one move."""
        lost = sum(self._lost.values())
        if not (lost or self._confirmed_rows):
            return
        with self._account as account:
            self._held -= self._confirmed_rows + lost
            account.accept(self._confirmed_rows, self._confirmed_bytes)
            for reason, rows in self._lost.items():
                account.drop(rows, reason)
        self._confirmed_rows = self._confirmed_bytes = 0
        self._lost.clear()

    # --- what librdkafka tells, while it is polled ---

    def _heard(self, rows: int, headers: Headers, again: bool, error: KafkaError | None, report: Report) -> None:
        """The delivery report of a message."""
        if self._closed:
            return
        if error is None:
            self._confirmed_rows += rows
            self._confirmed_bytes += len(report)
        else:
            self._not_sent(Message(report.value() or b"", rows, report.key(), headers, again), error)

    def _not_sent(self, message: Message, error: KafkaError) -> None:
        """Mends what can be mended; counts the rest."""
        reason = error.name()
        if not message.again:
            if reason in _PRODUCER:
                self._pending.append(message._replace(again=True))
                return
            if reason == _TOO_LARGE:
                halves = self._messages.halves(message)
                self._pending.extend(halves)
                if halves:
                    return
        self._lost[reason] += message.rows
        self._explain(reason, error.str())

    def _told(self, error: KafkaError) -> None:
        """An error of the whole client: brokers that are away, a login that was refused."""
        self._trouble = error.str()
        if error.fatal():
            self._failed = True
        elif error.name() in {"_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED"}:
            self._explain(error.name(), error.str())

    def _explain(self, reason: str, said: str) -> None:
        if self._error is not None:
            return
        kind, why, to_do = _EXPLAINED.get(reason, (Unavailable, "", ""))
        what = f"{self._target.name}: {said.strip().rstrip('.')} ({reason})."
        last = f" The last that was heard: {self._trouble}." if self._trouble and self._trouble not in what else ""
        self._error = kind(what, why + last, to_do.format(brokers=self._target.brokers, topic=self._target.topic))

    # --- the producer ---

    def _make(self) -> Producer:
        try:
            from confluent_kafka import KafkaException, Producer
        except ImportError as error:
            raise ConfigurationError(
                f"{self._target.name} needs confluent-kafka.", "It is an extra.", "pip install 'xtcp[kafka]'"
            ) from error
        self._exception = KafkaException
        callbacks: dict[str, Any] = {"error_cb": self._told, "logger": LOG}
        try:
            return Producer({**self._config, **callbacks})
        except KafkaException as error:
            raise ConfigurationError(
                f"{self._target.name}: librdkafka says: {error.args[0].str().strip().rstrip('.')}.",
                "Options are its own, besides record, queue, full and sample.",
                "All of them: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md",
            ) from error
