"""Scrubbing in memory, with a key that tests know; and a map that changes nothing."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.replay.made import cooked, pcap_header, record
from xtcp_replay.reading.findings import Findings
from xtcp_replay.reading.input_bytes import InputBytes
from xtcp_replay.reading.opening import open_bytes
from xtcp_replay.reading.told import Told
from xtcp_replay.rewriting.pseudonyms import Pseudonyms, make_key
from xtcp_replay.rewriting.scrub import scrub
from xtcp_replay.rewriting.scrub_datagram import Report

KEY = make_key(b"the key of the tests")
NAMES = Pseudonyms(KEY)
NOTHING = Told()


class SameNames(Pseudonyms):
    """Everything is its own pseudonym."""

    def __init__(self) -> None:
        super().__init__(KEY)
        self.v4 = self.v6 = _same  # type: ignore[assignment]
        self.cookie = self.inode = self.uid = self.cgroup_id = self.interface = _same
        self.port = self.netlink_port = self.token = _same

    def name(self, kind: str, name: str) -> str:
        """The name itself."""
        return name


def _same(value: Any) -> Any:
    return value


def scrubbed(content: bytes, names: Pseudonyms = NAMES, told: Told = NOTHING, **options: bool) -> bytes:
    """The copy of a file's content."""
    return told_of(content, names, told, **options)[0]


def told_of(
    content: bytes, names: Pseudonyms = NAMES, told: Told = NOTHING, **options: bool
) -> tuple[bytes, Report, list[str]]:
    """The copy, what was done, and what was damaged."""
    lines: list[str] = []
    out = bytearray()
    damage = Findings(lines)
    source = InputBytes(io.BufferedReader(io.BytesIO(content)), "made")
    report = scrub(source, out.extend, names, damage, told, **options)
    return bytes(out), report, lines


def content_of(path: Path) -> bytes:
    """The whole file, decompressed."""
    with open_bytes(str(path), Told(), Findings([])) as source:
        return source.read(1 << 30)


def capture(*datagrams: bytes, order: str = "<", wirelen: Sequence[int | None] = ()) -> bytes:
    """A pcap of sock_diag datagrams."""
    lengths = [*wirelen, *[None] * (len(datagrams) - len(wirelen))]
    return pcap_header(order) + b"".join(
        record(cooked(datagram), order=order, wirelen=length)
        for datagram, length in zip(datagrams, lengths, strict=True)
    )


def packets_of(content: bytes) -> list[bytes]:
    """The messages of each packet of a pcap, without its cooked header."""
    order = ">" if content[0] == 0xA1 else "<"
    found, at = [], 24
    while at < len(content):
        (length,) = struct.unpack_from(order + "I", content, at + 8)
        found.append(content[at + 32 : at + 16 + length])
        at += 16 + length
    return found
