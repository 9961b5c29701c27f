"""Messages to rows: told apart, numbered, expanded, believed or not, and all of it accounted for."""

from __future__ import annotations

import gzip
import os
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.collect.sending import HOST, Kept, collected, follows, messages, sockets
from tests.libraries import library
from tests.patience import fewer, patient
from tests.sinks.standins import TRAILER
from xtcp.chunk import Context
from xtcp.collect import expansion
from xtcp.collect.arrivals import Arrivals
from xtcp.collect.bounds import LARGEST_MESSAGE, ROWS_PER_DATAGRAM
from xtcp.collect.collector import (
    BAD_TRAILER,
    CUT,
    NO_SUCH_VERSION,
    TOO_LARGE,
    Collector,
)
from xtcp.collect.intake import MOST_HOSTS, MOST_SOURCES
from xtcp.collect.streams import Streams
from xtcp.records.envelopes import Envelopes
from xtcp.records.layouts import LAYOUTS
from xtcp.records.reading.messages import EMPTY, TOO_MANY_ROWS
from xtcp.records.signature import OUT_OF_TIME, UNKNOWN_KEY, UNSIGNED, WRONG, Keys

RECORDS = tuple(LAYOUTS)
KEY, OTHER = b"the key of the fleet", b"the key of a stranger"


@pytest.mark.parametrize("record", RECORDS)
def test_every_record_is_told_by_its_bytes(record: str) -> None:
    """Each layout, in datagrams and as a message of a file, rows and context."""
    batch = sockets(range(1, 200))
    sent = messages(record, batch)
    framed = [bytes((len(m) & 127 | 128, len(m) >> 7)) + m for m in sent] if record == "xtcp" else sent
    for form in (sent, framed):
        sink, collector = collected(form)
        assert sorted(sink.cookies()) == list(range(1, 200))
        assert collector.intake.records == {record: 199}
        assert collector.intake.kept == len(sent)
        for made in sink.batches:
            context = made.context
            assert (context.hostname, context.timestamp_ns, context.received_from) == (
                "web1", HOST.timestamp_ns, "192.0.2.1",
            )  # fmt: skip
            assert made.columns["cong"].tolist() == [b"cubic"] * made.rows
            assert follows(made)
            assert made.columns["tcp_info_len"].tolist() == [232] * made.rows


def test_forms_in_one_taking() -> None:
    """All of them mixed, from two addresses."""
    parts = {record: messages(record, sockets(range(n * 100, n * 100 + 90))) for n, record in enumerate(RECORDS, 1)}
    sent = [message for group in parts.values() for message in group]
    Random(3).shuffle(sent)
    sink = Kept()
    collector = Collector(sink)
    sources = [f"192.0.2.{len(message) % 2}" for message in sent]
    collector.take(Arrivals.of(sent, sources))
    assert sorted(sink.cookies()) == [n * 100 + k for n in range(1, 5) for k in range(90)]
    assert collector.intake.records == dict.fromkeys(RECORDS, 90)
    told = {address: one.messages for address, one in collector.intake.sources.items()}
    assert told == Counter(sources)


def test_trailers_come_behind_their_rows() -> None:
    """With the last envelope of a poll, whole."""
    stream = Envelopes("flat", limit_bytes=1432)
    sent = messages("flat", sockets(range(30)), stream=stream)
    packet = stream.end_poll(TRAILER)
    assert packet is not None
    sink, collector = collected([*sent, packet.data])
    assert sink.trailers == [TRAILER]
    assert collector.intake.trailers == 1
    assert collector.intake.rows == 30


def test_a_trailer_that_is_none_costs_no_rows() -> None:
    """It is counted; the rows beside it came."""
    header_and_rows = messages("flat", sockets([1]))[0][1:]
    envelope = LAYOUTS["flat"].envelope
    assert envelope is not None and envelope.trailer is not None
    body = header_and_rows + bytes((envelope.trailer << 3 | 2, 2, 0x0A, 0x7F))
    sink, collector = collected([bytes((len(body) & 127 | 128, len(body) >> 7)) + body])
    assert (sink.cookies(), sink.trailers, collector.intake.unknown) == ([1], [], {BAD_TRAILER: 1})


