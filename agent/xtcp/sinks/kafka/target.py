"""What a `kafka:` destination means: brokers, topic, form of the records, and what librdkafka is told.

    kafka:BROKER[:PORT][,BROKER[:PORT]…]/TOPIC[?record=flat&linger.ms=50&sasl.username=…]

librdkafka's own options go to it by its own names; they stand above `DEFAULTS`. Which there are and what values they
take only the library knows, so they are checked at opening. Passwords can be in a file: `sasl.password.file=PATH`.
Source: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from xtcp.errors import UsageError
from xtcp.sinks.destination import Destination
from xtcp.sinks.record_choice import CONSTANTS, RecordChoice, record_choice
from xtcp.sinks.secret_file import secret_in

PORT: Final = 9092

# librdkafka's own queue is 1 GiB, and its producer neither idempotent nor waiting for all replicas, by its defaults.
DEFAULTS: Final[Mapping[str, str]] = {
    "client.id": "xtcp",
    "compression.type": "zstd",
    "enable.idempotence": "true",
    "queue.buffering.max.kbytes": str(24 << 10),
    "queue.buffering.max.messages": "200000",
    "socket.keepalive.enable": "true",
}
# A broker refuses a batch of messages whole. An envelope is a batch by itself, so what is refused is that envelope.
ENVELOPE_DEFAULTS: Final[Mapping[str, str]] = {"batch.num.messages": "1"}
# Small enough for a topic with a low max.message.bytes, large enough to compress.
BARE_DEFAULTS: Final[Mapping[str, str]] = {"batch.size": str(128 << 10), "linger.ms": "50"}

REFUSED: Final[Mapping[str, str]] = {
    "bootstrap.servers": "The brokers stand in the address.",
    "metadata.broker.list": "The brokers stand in the address.",
    "delivery.report.only.error": "Without reports no row would ever be accepted.",
    "transactional.id": "Rows are sent outside of transactions.",
}

_BROKER: Final = re.compile(r"(\[[^\s/,\[\]]+\]|[^\s:/,\[\]]+)(?::([0-9]{1,5}))?")
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_IN_FILE: Final = re.compile(r"(.*(?:password|passphrase|client\.secret))\.file")


@dataclass(frozen=True)
class Target:
    """Where to: `brokers` as librdkafka takes them, each with a port; `options` as they were given."""

    name: str
    brokers: str
    topic: str
    records: RecordChoice
    options: Mapping[str, str]

    def config(self) -> dict[str, str]:
        """What librdkafka's producer is told. Raises as `told` does."""
        kind = BARE_DEFAULTS if self.records.bare else ENVELOPE_DEFAULTS
        return {**DEFAULTS, **kind, **self.told()}

    def told(self) -> dict[str, str]:
        """The brokers and the options, passwords read from their files. Raises `XtcpError` for one that cannot be."""
        told = {"bootstrap.servers": self.brokers}
        for name, value in self.options.items():
            found = _IN_FILE.fullmatch(name)
            told[found[1] if found else name] = secret_in(value, f"{name} of {self.name}") if found else value
        return told


def target(destination: Destination) -> Target:
    """What `destination` means. Raises `UsageError`."""
    name = destination.name
    hosts, slash, topic = destination.address.rpartition("/")
    if not slash or not hosts:
        raise UsageError(f"{name} names no brokers and topic.", "", "Write kafka:BROKER:9092/TOPIC")
    if not _TOPIC.fullmatch(topic) or topic in {".", ".."}:
        raise UsageError(f"{name}: {topic!r} is no name of a topic.", "It has letters, digits, dots, - and _.", "")
    options = {option: value for option, value in destination.options.items() if option not in {"record", *CONSTANTS}}
    for option in options:
        why = REFUSED.get(option)
        if why is not None:
            raise UsageError(f"{name}: the option {option} cannot be set.", why, "Leave it out.")
        found = _IN_FILE.fullmatch(option)
        if found and found[1] in options:
            raise UsageError(f"{name}: {found[1]} and {option} are both there.", "", "Leave one of them out.")
    brokers = ",".join(_broker(name, part) for part in hosts.split(","))
    return Target(name, brokers, topic, record_choice(destination), options)


def _broker(name: str, text: str) -> str:
    found = _BROKER.fullmatch(text)
    if found is None or not 1 <= int(found[2] or PORT) <= 65535:
        raise UsageError(f"{name}: {text!r} is no broker.", "", "Write HOST, HOST:PORT or [IPv6]:PORT")
    return f"{found[1]}:{found[2] or PORT}"
