"""Rows 40 and 42 to 48: captures that were cut, mixed, merged, rewritten, taken by a wrong clock, or made to hurt."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from io import BufferedRandom
from pathlib import Path

import pytest

from tests.cli.running import ENVIRONMENT, REPLAY
from tests.conftest import ROOT
from tests.encoder import attribute, message
from tests.faults import mutations
from tests.patience import SLOWNESS, fewer, patient
from tests.replay.made import (
    MULTI,
    PORT,
    SEQ,
    cooked,
    done,
    dump,
    enhanced,
    interface,
    option,
    pcap,
    pcap_header,
    pcapng,
    read,
    record,
    request,
    row,
    saved,
    section,
    sockets,
)
from tests.zoos import ORIGINALS, ROWS
from xtcp.batch import Tally
from xtcp.errors import ExitCode
from xtcp_replay.cli.main import run

SECOND = 1_000_000_000
ZOO = ORIGINALS


def test_fault_40_snaplen_96(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """tcpdump -s 96: whole messages before each cut are rows, the cut ones are counted, the advice is -s 0."""
    packets = [cooked(row(n) + row(n + 1)) for n in (1, 3, 5)] + [cooked(done())]
    whole = b"".join(record(packet[: 16 + 88 + 8], wirelen=len(packet)) for packet in packets)
    tally = Tally()
    source = read(tmp_path, pcap_header() + whole)
    assert sockets(source, tally) == [(1, 1), (1, 3), (1, 5)]
    (text,) = source.damage
    assert "cut by the snaplen" in text and f"{3 * 80} bytes are missing" in text and "-s 0" in text
    assert (tally.quarantined, tally.rows) == (3, 3)
    assert run(["decode", str(tmp_path / "made"), "--format", "null"]) == ExitCode.DAMAGED
    assert "tcpdump -s 0" in capsys.readouterr().err


@pytest.mark.parametrize("snaplen", range(0, 104, 8))
def test_fault_40_any_snaplen(tmp_path: Path, snaplen: int) -> None:
    """However short packets are cut, nothing is made up."""
    packets = [cooked(datagram) for datagram in dump((1,))]
    content = pcap_header() + b"".join(record(packet[:snaplen], wirelen=len(packet)) for packet in packets)
    source = read(tmp_path, content)
    assert [cookie for _, cookie in sockets(source)] == []
    assert "cut by the snaplen" in source.damage[0]


def test_fault_42_noise_between_requests_and_replies(tmp_path: Path) -> None:
    """What nlmon sees beside ss: route and generic netlink, dumps of other sockets, events. Only TCP's are rows."""
    tcp, others = dump((1, 2)), [request(family=1, seq=7), row(3, family=1, seq=7, port=9), done(seq=7, port=9)]
    mixed = [tcp[0], others[0], tcp[1], others[1], tcp[2], others[2]]
    content = pcap_header()
    for at, datagram in enumerate(mixed):
        content += record(cooked(datagram)) + record(cooked(b"\x14" * 60, family=(0, 16)[at % 2]))
    source = read(tmp_path, content)
    assert sockets(source) == [(1, 1), (1, 2)]
    assert source.damage == []
    assert sorted(source.notes) == [
        "messages about other sockets skipped (UNIX sockets: 2).",
        "packets of other netlink families skipped (generic: 3, route: 3).",
    ]
    counts = source.contents
    assert (counts.packets, counts.requests, counts.families) == (12, 2, Counter({4: 6, 0: 3, 16: 3}))


def test_fault_44_the_same_port_sequence_and_cookies_on_two_hosts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Merged as pcapng, an interface or a section a host: each host's rows under its name."""
    told = [option("<", 1, f"host: {name}".encode()) + option("<", 4, b"xtcp 0.1.0") for name in ("edge1", "edge2")]
    content = b"".join(
        section(options=options) + interface() + b"".join(enhanced(cooked(d)) for d in dump((1, 2))) for options in told
    )
    path = saved(tmp_path, content)
    assert run(["decode", path, "--format", "json", "-q"]) == ExitCode.OK
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(r["dump"], r["hostname"], r["idiag_cookie"]) for r in rows] == [
        (1, "edge1", 1),
        (1, "edge1", 2),
        (2, "edge2", 1),
        (2, "edge2", 2),
    ]