def test_loss_and_duplicates_by_number() -> None:
    """A datagram lost, one that comes twice and one that comes late; its rows come once."""
    sent = messages("flat", sockets(range(60)), limit=400)
    sink, collector = collected([sent[0], sent[3], sent[2], sent[3], sent[0], *sent[4:]])
    counts = collector.streams.counts
    assert (counts.lost, counts.late, counts.duplicates, counts.streams) == (1, 1, 2, 1)
    assert len(sink.cookies()) == len(set(sink.cookies()))
    intake = collector.intake
    assert intake.messages_aside == {"duplicate": 2}
    assert intake.rows_aside["duplicate"] == intake.rows - intake.delivered > 0
    assert any("1 envelopes missing" in line for line in intake.lines(collector.streams, []))


def test_a_new_start_of_a_sender_is_a_new_stream() -> None:
    """Its numbers begin again, and nothing of it is a duplicate."""
    sink, collector = collected(messages("flat", sockets(range(20))) + messages("flat", sockets(range(20, 40))))
    assert sorted(sink.cookies()) == list(range(40))
    assert collector.streams.counts.streams == 2


def test_a_damaged_record_costs_its_neighbours_nothing() -> None:
    """In an envelope it is set aside alone; alone, with its datagram. A version that is not known, likewise."""
    (message,) = messages("flat", sockets([1, 2, 3]), limit=4000)
    at = message.index(b"cubic")
    sink, collector = collected([message[:at] + b"cubix" + message[at + 5 :], message.replace(b"\x2a", b"\x2b", 1)])
    assert len(sink.cookies()) >= 3
    record = messages("xtcp", sockets([9]))[0]
    sink, collector = collected([record, record[:-1], b"\x00", b""])
    assert sink.cookies() == [9]
    assert collector.intake.messages_aside == {"cut": 1, EMPTY: 2}
    newer = messages("xtcp2-2", sockets([5]))[0].replace(b"\x08\x02", b"\x08\x07", 1)
    sink, collector = collected([newer])
    assert collector.intake.rows_aside == {NO_SUCH_VERSION: 1}
    assert not sink.batches


def test_what_is_too_large_or_came_cut() -> None:
    """Neither is read."""
    sink = Kept()
    collector = Collector(sink)
    collector.take(Arrivals.of([bytes(LARGEST_MESSAGE + 1), *messages("xtcp", sockets([1]))], ["", ""], cut=3))
    assert sink.cookies() == [1]
    assert collector.intake.messages_aside == {TOO_LARGE: 1, CUT: 3}
    assert collector.intake.balanced


def _damaged(message: bytes, random: Random) -> bytes:
    """Random, cut, over-long, deeply nested, with another length, of another version."""
    at = random.randrange(len(message))
    match random.randrange(8):
        case 0:
            return random.randbytes(random.randint(0, 200))
        case 1:
            return message[:at]
        case 2:
            return message[:at] + b"\xff" * random.randint(1, 12) + message[at:]
        case 3:
            nested = b""
            for _ in range(60):
                nested = bytes((0x0A, len(nested))) + nested
            return bytes((len(nested),)) + nested
        case 4:
            return message[:at] + random.randbytes(1) + message[at + 1 :]
        case 5:
            return b"\x0a\x00" * random.randint(1, 100)
        case 6:
            return message + random.randbytes(random.randint(1, 9))
        case _:
            return bytes((random.randint(1, 127),)) + message[1:]


