"""A Kafka topic as an input: `kafka:BROKER[:PORT][,BROKER…]/TOPIC[?group.id=xtcp-collect&…]`.

Each message value is taken as a datagram is. Offsets are committed when all rows up to them have been accepted by
every sink, and never by librdkafka itself; so whatever ends the collector, the rows that had not arrived come again,
and those that come twice are told by their envelope's sequence number. A group that has no offset yet begins with the
oldest message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from xtcp.collect.arrivals import Arrivals, InputCounts
from xtcp.errors import ConfigurationError, PermissionMissing, Unavailable, UsageError, XtcpError
from xtcp.sinks.destination import Destination
from xtcp.sinks.kafka.target import Target, target

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

GROUP: Final = "xtcp-collect"
# At once: a message may have a megabyte.
MESSAGES: Final = 32
BYTES: Final = 1 << 20
# How long the brokers may take to say what the topic is, and to take the last offsets.
PATIENCE_S: Final = 10.0

DEFAULTS: Final[Mapping[str, str]] = {
    "client.id": "xtcp",
    "group.id": GROUP,
    "auto.offset.reset": "earliest",
    # librdkafka would keep 64 MB for each partition.
    "queued.max.messages.kbytes": str(16 << 10),
    "socket.keepalive.enable": "true",
}
_OURS: Final[Mapping[str, str]] = {"enable.auto.commit": "false", "enable.auto.offset.store": "false"}


def parsed(address: str, options: Mapping[str, str]) -> Target:
    """Brokers, topic and options of a topic to read. Raises `UsageError`."""
    for name in options:
        if name in _OURS:
            raise UsageError(
                f"kafka:{address}: the option {name} cannot be set.", "Offsets are committed when rows arrived.", ""
            )
    return target(Destination("kafka", address, dict(options)))


class KafkaTopic:
    """An `Input` of a topic, as a member of a consumer group.

    Raises `ConfigurationError` where librdkafka is missing or does not take an option, `Unavailable` where no broker
    answers or there is no such topic, `PermissionMissing` where the brokers refuse.
    """

    def __init__(self, wanted: Target) -> None:
        try:
            from confluent_kafka import Consumer, KafkaException
        except ImportError as error:
            raise ConfigurationError(
                f"{wanted.name}: Kafka needs confluent-kafka.", "It is not installed.", "pip install 'xtcp[kafka]'"
            ) from error
        self.name = wanted.name
        self.counts = InputCounts(joined=False)
        self._target = wanted
        self._exception = KafkaException
        self._trouble = ""
        self._offsets: dict[int, int] = {}
        try:
            self._consumer = Consumer({**DEFAULTS, **wanted.told(), **_OURS, "error_cb": self._noticed})
        except (KafkaException, ValueError, TypeError) as error:
            said = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            raise ConfigurationError(f"{wanted.name}: {said}.", "librdkafka does not take an option.", "") from error
        try:
            self._insist()
        except XtcpError:
            self._consumer.close()
            raise
        self._consumer.subscribe([wanted.topic], on_assign=self._assigned, on_revoke=self._revoked)

    def descriptor(self) -> int | None:
        """None: `take` waits by itself."""
        return None

    def take(self, wait_s: float) -> Arrivals | None:
        """The messages that are there, about `BYTES` of them; empty where time was up. Raises `XtcpError` for what will
        not pass.
        """
        values: list[bytes] = []
        size = 0
        while size < BYTES:
            taken = self._consume(0 if values else wait_s)
            values += taken
            size += sum(map(len, taken))
            if len(taken) < MESSAGES:
                break
        self.counts.messages += len(values)
        self.counts.bytes += size
        return Arrivals.of(values)

    def _consume(self, wait_s: float) -> list[bytes]:
        """The values of the next messages."""
        values: list[bytes] = []
        try:
            messages = self._consumer.consume(MESSAGES, wait_s)
        except self._exception as error:
            raise self._refused(error.args[0]) from error
        for message in messages:
            failure = message.error()
            if failure is not None:
                if failure.fatal() or failure.name() in _LASTING:
                    raise self._refused(failure)
                self._noticed(failure)
                continue
            partition, offset, value = message.partition(), message.offset(), message.value()
            assert partition is not None and offset is not None  # only a message not yet sent has none
            self._offsets[partition] = offset + 1
            values.append(value if isinstance(value, bytes) else b"")
        return values

    def mark(self) -> object:
        """The next offset of each partition."""
        return dict(self._offsets)

    def settle(self, mark: object) -> None:
        """Commits the offsets; what goes wrong is told, and the next time tried again."""
        from confluent_kafka import TopicPartition

        if not isinstance(mark, dict) or not mark:
            return
        places = [TopicPartition(self._target.topic, number, offset) for number, offset in mark.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=False)
        except self._exception as error:
            self._noticed(error.args[0])

    def close(self) -> None:
        """Leaves the group."""
        self._consumer.close()

    @property
    def trouble(self) -> str:
        """What librdkafka said last that is no reason to end."""
        return self._trouble

    def _noticed(self, error: KafkaError) -> None:
        self._trouble = error.str()

    def _assigned(self, _consumer: object, _partitions: list[Any]) -> None:
        """The group has told this member what is its to read."""
        self.counts.joined = True

    def _revoked(self, _consumer: object, partitions: list[Any]) -> None:
        """Another member of the group has these now: their offsets are no longer ours to commit."""
        for partition in partitions:
            self._offsets.pop(partition.partition, None)

    def _insist(self) -> None:
        """Raises unless a broker answers and has the topic."""
        try:
            told = self._consumer.list_topics(self._target.topic, timeout=PATIENCE_S)
        except self._exception as error:
            raise self._refused(error.args[0]) from error
        failure = told.topics[self._target.topic].error
        if failure is not None:
            raise self._refused(failure)

    def _refused(self, error: KafkaError) -> XtcpError:
        kind, why, to_do = _EXPLAINED.get(
            error.name(),
            (Unavailable, "Usually the broker is not there.", "See that {brokers} can be reached from here."),
        )
        heard = f" ({self._trouble})" if self._trouble and self._trouble != error.str() else ""
        to_do = to_do.format(brokers=self._target.brokers, topic=self._target.topic)
        return kind(f"{self.name}: {error.str()}{heard}.", why, to_do)


_TOPIC: Final = (Unavailable, "The brokers have no such topic.", "Name one that they have, or begin to write to it.")
_ACCESS: Final = (
    PermissionMissing,
    "The user may not read there.",
    "Allow it: kafka-acls.sh --bootstrap-server {brokers} --add --consumer --topic {topic} --group GROUP …",
)
_EXPLAINED: Final[dict[str, tuple[type[XtcpError], str, str]]] = {
    "UNKNOWN_TOPIC_OR_PART": _TOPIC,
    "_UNKNOWN_TOPIC": _TOPIC,
    "TOPIC_AUTHORIZATION_FAILED": _ACCESS,
    "GROUP_AUTHORIZATION_FAILED": _ACCESS,
    "_AUTHENTICATION": (
        PermissionMissing,
        "The brokers know no such user, or the password is another.",
        "Check sasl.*.",
    ),
}
# What no waiting mends.
_LASTING: Final = frozenset(_EXPLAINED)
