"""A file of any kind that is known here as a source of chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from xtcp.schema.model import Order
from xtcp.sources import Source
from xtcp_replay.reading.capture_file import CaptureFile


@dataclass(frozen=True)
class Told:
    """What a user says about a file; it stands above what the file says of itself."""

    order: Order | None = None
    release: str = ""


class ReplaySource(Source, Protocol):
    """A `Source` that also says, in `notes`, what is whole and not decoded, or not known."""

    notes: list[str]


def open_source(path: str, told: Told = Told()) -> ReplaySource:
    """The file at `path` (`-`: standard input). Nothing is read before `chunks` is called, which raises."""
    return CaptureFile(path, order=told.order, release=told.release)
