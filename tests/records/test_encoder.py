"""The encoder gives google.protobuf's bytes: on what a kernel could send, on captures, and at the edges of numbers."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.batches import Row, batch_of
from tests.dumps import Plan
from tests.patience import fewer
from tests.protobuf_objects import messages_of
from tests.strategies import orders, plans
from tests.zoos import ORIGINALS
from xtcp.batch import Batch
from xtcp.chunk import Context
from xtcp.decode.decoder import Decoder
from xtcp.records import varints
from xtcp.records.descriptor import message_classes
from xtcp.records.encoder import BLOCK_ROWS, RecordEncoder
from xtcp.records.layouts import LAYOUTS
from xtcp.records.model import LONGEST_TEXT
from xtcp.schema.columns import COLUMNS
from xtcp.schema.layout import column_dtype
from xtcp.schema.model import ADDRESS, BLOB, STRING, TEXT, Order
from xtcp_replay.reading.opening import open_source

LAYOUT_NAMES = tuple(LAYOUTS)
HOST = Context(timestamp_ns=1_700_000_000_123_456_789, hostname="edge-1", netns="4026531840", poll_id=17)
CONSTANTS = {"tag": "canary", "label": "x" * 300, "location": "ams"}
layouts = st.sampled_from(LAYOUT_NAMES)
MANY_EXAMPLES = settings.default.max_examples * 3  # type: ignore[union-attr]


def assert_same(batch: Batch, name: str, constants: dict[str, int | str] | None = None) -> None:
    """Every row's record is what google.protobuf makes of the row; records and rows cover each other."""
    layout = LAYOUTS[name]
    encoded = RecordEncoder(layout, constants).encode(batch)
    assert sorted(encoded.rows.tolist()) == list(range(batch.rows))
    data = encoded.data.tobytes()
    counters = {int(row): count for count, row in enumerate(encoded.rows.tolist(), 1)}
    expected = {}
    for row in range(batch.rows):
        (message,) = messages_of(batch.take(np.array([row])), layout, constants, counters[row])
        expected[row] = message.SerializeToString(deterministic=True)
    for row, start, end in zip(encoded.rows.tolist(), encoded.starts.tolist(), encoded.ends.tolist(), strict=True):
        assert data[start:end].hex() == expected[row].hex(), f"row {row} of {name}"


@given(plan=plans(control=False, most=24), order=orders, name=layouts)
def test_what_a_kernel_could_send(plan: Plan, order: Order, name: str) -> None:
    """Dumps of any layout of either byte order, all attributes, decoded as ever."""
    batch = Decoder().decode(plan.build(order).chunk())
    assert_same(replace(batch, context=replace(HOST, order=order)), name, dict(CONSTANTS))


EDGES = sorted({0, 1, *(2**bits + step for bits in range(7, 65, 7) for step in (-1, 0)), 2**32 - 1, 2**63, 2**64 - 1})
SPARSE = [column for column in COLUMNS if column.attribute is not None or column.source != "xtcp"]


@settings(max_examples=MANY_EXAMPLES)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 60), name=layouts, common=st.booleans())
@example(seed=0, rows=1, name="flat", common=False)
def test_any_values(seed: int, rows: int, name: str, *, common: bool) -> None:
    """Rows with any columns, values at the edges where a varint grows, texts and bytes of any length and content."""
    random = Random(seed)
    kept = random.sample(SPARSE, random.randint(1, len(SPARSE)))
    made: list[Row] = []
    for _ in range(rows):
        present = kept if common else random.sample(kept, random.randint(0, len(kept)))
        made.append({column.name: value_of(random, column.name) for column in present})
    context = random.choice((HOST, Context(), replace(HOST, hostname="\udcff ü" * 90, weight=4000)))
    assert_same(batch_of(made, context), name, dict(CONSTANTS))


def value_of(random: Random, name: str) -> int | bytes:
    """A value that the column can have, more often one at an edge."""
    kind = next(column.kind for column in COLUMNS if column.name == name)
    if kind is ADDRESS:
        return random.choice((bytes(16), random.randbytes(16)))
    if kind in (BLOB, STRING):
        return random.choice((b"", random.randbytes(random.choice((1, 3, 8, 70, 400)))))
    if kind is TEXT:
        return random.choice((b"", b"cubic", b"bbr", b"\xff\xfe", b"sixteen_letters_"[: random.randint(1, 16)]))
    if name == "idiag_family":
        return random.choice((2, 10, 0))
    dtype: np.dtype[Any] = column_dtype(name)
    most = int(np.iinfo(dtype).max)
    value = random.choice(EDGES) if random.random() < 0.7 else random.getrandbits(random.randint(0, 64))
    if dtype.kind == "i" and random.random() < 0.3:
        return -(value & most) - 1
    return value & most


@pytest.mark.parametrize("name", LAYOUT_NAMES)
@pytest.mark.parametrize("capture", ORIGINALS, ids=lambda path: path.parent.name)
def test_captures(capture: Path, name: str) -> None:
    """One of everything, from kernels of both byte orders; on a slow machine some of them."""
    decoder = Decoder()
    for chunk in open_source(str(capture)).chunks():
        batch = decoder.decode(chunk)
        some = np.linspace(0, batch.rows, fewer(batch.rows), endpoint=False)[: batch.rows]
        assert_same(batch.take(some.astype(np.intp)), name)


