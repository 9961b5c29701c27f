"""Arrow, Parquet and compressed lines have the same columns and the same values as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.batches import Row, batch_of
from tests.libraries import library
from tests.store.made import CAPTURES, as_stored, captured, context, lines_of, present, selected, trailer
from tests.strategies import orders, plans
from xtcp.batch import Batch
from xtcp.chunk import Context
from xtcp.decode.decoder import Decoder
from xtcp.encode.arrow import address_cells, arrow_type, plain_schema, poll_batch, poll_schema, record_batch, schema
from xtcp.encode.cells import address_text, clean_text
from xtcp.errors import ConfigurationError
from xtcp.ledger import Account
from xtcp.schema.columns import BY_NAME, COLUMNS
from xtcp.sinks.destination import parse
from xtcp.sinks.files.arrow_stream import ArrowForm

IDS = [str(path.relative_to(path.parents[2])) for path in CAPTURES]


def rows_in(batch: Batch) -> list[dict[str, Any]]:
    """The rows of the record batch, without what is null, after Arrow's own check of every buffer."""
    made = record_batch(batch)
    made.validate(full=True)
    return present(made.to_pylist())


@pytest.mark.parametrize("capture", CAPTURES, ids=IDS)
def test_values_are_those_of_json(capture: Path) -> None:
    """Every row of every capture."""
    for batch in captured(capture):
        assert rows_in(batch) == as_stored([batch])


@given(plan=plans(), order=orders)
def test_values_of_any_dump(plan: Any, order: Any) -> None:
    """Whatever the kernel can send: odd lengths, unknown attributes, texts that are not UTF-8."""
    batch = Decoder().decode(plan.build(order).chunk())
    assert rows_in(batch) == as_stored([batch])


@pytest.mark.parametrize("scheme", ["parquet", "lines"])
@pytest.mark.parametrize("capture", CAPTURES, ids=IDS)
def test_files_have_the_values_of_json(capture: Path, scheme: str, tmp_path: Path) -> None:
    """Written by the sink, read by another program: DuckDB, or zstandard and json."""
    batches = captured(capture)
    account = Account(scheme)
    sink = parse(f"{scheme}:{tmp_path}").maker()(account)
    for batch in batches:
        sink.accept(batch)
    sink.close()
    expected = as_stored(batches)
    assert account.balance().accepted == len(expected)
    if scheme == "lines":
        assert [as_text(row) for row in lines_of(tmp_path)] == expected
        return
    assert (
        present(selected(f"FROM read_parquet('{tmp_path}/sockets/*/*/*/*.parquet', hive_partitioning = false)"))
        == expected
    )


def as_text(row: dict[str, Any]) -> dict[str, Any]:
    """Lists as their JSON."""
    return {n: json.dumps(v, separators=(",", ":")) if isinstance(v, list) else v for n, v in row.items()}


@pytest.mark.clickhouse
def test_clickhouse_reads_parquet(tmp_path: Path) -> None:
    """Split bytes, dictionaries, nulls and all."""
    chdb = library("chdb")
    capture = CAPTURES[0]
    batches = captured(capture)
    sink = parse(f"parquet:{tmp_path}").maker()(Account("parquet"))
    for batch in batches:
        sink.accept(batch)
    sink.close()
    names = [c.name for c in COLUMNS]
    text = str(
        chdb.query(
            f"SELECT {', '.join(names)} FROM file('{tmp_path}/sockets/*/*/*/*.parquet', Parquet) "
            "SETTINGS output_format_json_quote_64bit_integers = 0",
            "JSONEachRow",
        )
    )
    assert present(map(json.loads, text.splitlines())) == as_stored(batches)


def test_a_stream_is_read_by_arrow() -> None:
    """The schema first, batches with dictionaries of their own, an end."""
    batches = [*captured(CAPTURES[0]), batch_of([{"cong": b"bbr"}, {"cong": b"reno"}], context())]
    form = ArrowForm()
    data = form.begin() + b"".join(piece for b in batches for piece in form.rows(b)) + form.end()
    reader = pa.ipc.open_stream(data)
    assert reader.schema.equals(schema(), check_metadata=True)
    assert present(row for made in reader for row in made.to_pylist()) == as_stored(batches)
    # A batch that was cut out again takes nothing away from the next.
    pieces = [b"".join(form.rows(b)) for b in batches]
    rest = pa.ipc.open_stream(form.begin() + pieces[-1] + form.end()).read_all()
    assert present(rest.to_pylist()) == as_stored(batches[-1:])


def test_columns_are_those_of_the_schema() -> None:
    """All of them, always, in order; what they mean travels with them."""
    assert schema().names == plain_schema().names == [c.name for c in COLUMNS]
    field = schema().field("tcpi_rtt")
    assert field.metadata[b"unit"] == b"us" and field.metadata[b"source"] == b"include/uapi/linux/tcp.h"
    assert plain_schema().field("tcpi_rtt").metadata is None
    assert rows_in(batch_of([], context())) == []
    blank = record_batch(batch_of([{}], Context()))
    assert blank.num_columns == len(COLUMNS) and present(blank.to_pylist()) == [{}]


