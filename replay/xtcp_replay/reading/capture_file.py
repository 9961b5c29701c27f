"""A capture of netlink messages as chunks."""

from __future__ import annotations

from collections.abc import Iterator

from xtcp.chunk import Chunk
from xtcp.schema.model import Order
from xtcp_replay.reading.contents import Contents
from xtcp_replay.reading.dumps import Dumps
from xtcp_replay.reading.findings import Findings
from xtcp_replay.reading.input_bytes import InputBytes
from xtcp_replay.reading.packets import read_packets


def capture_chunks(
    source: InputBytes,
    damage: Findings,
    notes: Findings,
    contents: Contents,
    *,
    order: Order | None = None,
    release: str = "",
) -> Iterator[Chunk]:
    """The dumps in a pcap or pcapng, numbered from 1 in `Context.dump`, those of one dump behind each other.

    What passed is counted in `contents`.
    `order` and `release` stand above what the file says. Raises `DamagedInput` where nothing can be read.
    """
    dumps = Dumps(damage, notes, contents, order=order, release=release)
    for packet in read_packets(source, damage, notes):
        yield from dumps.add(packet)
    yield from dumps.end()
