"""A comparison as text: JSON lines for programs, aligned lines for people. In blocks of sockets, whatever their number.

JSON: `{"change":"came|went|changed","key":{…},"socket":{…},"fields":{NAME:{"old":…,"new":…}}}` a line. A value that is
absent is left out; of a socket that came every value is `new`, of one that went `old`. `"moved":true` where the cookie
is the same and the addresses are others.

People: `+` came, `-` went, `~` changed, `!` moved; then the ends, the state and the cookie, then the fields that
differ, those of the default table first, `FIELDS` of them unless all are wanted, with units; numbers whose rounded
texts are the same are written whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from xtcp.encode.cells import STATE_NAMES, address_text, is_address
from xtcp.encode.table import DEFAULT_VIEW, endpoint, number_text
from xtcp.schema.columns import BY_NAME, COLUMNS
from xtcp.schema.model import BLOB, STRING, TEXT
from xtcp.spelling import visible
from xtcp_replay.judging.diff import Comparison
from xtcp_replay.judging.snapshot import IDENTITY, Index, Mask, Place, Snapshot

CAME, WENT, CHANGED = "came", "went", "changed"
CHANGES: Final = (CAME, WENT, CHANGED)
SOCKETS: Final = 20
FIELDS: Final = 6

_BLOCK: Final = 512
_STATE: Final = "idiag_state"
_SOCKET: Final = ("idiag_family", _STATE, *IDENTITY[1:])
_USEFUL: Final = tuple(dict.fromkeys(name for view in DEFAULT_VIEW for name in view.reads))
_RANK: Final = {n: i for i, n in enumerate(dict.fromkeys((*_USEFUL, *(c.name for c in COLUMNS))))}


def rows_of(found: Comparison, change: str) -> int:
    """How many sockets came, went or changed."""
    return len({CAME: found.came, WENT: found.went, CHANGED: found.changed}[change])


@dataclass(frozen=True)
class _Block:
    """Sockets of one kind of change: rows of old and of new (None: it is not there), and by column which differ."""

    change: str
    old: Index | None
    new: Index | None
    moved: Mask
    fields: dict[str, Mask]


def _blocks(found: Comparison, change: str, names: Sequence[str], limit: int | None) -> Iterator[_Block]:
    rows = rows_of(found, change)
    for start in range(0, rows if limit is None else min(rows, limit), _BLOCK):
        stop = min(start + _BLOCK, rows, rows if limit is None else limit)
        piece = slice(start, stop)
        if change == CHANGED:
            old, new = found.changed[piece, 0], found.changed[piece, 1]
            fields = {name: mask[piece] for name, mask in found.fields.items()}
            yield _Block(change, old, new, found.moved[piece], fields)
            continue
        side, index = (found.new, found.came[piece]) if change == CAME else (found.old, found.went[piece])
        fields = {name: side.has(name)[index] for name in names if name in side.columns}
        before, after = (None, index) if change == CAME else (index, None)
        yield _Block(change, before, after, np.zeros(len(index), np.bool_), fields)


# --- JSON ----------------------------------------------------------------------------------------------------------


def json_lines(found: Comparison, only: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """One object a socket, in pieces of some lines."""
    for change in only:
        for block in _blocks(found, change, names, None):
            yield "".join(_json_block(found, block))


def _json_block(found: Comparison, block: _Block) -> Iterator[str]:
    side, index = _shown(found, block)
    fields = _fields(found, block, _json_texts, lambda name, old, new: f'"{name}":{{{_old_new(old, new)}}}')
    socket = [_json_texts(side, name, index) for name in _SOCKET]
    cookies = side.cookie[index].tolist()
    for i, place in enumerate(_places(found, side, index)):
        key = {n: v for n, v in zip(("hostname", "netns"), place, strict=True) if v is not None}
        told = json.dumps({**key, "idiag_cookie": cookies[i]}, separators=(",", ":"))
        what = ",".join(f'"{n}":{texts[i]}' for n, texts in zip(_SOCKET, socket, strict=True) if texts[i] is not None)
        moved = ',"moved":true' if block.moved[i] else ""
        text = ",".join(fields[i])
        yield f'{{"change":"{block.change}","key":{told},"socket":{{{what}}}{moved},"fields":{{{text}}}}}\n'


def _old_new(old: str | None, new: str | None) -> str:
    return ",".join(f'"{which}":{text}' for which, text in (("old", old), ("new", new)) if text is not None)


def _json_texts(side: Snapshot, name: str, index: Index) -> list[str | None]:
    """The column's values at `index` as JSON, None where absent."""
    kind = BY_NAME[name].kind
    if is_address(name) or name == _STATE:
        return [None if v is None else f'"{v}"' for v in _values(side, name, index)]
    if kind in (TEXT, STRING):
        return [None if v is None else json.dumps(v) for v in _values(side, name, index)]
    return [None if v is None else str(v) for v in _values(side, name, index)]


# --- people --------------------------------------------------------------------------------------------------------


