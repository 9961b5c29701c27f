"""The table of schemes: what can stand behind `--dest`, how it is written, which options it takes.

This table is all that another sink is added to. A scheme's module is imported when its destination is parsed, and
imports what is heavy, or an extra, only when the sink is opened: `--help` shows the table and nothing else is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from xtcp.sinks.destination import Destination, Maker

DEFAULT_BYTES: Final = 16 << 20
COMMON: Final[Mapping[str, str]] = {
    "queue": "bytes that may wait for the sink (default 16M)",
    "full": "drop or wait: what happens to rows that find no room in the queue; a minute at a standstill is waited for",
    "sample": "N: one connection in N, always the same ones (default 1: every row)",
}


@dataclass(frozen=True)
class Scheme:
    """How a destination is written, what it means, its own options by name with their meaning.

    `preparer` names the function, `module:function`, that takes a `Destination` and gives what makes its sink from an
    account; it raises `UsageError` for an address or a value that cannot be, before anything is opened. `far` tells a
    sink whose far side is slow or may be away: it always stands behind a queue, the others only in the agent.
    `passed_on` is a regular expression of the names that go unread to a library or to the far side, which knows them.
    """

    form: str
    meaning: str
    options: Mapping[str, str]
    preparer: str
    far: bool = False
    passed_on: str = ""

    def takes(self, name: str) -> bool:
        """Whether `name` is an option of its own."""
        return name in self.options or (bool(self.passed_on) and re.fullmatch(self.passed_on, name) is not None)

    def prepare(self) -> Callable[[Destination], Maker]:
        """The preparer, imported."""
        module, _, name = self.preparer.partition(":")
        found: Any = getattr(import_module(module), name)
        return found  # type: ignore[no-any-return]


_DATASET: Final[Mapping[str, str]] = {
    "rotate": "age at which a file ends with a poll, and can be read (default 10m)",
    "rotate-bytes": "size at which it does (default 128M)",
    "keep-age": "how long files are kept (default: for ever)",
    "keep-bytes": "how large all files may be together; the oldest go (default: no limit)",
}
_S3: Final[Mapping[str, str]] = {
    "region": "of the bucket; keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or where AWS has them",
    "endpoint": "http://HOST:PORT of a server that is not AWS",
}
_FORMAT: Final = "json, csv or envelopes"
_RECORD: Final = "of envelopes: flat, xtcp2-1, xtcp2-2, or xtcp: bare records, each behind its length (default flat)"

_FILLED: Final[Mapping[str, str]] = {
    "tag": "what stands in every record's field of this name; xtcp's and xtcp2's have one",
    "label": "likewise, of xtcp2",
    "location": "likewise, of xtcp2",
}

SCHEMES: Final[Mapping[str, Scheme]] = {
    "stdout": Scheme(
        "stdout:[?format=json|csv|envelopes|arrow]",
        "standard output, an object a line",
        {"format": _FORMAT, "record": _RECORD, **_FILLED},
        "xtcp.sinks.files.destinations:stdout",
    ),
    "file": Scheme(
        "file:PATH[?format=json|csv|envelopes|arrow]",
        "a file, emptied first; csv where it ends in .csv, envelopes in .envelopes, an Arrow stream in .arrow",
        {"format": _FORMAT, "record": _RECORD, **_FILLED},
        "xtcp.sinks.files.destinations:file",
    ),
    "udp": Scheme(
        "udp:[HOST:PORT][?record=xtcp|flat|…]",
        "datagrams, to 127.0.0.1:13000 where nothing else is said; xtcp records, or envelopes",
        {
            "record": "xtcp: one bare record a datagram (default); flat, xtcp2-1, xtcp2-2: numbered envelopes",
            **_FILLED,
            "mtu": "bytes that a datagram has at most; a row that is larger is dropped (default 1432)",
            "rate": "rows a second at most, for receivers that bursts are too much for (default: no limit)",
            "hmac-key": "a file with a key a line; datagrams are signed with the first",
            "sndbuf": "bytes that the kernel may hold for the socket (SO_SNDBUF)",
            "ttl": "TTL or hop limit",
            "dscp": "code point of the packets, 0 to 63",
        },
        "xtcp.sinks.network.udp:prepare",
        far=True,
    ),
    "unix": Scheme(
        "unix:PATH[?format=json|csv|envelopes]",
        "a stream to a socket of this host, opened again where it ends",
        {"format": _FORMAT, "record": _RECORD, **_FILLED},
        "xtcp.sinks.network.unix:stream",
        far=True,
    ),
    "unixgram": Scheme(
        "unixgram:PATH[?record=flat|xtcp|…]",
        "datagrams to a socket of this host",
        {
            "record": "flat (default), xtcp2-1, xtcp2-2: numbered envelopes; xtcp: one bare record a datagram",
            **_FILLED,
            "mtu": "bytes that a datagram has at most; a row that is larger is dropped (default 65507)",
        },
        "xtcp.sinks.network.unix:gram",
        far=True,
    ),
    "statsd": Scheme(
        "statsd:[HOST:PORT]",
        "xTCP's gauges of each poll, to 127.0.0.1:8125 where nothing else is said",
        {
            "prefix": "text before every name; {hostname} in it is the poll's",
            "frequency": "the interval of polls; longer than 80 % of it is a long one (default 30s)",
        },
        "xtcp.sinks.network.statsd:prepare",
        far=True,
    ),
    "parquet": Scheme(
        "parquet:DIR|s3://BUCKET/PREFIX",
        "Parquet files by host, date and hour, each of them whole",
        {**_DATASET, **_S3, "compression-level": "of zstd (default 1)"},
        "xtcp.sinks.folders.dataset:parquet",
        far=True,
    ),
    "lines": Scheme(
        "lines:DIR|s3://BUCKET/PREFIX",
        "JSON lines by host, date and hour, compressed with zstd, for want of Parquet",
        {**_DATASET, **_S3, "compression-level": "of zstd, or gzip where that is missing (default 1)"},
        "xtcp.sinks.folders.dataset:lines",
        far=True,
    ),
    "store": Scheme(
        "store:[DIR]",
        "what xtcp query reads: the same, in the state directory where no other is named",
        {
            "rotate": "age at which a file ends with a poll, and can be read (default 5m)",
            "rotate-bytes": "size at which it does (default 128M)",
            "keep-age": "how long files are kept (default 7d)",
            "keep-bytes": "how large all files may be together; the oldest go (default 2G)",
            "compression-level": "1 to 9 (default 1)",
        },
        "xtcp.store.embedded:prepare",
        far=True,
    ),
    "kafka": Scheme(
        "kafka:BROKER[:PORT][,…]/TOPIC",
        "a Kafka topic; librdkafka's own options go to it (linger.ms=50, sasl.username=…)",
        {
            "record": "flat, xtcp, xtcp2-1 or xtcp2-2 (default flat)",
            **_FILLED,
            "sasl.password.file": "its first line is the password; the same for every other password and secret",
        },
        "xtcp.sinks.kafka.opening:prepare",
        far=True,
        passed_on=r"[a-z0-9]+(\.[a-z0-9_]+)+|acks|debug|partitioner|retries",
    ),
    "clickhouse": Scheme(
        "clickhouse:http[s]://HOST[:PORT]/DATABASE.TABLE",
        "a ClickHouse table, whose DDL `xtcp schema clickhouse` prints; its settings go to it (async_insert=1)",
        {
            "user": "who inserts",
            "password": "of that user; in a file it stands on no command line",
            "password.file": "a file whose first line is the password",
            "ca.file": "certificates to believe, where not the system's",
            "polls": "a table for the polls' trailers",
            "compression": "of what is sent: zstd (default, where it is installed), gzip or none",
            "timeout": "of one insert (default 10s)",
            "keep-trying": "how long an insert is asked for again before its rows are dropped (default 5m)",
        },
        "xtcp.sinks.clickhouse.opening:prepare",
        far=True,
        passed_on=r"[a-z][a-z0-9]*(_[a-z0-9]+)+",  # ClickHouse's settings
    ),
    "null": Scheme("null:", "nowhere: all is read, decoded and counted", {}, "xtcp.sinks.null:prepare"),
}


def overview() -> str:
    """The table, for `--help`."""
    width = max(len(scheme.form) for scheme in SCHEMES.values())
    return "".join(f"  {scheme.form:<{width}}  {scheme.meaning}\n" for scheme in SCHEMES.values())
