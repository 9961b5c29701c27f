"""proto/: what is committed is what the tables give; what protoc makes of it is what runs; tags never change."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, json_format

from tests.batches import batch_of
from tests.conftest import ROOT, require_program
from tests.patience import patient
from tests.rows import rows_of
from xtcp.chunk import Context
from xtcp.poll.trailer import Trailer
from xtcp.records.descriptor import file_descriptor, message_classes
from xtcp.records.envelope_messages import HEADER, TRAILER, messages_of
from xtcp.records.layouts import LAYOUTS
from xtcp.records.model import EnvelopeForm, Layout, Message, RecordField
from xtcp.records.texts import render
from xtcp.records.texts.proto_text import proto_text, type_name
from xtcp.schema.columns import BY_NAME, COLUMNS, CONTEXT_NAMES
from xtcp.schema.model import STRING
from xtcp.schema.tags import HIGHEST_TAG, TAGS, faults_of, locked

PROTO = ROOT / "proto"


@pytest.mark.parametrize("name", sorted(render.files()))
def test_committed_files_are_what_the_tables_give(name: str) -> None:
    """`make columns` would change nothing."""
    assert (PROTO / name).read_text() == render.files()[name], f"proto/{name} differs: run make columns"


def compiled(layout: Layout, folder: Path) -> Any:
    """What protoc makes of a layout's .proto."""
    (folder / "one.proto").write_text(proto_text(layout))
    program = require_program("protoc", "protobuf-compiler")
    subprocess.run([program, f"-I{folder}", f"-o{folder}/one.pb", "one.proto"], check=True, timeout=patient(60))
    files = descriptor_pb2.FileDescriptorSet.FromString((folder / "one.pb").read_bytes())
    return files.file[0]


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_protoc_makes_of_the_text_what_the_run_time_makes_of_the_table(name: str, tmp_path: Path) -> None:
    """Messages, fields, numbers, types, labels, enums and names in JSON, whatever their order."""
    ours, theirs = file_descriptor(LAYOUTS[name]), compiled(LAYOUTS[name], tmp_path)
    assert (ours.package, ours.syntax) == (theirs.package, theirs.syntax)
    messages = (
        {message.name: json_format.MessageToDict(message) for message in file.message_type} for file in (ours, theirs)
    )
    first, second = messages
    assert first == second


def test_a_class_is_made_once() -> None:
    """Objects of two calls may meet in one message."""
    assert message_classes(LAYOUTS["flat"])["Record"] is message_classes(LAYOUTS["flat"])["Record"]


# --- the layouts ---


# SHA-256 of the lines "message number name type" of the originals, sorted: xtcppb.proto of Edgio/xtcp (2036b99), as
# protoc reads it; xtcp_flat_record.proto of randomizedcoder/xtcp2, at 32a4fed and of epoch 2.
ORIGINALS = {
    "xtcp": (108, 98, "85a6ea8588393730d894201ab1c3085f03db549c162895b8b968f21038d9d04e"),
    "xtcp2-1": (156, 113, "771a24e8f04b8ea662260ea73c65c9d69530830b2cf893f77562df2b34c50c35"),
    "xtcp2-2": (172, 124, "a8ba03023fe227d789492174388abb0d61407c1eb5f815df30d996497c38d3b5"),
}


@pytest.mark.parametrize("name", list(ORIGINALS))
def test_foreign_layouts_are_the_originals(name: str) -> None:
    """Every field under its number, name and type; as many filled as this agent can, and no column twice."""
    count, filled, digest = ORIGINALS[name]
    layout = LAYOUTS[name]
    lines = sorted(
        f"{message.name} {field.number} {field.name} {type_name(field)}"
        for message in messages_of(layout)
        if message.name != "Envelope"
        for field in message.fields
    )
    assert len(lines) == count
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == digest
    columns = [(field.column, field.derivation) for field in layout.record.scalars() if field.column]
    assert len(columns) == len(set(columns)) == filled
    assert {column for column, _ in columns} <= BY_NAME.keys()


