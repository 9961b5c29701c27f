"""Snapshot: the sockets of a file as columns, each socket once, to be compared with another file's.

1. A socket is told by its cookie and its place, host and network namespace. Inside a dump duplicates are removed as a
   poll does; of the rows of several dumps the last one stands.
2. Values have one form wherever they come from: numbers and addresses as in a batch; texts, and bytes as the JSON
   encoder writes them, as objects. So a capture can be compared with a golden file, and with one in the other byte
   order.
3. Memory grows with the sockets and the columns asked for, not with the file; `LIMIT` sockets at most.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import Batch, Tally
from xtcp.decode.decoder import Decoder
from xtcp.encode.cells import AF_INET, AF_INET6, STATE_NAMES, bytes_value, clean_text, is_address
from xtcp.errors import UsageError
from xtcp.poll.unique import NEEDED_COLUMNS, Unique
from xtcp.schema.columns import BY_NAME, CONTEXT_NAMES
from xtcp.schema.layout import column_dtype
from xtcp.schema.model import BLOB, STRING, TEXT, Order
from xtcp_replay.judging.golden_file import Fields, GoldenFile
from xtcp_replay.reading.opening import ReplaySource

Array: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[np.bool_]
Index: TypeAlias = NDArray[np.int64]
Place: TypeAlias = tuple[str | None, str | None]
Ranges: TypeAlias = Sequence[tuple[int, int]]

# What tells a socket from others for people, whatever columns are compared.
IDENTITY: Final = ("idiag_family", "idiag_src", "idiag_sport", "idiag_dst", "idiag_dport")
COOKIE: Final = "idiag_cookie"
LIMIT: Final = 1_000_000

_STATE: Final = "idiag_state"
_BLOCK: Final = 2048
_FEWEST: Final = 65_536
_STATE_NUMBERS: Final = {name: number for number, name in enumerate(STATE_NAMES)}


@dataclass
class Snapshot:
    """`rows` sockets: `place` (rows,) numbers into the `Places` that both sides share, `cookie` (rows,) u64.

    `columns` and `valid` as in a batch. `read` rows came, of `dumps` dumps; `replaced` were of a socket that came again
    in a later dump. `tally` is decode's, empty for a golden file.
    """

    rows: int
    place: NDArray[np.uint32]
    cookie: NDArray[np.uint64]
    columns: dict[str, Array]
    valid: dict[str, Mask]
    replaced: int
    dumps: int
    tally: Tally

    def take(self, index: Index | Mask) -> Snapshot:
        """The sockets at `index`."""
        return Snapshot(
            len(self.place[index]),
            self.place[index],
            self.cookie[index],
            {name: column[index] for name, column in self.columns.items()},
            _each_once(self.valid, index),
            self.replaced,
            self.dumps,
            self.tally,
        )

    def has(self, name: str) -> Mask:
        """Which sockets have the column, (rows,)."""
        if name not in self.columns:
            return np.zeros(self.rows, np.bool_)
        return self.valid.get(name, np.ones(self.rows, np.bool_))


@dataclass
class Places:
    """(hostname, namespace) by number, shared by the snapshots that are to be compared."""

    numbers: dict[Place, int] = field(default_factory=dict)

    @property
    def names(self) -> list[Place]:
        """The places by their numbers."""
        return list(self.numbers)

    def number(self, place: Place) -> int:
        """The number of `place`."""
        return self.numbers.setdefault(place, len(self.numbers))


@dataclass
class _Part:
    """Some rows, before all are put together."""

    place: NDArray[np.uint32]
    cookie: NDArray[np.uint64]
    columns: dict[str, Array]
    valid: dict[str, Mask]

    def take(self, keep: Mask) -> _Part:
        columns = {name: column[keep] for name, column in self.columns.items()}
        return _Part(self.place[keep], self.cookie[keep], columns, _each_once(self.valid, keep))


class Gatherer:
    """Parts in the order of the file to one snapshot; `names` are the columns that are kept."""

    def __init__(self, names: Collection[str], places: Places) -> None:
        self.tally = Tally()
        self.dumps = 0
        self._names = frozenset(names) | {*IDENTITY, _STATE}
        self._places = places
        self._parts: list[_Part] = []
        self._rows = 0
        self._replaced = 0
        self._compact_at = _FEWEST

    @property
    def decoded(self) -> frozenset[str]:
        """The columns that a decoder must give."""
        return (self._names - CONTEXT_NAMES) | NEEDED_COLUMNS

    def add(self, batch: Batch) -> None:
        """The rows of one batch."""
        context = batch.context
        columns = {name: batch.columns[name] for name in self._names & batch.columns.keys()}
        valid = {name: batch.valid[name] for name in columns.keys() & batch.valid.keys()}
        family = batch.columns.get("idiag_family", np.zeros(batch.rows, np.uint8))
        for name, column in columns.items():
            columns[name] = _one_form(name, column, family, context.order)
        for name, value in context.constants().items():
            if name in self._names:
                columns[name] = np.full(batch.rows, value, column_dtype(name))
        place = self._places.number((context.hostname, context.netns))
        cookie = batch.columns[COOKIE].astype(np.uint64, copy=False)
        self._append(_Part(np.full(batch.rows, place, np.uint32), cookie, columns, valid))

    def add_rows(self, rows: Sequence[Fields]) -> None:
        """Rows as JSON objects. Raises `ValueError` where a value is none of its column's."""
        names = self._names.intersection(*[set().union(*rows)])
        family = [row.get("idiag_family", 0) for row in rows]
        columns: dict[str, Array] = {}
        valid: dict[str, Mask] = {}
        for name in names:
            mask = np.array([name in row for row in rows], np.bool_)
            columns[name] = _from_json(name, [row.get(name) for row in rows], mask, family)
            if not mask.all():
                valid[name] = mask
        numbers = [self._places.number((_name(row, "hostname"), _name(row, "netns"))) for row in rows]
        all_rows = np.ones(len(rows), np.bool_)
        cookie = _from_json(COOKIE, [row.get(COOKIE) for row in rows], all_rows, family)
        self._append(_Part(np.array(numbers, np.uint32), cookie, columns, valid))

    def finish(self) -> Snapshot:
        """All that came."""
        self._compact()
        parts = self._parts
        columns: dict[str, Array] = {}
        valid: dict[str, Mask] = {}
        masks: dict[tuple[int, ...], Mask] = {}
        for name in sorted({name for part in parts for name in part.columns}):
            which = tuple(id(part.valid.get(name)) if name in part.columns else 0 for part in parts)
            if which not in masks:
                masks[which] = _mask(name, parts)
            if not masks[which].all():
                valid[name] = masks[which]
            columns[name] = _joined(name, parts)
        self._parts = []
        place = np.concatenate([np.zeros(0, np.uint32), *[part.place for part in parts]])
        cookie = np.concatenate([np.zeros(0, np.uint64), *[part.cookie for part in parts]])
        return Snapshot(self._rows, place, cookie, columns, valid, self._replaced, self.dumps, self.tally)

    def _append(self, part: _Part) -> None:
        self._parts.append(part)
        self._rows += len(part.place)
        if self._rows > self._compact_at:
            self._compact()
            if self._rows > LIMIT:
                raise UsageError(
                    f"there are more than {LIMIT:,} sockets in the file, too many to hold.",
                    "Usually it has dumps of many hours or hosts.",
                    "Choose dumps with --dump-a and --dump-b.",
                )
            self._compact_at = max(_FEWEST, 2 * self._rows)

    def _compact(self) -> None:
        """Only the last row of each socket."""
        if not self._parts:
            return
        keep = last_of_each(
            np.concatenate([part.place for part in self._parts]), np.concatenate([part.cookie for part in self._parts])
        )
        ends = np.cumsum([len(part.place) for part in self._parts])[:-1]
        if not keep.all():
            pieces = np.split(keep, ends)
            self._parts = [part.take(piece) for part, piece in zip(self._parts, pieces, strict=True) if piece.any()]
        self._replaced += self._rows - int(keep.sum())
        self._rows = int(keep.sum())


