"""What stands in a topic, read back from a real broker by google.protobuf: every record, header and trailer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from confluent_kafka import Message

from tests.cli.running import xtcp_replay
from tests.kafka.broker import Broker
from tests.kafka.reading import read, unframed
from tests.kafka.standins import trailer
from tests.rows import decoded, rows_of
from tests.zoos import BIG
from xtcp.batch import Batch
from xtcp.ledger import Account
from xtcp.records.descriptor import message_classes
from xtcp.records.encoder import RecordEncoder
from xtcp.records.layouts import LAYOUTS
from xtcp.sinks.destination import parse
from xtcp_replay.reading.opening import open_source

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

ZOO = BIG


TEXTS = frozenset({"hostname", "netns", "cong", "ulp_name"})


def zoo() -> list[Batch]:
    """A capture's batches."""
    return list(decoded(open_source(str(ZOO)).chunks()))


def encoded(record: str, batches: Iterable[Batch]) -> list[bytes]:
    """The records of all rows, as the encoder alone makes them."""
    encoder = RecordEncoder(LAYOUTS[record])
    out: list[bytes] = []
    for batch in batches:
        made = encoder.encode(batch)
        data = made.data.tobytes()
        out += [data[start:end] for start, end in zip(made.starts.tolist(), made.ends.tolist(), strict=True)]
    return out


def envelopes(record: str, messages: Iterable[Message]) -> list[Any]:
    """The envelopes in messages."""
    envelope = message_classes(LAYOUTS[record])["Envelope"]
    return [envelope.FromString(unframed(message.value() or b"")) for message in messages]


def send(broker: Broker, topic: str, batches: Iterable[Batch], **options: str) -> Account:
    """Sends batches and a trailer; all must have arrived."""
    account = Account("kafka")
    text = "&".join(f"{name.replace('_', '.')}={value}" for name, value in options.items())
    sink = parse(f"kafka:{broker.address}/{topic}?{text}").open(account)
    rows = 0
    for batch in batches:
        sink.accept(batch)
        rows += batch.rows
    sink.end_poll(trailer("h", 7, rows))
    sink.close(30)
    balance = account.balance()
    assert balance.balanced and balance.accepted == rows and not balance.dropped, sink.error
    return account


@pytest.mark.parametrize("record", ["flat", "xtcp2-1", "xtcp2-2"])
def test_envelopes(broker: Broker, record: str) -> None:
    """All records, byte for byte; the key is the host's name; ours end with the trailer and are numbered from 0."""
    topic, batches = broker.create(f"records-{record}"), zoo()
    send(broker, topic, batches, record=record)
    messages = read(broker.address, topic)
    found = envelopes(record, messages)
    rows = [row for envelope in found for row in (envelope.record if record == "flat" else envelope.row)]
    assert [row.SerializeToString(deterministic=True) for row in rows] == encoded(record, batches)
    hosts = {(batch.context.hostname or "").encode() for batch in batches}
    assert {message.key() for message in messages if message.value() != messages[-1].value()} == hosts != {b""}
    assert dict(messages[0].headers() or ())["xtcp-record"] == record.encode()
    if record == "flat":
        assert [envelope.header.sequence for envelope in found] == list(range(len(found)))
        assert len({envelope.header.stream for envelope in found}) == 1
        assert [envelope.HasField("trailer") for envelope in found] == [False] * (len(found) - 1) + [True]
        assert (found[-1].trailer.hostname, found[-1].trailer.poll_id) == ("h", 7)


def test_values(broker: Broker) -> None:
    """Every number that JSON has of a row stands in its record under the same name, and texts too."""
    topic, batches = broker.create("records-values"), zoo()
    send(broker, topic, batches)
    found = {
        (row.dump, row.idiag_cookie): row
        for envelope in envelopes("flat", read(broker.address, topic))
        for row in envelope.record
    }
    rows = rows_of(batches)
    assert len(found) == len(rows) > 100
    for row in rows:
        record = found[row["dump"], row["idiag_cookie"]]
        plain = {name: value for name, value in row.items() if isinstance(value, int) or name in TEXTS}
        assert {name: getattr(record, name) for name in plain} == plain


def test_bare_records(broker: Broker) -> None:
    """One xtcp record a message, nothing before or behind it, as xTCP's forwarder writes them."""
    topic, batches = broker.create("records-xtcp"), zoo()
    send(broker, topic, batches, record="xtcp")
    values = [message.value() for message in read(broker.address, topic)]
    assert values == encoded("xtcp", batches)
    record = message_classes(LAYOUTS["xtcp"])["xtcp_record"]
    assert all(record.FromString(value).HasField("hostname") for value in values)


def test_fault_64_envelopes_in_halves(broker: Broker) -> None:
    """A topic that takes less: every record arrives once; a second half has no number; what follows is cut smaller."""
    topic, batches = broker.create("records-halves", max_message_bytes="30000"), zoo()
    send(broker, topic, [*batches, *batches], compression_type="none")
    messages = read(broker.address, topic)
    found = envelopes("flat", messages)
    rows = [row.SerializeToString(deterministic=True) for envelope in found for row in envelope.record]
    assert sorted(rows) == sorted([*encoded("flat", batches)] * 2)
    assert max(len(message.value() or b"") for message in messages) <= 30_000
    streams = [(envelope.header.stream, envelope.header.sequence) for envelope in found if envelope.HasField("header")]
    assert len(set(streams)) == len(streams) < len(found)


def test_a_capture_is_played_into_a_topic(broker: Broker) -> None:
    """`xtcp-replay send`: all records are there, and the command ends well."""
    topic = broker.create("played")
    done = xtcp_replay("send", ZOO, "--dest", f"kafka:{broker.address}/{topic}", "--speed", "max")
    assert done.returncode == 0, done.stderr
    found = envelopes("flat", read(broker.address, topic))
    rows = sum(batch.rows for batch in zoo())
    assert sum(len(envelope.record) for envelope in found) == rows
    assert f"{rows:,} accepted + 0 dropped + 0 in flight" in done.stderr.decode()