def test_fault_44_several_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Duplicates are removed within a dump, never across files; --host tells which file is whose."""
    one, two = (saved(tmp_path, pcap(dump((1, 1, 2))), name) for name in ("one.pcap", "two.pcap"))
    assert run(["decode", one, two, "--format", "json", "--host", f"{one}=a", "--host", "two.pcap=b"]) == ExitCode.OK
    out, said = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(r["dump"], r["hostname"], r["idiag_cookie"]) for r in rows] == [
        (1, "a", 1),
        (1, "a", 2),
        (2, "b", 1),
        (2, "b", 2),
    ]
    assert "4 sockets of 2 dumps, 2 duplicates removed" in said
    assert f"{one}: dump 1\n{two}: dump 2\n" in said


def test_fault_46_clocks(tmp_path: Path) -> None:
    """Times that go back, of 1970 and of 2106: the order of the file is kept, each is noted and counted."""
    times = [1_700_000_000, 1_699_999_990, 5, 6, 0xFFFF_FFFF, 1_700_000_100]
    packets = [*dump((1, 2)), *dump((3,))]
    source = read(
        tmp_path, pcap_header() + b"".join(record(cooked(p), t * SECOND) for p, t in zip(packets, times, strict=True))
    )
    assert sockets(source) == [(1, 1), (1, 2), (2, 3)]
    assert [chunk.context.timestamp_ns for chunk in source.chunks()] == [times[0] * SECOND, times[3] * SECOND]
    notes = "\n".join(source.notes)
    assert "before that of the packet in front of them (at byte 128, at byte 336, at byte 612)" in notes
    assert "before 1980: the clock of the host was not set (at byte 336, at byte 388)" in notes
    assert "after 2099: the clock of the host was wrong (at byte 492)" in notes
    assert source.damage == []
    for dump_ in source.contents.dumps:
        assert dump_.first_ns is not None and dump_.last_ns is not None
        assert dump_.first_ns <= dump_.last_ns


def test_fault_46_a_time_that_cannot_be(tmp_path: Path) -> None:
    """A pcapng can say the year 584,942: the row comes without a time, and a note."""
    header = section() + interface(options=option("<", 9, b"\0"))  # if_tsresol: seconds
    content = header + b"".join(enhanced(cooked(d), ticks=(1 << 64) - 1) for d in dump((1,)))
    source = read(tmp_path, content)
    assert sockets(source) == [(1, 1)]
    assert next(iter(source.chunks())).context.timestamp_ns is None
    assert "time that cannot be" in source.notes[0]


def test_fault_47_the_same_bytes_every_time(tmp_path: Path) -> None:
    """Whatever the hash seed, alone or two at a time: one sha256 of rows and summary."""
    running: list[tuple[BufferedRandom, subprocess.Popen[bytes]]] = []
    captures = ZOO if SLOWNESS == 1 else ZOO[:1]
    for seed in ("0", "random", "1"):
        out = (tmp_path / f"{len(running)}.json").open("w+b")
        command = [*REPLAY, "decode", *map(str, captures), "--format", "json"]
        environment = {**ENVIRONMENT, "PYTHONHASHSEED": seed}
        running.append((out, subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, env=environment)))
        if len(running) % 2 == 0:
            running[-2][1].wait(timeout=patient(30))
    found = set()
    for out, process in running:
        said = process.communicate(timeout=patient(30))[1]
        assert process.returncode == ExitCode.OK
        out.seek(0)
        content = out.read()
        out.close()
        assert content.count(b"\n") == sum(ROWS[path] for path in captures)
        found.add((hashlib.sha256(content).hexdigest(), said))
    assert len(found) == 1


def test_fault_48_random_mutations_in_bounds(tmp_path: Path) -> None:
    """512 MiB of address space, a second a MiB, and nothing but `DamagedInput`, with real captures broken at random."""
    environment = {
        **ENVIRONMENT,
        "PYTHONPATH": f"{ROOT}:{ENVIRONMENT['PYTHONPATH']}",
        "OPENBLAS_NUM_THREADS": "1",  # each thread claims address space of its own
    }
    mebibytes = fewer(12) / 4
    finished = subprocess.run(
        [sys.executable, mutations.__file__, "--mebibytes", str(mebibytes), "--seed", "48", *map(str, ZOO)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout)
    assert found["rows"] > 1000 * mebibytes
    assert found["quarantined"] + found["damaged_rows"] > 30 * mebibytes
    assert found["seconds_a_mebibyte"] < patient(1.5), "1 s, and half as much again for a machine that has other work"
    assert found["rss_mebibytes"] < 512


def _attributes(count: int) -> bytes:
    return b"".join(attribute("<", number % 60 + 1, bytes(4)) for number in range(count))


def pace() -> float:
    """Seconds that this machine, emulated or busy, takes for a million additions: some 0.03 on one of today."""
    total, parts, begun = 0, fewer(20), time.process_time()
    for number in range(parts * 50_000):
        total += number
    return (time.process_time() - begun) * 20 / parts


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "a socket a dump": lambda n: row(n, seq=n, port=0, flags=0),
    "a dump a packet": lambda n: row(n, seq=n) + done(seq=n),
    "an end a packet": lambda n: done(seq=n),
    "an attribute of its own a dump": lambda n: message("<", row(n)[16:] + attribute("<", n % 999, b""), 20, 0, 0, 0),
    "many attributes": lambda n: message("<", row(n)[16:] + _attributes(n % 97), 20, MULTI, SEQ, PORT),
    "short messages": lambda n: message("<", b"", 1, MULTI, SEQ, PORT) * 64,
    "nothing": lambda n: b"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_fault_48_shapes_made_to_cost(tmp_path: Path, what: str) -> None:
    """Captures of what costs most a byte, 128 KiB each or a part of it: bounded too, by this machine's own pace."""
    content, number = bytearray(pcap_header()), 0
    while len(content) < fewer(128) << 10:
        number += 1
        content += record(cooked(HOSTILE[what](number)))
    source = read(tmp_path, bytes(content))
    limit = 16 * pace() * fewer(128) / 128
    begun = time.process_time()
    tally = Tally()
    sockets(source, tally)
    assert time.process_time() - begun < patient(limit)


def test_fault_48_pcapng_made_to_cost(tmp_path: Path) -> None:
    """Sections, interfaces and empty packets by the thousand."""
    content = section() * 1500 + section() + interface() * 1500 + pcapng() + enhanced(b"") * 1500
    limit = 200 * pace() * len(content) / (1 << 20)
    begun = time.process_time()
    assert sockets(read(tmp_path, content)) == [(1, 1), (1, 2)]
    assert time.process_time() - begun < patient(limit)
