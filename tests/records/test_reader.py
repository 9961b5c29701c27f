"""Records read back: what was sent is what is read, google.protobuf sees the same, and nothing hostile raises."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.batches import batch_of
from tests.dumps import Plan
from tests.equality import assert_sound
from tests.records.leniency import accepted
from tests.records.test_encoder import value_of
from tests.rows import rows_of
from tests.strategies import orders, plans
from tests.zoos import ORIGINALS, WITH_TWINS
from xtcp.batch import Batch
from xtcp.chunk import Context
from xtcp.decode.decoder import Decoder
from xtcp.records.encoder import RecordEncoder
from xtcp.records.layouts import LAYOUTS
from xtcp.records.model import Derivation, Layout, Nested
from xtcp.records.reading.epochs import EPOCHS, epochs
from xtcp.records.reading.plain import read_slots
from xtcp.records.reading.reader import BAD_ADDRESS, OUT_OF_RANGE, REASONS, RecordReader, Rows
from xtcp.records.reading.slots import WRONG_WIRE_TYPE, Slot, SlotReader
from xtcp.records.reading.varints import Varints
from xtcp.records.reading.walk import BYTES, FIXED32, FIXED64, GROUP, VARINT
from xtcp.schema.columns import COLUMNS, CONTEXT_NAMES
from xtcp.schema.model import Order
from xtcp_replay.reading.opening import open_source

NAMES = tuple(LAYOUTS)
HOST = Context(timestamp_ns=1_700_000_000_123_456_789, hostname="edge-1", netns="4026531840", poll_id=17)
# Zeros that xTCP does not send, and so are no zeros but absent.
XTCP_NOT_SENT = {"tos", "tclass", "shutdown", "class_id"}
OURS_TOO = {"attributes", "tcp_info_len"}


def read(layout: Layout, records: Sequence[bytes], **options: Any) -> Rows:
    """Records one behind the other."""
    lengths = np.array([len(one) for one in records], np.int64)
    ends = np.cumsum(lengths, dtype=np.int64)
    data = np.frombuffer(b"".join(records), np.uint8)
    return RecordReader(layout, **options).read(Varints(data), ends - lengths, ends)


def there_and_back(batch: Batch, layout: Layout) -> tuple[Batch, Batch]:
    """The rows as they were sent, and as they came back; one context."""
    encoded = RecordEncoder(layout).encode(batch)
    found = RecordReader(layout).read(Varints(encoded.data), encoded.starts, encoded.ends)
    assert (found.fault < 0).all(), [REASONS[fault] for fault in found.fault]
    assert not found.unknown
    (back,) = found.batches
    assert_sound(back)
    return batch.take(encoded.rows), back


def presence(batch: Batch, name: str) -> Any:
    """Which rows have a column."""
    if name not in batch.columns:
        return np.zeros(batch.rows, np.bool_)
    return batch.valid.get(name, np.ones(batch.rows, np.bool_))


def something(value: Any) -> bool:
    """Whether a number, or any of some bytes, is not zero."""
    return any(value) if isinstance(value, bytes | list) else bool(value)


def carried(layout: Layout) -> set[str]:
    """The columns of rows that a layout has a field for."""
    return {field.column for field in layout.record.scalars()} - CONTEXT_NAMES - {""}


def assert_same_values(sent: Batch, back: Batch, layout: Layout) -> None:
    """Every value that is not zero came; what came beside is zero."""
    for name in carried(layout) | (set(back.columns) - OURS_TOO):
        one, two = (batch.columns[name].tolist() if name in batch.columns else None for batch in (sent, back))
        a, b = presence(sent, name), presence(back, name)
        for row in np.flatnonzero(a | b).tolist():
            if name in {"cong", "ulp_name"} and one and not one[row].isascii():
                continue  # what is not UTF-8 is sent as what can be read
            if name in {"idiag_src", "idiag_dst"} and one and sent.columns["idiag_family"][row] == 2:
                one[row][4:] = (
                    two[row][4:] if two else []
                )  # an IPv4 address is four bytes; what the kernel has behind it
            before, after = one[row] if a[row] and one else 0, two[row] if b[row] and two else 0
            assert before == after or not (something(before) or something(after)), (name, row, before, after)


@pytest.mark.parametrize("capture", WITH_TWINS, ids=lambda path: "/".join(path.parts[-3:]))
def test_a_host_of_the_other_byte_order(capture: Path) -> None:
    """Its records, read here, give the rows that it sees itself: MD5 keys too, whose struct is sent as it came."""
    keys = 0
    for chunk in open_source(str(capture)).chunks():
        sent, back = there_and_back(Decoder().decode(chunk), LAYOUTS["flat"])
        ours, theirs = ({row["idiag_cookie"]: row.get("md5sig") for row in rows_of([each])} for each in (back, sent))
        assert ours == theirs
        keys += sum(found is not None for found in theirs.values())
    assert keys


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("capture", ORIGINALS, ids=lambda path: path.parent.name)
def test_captures_come_back(capture: Path, name: str) -> None:
    """Values of every layout; presence too, of ours all of it, of xTCP's all but the zeros that it does not send."""
    decoder, layout, rows = Decoder(), LAYOUTS[name], 0
    for chunk in open_source(str(capture)).chunks():
        batch = decoder.decode(chunk)
        if not batch.rows:
            continue
        sent, back = there_and_back(batch, layout)
        rows += back.rows
        assert back.context.timestamp_ns == batch.context.timestamp_ns
        assert back.context.hostname == batch.context.hostname
        assert_same_values(sent, back, layout)
        for column in carried(layout):
            a, b = presence(sent, column), presence(back, column)
            if name == "flat" or (name == "xtcp" and column not in XTCP_NOT_SENT):
                assert a.tolist() == b.tolist(), column
            else:
                assert not (b & ~a).any(), column  # nothing is said to be there that was not
    assert rows > 100


