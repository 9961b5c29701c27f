"""Datagrams of real captures, for tests that rewrite them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.conftest import captures_folder
from tests.zoos import ORIGINALS
from xtcp.netlink.byte_order import detect
from xtcp.schema.model import Order
from xtcp_replay.reading.findings import Findings
from xtcp_replay.reading.input_bytes import InputBytes
from xtcp_replay.reading.packets import read_packets


def capture_files() -> list[Path]:
    """Some captures of this project, and every one of others."""
    shared = captures_folder()
    theirs = [] if shared is None else sorted(shared.glob("*/*"))
    return [*ORIGINALS, *(path for path in theirs if path.suffix in {".pcap", ".pcapng"})]


@cache
def real_datagrams() -> tuple[tuple[bytes, Order], ...]:
    """Every sock_diag datagram of all captures, each once, with its byte order."""
    return tuple({one: None for path in capture_files() for one in _of(path)})


def _of(path: Path) -> Iterator[tuple[bytes, Order]]:
    with path.open("rb") as file:
        for packet in read_packets(InputBytes(file, str(path)), Findings([]), Findings([])):
            netlink = packet.data[16:]
            order = detect(netlink)
            if packet.data[14:16] == b"\0\4" and order is not None:
                yield netlink, order
