"""Rows of any layout, damaged ones too: lockstep walks, one a level of nesting.

The walk gives one index of all attributes of all rows; each attribute number is then read at once for all rows that
have it. The schema says where to descend, so nesting is no deeper than the table, whatever the bytes claim.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import Tally
from xtcp.decode.assembly import Assembly
from xtcp.decode.chains import Elements, walk_attributes
from xtcp.decode.messages import Messages
from xtcp.decode.payloads import MASK_BITS, TEXT_LENGTH, clean_text, path_name, redact
from xtcp.netlink.numbers import NLA_HDRLEN, NLA_TYPE_MASK, NLMSG_HDRLEN, ROW_LEN, aligned
from xtcp.schema.inet_diag import ATTRIBUTES, INET_DIAG_MSG, info_struct
from xtcp.schema.layout import Member, column_dtype, members, size_of
from xtcp.schema.model import FLAG, TEXT, Attribute, Field, Nest, Order, Struct

# So many attributes are looked at one by one before array operations are made for them.
FEW: Final = 64


class Lockstep:
    """Reads rows one attribute number at a time; one object a chunk."""

    def __init__(
        self,
        data: NDArray[np.uint8],
        order: Order,
        kernel: tuple[int, int] | None,
        protocol: int,
        wanted: frozenset[str] | None,
        tally: Tally,
        *,
        md5_keys: bool,
    ) -> None:
        self._data = data
        self._order: Order = order
        self._kernel = kernel
        self._info = info_struct(protocol)
        self._wanted = wanted
        self._tally = tally
        self._md5_keys = md5_keys
        self._values: dict[str, NDArray[np.generic]] = {}
        # Of columns that not all rows have.
        self._present: dict[str, NDArray[np.bool_]] = {}
        self._kept: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
        self._rows = 0

    def read(self, rows: Messages, assembly: Assembly) -> None:
        """Writes all of `rows`, in their order."""
        self._rows = len(rows.offset)
        every = np.arange(self._rows)
        self._struct(INET_DIAG_MSG, every, rows.offset + NLMSG_HDRLEN, np.full(self._rows, ROW_LEN - NLMSG_HDRLEN))
        found = walk_attributes(self._data, self._order, rows.offset + ROW_LEN, rows.offset + rows.length)
        self._note_broken(found, every, rows.offset + rows.length)
        mask = np.zeros(self._rows, np.uint64)
        if self._rows == 1:
            mask[0] = sum(1 << number for number in set(found.type.tolist()) if number < MASK_BITS)
        else:
            low = found.type < MASK_BITS
            np.bitwise_or.at(mask, found.chain[low], np.uint64(1) << found.type[low].astype(np.uint64))
        self._store("attributes", every, mask)
        self._level(ATTRIBUTES, found, every, ())
        self._store_kept()
        partial = {name: present for name, present in self._present.items() if not present.all()}
        run = assembly.run(rows.offset, self._values.keys(), partial)
        for name, values in self._values.items():
            assembly.put(run, name, values)

    def _level(
        self, attributes: tuple[Attribute, ...], found: Elements, rows_of: NDArray[np.int64], parents: tuple[int, ...]
    ) -> None:
        """Reads one level of attributes; chain i of `found` belongs to row `rows_of[i]`."""
        if not len(found.type):
            return
        unknown = np.ones(len(found.type), np.bool_)
        few = set(found.type.tolist()) if len(found.type) <= FEW else None
        for attribute in attributes:
            if few is not None and attribute.number not in few:
                continue
            having = found.type == attribute.number
            index = np.flatnonzero(having)
            if not len(index):
                continue
            unknown ^= having
            last = _last_of_each(found.chain[index])
            if len(last) < len(index):
                self._tally.repeated += len(index) - len(last)
                index = index[last]
            path = (*parents, attribute.number)
            self._attribute(attribute, rows_of[found.chain[index]], found.offset[index], found.length[index], path)
        index = np.flatnonzero(unknown)
        if len(index):
            chain, kind = found.chain[index], found.type[index]
            one = chain * (NLA_TYPE_MASK + 1) + kind
            if few is None:
                numbers = dict(zip(*(each.tolist() for each in np.unique(kind, return_counts=True)), strict=True))
                different = len(np.unique(one))
            else:
                numbers, different = Counter(kind.tolist()), len(set(one.tolist()))
            for number, times in numbers.items():
                self._tally.unknown[path_name((*parents, number))] += times
            self._tally.repeated += len(index) - different
            self._keep(rows_of[chain], found.offset[index], found.length[index])

    def _attribute(
        self,
        attribute: Attribute,
        rows: NDArray[np.int64],
        offset: NDArray[np.int64],
        length: NDArray[np.int64],
        path: tuple[int, ...],
    ) -> None:
        begin, size = offset + NLA_HDRLEN, length - NLA_HDRLEN
        body = self._info if path == (2,) else attribute.body
        match body:
            case Struct():
                self._struct(body, rows, begin, size)
                if path == (2,):
                    self._store("tcp_info_len", rows, size)
                    for value, times in zip(*np.unique(size, return_counts=True), strict=True):
                        self._tally.info_lengths[int(value)] += int(times)
                known = size_of(body, self._kernel)
                self._surplus(path, rows, offset, length, known)
            case Nest():
                inner = walk_attributes(self._data, self._order, begin, begin + size)
                self._note_broken(inner, rows, begin + size)
                self._level(body.attributes, inner, rows, path)
            case Field() if body.kind is TEXT:
                take = np.minimum(size, TEXT_LENGTH)
                raw = self._data[begin[:, None] + np.arange(TEXT_LENGTH)]
                raw[np.arange(TEXT_LENGTH) >= take[:, None]] = 0
                self._store(body.name, rows, clean_text(raw))
                self._surplus(path, rows, offset, length, TEXT_LENGTH)
            case Field() if body.kind is FLAG:
                self._store(body.name, rows, np.ones(len(rows), np.uint8))
            case Field():
                payloads = self._bytes(begin, begin + size)
                if body.name == "md5sig" and not self._md5_keys:
                    payloads = [redact(payload) for payload in payloads]
                self._store_bytes(body.name, rows, payloads)
            case None:
                pass

    def _struct(
        self, struct: Struct, rows: NDArray[np.int64], begin: NDArray[np.int64], size: NDArray[np.int64]
    ) -> None:
        """Every member of `struct` whose end lies inside the received `size`."""
        width, places = _places(struct, self._order, self._kernel)
        windows = np.ndarray(((len(self._data) - width) // 4 + 1,), f"V{width}", self._data, strides=(4,))
        whole = windows[begin >> 2]
        shortest = int(size.min()) if len(size) else 0
        for member, dtype in places:
            if self._wanted is not None and member.column not in self._wanted:
                continue
            values = member.value(whole.view(dtype)["it"])
            if member.end <= shortest:
                self._store(member.column, rows, values)
            else:
                inside = size >= member.end
                if inside.any():
                    self._store(member.column, rows[inside], values[inside])

    def _surplus(
        self,
        path: tuple[int, ...],
        rows: NDArray[np.int64],
        offset: NDArray[np.int64],
        length: NDArray[np.int64],
        known: int,
    ) -> None:
        """Counts and keeps what is longer than the table: of INFO the bytes beyond it, of others the attribute."""
        longer = np.flatnonzero(length - NLA_HDRLEN > known)
        if not len(longer):
            return
        for value, times in zip(*np.unique(length[longer] - NLA_HDRLEN, return_counts=True), strict=True):
            self._tally.surplus[path_name(path), int(value)] += int(times)
        rows, offset, length = rows[longer], offset[longer], length[longer]
        if path == (2,):
            self._store_bytes("tcp_info_surplus", rows, self._bytes(offset + NLA_HDRLEN + known, offset + length))
        else:
            self._keep(rows, offset, length)

    def _keep(self, rows: NDArray[np.int64], offset: NDArray[np.int64], length: NDArray[np.int64]) -> None:
        """Remembers whole attributes for the rows' `unknown_attributes`."""
        self._kept.append((rows, offset, length))

    def _store_kept(self) -> None:
        """The row's kept attributes joined, those of all levels by ascending offset."""
        if not self._kept:
            return
        rows, offset, length = (np.concatenate(part) for part in zip(*self._kept, strict=True))
        rank = np.argsort(offset)
        rows, offset = rows[rank], offset[rank]
        pieces = self._bytes(offset, offset + length[rank])
        if self._rows == 1:
            self._store_bytes("unknown_attributes", rows[:1], [b"".join(pieces)])
            return
        having, first = np.unique(rows, return_index=True)
        bounds = [*first.tolist(), len(pieces)]
        joined = [b"".join(pieces[begin:end]) for begin, end in pairwise(bounds)]
        self._store_bytes("unknown_attributes", having, joined)

    def _note_broken(self, found: Elements, rows_of: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Chains that end in bytes that make no attribute: counted, and their rows marked."""
        if not len(found.broken_chain):
            return
        for chain, at in zip(found.broken_chain.tolist(), found.broken_at.tolist(), strict=True):
            self._tally.fault(at, int(ends[chain]) - at, "no whole attribute")
        rows = np.unique(rows_of[found.broken_chain])
        already = self._values.get("damaged")
        self._tally.damaged += len(rows) if already is None else int((already[rows] == 0).sum())
        self._store("damaged", rows, np.ones(len(rows), np.uint8))

    def _bytes(self, begin: NDArray[np.int64], end: NDArray[np.int64]) -> list[bytes]:
        view = self._data.data
        return [bytes(view[b:e]) for b, e in zip(begin.tolist(), end.tolist(), strict=True)]

    def _store(self, name: str, rows: NDArray[np.int64], values: NDArray[np.generic]) -> None:
        if self._wanted is not None and name not in self._wanted and name != "damaged":
            return
        if len(rows) == self._rows and name not in self._values:
            # Each row has it once: there is nothing to blank and nobody without it.
            self._values[name] = np.empty(self._rows, column_dtype(name))
        elif name not in self._values:
            self._values[name] = np.zeros(self._rows, column_dtype(name))
            self._present[name] = np.zeros(self._rows, np.bool_)
        self._values[name][rows] = values
        if name in self._present:
            self._present[name][rows] = True

    def _store_bytes(self, name: str, rows: NDArray[np.int64], payloads: list[bytes]) -> None:
        if self._wanted is not None and name not in self._wanted:
            return
        if name not in self._values:
            self._values[name] = np.full(self._rows, b"", object)
            self._present[name] = np.zeros(self._rows, np.bool_)
        column = self._values[name]
        for row, payload in zip(rows.tolist(), payloads, strict=True):
            column[row] = payload
        self._present[name][rows] = True


# By the identity of the struct, which stands beside its places and so stays: hashing one takes longer than a row.
_Places: TypeAlias = tuple[int, list[tuple[Member, np.dtype[np.void]]]]
_PLACES: dict[tuple[int, Order, tuple[int, int] | None], tuple[Struct, _Places]] = {}
_MOST_PLACES: Final = 512


def _places(struct: Struct, order: Order, kernel: tuple[int, int] | None) -> _Places:
    """The bytes of `struct`, to a multiple of 4, and its members, each with a dtype that has it as `it`."""
    key = (id(struct), order, kernel)
    if key not in _PLACES:
        if len(_PLACES) >= _MOST_PLACES:
            _PLACES.clear()
        width = aligned(size_of(struct, kernel))
        found = members(struct, order, kernel)
        _PLACES[key] = struct, (width, [(member, _view_of(member, width)) for member in found])
    return _PLACES[key][1]


def _view_of(member: Member, width: int) -> np.dtype[np.void]:
    """A dtype of `width` bytes with the member as `it`."""
    return np.dtype({"names": ["it"], "formats": [member.wire], "offsets": [member.offset], "itemsize": width})


def _last_of_each(chain: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of the last element of each chain, ascending; elements are in the order of their offsets."""
    if len(chain) == 1:
        return np.zeros(1, np.int64)
    reverse = chain[::-1]
    _, first = np.unique(reverse, return_index=True)
    return np.sort(len(chain) - 1 - first)