@given(plan=plans(control=False, most=24), order=orders, name=st.sampled_from(NAMES))
def test_what_a_kernel_could_send_comes_back(plan: Plan, order: Order, name: str) -> None:
    """Any attributes of any length, in either byte order."""
    batch = Decoder().decode(plan.build(order).chunk())
    if batch.rows:
        sent, back = there_and_back(batch, LAYOUTS[name])
        assert_same_values(sent, back, LAYOUTS[name])


@given(seed=st.integers(0, 2**32), name=st.sampled_from(NAMES))
def test_any_values_come_back(seed: int, name: str) -> None:
    """Values at the edges of varints, texts and bytes of any content; rows of every presence."""
    random = Random(seed)
    columns = [c.name for c in COLUMNS if c.attribute is not None or c.source != "xtcp"]
    kept = random.sample(columns, random.randint(1, len(columns)))
    rows: list[dict[str, int | bytes]] = []
    for _ in range(random.randint(1, 30)):
        row = {name: value_of(random, name) for name in random.sample(kept, random.randint(0, len(kept)))}
        row["idiag_family"] = row.get("idiag_family", 10)
        rows.append(row)
    sent, back = there_and_back(batch_of(rows, HOST), LAYOUTS[name])
    assert_same_values(sent, back, LAYOUTS[name])


def test_rows_of_several_hosts_are_several_batches() -> None:
    """Host, namespace, time and the address they came from tell contexts apart; the order within each is kept."""
    layout = LAYOUTS["flat"]
    contexts = [HOST, Context(timestamp_ns=1, hostname="b"), Context(timestamp_ns=2, hostname="b", weight=7)]
    records: list[bytes] = []
    for number, context in enumerate([contexts[n % 3] for n in range(12)]):
        encoded = RecordEncoder(layout).encode(batch_of([{"idiag_family": 2, "idiag_cookie": number}], context))
        records.append(encoded.data.tobytes())
    ends = np.cumsum([len(one) for one in records])
    starts = ends - [len(one) for one in records]
    varints = Varints(np.frombuffer(b"".join(records), np.uint8))
    source = np.array([0, 0, 1] + [0] * 9, np.int64)
    found = RecordReader(layout).read(varints, starts, ends, ["192.0.2.1", "2001:db8::1"], source).batches
    assert [(b.context.hostname, b.context.received_from, b.columns["idiag_cookie"].tolist()) for b in found] == [
        ("edge-1", "192.0.2.1", [0, 3, 6, 9]),
        ("b", "192.0.2.1", [1, 4, 7, 10]),
        ("b", "2001:db8::1", [2]),
        ("b", "192.0.2.1", [5, 8, 11]),
    ]
    assert found[3].context.weight == 7 and found[0].context.poll_id == 17