@pytest.mark.external
@pytest.mark.parametrize("name", LAYOUT_NAMES)
def test_captures_of_others(captures: Path, name: str) -> None:
    """Forty rows of each chunk of all captures that others made, 4.19 to 7.0.3, and of a big-endian host."""
    decoder, files = Decoder(), 0
    for path in sorted(captures.glob("*/*.pcap*")):
        for chunk in open_source(str(path)).chunks():
            batch = decoder.decode(chunk)
            if batch.rows:
                assert_same(batch.take(np.arange(min(batch.rows, 40))), name)
                files += chunk.context.dump == 1
    assert files > 20


def test_records_shorter_than_a_word() -> None:
    """What a word writes beyond a short record is written over: records of 0, 2 and 3 bytes one behind the other."""
    rows: list[Row] = [{"tos": value} for value in (0, 5, 200, 0, 0, 7, 255, 1)]
    assert_same(batch_of(rows * 40), "flat")
    assert_same(batch_of([{} for _ in range(9)]), "flat")


def test_more_rows_than_a_block() -> None:
    """Blocks follow each other without a seam, and an encoder that is used again begins anew."""
    random = Random(1)
    names = ("idiag_cookie", "tcpi_rtt", "idiag_sport", "cong")
    rows: list[Row] = [{name: value_of(random, name) for name in names} for _ in range(BLOCK_ROWS + 3)]
    batch = batch_of(rows, HOST)
    encoder = RecordEncoder(LAYOUTS["flat"])
    first = encoder.encode(batch)
    records = [first.data[start:end].tobytes() for start, end in zip(first.starts, first.ends, strict=True)]
    expected = [message.SerializeToString(deterministic=True) for message in messages_of(batch, LAYOUTS["flat"])]
    assert [record.hex() for record in records] == [expected[row].hex() for row in first.rows]
    second = encoder.encode(batch_of(rows[:5], HOST))
    assert [second.data[a:b].tobytes() for a, b in zip(second.starts, second.ends, strict=True)] == expected[:5]


def test_frames() -> None:
    """Framed records are those of the plain encoder, each behind its tag and length, or behind its length alone."""
    batch = batch_of([{"idiag_cookie": 1 << shift, "tcpi_rtt": shift} for shift in range(64)], HOST)
    plain = RecordEncoder(LAYOUTS["flat"]).encode(batch)
    records = [plain.data[a:b].tobytes() for a, b in zip(plain.starts, plain.ends, strict=True)]
    for encoder, tag in (
        (RecordEncoder(LAYOUTS["flat"], frame=1), b"\x0a"),
        (RecordEncoder(LAYOUTS["flat"], delimited=True), b""),
    ):
        framed = encoder.encode(batch)
        assert framed.data.tobytes() == b"".join(tag + varints.varint(len(r)) + r for r in records)
        assert [framed.data[a:b].tobytes() for a, b in zip(framed.starts, framed.ends, strict=True)] == records
        assert framed.begins[1:].tolist() == framed.ends[:-1].tolist()


def test_a_batch_without_rows() -> None:
    """Nothing."""
    encoded = RecordEncoder(LAYOUTS["xtcp"]).encode(batch_of([]))
    assert len(encoded.data) == len(encoded.ends) == len(encoded.rows) == 0


def test_words_do_not_depend_on_the_hosts_order() -> None:
    """The scatter's view names its byte order: the only place where a word becomes bytes."""
    assert sys.byteorder in {"little", "big"}
    batch = batch_of([{"tcpi_rtt": 300}, {"tcpi_rtt": 1}])
    (first, second) = messages_of(batch, LAYOUTS["flat"])
    encoded = RecordEncoder(LAYOUTS["flat"]).encode(batch)
    assert encoded.data.tobytes() == first.SerializeToString() + second.SerializeToString()


@pytest.mark.parametrize("masks", [8, 9, 16, 40, 64, 65])
def test_patterns_of_many_masks(masks: int) -> None:
    """Rows that differ in one column alone are never taken for one pattern, however many come and go."""
    names = [column.name for column in SPARSE if column_dtype(column.name).kind == "u" and column.kind is not ADDRESS]
    names = names[:masks]
    rows: list[Row] = [{name: 44 for name in names if name != left_out} for left_out in (*names, "")]
    rows += [{name: 7} for name in names]
    assert_same(batch_of(rows * 2, HOST), "flat")


@pytest.mark.parametrize("distinct", [1, 2, 15, 16, 17, 40])
def test_many_texts(distinct: int) -> None:
    """As many as are looked for one by one, and more, some of them parts of others."""
    texts = [b"c" * (number % distinct % 12) + b"x%d" % (number % distinct) for number in range(100)]
    for name in ("flat", "xtcp"):
        assert_same(batch_of([{"cong": text} for text in texts], HOST), name)


@pytest.mark.parametrize("text", ["é" * 200, "x" + "é" * 200, "\U0001f600" * 99, "\udcff" * 99, "a\0b"])
def test_long_texts_are_cut_between_characters(text: str) -> None:
    """At most 255 bytes, and what is left is UTF-8, or google.protobuf would not read it."""
    encoded = RecordEncoder(LAYOUTS["xtcp2-2"], {"label": text}).encode(batch_of([{"idiag_sport": 1}]))
    label = message_classes(LAYOUTS["xtcp2-2"])["XtcpFlatRecord"].FromString(encoded.data.tobytes()).label
    assert 0 < len(label.encode()) <= LONGEST_TEXT
    clean = text.replace("\udcff", "\N{REPLACEMENT CHARACTER}")
    assert clean.startswith(label)
    assert label == clean or len((label + clean[len(label)]).encode()) > LONGEST_TEXT
