"""A capture larger than memory need be, through `xtcp-replay decode`: its peak of memory, and its pace.

    make bench ARGS="--large 1"      a file of 1 GB
    make bench ARGS="--large 10"     of 10 GB

The file is made of a capture in pcaps/: a poll has its rows again and again under cookies of their own until it has
about 118,800, and polls follow each other. No root is needed, but room for the file in TMPDIR.
"""

from __future__ import annotations

import re
import struct
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from tests.bench.programs import ROOT, Failed, Program, measure
from tests.replay.made import cooked, pcap_header, record

GB: Final = 1_000_000_000
LIMIT_MIB: Final = 200.0
KIB: Final = 1024
CAPTURE: Final = next((ROOT / "pcaps").glob("6.18*-x86_64/zoo.pcapng"))
ROWS_A_POLL: Final = 118_800

_ENHANCED_PACKET: Final = 6
_COOKED: Final = 16
_COOKIE_AT: Final = 16 + 44
_POLL_INTERVAL_NS: Final = 30 * 1_000_000_000
_T0: Final = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class Large:
    """`size` bytes with `rows` sockets, decoded in `seconds` with at most `peak_mib` of memory, None where unknown."""

    size: int
    rows: int
    seconds: float
    peak_mib: float | None

    @property
    def met(self) -> bool | None:
        """Whether memory stayed below the limit."""
        return None if self.peak_mib is None else self.peak_mib < LIMIT_MIB

    def line(self) -> str:
        """For people and for docs/performance.md."""
        verdict = {True: "met", False: "**missed**", None: "not measured"}[self.met]
        peak = "?" if self.peak_mib is None else f"{self.peak_mib:,.0f}"
        return (
            f"A capture of {self.size / GB:.1f} GB, {self.rows:,} sockets: {self.seconds:,.1f} s, "
            f"{self.size / self.seconds / 1e6:,.0f} MB/s, peak RSS {peak} MiB (goal < {LIMIT_MIB:.0f}: {verdict})."
        )


def large(size: int) -> Large:
    """Makes a capture of `size` bytes or a little more, and decodes it. Raises `Failed`."""
    with tempfile.TemporaryDirectory(prefix="xtcp-bench-") as folder:
        path = Path(folder) / "large.pcap"
        with path.open("wb", buffering=1 << 20) as file:
            rows = write(file, size)
        output = Path(folder) / "output"
        argv = (sys.executable, "-m", "xtcp_replay", "decode", str(path), "--format", "null")
        sample = measure(Program(argv, output, output.with_suffix(".err"), _count))
        if sample.rows != rows:
            raise Failed(f"{sample.rows:,} of {rows:,} sockets of {path.name}")
        peak = None if sample.peak_kib is None else sample.peak_kib / KIB
        return Large(path.stat().st_size, rows, sample.wall, peak)


def write(file: BinaryIO, size: int) -> int:
    """Writes polls until `file` has `size` bytes; returns how many sockets it has."""
    dumps = list(_dumps(CAPTURE.read_bytes()))
    sockets = sum(len(places) for _, _, rows in dumps for _, places in rows)
    repeats = -(-ROWS_A_POLL // sockets)
    file.write(pcap_header(nano=True))
    written = polls = 0
    while file.tell() < size:
        time_ns = _T0 + polls * _POLL_INTERVAL_NS
        for request, done, rows in dumps:
            file.write(record(cooked(request), time_ns, nano=True))
            for number in range(repeats):
                for datagram, places in rows:
                    for at in places:
                        # The cookie's upper word; no socket of the capture has one.
                        struct.pack_into("<I", datagram, at + _COOKIE_AT + 4, number)
                    file.write(record(cooked(bytes(datagram)), time_ns, nano=True))
                    written += len(places)
            file.write(record(cooked(done), time_ns, nano=True))
        polls += 1
    return written


def _dumps(raw: bytes) -> Iterator[tuple[bytes, bytes, list[tuple[bytearray, list[int]]]]]:
    """(request, end, rows) of each dump; rows are datagrams with the places of their messages."""
    request = b""
    rows: list[tuple[bytearray, list[int]]] = []
    at = 0
    while at < len(raw):
        kind, length = struct.unpack_from("<II", raw, at)
        if kind == _ENHANCED_PACKET:
            (captured,) = struct.unpack_from("<I", raw, at + 20)
            netlink = raw[at + 28 + _COOKED : at + 28 + captured]
            _, kind, flags = struct.unpack_from("<IHH", netlink)
            if flags & 1:
                request, rows = netlink, []
            elif kind == 3:
                yield request, netlink, rows
            else:
                rows.append((bytearray(netlink), _messages(netlink)))
        at += length


def _messages(netlink: bytes) -> list[int]:
    places, at = [], 0
    while at < len(netlink):
        places.append(at)
        at += struct.unpack_from("<I", netlink, at)[0] + 3 & ~3
    return places


def _count(errors: Path) -> int:
    """Sockets by the summary line of decode."""
    found = re.search(r"([\d,]+) sockets of", errors.read_text())
    return int(found[1].replace(",", "")) if found else 0