def test_a_relayed_row_keeps_its_first_address_only_where_none_is_known() -> None:
    """The address that a datagram came from stands above what is written in it."""
    encoded = RecordEncoder(LAYOUTS["flat"]).encode(batch_of([{"idiag_family": 2}], Context(received_from="192.0.2.9")))
    read_by = RecordReader(LAYOUTS["flat"]).read
    for source, told in (("", "192.0.2.9"), ("203.0.113.1", "203.0.113.1")):
        (batch,) = read_by(Varints(encoded.data), encoded.starts, encoded.ends, [source]).batches
        assert batch.context.received_from == told


@pytest.mark.parametrize(
    ("what", "record", "reason"),
    [
        ("a state of 256", "10 80 02", OUT_OF_RANGE),
        ("an address of 5 bytes", "3a 05 01 02 03 04 05", BAD_ADDRESS),
        ("a state as a text", "12 01 61", WRONG_WIRE_TYPE),
        ("an address as a number", "38 01", WRONG_WIRE_TYPE),
    ],
)
def test_values_that_no_column_has(what: str, record: str, reason: str) -> None:
    """The message is set aside; those beside it are not."""
    numbers = {"idiag_state": 2, "idiag_src": 7}
    tags = {f.column: f.number for f in LAYOUTS["flat"].record.scalars()}
    raw = bytes.fromhex(record)
    name = next(n for n, number in numbers.items() if raw[0] >> 3 == number)
    moved = bytes((tags[name] << 3 | raw[0] & 7,)) + raw[1:]
    good = bytes((tags["idiag_family"] << 3, 2))
    found = read(LAYOUTS["flat"], [good, moved, good])
    assert [REASONS[f] if f >= 0 else None for f in found.fault.tolist()] == [None, reason, None]
    assert found.batches[0].rows == 2


def test_xtcp2_of_every_epoch() -> None:
    """Field 1 is read first. The same fields by the numbers that each epoch has for them."""
    from xtcp.records.descriptor import message_classes

    values = {"inet_diag_msg_family": 10, "inet_diag_msg_socket_source_port": 443, "tcp_info_state": 1,
              "tcp_info_total_rto_time": 9, "bbr_info_bw_hi": 1, "bbr_info_bw_lo": 5, "mem_info_rmem": 7,
              "hostname": "h", "netns": "/run/netns/a", "timestamp_ns": 1_790_000_000_000_000_001}  # fmt: skip
    records = []
    for epoch, layout in enumerate(EPOCHS):
        record: Any = message_classes(layout)["XtcpFlatRecord"](**values)
        if epoch:
            record.schema_version = epoch
        records.append(record.SerializeToString())
    # Field 1 at the end, as no serializer has it; one that nobody knows.
    records += [records[2][2:] + records[2][:2], b"\x08\x03" + records[2][2:]]
    lengths = np.array([len(one) for one in records])
    ends = np.cumsum(lengths)
    told = epochs(Varints(np.frombuffer(b"".join(records), np.uint8)), ends - lengths, ends)
    assert told.tolist() == [0, 1, 2, 2, 3]
    for epoch, layout in enumerate(EPOCHS):
        (batch,) = read(layout, [records[epoch]]).batches
        cells = {name: column[0] for name, column in batch.columns.items()}
        assert (cells["idiag_sport"], cells["bbr_bw"], cells["idiag_rmem"]) == (443, (1 << 32) + 5, 7)
        assert cells["tcpi_total_rto_time"] == 9 and cells["tcpi_total_rto"] == 0
        assert "tcpi_received_ce" not in cells and cells["tcp_info_len"] == 248
        assert (batch.context.hostname, batch.context.netns) == ("h", "/run/netns/a")
        assert batch.context.timestamp_ns == values["timestamp_ns"]