def test_a_column_has_one_name_everywhere() -> None:
    """Flat record, ClickHouse and JSON have the same names, those of the table; Arrow: tests/store/test_arrow.py."""
    names = sorted(column.name for column in COLUMNS)
    flat = [field.name for field in LAYOUTS["flat"].record.scalars()]
    table = (PROTO / "clickhouse.sql").read_text().split("ENGINE")[0]
    stored = [line.split("`")[1] for line in table.splitlines() if line.startswith("    `") and " ALIAS " not in line]
    cells = {name: bytes(16) if BY_NAME[name].kind.column in ("object", "(16,)u1", "S16") else 1 for name in names}
    given: dict[str, Any] = {name: "x" if BY_NAME[name].kind is STRING else 1 for name in CONTEXT_NAMES}
    (row,) = rows_of([batch_of([{n: v for n, v in cells.items() if n not in CONTEXT_NAMES}], Context(**given))])
    assert sorted(flat) == sorted(stored) == sorted(row) == names


def test_a_trailer_has_a_field_for_all_that_it_says() -> None:
    """The same names as the dataclass, neither more nor less."""
    assert {field.name for field in TRAILER.fields} == {field.name for field in fields(Trailer)}


@pytest.mark.parametrize("message", [HEADER, TRAILER], ids=lambda message: message.name)
def test_header_and_trailer_share_a_number_with_a_column_only_where_they_mean_it(message: Message) -> None:
    """ClickHouse reads them as records."""
    record = {field.number: field for field in LAYOUTS["flat"].record.scalars()}
    for field in message.fields:
        if field.number in record:
            assert isinstance(field, RecordField)
            assert (record[field.number].name, record[field.number].type) == (field.name, field.type)
        else:
            assert field.number > HIGHEST_TAG


def test_fields_out_of_order_are_refused() -> None:
    """The encoder writes them as they stand."""
    with pytest.raises(ValueError, match="ascending"):
        Message("One", (RecordField(2, "b", "uint32"), RecordField(1, "a", "uint32")))


def test_messages_stand_before_those_that_hold_them() -> None:
    """A record without an envelope is the last itself."""
    assert [message.name for message in messages_of(LAYOUTS["xtcp2-2"])] == ["XtcpFlatRecord", "Envelope"]
    assert messages_of(LAYOUTS["xtcp"])[-1].name == "xtcp_record"
    assert LAYOUTS["xtcp2-1"].envelope == EnvelopeForm("Envelope", record=10, record_name="row")


# --- tags ---


def test_fault_95_tags_are_as_they_were() -> None:
    """Nothing in the lock has changed, gone, or been used again; every column has one."""
    assert faults_of(TAGS, locked((PROTO / "tags.lock").read_text()), BY_NAME) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tcpi_rtt": None}, ["Column tcpi_rtt has no tag", "next free number", "make columns", "is gone"]),
        ({"tcpi_rtt": 1700}, ["has become 1700", "permanent"]),
        ({"fresh": TAGS["tcpi_rtt"]}, ["given twice"]),
        ({"fresh": 1801}, ["1801 of fresh"]),
    ],
)
def test_fault_95_what_would_break_readers_is_found(
    change: dict[str, int | None],
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`make columns` says of each fault what to do, and leaves the lock as it is."""
    lock = (PROTO / "tags.lock").read_text()
    (tmp_path / "tags.lock").write_text(lock)
    tags = {name: number for name, number in {**TAGS, **change}.items() if number is not None}
    monkeypatch.setattr(render, "PROTO", tmp_path)
    monkeypatch.setattr(render, "TAGS", tags)
    with pytest.raises(SystemExit):
        render.main(["--write"])
    text = capsys.readouterr().err
    for word in words:
        assert word in text
    assert (tmp_path / "tags.lock").read_text() == lock


def test_make_columns_writes_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A second run finds nothing that differs."""
    monkeypatch.setattr(render, "PROTO", tmp_path)
    assert render.main([]) == 1
    assert render.main(["--write"]) == 0
    assert render.main([]) == 0
    assert {path.name for path in tmp_path.iterdir()} == set(render.files())
