"""Fuzz targets: one for each entry point that takes bytes from outside. Each raises where a promise is broken.

A target takes any bytes. Those of chunks read the first two as settings, so that the fuzzer finds every combination:
byte order, sequence number, release, protocol, repeats and number of datagrams.
"""

from __future__ import annotations

import contextlib
import importlib.util
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from tests.equality import assert_all_agree, assert_balanced
from tests.fuzz.pieces import SETTINGS, Rows, joined, slots_of, split
from xtcp.batch import MAX_DESCRIBED, Tally
from xtcp.chunk import SLACK, Chunk, Context
from xtcp.collect.arrivals import Arrivals
from xtcp.collect.collector import Collector
from xtcp.collect.streams import Streams
from xtcp.decode import messages as finding
from xtcp.decode.chains import walk_attributes, walk_messages
from xtcp.decode.decoder import Decoder
from xtcp.decode.messages import Messages, find_rows
from xtcp.decode.payloads import clean_text, redact
from xtcp.decode.templates import SMALL_GROUP
from xtcp.errors import ConfigurationError, DamagedInput
from xtcp.netlink.byte_order import detect, plausible_messages
from xtcp.records.layouts import LAYOUTS
from xtcp.records.reading.epochs import EPOCHS
from xtcp.records.reading.plain import read_slots
from xtcp.records.reading.slots import SLOT_REASONS, SlotReader
from xtcp.records.reading.varints import Varints
from xtcp.records.reading.walk import BYTES
from xtcp.records.reading.walk import walk as walk_records
from xtcp.schema.model import Order
from xtcp.sources import Source
from xtcp.sources.dump_file import DumpFile

if TYPE_CHECKING:
    from xtcp_replay.reading.contents import DumpInfo

Target: TypeAlias = Callable[[bytes], None]

RELEASES: Final = ("", "5.4.281", "6.18.44", "7.0.3")
REPEATS: Final = SMALL_GROUP
# A repeated chunk of more than this costs more time than it shows.
LONGEST_REPEATED: Final = 2048
LARGEST_UNPACKED: Final = 1 << 22
MOST_PACKETS: Final = 200


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
    """Every message is a row, control or quarantined; rows lie whole in a datagram; one by one they are the same."""
    chunk = chunk_of(data)
    tally, plainly = Tally(), Tally()
    rows = _find_rows(chunk, tally, few=0)
    one_by_one = _find_rows(chunk, plainly, few=len(chunk.data))
    assert_balanced(tally)
    assert rows.offset.tolist() == one_by_one.offset.tolist()
    if len(tally.faults) < MAX_DESCRIBED:
        assert tally == plainly
    assert tally.rows == len(rows.offset)
    datagram = np.searchsorted(chunk.starts, rows.offset, side="right") - 1
    assert (rows.offset + rows.length <= chunk.ends[datagram]).all()
    assert (rows.length >= 88).all()


def _find_rows(chunk: Chunk, tally: Tally, few: int) -> Messages:
    """With chunks of up to `few` bytes read one message at a time."""
    finding.FEW_BYTES, before = few, finding.FEW_BYTES
    try:
        return find_rows(chunk, tally)
    finally:
        finding.FEW_BYTES = before
        tally.faults.sort()


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
    """So is a file of any kind that replay reads, told by its content; a second reading gives the same."""
    from xtcp_replay.reading.opening import Told, open_source

    with _file_of(data) as path:
        source = open_source(path, Told(max_bytes=LARGEST_UNPACKED))
        try:
            first = _decode_all(source), [*source.damage], [*source.notes]
        except ConfigurationError:
            return  # zstd data, where zstandard is not installed
        assert (_decode_all(source), source.damage, source.notes) == first
        contents = source.contents
        assert [dump.number for dump in contents.dumps] == sorted({dump.number for dump in contents.dumps})
        assert len(contents.dumps) <= contents.numbered
        assert all((d.first_ns or 0) <= (d.last_ns or 0) for d in contents.dumps)


