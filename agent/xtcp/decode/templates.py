"""Rows whose messages repeat a layout: whole messages at a time.

One kernel sends every socket's attributes in the same few orders. A template is the layout of one message: where its
attribute headers stand, what they and its texts hold, and at which offset each column lies. Messages of the
template's length are gathered as rows of words, their headers compared with the template's, and those that agree are
read by one structured dtype.

A template is made only from a message without any oddity (a broken chain, an attribute that comes twice); such
messages, and small groups, are left to the lockstep walk, which gives the same rows. Limits against hostile input:
the constants below bound what thousands of layouts, or of attributes in one message, can cost.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import Tally
from xtcp.decode.assembly import Assembly
from xtcp.decode.messages import Messages
from xtcp.decode.payloads import MASK_BITS, TEXT_LENGTH, path_name, redacted
from xtcp.netlink.numbers import NLA_HDRLEN, NLA_TYPE_MASK, NLMSG_HDRLEN, ROW_LEN, aligned
from xtcp.schema.inet_diag import ATTRIBUTES, INET_DIAG_MSG, info_struct
from xtcp.schema.layout import Member, members, size_of
from xtcp.schema.model import FLAG, TEXT, Attribute, Field, Nest, Order, Struct

TEMPLATES_A_LENGTH: Final = 8
TEMPLATES_IN_ALL: Final = 256
SMALL_GROUP: Final = 16
FEW: Final = 4
LEARNED_A_CHUNK: Final = 32
LENGTHS_COUNTED: Final = 4096
HEADERS_A_TEMPLATE: Final = 64


class _Odd(Exception):
    """This message has something that a template cannot say."""


@dataclass
class Template:
    """The layout of one message, offsets in bytes from its start.

    `headers` are (word, value) of what must agree: each attribute's header, and the words of its texts; `words` the
    same as (byte, four bytes). `members` tell what to read where, `holders` bit fields by the offset of what holds
    them, `fixed` columns that are the same in all rows of this layout, `raw` ranges that are kept as bytes, by column.
    """

    length: int
    headers: list[tuple[int, int]] = field(default_factory=list)
    words: list[tuple[int, bytes]] = field(default_factory=list)
    members: list[tuple[int, Member]] = field(default_factory=list)
    holders: dict[int, list[Member]] = field(default_factory=dict)
    raw: list[tuple[str, int, int]] = field(default_factory=list)
    fixed: dict[str, int | bytes] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    surplus: Counter[tuple[str, int]] = field(default_factory=Counter)
    info_length: int | None = None
    dtype: np.dtype[np.void] = field(init=False)
    names: frozenset[str] = field(init=False)
    groups: list[tuple[tuple[str, ...], str]] = field(init=False)
    single: list[str] = field(init=False)
    swapped: list[Member] = field(init=False)

    def agrees(self, data: NDArray[np.uint8], at: int) -> bool:
        """Whether the message at `at` has the template's headers: for a few messages, most of which have not."""
        view = data.data
        return all(view[at + begin : at + begin + 4] == word for begin, word in self.words)

    def add(self, base: int, member: Member) -> None:
        """A member of the struct at `base`."""
        if member.mask is None:
            self.members.append((base, member))
        else:
            self.holders.setdefault(base + member.offset, []).append(member)

    def finish(self, wanted: frozenset[str] | None) -> None:
        """Drops what nobody wants and builds the dtype of a whole message; a holder's name in it is its offset."""
        if wanted is not None:
            self.members = [m for m in self.members if m[1].column in wanted]
            self.holders = {at: [m for m in bits if m.column in wanted] for at, bits in self.holders.items()}
            self.raw = [r for r in self.raw if r[0] in wanted]
            self.fixed = {name: value for name, value in self.fixed.items() if name in wanted}
        self.holders = {at: bits for at, bits in self.holders.items() if bits}
        bits = [m.column for members in self.holders.values() for m in members]
        self.names = frozenset([*(m.column for _, m in self.members), *bits, *(r[0] for r in self.raw), *self.fixed])
        self.swapped = [m for _, m in self.members if m.swap]
        entries = [(m.column, m.wire, base + m.offset) for base, m in self.members if m.swap]
        entries += [(str(at), members[0].wire, at) for at, members in self.holders.items()]
        self.groups, self.single = [], []
        for neighbours in _neighbours([(base + m.offset, m) for base, m in self.members if not m.swap]):
            at, first = neighbours[0]
            names = tuple(m.column for _, m in neighbours)
            if len(names) == 1:
                self.single.append(first.column)
                entries.append((first.column, first.wire, at))
            else:
                self.groups.append((names, names[0]))
                entries.append((names[0], np.dtype((first.wire, (len(names),))), at))
        self.dtype = np.dtype({
            "names": [name for name, _, _ in entries],
            "formats": [wire for _, wire, _ in entries],
            "offsets": [at for _, _, at in entries],
            "itemsize": aligned(self.length),
        })  # fmt: skip