def test_xtcp2_has_socket_options_in_one_number() -> None:
    """The bits of INET_DIAG_SOCKOPT's two bytes, as a little-endian kernel has them: recverr, mc_all, defer_connect."""
    raw = 1 << 0 | 1 << 6 | 1 << 10
    for layout, number in zip(EPOCHS, (1102, 2002, 2002), strict=True):
        tag = number << 3
        record = bytes((tag & 127 | 128, tag >> 7, raw & 127 | 128, raw >> 7))
        (batch,) = read(layout, [record, b"\x50\x01"]).batches[:1]
        said = {name for name, column in batch.columns.items() if name.startswith("sockopt_") and column[0]}
        assert said == {"sockopt_recverr", "sockopt_mc_all", "sockopt_defer_connect"}
        assert batch.columns["attributes"][0] == 1 << 22
        assert sum(name.startswith("sockopt_") for name in batch.columns) == 11


def test_epoch_0_had_its_time_as_a_double() -> None:
    """Seconds since 1970, to the microsecond; not a number at all is out of range."""
    for seconds, ns in ((1_790_000_000.25, 1_790_000_000_250_000_000), (float("nan"), None), (1e300, None)):
        found = read(EPOCHS[0], [b"\x51" + struct.pack("<d", seconds)], seconds=10)
        if ns is None:
            assert REASONS[found.fault[0]] == OUT_OF_RANGE
        else:
            assert found.batches[0].context.timestamp_ns == ns


def test_the_numbers_of_epoch_0_mean_something_else() -> None:
    """Its records are not read by the layout of today: 1003 is a BBR member there, a timer here."""
    before = {f.name: f.number for f in EPOCHS[0].record.scalars()}
    after = {f.name: f.number for f in EPOCHS[1].record.scalars()}
    assert (before["bbr_info_min_rtt"], after["inet_diag_msg_timer"]) == (1003, 1003)
    assert (before["netns_inode"], before["c_group"], before["record_counter"]) == (33, 1203, 70)


def _mutated(record: bytes, random: Random) -> bytes:
    out = bytearray(record)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(out) + 1)
        match random.randrange(4):
            case 0:
                out[at : at + 1] = random.randbytes(1)
            case 1:
                del out[at:]
            case 2:
                out[at:at] = random.choice((b"\x80" * random.randint(1, 12), random.randbytes(3), b"\x0b", b"\xff" * 5))
            case _:
                del out[at : at + random.randint(1, 4)]
    return bytes(out)


def _google_value(record: Any, path: Sequence[str]) -> Any:
    for name in path[:-1]:
        record = getattr(record, name)
    return getattr(record, path[-1])


@given(seed=st.integers(0, 2**32), name=st.sampled_from(NAMES))
@example(seed=30, name="xtcp2-1")  # a tag that is too long
def test_google_protobuf_reads_the_same_of_damaged_records(seed: int, name: str) -> None:
    """What is kept has google.protobuf's values; what is set aside it refuses, or it is one of our stricter rules."""
    from xtcp.records.descriptor import message_classes

    random, layout = Random(seed), LAYOUTS[name]
    kind = message_classes(layout)[layout.record.name]
    row = {n: value_of(random, n) for n in random.sample([c.name for c in COLUMNS if c.attribute is not None], 40)}
    encoded = RecordEncoder(layout).encode(batch_of([row], HOST))
    records = [one for _ in range(20) if (one := _mutated(encoded.data.tobytes(), random))]
    found = read(layout, records)
    rows = iter(np.argsort(np.concatenate([b.position for b in found.batches] or [np.zeros(0, np.int64)])).tolist())
    cells = [(b, n) for b in found.batches for n in range(b.rows)]
    paths = dict(_paths(layout))
    for raw, fault in zip(records, found.fault.tolist(), strict=True):
        try:
            told = kind.FromString(raw)
        except Exception:  # noqa: BLE001 - DecodeError, whose class depends on the implementation
            told = None
        if fault >= 0:
            strict = {WRONG_WIRE_TYPE, GROUP, OUT_OF_RANGE, BAD_ADDRESS, "no field number", *accepted()}
            assert told is None or REASONS[fault] in strict
            continue
        batch, number = cells[next(rows)]
        if told is None:
            continue  # a text that is not UTF-8
        for column, path in paths.items():
            mine = int(batch.columns[column][number]) if column in batch.columns else 0
            assert mine == _google_value(told, path), column