def gather_source(source: ReplaySource, gatherer: Gatherer, dumps: Ranges | None = None) -> Snapshot:
    """The sockets of a source, of the dumps in these ranges (None: all). Raises as `source.chunks` does."""
    decoder = Decoder(gatherer.decoded)
    unique, current = Unique(), None
    for chunk in source.chunks():
        number = chunk.context.dump
        if not _taken(number, dumps):
            continue
        if number != current or not gatherer.dumps:
            for batch in unique.end():
                gatherer.add(batch)
            unique, current = Unique(), number
            gatherer.dumps += 1
        decoded = decoder.decode(chunk)
        gatherer.tally.add(decoded.tally)
        for batch in unique.add(decoded):
            gatherer.add(batch)
    for batch in unique.end():
        gatherer.add(batch)
    return gatherer.finish()


def gather_golden(file: GoldenFile, gatherer: Gatherer, dumps: Ranges | None = None) -> Snapshot:
    """The sockets of a golden file. Raises `DamagedInput`."""
    seen: set[object] = set()
    for rows in _blocks(file, dumps):
        try:
            for row in rows:
                _insist("dump", isinstance(row.get("dump"), int | None))
                seen.add(row.get("dump"))
            gatherer.add_rows(rows)
        except (ValueError, TypeError) as error:
            raise file.damaged(str(error)) from error
    gatherer.dumps = len(seen)
    return gatherer.finish()


def last_of_each(place: NDArray[np.uint32], cookie: NDArray[np.uint64]) -> Mask:
    """Which rows are the last of their socket, (rows,)."""
    order = np.lexsort((cookie, place))  # stable: equal ones stay in their order
    last = np.ones(len(place), np.bool_)
    last[:-1] = (cookie[order][1:] != cookie[order][:-1]) | (place[order][1:] != place[order][:-1])
    keep = np.zeros(len(place), np.bool_)
    keep[order[last]] = True
    return keep


