"""Findings: what was wrong in a file, each kind said once, with the first places and how often."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_PLACES: Final = 3


@dataclass
class _Kind:
    line: int
    places: list[str] = field(default_factory=list)
    count: int = 0
    missing: int = 0


class Findings:
    """Writes lines into a list that others hold; the number of lines is that of the kinds, whatever the file."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._kinds: dict[str, _Kind] = {}

    def add(self, what: str, where: str, *, missing: int = 0, advice: str = "") -> None:
        """One more of the kind `what` (a constant text), at `where`, with `missing` bytes not there."""
        kind = self._kinds.get(what)
        if kind is None:
            kind = self._kinds[what] = _Kind(len(self._lines))
            self._lines.append("")
        kind.count += 1
        kind.missing += missing
        if kind.count <= _PLACES:
            kind.places.append(where)
        more = f" and {kind.count - _PLACES:,} more" if kind.count > _PLACES else ""
        lost = f"; {kind.missing:,} bytes are missing" if kind.missing else ""
        self._lines[kind.line] = f"{what} ({', '.join(kind.places)}{more}){lost}." + (f" {advice}" if advice else "")


def at_byte(offset: int) -> str:
    """A place in a file."""
    return f"at byte {offset:,}"
