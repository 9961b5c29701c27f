"""Fuzz targets: one for each entry point that takes bytes from outside. Each raises where a promise is broken.

A target takes any bytes. Those of chunks read the first two as settings, so that the fuzzer finds every combination:
byte order, sequence number, release, protocol, repeats and number of datagrams.
"""

from __future__ import annotations

import contextlib
import importlib.util
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from tests.equality import assert_all_agree, assert_balanced
from xtcp.batch import Tally
from xtcp.chunk import SLACK, Chunk, Context
from xtcp.decode.chains import walk_attributes, walk_messages
from xtcp.decode.decoder import Decoder
from xtcp.decode.messages import find_rows
from xtcp.decode.payloads import clean_text, redact
from xtcp.decode.templates import SMALL_GROUP
from xtcp.errors import DamagedInput
from xtcp.netlink.byte_order import detect, plausible_messages
from xtcp.schema.model import Order
from xtcp.sources import Source
from xtcp.sources.dump_file import DumpFile

Target: TypeAlias = Callable[[bytes], None]

SETTINGS: Final = 2
RELEASES: Final = ("", "5.4.281", "6.18.44", "7.0.3")
REPEATS: Final = SMALL_GROUP
# A repeated chunk of more than this costs more time than it shows.
LONGEST_REPEATED: Final = 2048


def chunk_of(data: bytes) -> Chunk:
    """Bits of the first byte: 0 big-endian, 1 the first message's sequence number is asked for, 2-3 release,
    4 MPTCP, 5 repeated as often as a template needs. The second byte: number of datagrams, less one.
    """
    first, second = data[:SETTINGS].ljust(SETTINGS, b"\0")
    payload = data[SETTINGS:]
    order: Order = ">" if first & 1 else "<"
    seq = struct.unpack_from(order + "I", payload, 8)[0] if first & 2 and len(payload) >= 12 else None
    size = -(-len(payload) // (second % 32 + 1)) or 1
    datagrams = [payload[at : at + size] for at in range(0, len(payload), size)]
    if first & 32 and len(payload) <= LONGEST_REPEATED:
        datagrams *= REPEATS
    context = Context(order=order, release=RELEASES[first >> 2 & 3], protocol=262 if first & 16 else 6)
    return Chunk.of(*datagrams, context=context, seq=seq)


def chains(data: bytes) -> None:
    """A walk ends, its elements lie in their chains, in order, and it is the same for many chains as for each alone."""
    chunk = chunk_of(bytes((data[0] & ~32,)) + data[1:] if data else data)
    order = chunk.context.order
    for walk, header in ((walk_messages, 16), (walk_attributes, 4)):
        found = walk(chunk.data, order, chunk.starts, chunk.ends)
        assert (found.length >= header).all()
        assert (found.offset >= chunk.starts[found.chain]).all()
        assert (found.offset + found.length <= chunk.ends[found.chain]).all()
        assert (found.offset[1:] >= (found.offset + found.length)[:-1]).all()
        broken: list[int] = []
        alone: list[tuple[int, ...]] = []
        for start, end in zip(chunk.starts, chunk.ends, strict=True):
            one = walk(chunk.data, order, np.array([start]), np.array([end]))
            alone += zip(one.offset.tolist(), one.length.tolist(), one.type.tolist(), strict=True)
            broken += one.broken_at.tolist()
        assert alone == list(zip(found.offset.tolist(), found.length.tolist(), found.type.tolist(), strict=True))
        assert broken == found.broken_at.tolist()


def messages(data: bytes) -> None:
    """Every message is a row, control or quarantined; rows lie whole in a datagram."""
    chunk = chunk_of(data)
    tally = Tally()
    rows = find_rows(chunk, tally)
    assert_balanced(tally)
    assert tally.rows == len(rows.offset)
    datagram = np.searchsorted(chunk.starts, rows.offset, side="right") - 1
    assert (rows.offset + rows.length <= chunk.ends[datagram]).all()
    assert (rows.length >= 88).all()


def decoder(data: bytes) -> None:
    """Templates, lockstep and reference agree on rows and tally."""
    assert_all_agree(chunk_of(data))


def payloads(data: bytes) -> None:
    """Texts end at a NUL, keys are zeroed wherever they are and nothing else is."""
    clean = redact(data)
    assert len(clean) == len(data)
    for at, (before, after) in enumerate(zip(data, clean, strict=True)):
        assert after == (0 if at % 100 >= 20 else before)
    rows = len(data) // 16
    if rows:
        raw = np.frombuffer(data, np.uint8, rows * 16).reshape(rows, 16)
        for text, sent in zip(clean_text(raw).tolist(), raw, strict=True):
            assert text == sent.tobytes().split(b"\0")[0]


def byte_order(data: bytes) -> None:
    """An order is found only where messages read in it, and no more of them than fit."""
    found = detect(data)
    counts = {order: plausible_messages(data, order) for order in ("<", ">")}
    assert all(count <= len(data) / 16 for count in counts.values())
    assert found is None or counts[found] > 0


def dump_file(data: bytes) -> None:
    """A file of raw messages is read to its end or refused with DamagedInput; its whole messages are decoded."""
    with _file_of(data) as path:
        _decode_all(DumpFile(path))


def capture_file(data: bytes) -> None:
    """So is a capture, pcap or pcapng."""
    from xtcp_replay.reading.capture_file import CaptureFile

    with _file_of(data) as path:
        _decode_all(CaptureFile(path))


def _decode_all(source: Source) -> None:
    one = Decoder()
    with contextlib.suppress(DamagedInput):
        for chunk in source.chunks():
            assert len(chunk.data) >= int(chunk.ends[-1]) + SLACK
            batch = one.decode(chunk)
            assert_balanced(batch.tally)


@contextlib.contextmanager
def _file_of(data: bytes) -> Iterator[str]:
    with tempfile.NamedTemporaryFile(prefix="xtcp-fuzz-") as file:
        file.write(data)
        file.flush()
        yield file.name


TARGETS: Final[dict[str, Target]] = {
    target.__name__: target for target in (chains, messages, decoder, payloads, byte_order, dump_file)
}
if importlib.util.find_spec("scapy"):
    TARGETS["capture_file"] = capture_file

CORPUS: Final = Path(__file__).parent / "corpus"


def corpus_of(name: str) -> list[Path]:
    """The inputs that the repository keeps for a target."""
    return sorted(path for path in (CORPUS / name).iterdir() if path.is_file())
