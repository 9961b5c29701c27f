"""The last four bytes of a 280-byte tcp_info, in both layouts and both byte orders, by every way to read them.

No distribution has a big-endian kernel of 6.18 or 6.19, whose layout is two u16; 7.0 and later have bit fields there.
So the capture of 6.18 is turned by `convert`, as it is, where the kernel left zeros, and with a value in every socket;
and all four forms stand here in hexadecimal, from the declarations in include/uapi/linux/tcp.h.
"""

from __future__ import annotations

import struct
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from tests.encoder import attribute, message
from tests.equality import assert_all_agree, rows_by_template
from tests.rows import decoded, rows_of
from tests.zoos import LITTLE
from xtcp.chunk import Chunk, Context
from xtcp.errors import ExitCode
from xtcp.schema.model import Order
from xtcp_replay.cli.main import run
from xtcp_replay.reading.opening import Told, open_source
from xtcp_replay.rewriting.twin import other, twin

CAPTURE: Final = LITTLE
INFO: Final = struct.pack("<HH", 4 + 280, 2)
TAIL: Final = {"tcpi_ecn_mode", "tcpi_accecn_opt_seen", "tcpi_accecn_fail_mode", "tcpi_options2"}
WORDS: Final = {"tcpi_accecn_fail_mode": 0x1234, "tcpi_accecn_opt_seen": 0x5678}
# 2, 1, 9 and 0x123456 in 2, 2, 4 and 24 bits: from the low end, or from the high one.
BITS: Final = {
    "tcpi_ecn_mode": 0b10,
    "tcpi_accecn_opt_seen": 0b01,
    "tcpi_accecn_fail_mode": 0b1001,
    "tcpi_options2": 0x123456,
}
FORMS: Final[list[tuple[str, Order, str, dict[str, int]]]] = [
    ("6.18.44", "<", "3412 7856", WORDS),
    ("6.18.44", ">", "1234 5678", WORDS),
    ("6.19.2", ">", "1234 5678", WORDS),
    ("7.0.3", "<", "96563412", BITS),
    ("7.0.3", ">", "99123456", BITS),
    ("7.2.11", ">", "99123456", BITS),
]


def row(order: Order, tail: bytes) -> bytes:
    """A socket whose tcp_info ends so."""
    return message(order, bytes([2, 1]) + bytes(70) + attribute(order, 2, bytes(276) + tail))


def rows(path: Path, **told: Any) -> list[dict[str, Any]]:
    """What a capture decodes to."""
    return rows_of(decoded(open_source(str(path), Told(**told)).chunks()))


def turned(path: Path, target: Path) -> Path:
    """The capture as a big-endian host would have made it."""
    assert run(["convert", str(path), str(target), "--to-order", "big", "-q"]) == ExitCode.OK
    return target


@pytest.mark.parametrize(("release", "order", "tail", "expected"), FORMS)
def test_all_decoders_read_it(release: str, order: Order, tail: str, expected: dict[str, int]) -> None:
    """Template, lockstep and reference; without a release the columns are absent, the bytes kept."""
    raw = bytes.fromhex(tail)
    chunk = Chunk.of(row(order, raw) * 64, context=Context(order=order, release=release))
    assert rows_by_template(chunk) == 64
    for found in assert_all_agree(chunk):
        assert {name: cell for name, cell in found.items() if name in TAIL} == expected
    unknown = Chunk.of(row(order, raw) * 64, context=Context(order=order))
    for found in assert_all_agree(unknown):
        assert not found.keys() & TAIL and found["tcp_info_surplus"] == raw


@pytest.mark.parametrize(("release", "order", "tail", "expected"), FORMS)
def test_a_twin_of_it(release: str, order: Order, tail: str, expected: dict[str, int]) -> None:
    """The form of the other byte order, as it stands above; nothing else says what the four bytes are."""
    (there, *_) = (raw for _, its, raw, values in FORMS if values == expected and its == other(order))
    kernel = Context(release=release).kernel
    assert twin(row(order, bytes.fromhex(tail)), order, kernel, 6) == row(other(order), bytes.fromhex(there))


def test_the_capture_of_6_18_on_a_big_endian_host(tmp_path: Path) -> None:
    """Every column of every socket as on the little-endian host that made it."""
    expected = rows(CAPTURE)
    assert sum(WORDS.keys() <= one.keys() for one in expected) > 100
    twin_of_it = turned(CAPTURE, tmp_path / "big.pcapng")
    assert {chunk.context.order for chunk in open_source(str(twin_of_it)).chunks()} == {">"}
    assert rows(twin_of_it) == expected


def test_the_same_with_a_value_in_every_socket(tmp_path: Path) -> None:
    """Values that differ from socket to socket, and both bytes from each other; the release travels in the file."""
    content, numbers = bytearray(CAPTURE.read_bytes()), count(1)
    at = content.find(INFO)
    while at >= 0:
        number = next(numbers)
        content[at + 280 : at + 284] = struct.pack("<HH", 0xFE00 + number, 0xFD00 + 255 - number)
        at = content.find(INFO, at + 284)
    filled = tmp_path / "filled.pcapng"
    filled.write_bytes(content)
    there = turned(filled, tmp_path / "big.pcapng")
    here, found = rows(filled), rows(there)
    assert found == here
    values = [
        (one["tcpi_accecn_fail_mode"], one["tcpi_accecn_opt_seen"]) for one in found if WORDS.keys() <= one.keys()
    ]
    assert sorted(values) == [(0xFE00 + number, 0xFD00 + 255 - number) for number in range(1, next(numbers))]
    assert len(values) > 100
    without = [{name: cell for name, cell in one.items() if name not in WORDS} for one in found]
    assert without == [{name: cell for name, cell in one.items() if name not in WORDS} for one in rows(CAPTURE)]


def test_read_as_7_0_it_is_something_else(tmp_path: Path) -> None:
    """The bytes do not say which layout they have: told another release, the same file has other columns there."""
    there = turned(CAPTURE, tmp_path / "big.pcapng")
    assert any(one.keys() >= TAIL for one in rows(there, release="7.0.3"))
    assert not any("tcpi_options2" in one for one in rows(there))