def _neighbours(members: list[tuple[int, Member]]) -> Iterator[list[tuple[int, Member]]]:
    """Members with their offsets in the message, those of one dtype that follow each other together: one copy each."""
    group: list[tuple[int, Member]] = []
    for at, member in members:
        if group:
            last_at, last = group[-1]
            if member.wire != last.wire or at != last_at + last.wire.itemsize or member.wire.shape:
                yield group
                group = []
        group.append((at, member))
    if group:
        yield group


class Templates:
    """The templates seen so far of one byte order, kernel release and protocol."""

    def __init__(
        self,
        order: Order,
        kernel: tuple[int, int] | None,
        protocol: int,
        wanted: frozenset[str] | None,
        *,
        md5_keys: bool,
    ) -> None:
        self._order: Order = order
        self._kernel = kernel
        self._info = info_struct(protocol)
        self._wanted = wanted
        self._md5_keys = md5_keys
        self._by_length: dict[int, list[Template]] = {}
        self._learned = 0
        self._seen: Counter[int] = Counter()

    def read(self, data: NDArray[np.uint8], rows: Messages, assembly: Assembly, tally: Tally) -> Messages:
        """Writes the rows that fit a template; returns those that fit none."""
        rest: list[NDArray[np.int64]] = []
        self._learned = 0
        if len(rows.offset) == 1:
            left = self._of_length(data, int(rows.length[0]), rows.offset, assembly, tally)
            return rows if len(left) else Messages(left, left)
        counts = np.bincount(rows.length)
        for length in np.flatnonzero(counts).tolist():
            offset = rows.offset if counts[length] == len(rows.offset) else rows.offset[rows.length == length]
            offset = self._of_length(data, length, offset, assembly, tally)
            if len(offset):
                rest.append(np.stack((offset, np.full(len(offset), length, np.int64))))
        if not rest:
            return Messages(rows.offset[:0], rows.length[:0])
        both = np.concatenate(rest, axis=1)
        both = both[:, np.argsort(both[0], kind="stable")]
        return Messages(both[0], both[1])

    def _of_length(
        self, data: NDArray[np.uint8], length: int, offset: NDArray[np.int64], assembly: Assembly, tally: Tally
    ) -> NDArray[np.int64]:
        """Writes the messages at `offset`, all of `length`, that fit a template; returns the others' offsets."""
        tried = 0
        while len(offset):
            if tried == len(self._by_length.get(length, [])) and not self._learn(data, length, offset):
                break
            offset = self._fit(data, self._by_length[length][tried], offset, assembly, tally)
            tried += 1
        return offset

    def _learn(self, data: NDArray[np.uint8], length: int, offset: NDArray[np.int64]) -> bool:
        """Makes a template of the first message at `offset`; False where that is not worth it or not possible."""
        known = self._by_length.get(length, [])
        if len(known) >= TEMPLATES_A_LENGTH or self._learned >= LEARNED_A_CHUNK:
            return False
        if len(self._seen) >= LENGTHS_COUNTED:
            self._seen.clear()
        self._seen[length] += len(offset)
        if self._seen[length] < SMALL_GROUP:
            return False
        self._learned += 1
        first = int(offset[0])
        try:
            template = self._template(data[first : first + length].tobytes())
        except _Odd:
            return False
        if sum(map(len, self._by_length.values())) >= TEMPLATES_IN_ALL:
            self._by_length.clear()
        self._by_length[length] = [*known, template]
        return True

    def _fit(
        self,
        data: NDArray[np.uint8],
        template: Template,
        offset: NDArray[np.int64],
        assembly: Assembly,
        tally: Tally,
    ) -> NDArray[np.int64]:
        """Writes the messages at `offset` that have the template's headers; returns the others' offsets."""
        if len(offset) <= FEW and not any(template.agrees(data, at) for at in offset.tolist()):
            return offset
        width = template.dtype.itemsize
        # An overlapping view: indexing it copies whole messages; `take` on it would copy the buffer.
        windows = np.ndarray(((len(data) - width) // 4 + 1,), f"V{width}", data, strides=(4,))
        whole = windows[offset >> 2]
        words = whole.view(self._order + "u4").reshape(len(offset), width // 4)
        fits = np.ones(len(offset), np.bool_)
        for word, value in template.headers:
            fits &= words[:, word] == value
        others = offset[:0]
        if not fits.all():
            offset, whole, others = offset[fits], whole[fits], offset[~fits]
        if len(offset):
            self._write(template, offset, whole, assembly)
            _count(template, len(offset), tally)
        return others

    def _write(
        self, template: Template, offset: NDArray[np.int64], whole: NDArray[np.void], assembly: Assembly
    ) -> None:
        rows = assembly.run(offset, template.names)
        fields = whole.view(template.dtype)
        for names, key in template.groups:
            block = assembly.block(names)
            if block is None:
                for number, name in enumerate(names):
                    assembly.column(name)[rows] = fields[key][:, number]
            else:
                block[:, rows] = fields[key].T
        for name in template.single:
            assembly.column(name)[rows] = fields[name]
        for member in template.swapped:
            assembly.column(member.column)[rows] = member.value(fields[member.column])
        for at, bits in template.holders.items():
            holder = np.ascontiguousarray(fields[str(at)])
            # Most bit fields say the same of all sockets of a layout.
            same = bool((holder == holder[0]).all())
            first = int(holder[0])
            for member in bits:
                bit_value = first >> member.shift & (member.mask or 0) if same else member.value(holder)
                assembly.column(member.column)[rows] = bit_value
        for name, value in template.fixed.items():
            assembly.column(name)[rows] = value
        if template.raw:
            bytes_of = whole.view(np.uint8).reshape(len(offset), template.dtype.itemsize)
            kept: dict[str, NDArray[np.object_]] = {}
            for name, begin, end in template.raw:
                piece = _pieces(bytes_of, begin, end)
                if name == "md5sig" and not self._md5_keys:
                    piece = redacted(piece)
                kept[name] = kept[name] + piece if name in kept else piece
            for name, pieces in kept.items():
                assembly.column(name)[rows] = pieces

    def _template(self, message: bytes) -> Template:
        template = Template(len(message))
        for member in members(INET_DIAG_MSG, self._order, self._kernel):
            template.add(NLMSG_HDRLEN, member)
        mask = self._chain(template, message, ATTRIBUTES, ROW_LEN, len(message), ())
        whole = message.ljust(aligned(len(message)), b"\0")
        template.words = [(word << 2, whole[word << 2 : (word << 2) + 4]) for word, _ in template.headers]
        template.fixed["attributes"] = mask
        template.finish(self._wanted)
        return template

    def _chain(
        self,
        template: Template,
        message: bytes,
        attributes: tuple[Attribute, ...],
        start: int,
        end: int,
        parents: tuple[int, ...],
    ) -> int:
        """Adds a chain of attributes to the template; returns the mask of their numbers."""
        table = {a.number: a for a in attributes}
        read = struct.Struct(self._order + "HH").unpack_from
        word = struct.Struct(self._order + "I").unpack_from
        seen: set[int] = set()
        at = start
        while at < end:
            length, kind = read(message, at) if at + NLA_HDRLEN <= end else (0, 0)
            number = kind & NLA_TYPE_MASK
            if length < NLA_HDRLEN or length > end - at or number in seen:
                raise _Odd
            if len(template.headers) >= HEADERS_A_TEMPLATE:
                raise _Odd
            seen.add(number)
            template.headers.append((at >> 2, word(message, at)[0]))
            attribute = table.get(number)
            if attribute is None:
                template.unknown[path_name((*parents, number))] += 1
                template.raw.append(("unknown_attributes", at, at + length))
            else:
                self._attribute(template, message, attribute, at, length, parents)
            at += aligned(length)
        return sum(1 << number for number in seen if number < MASK_BITS)

    def _attribute(
        self,
        template: Template,
        message: bytes,
        attribute: Attribute,
        at: int,
        length: int,
        parents: tuple[int, ...],
    ) -> None:
        begin, size = at + NLA_HDRLEN, length - NLA_HDRLEN
        path = (*parents, attribute.number)
        name = path_name(path)
        body = self._info if path == (2,) else attribute.body
        match body:
            case Struct():
                known = size_of(body, self._kernel)
                for member in members(body, self._order, self._kernel):
                    if member.end <= size:
                        template.add(begin, member)
                if size > known:
                    template.surplus[name, size] += 1
                    if path == (2,):
                        template.raw.append(("tcp_info_surplus", begin + known, begin + size))
                    else:
                        template.raw.append(("unknown_attributes", at, at + length))
                if path == (2,):
                    template.info_length = size
                    template.fixed["tcp_info_len"] = size
            case Nest():
                self._chain(template, message, body.attributes, begin, begin + size, path)
            case Field() if body.kind is TEXT:
                text = message[begin : begin + min(size, TEXT_LENGTH)]
                template.fixed[body.name] = text.split(b"\0", 1)[0]
                template.headers += [
                    (
                        word,
                        struct.unpack_from(self._order + "I", message.ljust(aligned(len(message)), b"\0"), word * 4)[0],
                    )
                    for word in range(begin >> 2, aligned(begin + len(text)) >> 2)
                ]
                if size > TEXT_LENGTH:
                    template.surplus[name, size] += 1
                    template.raw.append(("unknown_attributes", at, at + length))
            case Field() if body.kind is FLAG:
                template.fixed[body.name] = 1
            case Field():
                template.raw.append((body.name, begin, begin + size))
            case None:
                pass


def _count(template: Template, rows: int, tally: Tally) -> None:
    for unknown, times in template.unknown.items():
        tally.unknown[unknown] += times * rows
    for surplus, times in template.surplus.items():
        tally.surplus[surplus] += times * rows
    if template.info_length is not None:
        tally.info_lengths[template.info_length] += rows


def _pieces(bytes_of: NDArray[np.uint8], begin: int, end: int) -> NDArray[np.object_]:
    """Columns `begin` to `end` of each row as a `bytes` object, (rows,)."""
    out = np.empty(len(bytes_of), object)
    if begin == end:
        out.fill(b"")
    else:
        out[:] = np.ascontiguousarray(bytes_of[:, begin:end]).view(f"V{end - begin}").reshape(-1).tolist()
    return out
