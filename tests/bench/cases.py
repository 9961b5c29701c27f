"""What is measured: the table of all cases, in the order in which reports show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MANY: Final = 20_000
TOPIC: Final = "farm"


@dataclass(frozen=True)
class Case:
    """`title` is what reports say. `inside` cases run in one process that is there already, their start not counted;
    the others are processes of their own. `most_rounds` bounds the rounds of a slow one above `MANY` sockets.
    """

    name: str
    title: str
    inside: bool = True
    most_rounds: int | None = None


FLOOR: Final = "floor"
POLL: Final = "poll"
REPLAY: Final = "replay"
REPLAYED: Final = "replay-decode"
ENVELOPES: Final = "to-envelopes"
ENCODE: Final = "encode-flat"
OBJECTS: Final = "encode-objects"
AGENT: Final = "agent"

CASES: Final = (
    Case(FLOOR, "kernel floor: two v2 dumps, thrown away"),
    Case("one-pass", "one pass of the older request, thrown away"),
    Case(POLL, "poll: dump and decode to columns"),
    Case("poll-serial", "poll without the reader thread"),
    Case("poll-lockstep", "poll without templates"),
    Case("decode", "decode alone, of a dump in memory"),
    Case(REPLAYED, "decode alone, of the pcap's chunks in memory"),
    Case(REPLAY, "replay: pcap to columns"),
    Case("health", "TCP health of columns in memory, of a host at rest"),
    Case("to-null", "agent's poll, thrown away behind its queue"),
    Case(ENVELOPES, "agent's poll, flat envelopes to a file"),
    Case("to-parquet", "agent's poll to Parquet"),
    Case("to-kafka", "agent's poll to a real Kafka broker"),
    Case(ENCODE, "flat records of columns in memory"),
    Case("encode-xtcp", "xtcp records of columns in memory"),
    Case(OBJECTS, "the flat records by google.protobuf objects", most_rounds=1),
    Case("help", "xtcp --help", inside=False),
    Case("null", "xtcp once --format null", inside=False),
    Case("json", "xtcp once --format json -o FILE", inside=False),
    Case(AGENT, "xtcp run, three polls into envelopes", inside=False),
    Case("ss", "ss -tinmaOH >FILE", inside=False),
    Case("tshark", "tshark, one field of the same pcap", inside=False, most_rounds=3),
    Case("pyroute2", "pyroute2: the same poll, as Python objects", inside=False, most_rounds=1),
)

BY_NAME: Final = {case.name: case for case in CASES}