def _paths(layout: Layout) -> Any:
    """Columns that are a number as it is, and the names that lead to them."""

    def inside(message: Any, path: tuple[str, ...]) -> Any:
        for field in message.fields:
            if isinstance(field, Nested):
                yield from inside(field.message, (*path, field.name))
            elif (
                field.column in carried(layout)
                and field.type.startswith("uint")
                and field.derivation is Derivation.SAME
            ):
                yield field.column, (*path, field.name)

    return inside(layout.record, ())


SLOTS = (
    Slot("a", (1,), VARINT), Slot("b", (2,), BYTES), Slot("c", (10,), VARINT), Slot("d", (10,), FIXED64),
    Slot("e", (5, 1), VARINT), Slot("f", (5, 2), BYTES), Slot("g", (5, 6, 3), FIXED32),
)  # fmt: skip
NESTS = (("n", (5,)), ("m", (5, 6)))


@given(st.lists(st.randoms(use_true_random=False), min_size=1, max_size=30))
def test_slots_are_those_of_the_plain_reader(randoms: list[Random]) -> None:
    """Nested as deep as the table, repeated and merged, of a wrong wire type, damaged: value by value and fault by
    fault.
    """
    made = [_nested(random, 0) for random in randoms]
    many = [
        one if random.random() < 0.6 or not one else _mutated(one, random)
        for one, random in zip(made, randoms, strict=True)
    ]
    lengths = np.array([len(one) for one in many], np.int64)
    ends = np.cumsum(lengths, dtype=np.int64)
    found = SlotReader(SLOTS, NESTS).read(Varints(np.frombuffer(b"".join(many), np.uint8)), ends - lengths, ends)
    wires: dict[tuple[int, ...], set[int]] = {}
    for slot in SLOTS:
        wires.setdefault(slot.path, set()).add(slot.wire)
    whole = b"".join(many)
    for number, (start, end) in enumerate(zip((ends - lengths).tolist(), ends.tolist(), strict=True)):
        values, reason = read_slots(whole, start, end, wires, {path for _, path in NESTS})
        fault = int(found.fault[number])
        assert (REASONS[fault] if fault >= 0 else None) == reason
        for slot in SLOTS:
            came = bool(found.present[slot.name][number])
            assert came == ((slot.path, slot.wire) in values)
            if not came:
                continue
            if slot.wire == BYTES:
                offset, length = (int(part[number]) for part in found.pieces[slot.name])
                assert whole[offset : offset + length] == values[slot.path, slot.wire]
            else:
                assert int(found.scalars[slot.name][number]) == values[slot.path, slot.wire]


def _nested(random: Random, depth: int) -> bytes:
    out = b""
    for _ in range(random.randint(0, 5)):
        number, wire = random.choice((1, 2, 3, 5, 6, 10)), random.choice((0, 0, 2, 2, 2, 1, 5))
        out += bytes((number << 3 | wire,))
        if wire == VARINT:
            out += random.choice((b"\x00", b"\x7f", b"\xac\x02", b"\xff" * 9 + b"\x01"))
        elif wire == BYTES:
            payload = _nested(random, depth + 1) if depth < 4 and random.random() < 0.7 else random.randbytes(3)
            out += bytes((len(payload) & 0x7F | 0x80, len(payload) >> 7)) + payload
        else:
            out += random.randbytes(8 if wire == FIXED64 else 4)
    return out
