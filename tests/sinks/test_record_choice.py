"""What whoever runs the agent writes into others' records: tag, label, location; and what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.batches import batch_of
from xtcp.chunk import Context
from xtcp.errors import UsageError
from xtcp.ledger import Ledger
from xtcp.records import varints
from xtcp.records.descriptor import message_classes
from xtcp.records.layouts import LAYOUTS
from xtcp.sinks.destination import parse
from xtcp.sinks.kafka.target import target
from xtcp.sinks.record_choice import RecordChoice, record_choice


def test_xtcp_records_bear_the_tag(tmp_path: Path) -> None:
    """Each of them, as google.protobuf reads it."""
    path = tmp_path / "rows"
    ledger = Ledger()
    sink = parse(f"file:{path}?record=xtcp&tag=canary%26west").open(ledger.open("file"))
    sink.accept(batch_of([{"idiag_cookie": 1}, {"idiag_cookie": 2}], Context(hostname="edge-1")))
    sink.close()
    data, tags = path.read_bytes(), []
    while data:
        length = data[0]
        assert varints.varint(length) == data[:1]
        record = message_classes(LAYOUTS["xtcp"])["xtcp_record"]()
        record.ParseFromString(data[1 : 1 + length])
        tags.append(record.tag)
        data = data[1 + length :]
    assert tags == ["canary&west"] * 2


def test_envelopes_of_xtcp2_bear_all_three() -> None:
    """On every way to them."""
    constants = {"tag": "t", "label": "l", "location": "ams"}
    options = "&".join(f"{name}={value}" for name, value in constants.items())
    chosen = record_choice(parse(f"udp:?record=xtcp2-2&{options}"))
    assert chosen == RecordChoice("xtcp2-2", constants)
    assert target(parse(f"kafka:b/t?record=xtcp2-2&{options}&linger.ms=5")).records == chosen
    assert "tag" not in target(parse(f"kafka:b/t?record=xtcp2-2&{options}")).config()
    (packet,) = chosen.envelopes(1432).cut(batch_of([{"idiag_cookie": 1}]))
    envelope = message_classes(LAYOUTS["xtcp2-2"])["Envelope"]()
    envelope.ParseFromString(packet.data[1:])
    assert [(row.tag, row.label, row.location) for row in envelope.row] == [("t", "l", "ams")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("udp:?record=flat&tag=x", "records of flat have no tag"),
        ("udp:?label=x", "records of xtcp have no label"),
        ("kafka:b/t?tag=x", "records of flat have no tag"),
        ("file:rows.json?format=json&tag=x", "tag has no meaning with format=json"),
        ("udp:?record=xtpc", "Did you mean xtcp"),
    ],
)
def test_refused(text: str, says: str) -> None:
    """What was wrong."""
    with pytest.raises(UsageError) as raised:
        parse(text)
    assert says in str(raised.value)