def compressed(data: bytes) -> None:
    """What is compressed reads as what it was, or, cut or changed, gives no more than that. The first byte: kind and
    layers, whether it is changed; the second: where.
    """
    from tests.replay.packed import PACK
    from xtcp_replay.reading.opening import Told, open_source

    first, second = data[:SETTINGS].ljust(SETTINGS, b"\0")
    packed = data[SETTINGS:]
    for shift in range(first >> 4 & 3):
        packed = PACK[sorted(PACK)[(first + shift) % len(PACK)]](packed)
    at = len(packed) * second // 256
    if first & 64:
        packed = packed[:at]
    elif first & 128:
        packed = packed[:at] + bytes((first ^ second,)) + packed[at + 1 :]
    with _file_of(data[SETTINGS:]) as path, _file_of(packed) as again:
        plain, packed_rows = (
            _decode_all(open_source(name, Told(max_bytes=LARGEST_UNPACKED))) for name in (path, again)
        )
        if first < 64:
            assert packed_rows == plain
        else:
            assert sum(packed_rows.values()) <= sum(plain.values()) + first


def dumps(data: bytes) -> None:
    """However requests and replies of a few programs are mixed, whatever of them is lost: every row comes, once, in
    the order of its program; no dump has rows of two programs, byte orders, interfaces or, where one was asked for,
    families; chunks of a dump follow each other.

    Each byte is a packet: bits 0-1 what, 2-3 whose, 4 byte order, 5 interface, 6 family, 7 whether the port is told.
    """
    from tests.replay.made import cooked, done, enhanced, interface, request, row, section
    from xtcp_replay.reading.opening import open_source

    content, sent = [section() + interface() + interface()], []
    for cookie, byte in enumerate(data[:MOST_PACKETS], start=1):
        order: Order = ">" if byte & 16 else "<"
        family, port, number = 10 if byte & 64 else 2, 1 + (byte >> 2 & 3), byte >> 5 & 1
        if byte & 3 == 0:
            packet = request(order=order, family=family, port=port if byte & 128 else 0)
        elif byte & 3 == 3:
            packet = done(order=order, port=port)
        else:
            # A program's rows of one family count upwards; its first socket comes again and again.
            packet = row(cookie if byte & 1 else port, order=order, family=family, port=port)
            sent.append((cookie if byte & 1 else port, order, port, number, family))
        content.append(enhanced(cooked(packet), cookie, number=number))
    with _file_of(b"".join(content)) as path:
        source, decoder = open_source(path), Decoder()
        found: list[tuple[int, int, Order, int | None, int]] = []
        seen: list[int] = []
        for chunk in source.chunks():
            number = chunk.context.dump or 0
            if not seen or seen[-1] != number:
                seen.append(number)
            batch = decoder.decode(chunk).in_order()
            if not batch.rows:
                continue
            for cookie, family in zip(
                *(batch.columns[c].tolist() for c in ("idiag_cookie", "idiag_family")), strict=True
            ):
                found.append((number, cookie, chunk.context.order, chunk.port, family))
    assert len(seen) == len(set(seen))
    told = {dump.number: dump for dump in source.contents.dumps}
    whole = [(cookie, order, port, _interface_of(told[dump]), family) for dump, cookie, order, port, family in found]
    for key in {entry[1:4] for entry in sent}:
        assert [e for e in whole if e[1:4] == key] == [e for e in sent if e[1:4] == key]
    assert len(whole) == len(sent)
    for number, dump in told.items():
        mine = {entry[2:] for entry in found if entry[0] == number}
        assert len({whose[:2] for whose in mine}) <= 1
        if dump.asked is not None and dump.asked.family:
            assert {family for _, _, family in mine} <= {dump.asked.family}
        assert dump.complete <= (dump.done_seen and dump.request_seen)


def _interface_of(dump: DumpInfo) -> int:
    assert dump.interface is not None
    return dump.interface.number


def layers(data: bytes) -> None:
    """Any messages are dissected in either order, built again byte for byte, and told in lines; nothing is hidden."""
    from scapy.config import conf

    from xtcp_replay import layers
    from xtcp_replay.layers.blocks import Style, blocks
    from xtcp_replay.layers.pieces import Piece

    chunk = chunk_of(data)
    context, payload = chunk.context, data[SETTINGS:]
    conf.debug_dissector, before = True, conf.debug_dissector
    try:
        for order in ("<", ">"):
            assert bytes(layers.of(order, context.kernel, context.protocol).datagram(payload)) == payload
        for packet in (payload, bytes(layers.CookedNetlink()) + payload):
            assert bytes(layers.dissect(packet, None, context.kernel, context.protocol)) == packet
            for cooked in (False, True):
                piece = Piece(1, packet, 0, cooked, len(packet), None, context.order, context, None, context.release)
                said = [line.said for lines in blocks(piece, Style(dump=True)) for line in lines]
                assert not any(text.startswith("dissecting it failed") for text in said)
    finally:
        conf.debug_dissector = before


