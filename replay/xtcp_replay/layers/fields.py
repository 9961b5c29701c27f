"""scapy fields of netlink: a member of a struct, a bit field, an address, a text, a chain of messages or attributes.

A value of None is a member that is not there: nothing is written for it, and reading gives it where a struct is
shorter than the table. `size` says how many bytes a value takes on the wire, so that offsets can be told.

Nothing here reads beyond the bytes it is given: whoever calls `getfield` has cut them, and a member that does not fit
is absent. So no bytes at all make a layer raise.
"""

# ruff: noqa: ARG002 - the signatures are scapy's
from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from scapy.fields import Field
from scapy.packet import Packet

from xtcp.encode.cells import address_text
from xtcp.netlink.numbers import aligned
from xtcp.schema.model import Order
from xtcp_replay.layers.words import flag_words

_ADDRESS_LENGTH: Final = 16


class Member(Field[Any, Any]):
    """A number of the format `code` (as in `struct`); `names` are those of its values, `flags` those of its bits."""

    __slots__ = ["flags", "names"]

    def __init__(
        self,
        name: str,
        code: str,
        default: int | None = 0,
        names: Mapping[int, str] | None = None,
        flags: Mapping[int, str] | None = None,
    ) -> None:
        self.names = names
        self.flags = flags
        super().__init__(name, default, code)

    def size(self, value: Any) -> int:
        """Bytes on the wire."""
        return 0 if value is None else self.sz

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Any]:
        """Rest and value, None where it does not fit."""
        if len(s) < self.sz:
            return s, None
        return s[self.sz :], self.struct.unpack_from(s)[0]

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        """Writes a value that is there."""
        return s if val is None else s + self.struct.pack(val)

    def any2i(self, pkt: Any, x: Any) -> Any:
        """A number, or the name of one."""
        if isinstance(x, str):
            return next(number for number, name in (self.names or self.flags or {}).items() if name == x)
        return x

    def words(self, value: int) -> str:
        """What the number means, where that has a name."""
        if self.names is not None:
            return self.names.get(value) or f"UNKNOWN({value})"
        if self.flags is None or not value:
            return ""
        every = sum(self.flags)
        return "all" if value & every == every and value > every else flag_words(self.flags, value)

    def i2repr(self, pkt: Any, x: Any) -> str:
        """The number with its words."""
        if not isinstance(x, int):
            return repr(x)
        words = self.words(x)
        return f"{x} ({words})" if words else str(x)


class Computed(Member):
    """A length: None until it is built, when the layer fills it in."""

    __slots__ = ()

    def __init__(self, name: str, code: str) -> None:
        super().__init__(name, code, None)

    def size(self, value: Any) -> int:
        """Always there."""
        return self.sz

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        """Room for it, where it is not known yet."""
        return super().addfield(pkt, s, 0 if val is None else val)


class Pair(Member):
    """A u64 in two u32, low word first, each in the host's order."""

    __slots__ = ()

    def __init__(self, name: str, order: Order) -> None:
        super().__init__(name, order + "II")

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Any]:
        """Rest and value, None where it does not fit."""
        if len(s) < self.sz:
            return s, None
        low, high = self.struct.unpack_from(s)
        return s[self.sz :], low | high << 32

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        """Writes a value that is there."""
        return s if val is None else s + self.struct.pack(val & 0xFFFFFFFF, val >> 32)


class BitMember(Member):
    """One bit field of a holder: `shift` and `width` in bits. The first of a holder writes it, the last passes it."""

    __slots__ = ["first", "last", "mask", "shift"]

    def __init__(self, name: str, code: str, shift: int, width: int, *, first: bool, last: bool) -> None:
        super().__init__(name, code)
        self.shift = shift
        self.mask = (1 << width) - 1
        self.first = first
        self.last = last

    def size(self, value: Any) -> int:
        """The holder's bytes, all at its last bit field."""
        return self.sz if self.last and value is not None else 0

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Any]:
        """Rest and value, None where the holder does not fit."""
        if len(s) < self.sz:
            return s, None
        value = self.struct.unpack_from(s)[0] >> self.shift & self.mask
        return (s[self.sz :] if self.last else s), value

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        """Writes the bits into the holder, which the first of them begins."""
        if val is None:
            return s
        if self.first:
            s += bytes(self.sz)
        if len(s) < self.sz:
            return s
        holder = self.struct.unpack_from(s, len(s) - self.sz)[0]
        holder = holder & ~(self.mask << self.shift) | (val & self.mask) << self.shift
        return s[: -self.sz] + self.struct.pack(holder)


class Bytes(Field[bytes, bytes]):
    """`length` bytes, or all that are left (None). Texts are taken as UTF-8."""

    __slots__ = ["length"]

    def __init__(self, name: str, default: bytes | None = b"", length: int | None = None) -> None:
        super().__init__(name, default, "s")
        self.length = length

    def size(self, value: Any) -> int:
        """Bytes on the wire."""
        return 0 if value is None else len(value)

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Any]:
        """Rest and bytes, None where they do not fit."""
        if self.length is None:
            return b"", s
        return (s, None) if len(s) < self.length else (s[self.length :], s[: self.length])

    def addfield(self, pkt: Any, s: bytes, val: bytes | None) -> bytes:
        """Writes the bytes as they are; those of a fixed length cut or filled up with zeros."""
        if val is None:
            return s
        return s + (val if self.length is None else val[: self.length].ljust(self.length, b"\0"))

    def any2i(self, pkt: Any, x: Any) -> Any:
        """Bytes, or text."""
        return x.encode() if isinstance(x, str) else x

    def words(self, value: bytes) -> str:
        """As hexadecimal digits."""
        return value.hex()