def _name(row: Fields, column: str) -> str | None:
    name = row.get(column)
    _insist(column, isinstance(name, str | None))
    return name


def _taken(dump: object, ranges: Ranges | None) -> bool:
    """Whether a dump of this number is one of those that were chosen."""
    return ranges is None or (isinstance(dump, int) and any(first <= dump <= last for first, last in ranges))


def _blocks(file: GoldenFile, dumps: Ranges | None) -> Iterator[list[Fields]]:
    block: list[Fields] = []
    for number, line in file.rows():
        row = file.parsed(number, line)
        if _taken(row.get("dump"), dumps):
            block.append(row)
        if len(block) == _BLOCK:
            yield block
            block = []
    if block:
        yield block


def _each_once(masks: dict[str, Mask], index: Index | Mask) -> dict[str, Mask]:
    """Each of `masks` at `index`; columns that came together go on sharing theirs."""
    taken: dict[int, Mask] = {}
    for mask in masks.values():
        if id(mask) not in taken:
            taken[id(mask)] = mask[index]
    return {name: taken[id(mask)] for name, mask in masks.items()}


def _joined(name: str, parts: Iterable[_Part]) -> Array:
    form = _form(name)
    blank = np.zeros(0, form)
    # Popped, so that the parts do not stay beside the whole.
    return np.concatenate([blank, *[p.columns.pop(name, _blank(form, len(p.place))) for p in parts]], dtype=form.base)


def _blank(form: np.dtype[Any], rows: int) -> Array:
    blank: Array = np.zeros(rows, form)
    if form.hasobject:
        blank.fill("")
    return blank


def _mask(name: str, parts: Iterable[_Part]) -> Mask:
    """Which rows of all parts have the column."""
    masks = [
        part.valid.get(name, np.ones(len(part.place), np.bool_))
        if name in part.columns
        else np.zeros(len(part.place), np.bool_)
        for part in parts
    ]
    return np.concatenate(masks)


def _form(name: str) -> np.dtype[Any]:
    """The dtype of a column here: that of a batch, texts and bytes as objects."""
    return np.dtype(object) if BY_NAME[name].kind in (TEXT, STRING, BLOB) else column_dtype(name)


def _one_form(name: str, column: Array, family: Array, order: Order) -> Array:
    """A batch's column as it is kept here."""
    kind = BY_NAME[name].kind
    if is_address(name):
        # No text shows what stands behind the four bytes of an IPv4 address.
        hidden = (family == AF_INET)[:, None] & (np.arange(16) >= 4)
        return np.where(hidden, np.uint8(0), column)
    if kind not in (TEXT, STRING, BLOB):
        return column
    values = column.tolist()
    texts: dict[bytes | str, str] = {}
    for raw in set(values):
        texts[raw] = _json(bytes_value(name, raw, order)) if kind is BLOB else clean_text(raw)
    return _objects([texts[raw] for raw in values])


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _objects(values: Sequence[object]) -> Array:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _from_json(name: str, values: list[Any], mask: Mask, family: Sequence[int]) -> Array:
    """A column of JSON values; what stands where the mask says there is none is not looked at. Raises `ValueError`."""
    kind = BY_NAME[name].kind
    here = np.flatnonzero(mask).tolist()
    values = [values[i] for i in here]
    found: Array
    if kind is BLOB:
        found = _objects([_json(v) for v in values])
    elif kind in (TEXT, STRING):
        _insist(name, set(map(type, values)) <= {str})
        found = _objects(values)
    elif is_address(name):
        raw = b"".join(_address(name, v, family[i]) for v, i in zip(values, here, strict=True))
        found = np.frombuffer(raw, np.uint8).reshape(-1, 16)
    else:
        form = column_dtype(name)
        limits = np.iinfo(form.str)
        if name == _STATE:
            values = [_STATE_NUMBERS.get(v) for v in values]
        right = set(map(type, values)) <= {int} and (
            not values or limits.min <= min(values) <= max(values) <= limits.max
        )
        _insist(name, right)
        found = np.array(values, form)
    if len(here) == len(mask):
        return found
    column = _blank(_form(name), len(mask))
    column[mask] = found
    return column


def _insist(name: str, right: bool) -> None:
    if not right:
        raise ValueError(f"a value of {name} is none that this column can have")


def _address(name: str, text: object, family: int) -> bytes:
    try:
        if family == AF_INET:
            return socket.inet_pton(socket.AF_INET, str(text)).ljust(16, b"\0")
        if family == AF_INET6:
            return socket.inet_pton(socket.AF_INET6, str(text))
        raw = bytes.fromhex(str(text))
    except (OSError, ValueError):
        raw = b""
    _insist(name, len(raw) == 16)
    return raw
