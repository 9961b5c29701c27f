"""The walk through messages against the plain reader and google.protobuf."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.patience import fewer, patient
from tests.records.leniency import accepted
from xtcp.records.reading import walk as wf
from xtcp.records.reading.plain import PlainField, read_fields
from xtcp.records.reading.varints import Varints
from xtcp.records.reading.walk import REASONS, walk


def varint(value: int, padding: int = 0) -> bytes:
    """`value` as a varint, `padding` bytes longer than it must be."""
    out = bytearray()
    while value > 0x7F or padding:
        padding -= value <= 0x7F
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


MANY = fewer(1_000_000)

numbers = st.sampled_from((1, 2, 15, 16, 100, 2047, 2048, 2**29 - 1)) | st.integers(1, 2**29 - 1)
values = st.sampled_from((0, 1, 127, 128, 2**32 - 1, 2**63, 2**64 - 1)) | st.integers(0, 2**64 - 1)


@st.composite
def fields(draw: st.DrawFn) -> bytes:
    """One field, mostly a good one."""
    number = draw(numbers)
    padding = draw(st.sampled_from((0, 0, 0, 0, 1, 3, 12)))
    match draw(st.sampled_from((0, 0, 0, 0, 1, 2, 2, 5))):
        case 0:
            return varint(number << 3) + varint(draw(values), padding)
        case 1:
            return varint(number << 3 | 1, padding) + draw(st.binary(min_size=8, max_size=8))
        case 5:
            return varint(number << 3 | 5) + draw(st.binary(min_size=4, max_size=4))
        case _:
            payload = draw(st.binary(max_size=20))
            return varint(number << 3 | 2) + varint(len(payload), padding) + payload


damages = st.one_of(
    st.just(b""),
    st.just(b""),
    st.just(b""),
    st.binary(max_size=12),
    st.binary(max_size=3).map(lambda b: b"\x80" * 12 + b),
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Fields, cut or damaged now and then, or any bytes."""
    data = b"".join(draw(st.lists(fields(), max_size=12))) + draw(damages)
    if data and draw(st.integers(0, 4)) == 0:
        data = data[: draw(st.integers(0, len(data)))]
    if data and draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(st.binary(min_size=1, max_size=2)) + data[at + 1 :]
    return data


def walked(many: list[bytes], few: int, gap: bytes = b"") -> list[tuple[list[PlainField], tuple[int, str] | None]]:
    """What the walk finds of each message, as the plain reader says it; offsets within the message."""
    starts, at, buffer = [], 0, bytearray()
    for one in many:
        buffer += gap
        starts.append(len(buffer))
        buffer += one
    buffer += gap
    start = np.array(starts, np.int64)
    end = start + np.array([len(one) for one in many], np.int64)
    found = walk(Varints(np.frombuffer(bytes(buffer), np.uint8)), start, end, few=few)
    out: list[tuple[list[PlainField], tuple[int, str] | None]] = [([], None) for _ in many]
    scalars, pieces, faulty = found.scalars, found.pieces, found.faulty
    for chain, number, wire, value in zip(
        scalars.chain.tolist(), scalars.number.tolist(), scalars.wire.tolist(), scalars.value.tolist(), strict=True
    ):
        out[chain][0].append(PlainField(number, wire, value))
    for chain, number, at, length in zip(
        pieces.chain.tolist(), pieces.number.tolist(), pieces.offset.tolist(), pieces.length.tolist(), strict=True
    ):
        out[chain][0].append(PlainField(number, 2, at - starts[chain], length))
    for chain, at, reason in zip(faulty.chain.tolist(), faulty.offset.tolist(), faulty.reason.tolist(), strict=True):
        assert out[chain][1] is None
        out[chain] = out[chain][0], (at - starts[chain], REASONS[reason])
    return out


def sorted_as_walked(fields: list[PlainField]) -> list[PlainField]:
    """Varints, then fixed ones, then payloads, each in order."""
    return sorted(fields, key=lambda f: 2 if f.wire == wf.BYTES else f.wire != wf.VARINT)


@given(st.lists(messages(), min_size=1, max_size=30), st.sampled_from((b"", b"\x00", b"\x80", b"\x05\xff\xff")))
@example([b"\x80" * 11 + b"\x01"], b"")
@example([b"\x08" + b"\xff" * 9 + b"\x7f"], b"\x80")
@example([b"\x12\x01\x80\x08\x01"] * 3, b"\x80")
@example([b"\x08\x00\x08" + b"\x80" * 10, b"\x00"], b"")
@example([b"\x08\x00\x09" + b"\x00" * 8 + b"\x80", b"\x08\x00"], b"")
def test_the_walk_is_the_plain_reader(many: list[bytes], gap: bytes) -> None:
    """In lockstep, one chain at a time, and plainly: the same fields and the same first fault."""
    expected = []
    for one in many:
        found, fault = read_fields(one, 0, len(one))
        expected.append((sorted_as_walked(found), fault))
    assert walked(many, few=0, gap=gap) == expected
    assert walked(many, few=len(many) + 1, gap=gap) == expected


@given(st.lists(messages(), min_size=1, max_size=30))
@example([b"\x08\x00\x88\x80\x80\x80\x80\x00\x01"])
def test_google_protobuf_finds_the_same_fields(many: list[bytes]) -> None:
    """An independent witness: the unknown fields of an empty message; what it refuses has a fault, and nothing else."""
    from google.protobuf import empty_pb2, unknown_fields

    for one, (found, fault) in zip(many, walked(many, few=0), strict=True):
        try:
            message = empty_pb2.Empty.FromString(one)
        except Exception:  # noqa: BLE001 - DecodeError, whose class depends on the implementation
            assert fault is not None
            continue
        if fault is not None:
            assert fault[1] in {wf.GROUP, wf.BAD_TAG, *accepted()}
            continue
        told: Any = unknown_fields.UnknownFieldSet(message)
        said = [(f.field_number, f.wire_type, f.data) for f in told]
        mine = [(f.number, f.wire, one[f.value : f.value + f.length] if f.wire == wf.BYTES else f.value) for f in found]
        assert sorted(mine, key=repr) == sorted(said, key=repr)


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("varint fields", b"\x08\x01" * MANY),
        ("empty strings", b"\x12\x00" * MANY),
        ("nested tags", b"\x0a\x7f" * MANY),
        ("one endless varint", b"\x80" * 2 * MANY),
    ],
)
def test_a_million_fields_take_bounded_time(what: str, data: bytes) -> None:
    """A hostile message costs what its bytes cost, about a microsecond each at most."""
    begin = time.process_time()
    walk(Varints(np.frombuffer(data, np.uint8)), np.array([0]), np.array([len(data)]))
    assert time.process_time() - begin < patient(10e-6 * MANY)