class TextLines:
    """Lines for people. `limit` sockets of a change (None: all), `most` fields of a socket (None: all).

    `values`: of sockets that came and went the fields are shown too.
    """

    def __init__(self, found: Comparison, *, limit: int | None, most: int | None, values: bool) -> None:
        self._found = found
        self._limit = limit
        self._most = most
        self._values = values
        self._widths: list[int] = []

    def lines(self, only: Sequence[str], names: Sequence[str]) -> Iterator[str]:
        """One line a socket, in pieces of some lines; widths grow where a longer cell comes."""
        for change in only:
            for block in _blocks(self._found, change, names, self._limit):
                yield "".join(self._block(block))

    def _block(self, block: _Block) -> Iterator[str]:
        side, index = _shown(self._found, block)
        fields: list[list[str]] = [[] for _ in range(len(index))]
        if block.change == CHANGED or self._values:
            fields = _fields(self._found, block, _people_texts, _arrow)
        cells = list(zip(*self._cells(block, side, index), strict=True))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        self._widths = [max(pair) for pair in zip(widths, self._widths or widths, strict=True)]
        for row, texts in zip(cells, fields, strict=True):
            start = "  ".join(cell.ljust(width) for cell, width in zip(row, self._widths, strict=True))
            more = "" if self._most is None or len(texts) <= self._most else f", … {len(texts) - self._most} more"
            yield f"{start}  {', '.join(texts[: self._most])}{more}".rstrip() + "\n"

    def _cells(self, block: _Block, side: Snapshot, index: Index) -> Iterator[Sequence[str]]:
        mark = {CAME: "+", WENT: "-", CHANGED: "~"}[block.change]
        ends = _ends(side, index)
        yield [f"{'!' if moved else mark} {ends[i]}" for i, moved in enumerate(block.moved.tolist())]
        yield ["-" if v is None else v for v in _values(side, _STATE, index)]
        if len(self._found.places) > 1:
            yield ["/".join(visible(part) for part in p if part is not None) for p in _places(self._found, side, index)]
        yield [f"({cookie})" for cookie in side.cookie[index].tolist()]


def _arrow(name: str, old: str | None, new: str | None) -> str:
    if old is None and new is None:
        return name
    if old is None or new is None:
        return f"{name} {new if old is None else old}"
    return f"{name} {old} → {new}"


def _ends(side: Snapshot, index: Index) -> list[str]:
    columns = ("idiag_src", "idiag_sport", "idiag_dst", "idiag_dport", "idiag_family")
    src, sport, dst, dport, family = (side.columns[name][index] for name in columns)
    ports = zip(sport.tolist(), dport.tolist(), family.tolist(), strict=True)
    return [
        f"{endpoint(src[i].tobytes(), s, f)} → {endpoint(dst[i].tobytes(), d, f)}" for i, (s, d, f) in enumerate(ports)
    ]


def _people_texts(side: Snapshot, name: str, index: Index) -> list[str | None]:
    """The column's values at `index` for people, None where absent."""
    values = _values(side, name, index)
    if name == _STATE or is_address(name) or BY_NAME[name].kind in (TEXT, STRING, BLOB):
        return [None if v is None else visible(v) for v in values]
    text = number_text(BY_NAME[name])
    return [None if v is None else text(v) for v in values]


# --- both ----------------------------------------------------------------------------------------------------------


def _shown(found: Comparison, block: _Block) -> tuple[Snapshot, Index]:
    """The rows by which a block's sockets are called: the new ones where there are."""
    if block.new is not None:
        return found.new, block.new
    assert block.old is not None
    return found.old, block.old


def _places(found: Comparison, side: Snapshot, index: Index) -> list[Place]:
    return [found.places[number] for number in side.place[index].tolist()]


def _fields(
    found: Comparison,
    block: _Block,
    texts: Callable[[Snapshot, str, Index], list[str | None]],
    joined: Callable[[str, str | None, str | None], str],
) -> list[list[str]]:
    """For each socket of the block its fields, `joined` of name, old and new text."""
    fields: list[list[str]] = [[] for _ in range(len(block.moved))]
    order = sorted(block.fields, key=_RANK.__getitem__) if texts is _people_texts else list(block.fields)
    for name in order:
        which = np.flatnonzero(block.fields[name])
        if not len(which):
            continue
        nothing: list[str | None] = [None] * len(which)
        old = nothing if block.old is None else texts(found.old, name, block.old[which])
        new = nothing if block.new is None else texts(found.new, name, block.new[which])
        for i, (row, before, after) in enumerate(zip(which.tolist(), old, new, strict=True)):
            if block.change == CHANGED and texts is _people_texts:
                before, after = _told_apart(found, block, name, int(which[i]), before, after)
            fields[row].append(joined(name, before, after))
    return fields


def _told_apart(
    found: Comparison, block: _Block, name: str, row: int, old: str | None, new: str | None
) -> tuple[str, str]:
    """Texts of two values that differ: whole numbers where the rounded ones are the same, `absent` for none."""
    if old is not None and old == new and block.old is not None and block.new is not None:
        old, new = (
            str(int(side.columns[name][index[row]])) for side, index in ((found.old, block.old), (found.new, block.new))
        )
    return old or ("absent" if old is None else '""'), new or ("absent" if new is None else '""')


def _values(side: Snapshot, name: str, index: Index) -> list[Any]:
    """Values at `index` as Python objects, None where absent: addresses, states and texts as text."""
    if name not in side.columns:
        return [None] * len(index)
    column = side.columns[name][index]
    values: list[Any]
    if is_address(name):
        family = side.columns["idiag_family"][index].tolist()
        values = [address_text(f, column[i].tobytes()) for i, f in enumerate(family)]
    elif name == _STATE:
        values = [STATE_NAMES[state] for state in column.tolist()]
    else:
        values = column.tolist()
    if name in side.valid:
        for i in np.flatnonzero(~side.valid[name][index]).tolist():
            values[i] = None
    return values
