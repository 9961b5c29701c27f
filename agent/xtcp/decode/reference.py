"""The plain decoder: one message at a time, straight from the table's structs. It judges the vectorised one.

Rows are dicts in the order of the messages, with the columns that are present and no others; the tally is the one
that `Decoder` gives. To be an independent judge it shares nothing with the vectorised decoder but the table, the
constants and the result types: alignment, bit order and byte order are worked out here once more, with `struct`.
Slow on purpose: for tests and for verifying captures.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from xtcp.batch import MAX_DESCRIBED, Fault, KernelMessage, Tally
from xtcp.chunk import Chunk
from xtcp.netlink import numbers as nl
from xtcp.schema.inet_diag import ATTRIBUTES, INET_DIAG_MSG, info_struct
from xtcp.schema.model import ADDRESS, BE16, FLAG, PAIR64, TEXT, U8, U16, U32, U64, Attribute, Kind, Nest, Order, Struct

Row: TypeAlias = dict[str, int | bytes]

_LETTERS: Final[dict[Kind, str]] = {U8: "B", U16: "H", U32: "I", U64: "Q"}
# struct tcp_diag_md5sig: family, prefix length, key length, address, then 80 bytes of key.
_MD5SIG_LENGTH: Final = 100
_MD5SIG_KEY: Final = 20
_TEXT_LENGTH: Final = 16
_EBADMSG: Final = 74


@dataclass(frozen=True)
class _Element:
    """One message or attribute: where its header begins in the chunk, its length with the header, its type."""

    at: int
    length: int
    type: int


def decode(chunk: Chunk, *, md5_keys: bool = False) -> tuple[list[Row], Tally]:
    """All rows of `chunk` and what was counted beside them; malformed input never raises."""
    return _Reading(chunk, md5_keys).read()


class _Reading:
    """One chunk, read once."""

    def __init__(self, chunk: Chunk, md5_keys: bool) -> None:
        self._chunk = chunk
        self._raw = chunk.data.tobytes()
        self._order: Order = chunk.context.order
        self._md5_keys = md5_keys
        self._tally = Tally()
        self._rows: list[Row] = []
        # Only MAX_DESCRIBED are kept: of datagrams first, then of messages, then of attributes by path.
        self._faults: list[tuple[tuple[int, ...], Fault]] = []
        self._row: Row = {}
        self._unknown: list[_Element] = []

    def read(self) -> tuple[list[Row], Tally]:
        for start, end in zip(self._chunk.starts.tolist(), self._chunk.ends.tolist(), strict=True):
            self._datagram(start, end)
        self._tally.faults = sorted(fault for _, fault in sorted(self._faults)[:MAX_DESCRIBED])
        return self._rows, self._tally

    def _chain(self, start: int, end: int, header: str, name: str, stage: tuple[int, ...]) -> Iterator[_Element | None]:
        """The elements of a chain; None, once and last, where it ends in bytes that make none."""
        size = struct.calcsize(self._order + header)
        at = start
        while at < end:
            if end - at < size:
                break
            length, kind = struct.unpack_from(self._order + header, self._raw, at)[:2]
            if not size <= length <= end - at:
                break
            yield _Element(at, length, kind)
            at += (length + 3) // 4 * 4
        if at < end:
            self._fault(stage, at, end - at, f"no whole {name}")
            yield None

    def _fault(self, stage: tuple[int, ...], at: int, length: int, reason: str) -> None:
        self._faults.append((stage, Fault(at, length, reason)))

    def _datagram(self, start: int, end: int) -> None:
        done = False
        for message in self._chain(start, end, "IHHII", "message", (0,)):
            self._tally.messages += 1
            if message is None:
                self._tally.quarantined += 1
            elif done:
                self._quarantine(message, "after NLMSG_DONE")
                self._note_interruption(message)
            else:
                done = self._message(message)

    def _quarantine(self, message: _Element, reason: str) -> None:
        self._tally.quarantined += 1
        self._fault((1,), message.at, message.length, reason)

    def _note_interruption(self, message: _Element) -> bool:
        """Whether `message` is an answer to our dump; if so, its flag NLM_F_DUMP_INTR counts."""
        flags, seq, port = struct.unpack_from(self._order + "HII", self._raw, message.at + 6)
        if self._chunk.seq not in (None, seq) or self._chunk.port not in (None, port):
            return False
        self._tally.interrupted |= bool(flags & nl.NLM_F_DUMP_INTR)
        return True

    def _message(self, message: _Element) -> bool:
        """Takes one message that stands before any NLMSG_DONE of its datagram; True if it is one itself."""
        (flags,) = struct.unpack_from(self._order + "H", self._raw, message.at + 6)
        control = self._tally.control
        if not self._note_interruption(message):
            control["foreign"] += 1
        elif flags & nl.NLM_F_REQUEST:
            control["request"] += 1
        elif message.type in (nl.SOCK_DIAG_BY_FAMILY, nl.TCPDIAG_GETSOCK):
            if message.length < 16 + 72:
                self._quarantine(message, "shorter than inet_diag_msg")
            else:
                self._read_row(message)
        elif message.type == nl.NLMSG_DONE:
            control["done"] += 1
            said = self._kernel_message(message, flags)
            self._tally.done = said or KernelMessage(_EBADMSG, "a NLMSG_DONE without its error code")
            return True
        elif message.type == nl.NLMSG_ERROR:
            self._error(message, flags)
        else:
            control[{nl.NLMSG_NOOP: "noop", nl.NLMSG_OVERRUN: "overrun"}.get(message.type, "other")] += 1
        return False

    def _error(self, message: _Element, flags: int) -> None:
        said = self._kernel_message(message, flags)
        if said is None:
            self._quarantine(message, "NLMSG_ERROR without its error code")
        elif said.errno == 0:
            self._tally.control["ack"] += 1
        else:
            self._tally.control["error"] += 1
            if len(self._tally.errors) < MAX_DESCRIBED:
                self._tally.errors.append(said)

    def _kernel_message(self, message: _Element, flags: int) -> KernelMessage | None:
        """errno and text of a NLMSG_DONE or NLMSG_ERROR, None where it ends before the errno does."""
        end = message.at + message.length
        at = message.at + 20
        if at > end:
            return None
        (code,) = struct.unpack_from(self._order + "i", self._raw, at - 4)
        if flags & nl.NLM_F_ACK_TLVS:
            if message.type == nl.NLMSG_ERROR and at + 4 <= end:
                (request,) = struct.unpack_from(self._order + "I", self._raw, at)
                at += 16 if flags & nl.NLM_F_CAPPED else (request + 3) // 4 * 4
            while at + 4 <= end:
                length, kind = struct.unpack_from(self._order + "HH", self._raw, at)
                if length < 4 or at + length > end:
                    break
                if kind == nl.NLMSGERR_ATTR_MSG:
                    text = self._raw[at + 4 : at + length]
                    return KernelMessage(abs(code), text.rstrip(b"\0").decode("utf-8", "replace"))
                at += (length + 3) // 4 * 4
        return KernelMessage(abs(code))

    def _read_row(self, message: _Element) -> None:
        self._tally.rows += 1
        self._row = {"attributes": 0}
        self._unknown = []
        self._struct(INET_DIAG_MSG, message.at + 16, 72)
        self._attributes(ATTRIBUTES, message.at + 88, message.at + message.length, ())
        if self._unknown:
            inside = sorted(self._unknown, key=lambda e: e.at)
            self._row["unknown_attributes"] = b"".join(self._raw[e.at : e.at + e.length] for e in inside)
        self._tally.damaged += "damaged" in self._row
        self._rows.append(self._row)

    def _attributes(self, table: tuple[Attribute, ...], start: int, end: int, path: tuple[int, ...]) -> None:
        """One chain of attributes: the last of each number is read, one that is not in the table is kept."""
        last: dict[int, _Element] = {}
        for element in self._chain(start, end, "HH", "attribute", (2, *path)):
            if element is None:
                self._row["damaged"] = 1
                continue
            number = element.type & nl.NLA_TYPE_MASK
            self._tally.repeated += number in last
            last[number] = element
            if not path and number < 64:
                self._row["attributes"] = int(self._row["attributes"]) | 1 << number
            if all(number != known.number for known in table):
                self._tally.unknown[_dotted((*path, number))] += 1
                self._unknown.append(element)
        for attribute in table:
            if attribute.number in last:
                self._attribute(attribute, last[attribute.number], (*path, attribute.number))

    def _attribute(self, attribute: Attribute, element: _Element, path: tuple[int, ...]) -> None:
        begin, end = element.at + 4, element.at + element.length
        body = info_struct(self._chunk.context.protocol) if path == (2,) else attribute.body
        if isinstance(body, Nest):
            self._attributes(body.attributes, begin, end, path)
        elif isinstance(body, Struct):
            known = self._struct(body, begin, end - begin)
            if path == (2,):
                self._row["tcp_info_len"] = end - begin
                self._tally.info_lengths[end - begin] += 1
            if end - begin > known:
                self._surplus(element, path, begin + known)
        elif body is None:
            return
        elif body.kind is TEXT:
            self._row[body.name] = self._raw[begin : min(end, begin + _TEXT_LENGTH)].split(b"\0")[0]
            if end - begin > _TEXT_LENGTH:
                self._surplus(element, path, begin + _TEXT_LENGTH)
        elif body.kind is FLAG:
            self._row[body.name] = 1
        else:
            payload = self._raw[begin:end]
            if body.name == "md5sig" and not self._md5_keys:
                payload = bytes(0 if i % _MD5SIG_LENGTH >= _MD5SIG_KEY else byte for i, byte in enumerate(payload))
            self._row[body.name] = payload

    def _surplus(self, element: _Element, path: tuple[int, ...], begin: int) -> None:
        """What is longer than the table: of tcp_info the bytes from `begin`, of others the whole attribute."""
        self._tally.surplus[_dotted(path), element.length - 4] += 1
        if path == (2,):
            self._row["tcp_info_surplus"] = self._raw[begin : element.at + element.length]
        else:
            self._unknown.append(element)

    def _struct(self, table: Struct, begin: int, size: int) -> int:
        """Reads every member that ends within `size`; returns how long the table's struct is."""
        at = 0
        for field in table.members(self._chunk.context.kernel):
            at += -at % field.kind.align
            end = at + field.kind.size
            if end <= size:
                value = self._value(field.kind, begin + at)
                if not field.name.startswith("_"):
                    self._row[field.name] = value
                declared = 0
                for bits in field.bits:
                    # The first declared is the lowest bits of a little-endian host, the highest of a big-endian one.
                    below = declared if self._order == "<" else field.kind.size * 8 - declared - bits.width
                    declared += bits.width
                    if not bits.name.startswith("_"):
                        self._row[bits.name] = int(value) // 2**below % 2**bits.width
            at = end
        return at

    def _value(self, kind: Kind, at: int) -> int | bytes:
        if kind is ADDRESS:
            return self._raw[at : at + 16]
        if kind is BE16:
            return int.from_bytes(self._raw[at : at + 2], "big")
        if kind is PAIR64:
            low, high = struct.unpack_from(self._order + "II", self._raw, at)
            return int(low) + (int(high) << 32)
        return int(struct.unpack_from(self._order + _LETTERS[kind], self._raw, at)[0])


def _dotted(path: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in path)
