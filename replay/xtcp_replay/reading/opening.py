"""A file of any kind that is known here as a source of chunks, or as its bytes.

What a file is, and what it is compressed with, is told by its content, never by its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from io import BufferedReader
from typing import Final, Protocol

from xtcp.chunk import Chunk
from xtcp.errors import DamagedInput
from xtcp.netlink.byte_order import detect
from xtcp.sources import Source
from xtcp.sources.dump_file import DumpFile
from xtcp.sources.input_file import COMPRESSED, PCAP, PCAPNG, UNKNOWN, kind_of
from xtcp_replay.reading.capture_file import capture_chunks
from xtcp_replay.reading.compressed import KINDS, Decompressed
from xtcp_replay.reading.contents import Contents
from xtcp_replay.reading.findings import Findings
from xtcp_replay.reading.form import form_of
from xtcp_replay.reading.input_bytes import BUFFER, InputBytes, Watch, watched
from xtcp_replay.reading.mlab_archive import archive_chunks, is_archive
from xtcp_replay.reading.packets import not_a_capture
from xtcp_replay.reading.sidecar import with_sidecar
from xtcp_replay.reading.told import Told

LAYERS: Final = 3
_NOTHING: Final = Told()

__all__ = ["ReplaySource", "Told", "open_bytes", "open_source"]


class ReplaySource(Source, Protocol):
    """A `Source` that also says, in `notes`, what is whole and not decoded, or not known; in `contents`, what passed.

    They are those of the last reading, and whole at its end.
    """

    notes: list[str]
    contents: Contents


def open_source(path: str, told: Told = _NOTHING, watch: Watch | None = None) -> ReplaySource:
    """The file at `path` (`-`: standard input). Nothing is read before `chunks` is called, which raises."""
    return _ReplayFile(path, told, watch)


@contextmanager
def open_bytes(path: str, told: Told, damage: Findings, watch: Watch | None = None) -> Iterator[InputBytes]:
    """The content of the file at `path`, decompressed up to `LAYERS` times.

    Raises like `open_input`, and `DamagedInput` where it is compressed in another way, or nothing can be decompressed.
    What is cut or damaged later goes to `damage`.
    """
    name = "standard input" if path == "-" else path
    with ExitStack() as stack:
        source = InputBytes(stack.enter_context(watched(path, name, watch)), name)
        within = ""
        for layer in range(LAYERS + 1):
            kind = kind_of(source.head)
            if kind not in COMPRESSED:
                break
            if kind not in KINDS:
                raise DamagedInput(
                    f"{name} is {kind} data{within}, which is not read here.",
                    "Read here are gzip, zstd and xz.",
                    f"Decompress it first: {kind} -dc {path} | xtcp-replay decode -",
                )
            if layer == LAYERS:
                raise DamagedInput(
                    f"{name} is compressed more than {LAYERS} times.",
                    "Usually that is no capture.",
                    f"Look what is in it: {kind} -dc {path} | file -",
                )
            packed = Decompressed(source, kind, within, told.max_bytes, damage)
            source = InputBytes(stack.enter_context(BufferedReader(packed, BUFFER)), name)
            if not source.head:
                packed.insist(name)
            within = f" in {kind} data{within}"
        source.within = within
        yield source


class _ReplayFile:
    """The `ReplaySource` of a file."""

    def __init__(self, path: str, told: Told, watch: Watch | None) -> None:
        self.damage: list[str] = []
        self.notes: list[str] = []
        self.contents = Contents()
        self._path = path
        self._told = told
        self._watch = watch

    def chunks(self) -> Iterator[Chunk]:
        """All chunks, dump by dump. Raises `DamagedInput` where nothing can be read."""
        self.damage.clear()
        self.notes.clear()
        self.contents.clear()
        told = with_sidecar(self._path, self._told)
        damage, notes = Findings(self.damage), Findings(self.notes)
        with open_bytes(self._path, told, damage, self._watch) as source:
            for chunk in self._chunks(source, told, damage, notes):
                yield _as_told(chunk, told)

    def _chunks(self, source: InputBytes, told: Told, damage: Findings, notes: Findings) -> Iterator[Chunk]:
        kind = kind_of(source.head)
        self.contents.form = form_of(source.head, kind) + source.within
        if kind in {PCAP, PCAPNG}:
            yield from capture_chunks(source, damage, notes, self.contents, order=told.order, release=told.release)
        elif is_archive(source.head):
            self.contents.form = "archive of m-lab's tcp-info" + source.within
            records = archive_chunks(source, damage, notes, order=told.order or "<", release=told.release)
            yield from self.contents.of(records)
        elif kind == UNKNOWN and (told.order or detect(source.head)):
            self.contents.form = "raw netlink messages" + source.within
            dump = DumpFile(self._path, order=told.order, release=told.release, stream=source)
            yield from self.contents.of(dump.chunks())
            self.damage += dump.damage
        else:
            raise not_a_capture(source.name, kind)


def _as_told(chunk: Chunk, told: Told) -> Chunk:
    """With the names that were told."""
    if told.hostname is None and told.netns is None:
        return chunk
    context = chunk.context
    hostname = context.hostname if told.hostname is None else told.hostname
    netns = context.netns if told.netns is None else told.netns
    return replace(chunk, context=replace(context, hostname=hostname, netns=netns))
