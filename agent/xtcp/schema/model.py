"""What a row of the schema table is: kinds, fields, bit fields, structs, attributes, columns.

Pure data, standard library only. The rows themselves stand in `inet_diag`, `tcp_info`, `mptcp_info` and
`metadata`; what is derived from them in `layout` (NumPy) and `render` (documents).

1. The order of rows is the kernel's: offsets are computed from it by the rules of the C ABI.
2. Byte order is not in a row, except for members that are network order on every host (`BE16`, `ADDRESS`).
3. A bit field is a row of its own, in C order; the widths of a holder sum to the holder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

Order: TypeAlias = Literal["<", ">"]


@dataclass(frozen=True)
class Kind:
    """How a value lies on the wire and what it becomes in a column.

    `size` and `align` are bytes; `column` is the NumPy format of the column, native order (`object` for bytes of
    any length). `size` is 0 where the attribute's length says it.
    """

    name: str
    size: int
    align: int
    column: str


U8: Final = Kind("u8", 1, 1, "u1")
U16: Final = Kind("u16", 2, 2, "u2")
U32: Final = Kind("u32", 4, 4, "u4")
U64: Final = Kind("u64", 8, 8, "u8")
I64: Final = Kind("i64", 8, 8, "i8")
BE16: Final = Kind("be16", 2, 2, "u2")
PAIR64: Final = Kind("u32[2], low word first", 8, 4, "u8")
ADDRESS: Final = Kind("be32[4]", 16, 4, "(16,)u1")
FLAG: Final = Kind("flag", 0, 1, "u1")
TEXT: Final = Kind("text", 0, 1, "S16")
BLOB: Final = Kind("bytes", 0, 1, "object")
STRING: Final = Kind("string", 0, 1, "object")


@dataclass(frozen=True)
class Bits:
    """One bit field of a holder; rows of a holder stand in the order of the C declaration."""

    name: str
    width: int
    unit: str
    since: str
    meaning: str


@dataclass(frozen=True)
class Field:
    """One member of a struct. A name that begins with `_` is a holder or padding and becomes no column."""

    name: str
    kind: Kind
    unit: str = ""
    since: str = ""
    meaning: str = ""
    bits: tuple[Bits, ...] = ()

    def __post_init__(self) -> None:
        if self.bits and sum(b.width for b in self.bits) != 8 * self.kind.size:
            raise ValueError(f"bit fields of {self.name} do not fill their {8 * self.kind.size} bits")


@dataclass(frozen=True)
class Tail:
    """Last members of a struct whose layout depends on the kernel release, not on the length.

    Valid for `since` <= release < `until` (major, minor); `until` None means every later one.
    """

    since: tuple[int, int]
    until: tuple[int, int] | None
    fields: tuple[Field, ...]

    def covers(self, release: tuple[int, int] | None) -> bool:
        """Whether this layout is that of kernel `release`; never when the release is unknown."""
        return release is not None and self.since <= release and (self.until is None or release < self.until)


@dataclass(frozen=True)
class Struct:
    """A C struct: its members in order, and tails of which at most one follows them."""

    name: str
    source: str
    fields: tuple[Field, ...]
    tails: tuple[Tail, ...] = ()

    def members(self, release: tuple[int, int] | None) -> tuple[Field, ...]:
        """The members that kernel `release` has; without the tail when the release is unknown."""
        return self.fields + next((t.fields for t in self.tails if t.covers(release)), ())


@dataclass(frozen=True)
class Nest:
    """A payload that is itself a chain of attributes."""

    attributes: tuple[Attribute, ...]


@dataclass(frozen=True)
class Attribute:
    """One `INET_DIAG_*` attribute (or one of a nest).

    `ext` is the bit of `idiag_ext` that asks for it (None: sent unasked), `needs` the capability without which the
    kernel leaves it out. `body` is the payload: a struct, a nest, a single field of variable length (`TEXT`, `BLOB`,
    `FLAG`), or None for one that carries nothing.
    """

    number: int
    name: str
    body: Struct | Nest | Field | None
    since: str
    meaning: str
    ext: int | None = None
    needs: str = ""
    source: str = "include/uapi/linux/inet_diag.h"


@dataclass(frozen=True)
class Column:
    """One column of a batch, as outsiders see it. `attribute` is the path of attribute numbers it comes from:
    (2,) for `INET_DIAG_INFO`, (19, 2) for TLS inside `INET_DIAG_ULP_INFO`, () for the fixed part, None for ours.
    """

    name: str
    kind: Kind
    unit: str
    since: str
    meaning: str
    source: str
    attribute: tuple[int, ...] | None = field(default=None)