class Text(Bytes):
    """A text with its NUL, as the whole payload of an attribute. `str` gets its NUL, bytes are taken as they are."""

    __slots__ = ()

    def any2i(self, pkt: Any, x: Any) -> Any:
        """A text gets its NUL."""
        return x.encode() + b"\0" if isinstance(x, str) else x

    def i2h(self, pkt: Any, x: Any) -> Any:
        """Up to the first NUL."""
        return x if x is None else x.split(b"\0")[0]

    def words(self, value: bytes) -> str:
        """As people read it."""
        return value.split(b"\0")[0].decode("utf-8", "replace")


class Flag(Bytes):
    """An attribute that says something by being there: 1, and no bytes."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        super().__init__(name, None, 0)
        self.default = 1  # type: ignore[assignment]

    def size(self, value: Any) -> int:
        """No bytes."""
        return 0

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Any]:
        """It is there."""
        return s, 1

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        """No bytes."""
        return s


class Address(Bytes):
    """The 16 bytes of an address. A text is IPv4 in the first four bytes, or IPv6; `family` names the member that says
    which one reads it as.
    """

    __slots__ = ["family"]

    def __init__(self, name: str, family: str, length: int | None = _ADDRESS_LENGTH) -> None:
        super().__init__(name, bytes(length or 0), length)
        self.family = family

    def any2i(self, pkt: Any, x: Any) -> Any:
        """Bytes, or text: `10.0.0.1`, `fe80::1`."""
        if isinstance(x, str):
            return socket.inet_pton(socket.AF_INET6 if ":" in x else socket.AF_INET, x).ljust(self.length or 0, b"\0")
        return x

    def i2repr(self, pkt: Any, x: Any) -> str:
        """As text, where the family is known."""
        family = pkt.getfieldval(self.family) if pkt is not None else None
        if isinstance(x, bytes) and isinstance(family, int):
            try:
                return address_text(family, x)
            except (ValueError, OSError):
                return x.hex()
        return repr(x)


class Array(Field[list[Packet], bytes]):
    """Structs of one fixed `length` behind each other, as many as are whole."""

    __slots__ = ["element", "length"]
    islist = 1
    holds_packets = 1

    def __init__(self, name: str, element: type[Packet], length: int) -> None:
        super().__init__(name, [], "s")
        self.element = element
        self.length = length

    def size(self, value: Any) -> int:
        """Bytes on the wire."""
        return sum(len(bytes(element)) for element in value or ())

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Any]:
        """What makes no whole struct, and the structs."""
        end = len(s) - len(s) % self.length
        pieces = (s[at : at + self.length] for at in range(0, end, self.length))
        return s[end:], [self.element(piece, _internal=1, _parent=pkt) for piece in pieces]

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        """The structs behind each other; bytes are taken as they are."""
        return s + b"".join(map(bytes, val or ()))

    def any2i(self, pkt: Any, x: Any) -> Any:
        """A list, or the only element of one."""
        return x if isinstance(x, list) or x is None else [x]


class Remainder(Bytes):
    """What is left of a layer once its members are read: surplus, padding, a remnant that makes no element."""

    __slots__ = ()


class Padding(Remainder):
    """Bytes up to the next multiple of 4; None: as many zeros as it takes. The layer writes them behind its payload."""

    __slots__ = ()

    def __init__(self, name: str = "padding") -> None:
        super().__init__(name, None)

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Any]:
        """Nothing: the layer knows where it ends."""
        return s, b""

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        """Nothing: `ending` gives what stands behind the payload."""
        return s

    @staticmethod
    def ending(value: bytes | None, length: int) -> bytes:
        """The padding behind `length` bytes."""
        return bytes(aligned(length) - length) if value is None else value


class Chain(Field[list[Packet], bytes]):
    """Elements behind each other, each with its length in its header: messages, attributes, operations.

    `head` is the header's format, of which the number at `place` is the length; `cell` the bytes to which elements are
    padded. `pick` names the class of an element by its bytes. Reading takes time in proportion to the bytes.
    """

    __slots__ = ["cell", "head", "pick", "place"]
    islist = 1
    holds_packets = 1

    def __init__(self, name: str, head: str, place: int, pick: Callable[[bytes], type[Packet]], cell: int = 4) -> None:
        super().__init__(name, [], "s")
        self.head = struct.Struct(head)
        self.place = place
        self.pick = pick
        self.cell = cell

    def size(self, value: Any) -> int:
        """Bytes on the wire."""
        return sum(len(bytes(element)) for element in value or ())

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Any]:
        """What makes no element, and the elements."""
        elements: list[Packet] = []
        at, end, smallest = 0, len(s), self.head.size
        while end - at >= smallest:
            length = self.head.unpack_from(s, at)[self.place]
            if not smallest <= length <= end - at:
                break
            behind = min(at + length + -length % self.cell, end)
            one = s[at:behind]
            elements.append(self.pick(one)(one, _internal=1, _parent=pkt))
            at = behind
        return s[at:], elements

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        """The elements behind each other; bytes are taken as they are."""
        return s + b"".join(map(bytes, val or ()))

    def any2i(self, pkt: Any, x: Any) -> Any:
        """A list, or the only element of one."""
        return x if isinstance(x, list) or x is None else [x]