def records(data: bytes) -> None:
    """Any bytes as records of a layout: in lockstep, one by one and plainly the same values are found, or the same
    fault. The first byte: the layout; the second: number of records, less one.
    """
    first, pieces = data[:1], split(data)
    layout = (*EPOCHS, LAYOUTS["xtcp"], LAYOUTS["flat"])[first[0] % 5 if first else 0]
    slots, nests = slots_of(layout)
    starts, ends, buffer = joined(pieces)
    found = SlotReader(slots, [(".".join(map(str, path)), path) for path in nests]).read(
        Varints(np.frombuffer(buffer, np.uint8)), starts, ends
    )
    wires = {slot.path: {slot.wire} for slot in slots}
    for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        values, reason = read_slots(buffer, start, end, wires, nests)
        fault = int(found.fault[number])
        assert (SLOT_REASONS[fault] if fault >= 0 else None) == reason
        for slot in slots:
            assert bool(found.present[slot.name][number]) == ((slot.path, slot.wire) in values)
            if (slot.path, slot.wire) not in values:
                continue
            if slot.wire == BYTES:
                at, length = (int(part[number]) for part in found.pieces[slot.name])
                assert buffer[at : at + length] == values[slot.path, slot.wire]
            else:
                assert int(found.scalars[slot.name][number]) == values[slot.path, slot.wire]
    whole = walk_records(Varints(np.frombuffer(buffer, np.uint8)), starts, ends, few=0)
    alone = walk_records(Varints(np.frombuffer(buffer, np.uint8)), starts, ends, few=len(starts) + 1)
    for one, other in zip(
        (*vars(whole.scalars).values(), *vars(whole.faulty).values()),
        (*vars(alone.scalars).values(), *vars(alone.faulty).values()),
        strict=True,
    ):
        assert sorted(one.tolist()) == sorted(other.tolist())


def datagrams(data: bytes) -> None:
    """Any datagrams are collected or set aside; all are accounted for, and the rows are what a batch promises."""
    sink = Rows()
    collector = Collector(sink, streams=Streams(most=8, per_source=4))
    pieces = split(data)
    for _ in range(2):
        collector.take(Arrivals.of(pieces, [f"192.0.2.{len(piece) % 3}" for piece in pieces]), most_rows=64)
    intake = collector.intake
    assert intake.balanced
    assert intake.messages == 2 * len(pieces)
    assert intake.delivered == sink.rows
    assert len(collector.streams) <= 8


def _decode_all(source: Source) -> Counter[int | None]:
    """Rows by dump."""
    one = Decoder()
    rows: Counter[int | None] = Counter()
    with contextlib.suppress(DamagedInput):
        for chunk in source.chunks():
            assert len(chunk.data) >= int(chunk.ends[-1]) + SLACK
            batch = one.decode(chunk)
            assert_balanced(batch.tally)
            rows[chunk.context.dump] += batch.rows
    return rows


@contextlib.contextmanager
def _file_of(data: bytes) -> Iterator[str]:
    with tempfile.NamedTemporaryFile(prefix="xtcp-fuzz-") as file:
        file.write(data)
        file.flush()
        yield file.name


TARGETS: Final[dict[str, Target]] = {
    target.__name__: target
    for target in (chains, messages, decoder, payloads, byte_order, dump_file, records, datagrams)
}
# Those that need more than NumPy.
REPLAY: Final[dict[str, Target]] = {t.__name__: t for t in (capture_file, compressed, dumps, layers)}
if importlib.util.find_spec("scapy"):
    TARGETS.update(REPLAY)

CORPUS: Final = Path(__file__).parent / "corpus"


def corpus_of(name: str) -> list[Path]:
    """The inputs that the repository keeps for a target."""
    return sorted(path for path in (CORPUS / name).iterdir() if path.is_file())