def test_numbers_are_not_copied() -> None:
    """The array of the record batch lies where the batch's does."""
    batch = batch_of([{"tcpi_rtt": 1}, {"tcpi_rtt": 2}])
    made = record_batch(batch)
    buffer = made.column(made.schema.get_field_index("tcpi_rtt")).buffers()[1]
    assert buffer.address == batch.columns["tcpi_rtt"].__array_interface__["data"][0]


def test_odd_values() -> None:
    """A state that no kernel has, texts and names that are not text, more texts than few, a time beyond 2262."""
    rows: list[Row] = [{"idiag_state": 200, "cong": f"c{n}".encode()} for n in range(20)]
    rows += [{"cong": b"\xff\xfe"}]
    batch = batch_of(rows, Context(hostname="a\udc80\0\x1b", netns="\u202e'; DROP", timestamp_ns=2**63))
    expected = as_stored([batch])
    for row in expected:
        del row["timestamp_ns"]
    assert rows_in(batch) == expected
    assert expected[0]["idiag_state"] == "UNKNOWN(200)"


@given(data=st.data())
def test_addresses(data: st.DataObject) -> None:
    """Any family and bytes, v4-mapped ones among them: the text of `cells`."""
    mapped = st.binary(min_size=4, max_size=4).map(lambda tail: bytes(10) + b"\xff\xff" + tail)
    some = st.tuples(st.sampled_from([2, 10, 10, 0]), mapped | st.binary(min_size=16, max_size=16))
    drawn = data.draw(st.lists(some, max_size=20))
    families = np.array([family for family, _ in drawn], np.uint8)
    raw = np.frombuffer(b"".join(address for _, address in drawn), np.uint8).reshape(-1, 16)
    cells: NDArray[np.uint8] = address_cells(families, raw)
    texts = [bytes(row[row != 0]).decode() for row in cells]
    assert texts == [address_text(family, address) for family, address in drawn]


def test_pandas_is_not_loaded(tmp_path: Path) -> None:
    """pyarrow would take it along where it is installed: half a second, and 40 MB."""
    code = (
        "import sys; from tests.store.made import *; from xtcp.ledger import Account; "
        "from xtcp.sinks.destination import parse\n"
        f"sink = parse('parquet:{tmp_path}').maker()(Account('x'))\n"
        "for b in captured(CAPTURES[0]): sink.accept(b)\n"
        "sink.end_poll(trailer()); sink.close(); assert sink.error is None; assert 'pandas' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_polls(tmp_path: Path) -> None:
    """A row a trailer, with all its fields; flags are a list, counts a map."""
    one = trailer(host="a\udc80", flags=["error", "dropped"])
    pq.write_table(pa.Table.from_batches([poll_batch([one])]), tmp_path / "x.parquet")
    (found,) = selected(f"FROM '{tmp_path}/x.parquet'")
    assert list(found) == poll_schema().names
    assert found.pop("unknown") == {"99": 1} and found.pop("hostname") == clean_text(one.hostname)
    expected = {name: value for name, value in one.as_dict().items() if name not in {"unknown", "hostname"}}
    assert found == expected


def test_every_kind_has_a_type() -> None:
    """Numbers as wide as in the schema."""
    assert str(arrow_type(BY_NAME["idiag_sport"])) == "uint16"
    assert {str(arrow_type(c)) for c in COLUMNS} == {
        *("uint8", "uint16", "uint32", "uint64", "int64", "string"),
        "dictionary<values=string, indices=int32, ordered=0>",
    }


@pytest.mark.parametrize("destination", ["file:{}/rows.arrow", "file:{}/rows?format=arrow"])
def test_a_file(destination: str, tmp_path: Path) -> None:
    """By its ending or by the option."""
    account = Account("file")
    sink = parse(destination.format(tmp_path)).maker()(account)
    batches = captured(CAPTURES[0])
    for batch in batches:
        sink.accept(batch)
    sink.close()
    (path,) = tmp_path.iterdir()
    assert present(pa.ipc.open_stream(path.read_bytes()).read_all().to_pylist()) == as_stored(batches)
    assert account.balance().bytes <= path.stat().st_size


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence with the line that installs it."""
    users = ("xtcp.encode.arrow", "xtcp.sinks.folders.parquet", "xtcp.sinks.files.arrow")
    for name in [name for name in sys.modules if name.startswith(users)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for text in (f"parquet:{tmp_path}/p", f"file:{tmp_path}/x.arrow"):
        with pytest.raises(ConfigurationError, match="pyarrow") as told:
            parse(text).maker()(Account("x"))
        assert "pip install 'xtcp[arrow]'" in str(told.value)
