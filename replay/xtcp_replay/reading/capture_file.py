"""CaptureFile: a capture of netlink messages as a source of chunks."""

from __future__ import annotations

from collections.abc import Iterator

from xtcp.chunk import Chunk
from xtcp.schema.model import Order
from xtcp.sources.input_file import open_input
from xtcp_replay.reading.dumps import Dumps
from xtcp_replay.reading.findings import Findings
from xtcp_replay.reading.packets import read_packets


class CaptureFile:
    """A `Source` of the dumps in `path` (`-`: standard input), numbered from 1 in `Context.dump`.

    `order` and `release` stand above what the file says. `chunks` raises `DamagedInput` where nothing can be read.
    `damage` says what of the file is not whole, `notes` what is whole and not decoded, or not known.
    """

    def __init__(self, path: str, *, order: Order | None = None, release: str = "") -> None:
        self.damage: list[str] = []
        self.notes: list[str] = []
        self._path = path
        self._name = "standard input" if path == "-" else path
        self._order = order
        self._release = release

    def chunks(self) -> Iterator[Chunk]:
        """All chunks, dump by dump."""
        self.damage.clear()
        self.notes.clear()
        damage, notes = Findings(self.damage), Findings(self.notes)
        dumps = Dumps(damage, notes, order=self._order, release=self._release)
        with open_input(self._path) as file:
            for packet in read_packets(file, self._name, damage, notes):
                yield from dumps.add(packet)
            yield from dumps.end()