def test_fault_91_hostile_datagrams_cost_nobody_else() -> None:
    """Half of all datagrams are damaged: those of the honest sender come out exactly, all are accounted for, and
    memory does not grow. XTCP_HOSTILE sets how many there are (10,000,000 takes an hour).
    """
    total = int(os.environ.get("XTCP_HOSTILE", fewer(50) * fewer(4000)))
    random = Random(91)
    page = os.sysconf("SC_PAGE_SIZE")
    sink = Kept()
    collector = Collector(sink, streams=Streams(most=1000, per_source=50))
    streams = {record: Envelopes(record, limit_bytes=300) for record in RECORDS if record != "xtcp"}
    block, sent, expected, sizes = fewer(4000), 0, 0, []
    cookie = 1
    while sent < total:
        record = RECORDS[sent // block % len(RECORDS)]
        good = messages(record, sockets(range(cookie, cookie + block // 2)), 300, streams.get(record))
        expected, cookie = expected + block // 2, cookie + block // 2
        bad = [_damaged(random.choice(good), random) for _ in good]
        for start in range(0, len(good), 400):
            part = [(message, "192.0.2.1") for message in good[start : start + 400]]
            part += [(message, "203.0.113.66") for message in bad[start : start + 400]]
            random.shuffle(part)
            collector.take(Arrivals.of([m for m, _ in part], [source for _, source in part]))
        honest = [batch for batch in sink.batches if batch.context.received_from == "192.0.2.1"]
        assert all(map(follows, honest))
        come = [cookie for batch in honest for cookie in batch.columns["idiag_cookie"].tolist()]
        assert sorted(come) == list(range(cookie - block // 2, cookie))
        sink.batches.clear()
        sent += len(good) + len(bad)
        sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * page)
    intake = collector.intake
    assert intake.balanced and intake.messages == sent
    assert intake.sources["192.0.2.1"].rows == expected
    assert intake.sources["192.0.2.1"].aside == 0
    assert intake.sources["203.0.113.66"].aside > sent // 8
    assert len(collector.streams) <= 1000
    settled = sizes[len(sizes) // 2 :]
    assert max(settled) - settled[0] < 24 << 20, sizes


def test_fault_91_old_versions_and_replays() -> None:
    """What xtcp2 sent before its records had a version is read as that; a stream that is played again gives nothing."""
    sent = messages("flat", sockets(range(40)), limit=300)
    sink = Kept()
    collector = Collector(sink)
    for _ in range(3):
        collector.take(Arrivals.of(sent, ["192.0.2.1"] * len(sent)))
    assert sorted(sink.cookies()) == list(range(40))
    assert collector.intake.rows_aside == {"duplicate": 80}
    old = bytes((0xA8, 0x06, 2, 0xB0, 0x06, 1))  # epoch 0: 101 family, 102 state
    row = b"\x50\x05" + old
    sink, collector = collected([bytes((len(row) + 2, 0x52, len(row))) + row])
    assert collector.intake.records == {"xtcp2-0": 1}
    assert sink.batches[0].columns["idiag_family"].tolist() == [2]


def test_fault_92_rows_are_counted_before_they_are_read() -> None:
    """64 KiB of empty rows, 32,000 of them, cost next to nothing; as many rows as are allowed are read."""
    empty = b"\x0a\x00" * 32_000
    hostile = b"\x80\xf4\x03" + empty
    assert len(hostile) == 64_003
    begin = time.process_time()
    many = fewer(20)
    sink, collector = collected([hostile] * many)
    assert time.process_time() - begin < patient(10)
    assert collector.intake.messages_aside == {TOO_MANY_ROWS: many}
    assert (collector.intake.rows, sink.batches) == (0, [])
    for rows, kept in ((ROWS_PER_DATAGRAM, True), (ROWS_PER_DATAGRAM + 1, False)):
        body = b"\x0a\x02\x38\x02" * rows
        _, collector = collected([bytes((len(body) & 127 | 128, len(body) >> 7 & 127 | 128, len(body) >> 14)) + body])
        assert collector.intake.kept == kept


def test_fault_93_the_address_stands_beside_the_name() -> None:
    """Whoever claims another's name is seen: each row has the address it came from, the counts both."""
    sink = Kept()
    collector = Collector(sink)
    collector.take(Arrivals.of(messages("flat", sockets([1])), ["192.0.2.1"]))
    collector.take(Arrivals.of(messages("flat", sockets([2])), ["203.0.113.66"]))
    assert [(b.context.hostname, b.context.received_from) for b in sink.batches] == [
        ("web1", "192.0.2.1"),
        ("web1", "203.0.113.66"),
    ]
    for number in range(3 * MOST_HOSTS):
        context = Context(hostname=f"made-up-{number}")
        collector.take(Arrivals.of(messages("xtcp", sockets([number], context)), ["203.0.113.66"]))
    told = collector.intake.as_dict(collector.streams, [])["sources"]
    assert told["192.0.2.1"]["hosts"] == ["web1"]
    assert len(told["203.0.113.66"]["hosts"]) == MOST_HOSTS and told["203.0.113.66"]["more_hosts"]


def test_fault_93_addresses_that_are_made_up_do_not_fill_memory() -> None:
    """Counts by address are kept for so many, the latest."""
    collector = Collector(Kept())
    (message,) = messages("xtcp", sockets([1]))
    many = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(MOST_SOURCES + 500)]
    for start in range(0, len(many), 500):
        part = many[start : start + 500]
        collector.take(Arrivals.of([message] * len(part), part))
    assert len(collector.intake.sources) == MOST_SOURCES
    assert collector.intake.forgotten_sources == 500


def test_fault_93_signed_datagrams() -> None:
    """With keys only what is signed is kept: not what has no footer, another key, a changed byte or an old time."""
    now = 1_790_000_000 * 10**9
    sent = messages("flat", sockets(range(40)), limit=300)
    keys, stranger = Keys(KEY), Keys(OTHER)
    signed = [m + keys.footer(m, now) for m in sent]
    sink = Kept()
    collector = Collector(sink, keys=keys, clock=lambda: now)
    forged = [
        sent[0],
        sent[1] + stranger.footer(sent[1], now),
        signed[2][:9] + bytes((signed[2][9] ^ 1,)) + signed[2][10:],
        sent[3] + keys.footer(sent[3], now - 301 * 10**9),
    ]
    collector.take(Arrivals.of([*forged, *signed, *signed], ["203.0.113.66"] * 4 + ["192.0.2.1"] * 2 * len(signed)))
    assert sorted(sink.cookies()) == list(range(40))
    expected = {UNSIGNED: 1, UNKNOWN_KEY: 1, WRONG: 1, OUT_OF_TIME: 1, "duplicate": len(sent)}
    assert collector.intake.messages_aside == expected
    # Whoever asks for no signature reads what is signed all the same.
    assert sorted(collected(signed)[0].cookies()) == list(range(40))


def test_fault_94_compressed_datagrams() -> None:
    """gzip and zstd, told by their first bytes; a signature is of what is sent."""
    zstandard = library("zstandard")
    sent = messages("flat", sockets(range(40)), limit=1000)
    packed = [gzip.compress(m) if n % 2 else zstandard.compress(m) for n, m in enumerate(sent)]
    sink, collector = collected(packed)
    assert sorted(sink.cookies()) == list(range(40))
    assert collector.intake.kept == len(sent)
    keys = Keys(KEY)
    sink = Kept()
    collector = Collector(sink, keys=keys)
    signed = [m + keys.footer(m, time.time_ns()) for m in packed]
    collector.take(Arrivals.of(signed, [""] * len(signed)))
    assert sorted(sink.cookies()) == list(range(40))


def test_fault_94_bombs_are_bounded_before_and_while_they_expand() -> None:
    """What says that it is too large is not expanded; what lies, or says nothing, no further than the limit."""
    zstandard = library("zstandard")
    limit = expansion.LIMIT
    zeros = bytes(limit + 1)
    says, silent = zstandard.compress(zeros), zstandard.ZstdCompressor(write_content_size=False).compress(zeros)
    bomb = gzip.compress(bytes(1 << 30 >> 3))
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    wide = stream.compress(b"x" * 300_000) + stream.flush()
    cut = zstandard.compress(bytes(1000))[:-1]
    fine = gzip.compress(bytes(limit))
    begin = time.process_time()
    _, collector = collected([says, silent, bomb, fine, bomb[:-9], says[:-3], wide, cut, fine[:-1], fine + b"x"])
    assert time.process_time() - begin < patient(5)
    aside = collector.intake.messages_aside
    assert aside[expansion.TOO_LARGE] == 5
    assert aside[expansion.DAMAGED] == 4
    assert collector.intake.balanced


def test_fault_94_without_zstandard(monkeypatch: pytest.MonkeyPatch) -> None:
    """zstd messages are set aside, and the reason says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    _, collector = collected([expansion.ZSTD + bytes(20)])
    assert collector.intake.messages_aside == {expansion.NO_ZSTD: 1}
