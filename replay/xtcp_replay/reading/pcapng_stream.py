"""PcapngStream: a pcapng, section by section, as a file object that checks each block before a reader sees it.

1. A reader is given one section: it ends where the next section header stands, so that byte order and interfaces
   start anew, as the format has it (scapy would keep the interfaces of the section before).
2. Given on are section headers, interface descriptions and packets, these all as enhanced packet blocks without
   options; other blocks are passed over. Blocks whose lengths are impossible end the file, packets that contradict
   their block or name an interface that is not there are left out; both are told to `findings`.
3. What scapy does not keep is read here: host of the section, kernel release, name and clock of interfaces.

Format: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from xtcp.sinks.capture_file import (
    APPLICATION,
    BYTE_ORDER_MAGIC,
    ENHANCED_PACKET,
    HOST_COMMENT,
    IF_NAME,
    IF_OS,
    IF_TSRESOL,
    INTERFACE_DESCRIPTION,
    OPT_COMMENT,
    SECTION_HEADER,
    SHB_HARDWARE,
    SHB_OS,
    SHB_USERAPPL,
    SIMPLE_PACKET,
    Section,
)
from xtcp_replay.reading.findings import Findings, at_byte
from xtcp_replay.reading.input_bytes import InputBytes
from xtcp_replay.reading.interface import NOTHING_SAID, Interface
from xtcp_replay.reading.record_stream import RecordStream

LONGEST_BLOCK: Final = 1 << 20
IF_TSOFFSET: Final = 14
OBSOLETE_PACKET: Final = 2
# It names the machine it runs on as the system of its section, not the one that was captured.
MERGER: Final = "Mergecap"

_LINUX: Final = "Linux "
_SHORTEST_BLOCK: Final = 12
_SHORTEST_SECTION: Final = 28
_SECTION_BYTES: Final = struct.pack(">I", SECTION_HEADER)  # reads the same in both orders
_FIXED: Final = {ENHANCED_PACKET: 20, OBSOLETE_PACKET: 20, SIMPLE_PACKET: 4, INTERFACE_DESCRIPTION: 8}


@dataclass(frozen=True)
class _Section:
    order: str
    number: int = 0
    said: Section = NOTHING_SAID


class PcapngStream(RecordStream):
    """`next_section` comes before each reader, which is given that section; `ended` is its end. Adds, of the last
    packet given, `interface` and `timed` (whether it has a time), and `link_types` of all interfaces so far.
    """

    def __init__(self, source: InputBytes, findings: Findings) -> None:
        super().__init__()
        self._source = source
        self._findings = findings
        self._section = _Section("<")
        self._interfaces: list[tuple[Interface, int]] = []
        self._section_head: bytes | None = source.read(8)
        self._section_at = 0
        self.interface = Interface(0, -1)
        self.link_types: list[int] = []
        self.timed = True

    def next_section(self) -> bool:
        """Goes to the next section; False at the end of the file, and where its header is damaged."""
        head, self._section_head = self._section_head, None
        if head is None:
            return False
        block = self._read_section(head)
        if block is None:
            return False
        self.ended = False
        self._pieces.clear()
        self._pieces.append(block)
        self._interfaces = []
        return True

    def _found(self, what: str, missing: int = 0) -> None:
        self._findings.add(what, at_byte(self.offset), missing=missing)

    def _read_section(self, head: bytes) -> bytes | None:
        self.offset = self._section_at
        start = head + self._source.read(_SHORTEST_SECTION - 12)
        if len(start) < _SHORTEST_SECTION - 4:
            self._found("the file is cut in a section header")
            return None
        for order in "<>":
            if struct.unpack_from(order + "I", start, 8)[0] == BYTE_ORDER_MAGIC:
                break
        else:
            self._found("a section header has no byte order; nothing behind it is read")
            return None
        length, _, major = struct.unpack_from(order + "IIH", start, 4)
        if length < _SHORTEST_SECTION or length % 4 or length > LONGEST_BLOCK or major != 1:
            self._found("a section header has an impossible length or an unknown version; nothing behind it is read")
            return None
        rest = self._source.read(length - len(start))
        if len(rest) < length - len(start):
            self._found("the file is cut in a section header")
            return None
        if rest[-4:] != start[4:8]:
            self._found("a section header's two lengths differ; nothing behind it is read")
            return None
        self._section = _Section(order, self._section.number + 1, _said(order, rest[:-4]))
        return start + rest

    def _next(self) -> bool:
        """The next block for the reader; False at the end of the section or of the good part of the file."""
        while True:
            self.offset = self._source.offset
            head = self._source.read(8)
            if not head:
                return False
            if len(head) < 8:
                self._found("the file is cut in the header of a block")
                return False
            if head[:4] == _SECTION_BYTES:
                self._section_head, self._section_at = head, self.offset
                return False
            kind, length = struct.unpack(self._section.order + "II", head)
            fixed = _FIXED.get(kind)
            if length % 4 or length < _SHORTEST_BLOCK + (fixed or 0) or (fixed and length > LONGEST_BLOCK):
                self._found("a block has an impossible length; nothing behind it is read")
                return False
            if fixed is None:
                if not self._skip(head, length):
                    return False
                continue
            body = self._source.read(length - 12)
            tail = self._source.read(4)
            if len(tail) < 4:
                self._found("the file is cut in a block", missing=length - 8 - len(body) - len(tail))
            elif tail != head[4:]:
                self._found("a block's two lengths differ; nothing behind it is read")
                return False
            if len(body) < fixed:
                continue
            if kind == INTERFACE_DESCRIPTION:
                if len(tail) == 4:
                    self._describe(body)
                    self._pieces += (head, body, tail)
                    return True
            elif self._packet(kind, body, fixed, cut=len(tail) < 4):
                return True

    def _skip(self, head: bytes, length: int) -> bool:
        """Passes over a block's body and end; False where the file is not good behind it."""
        there = self._source.skip(length - 12)
        tail = self._source.read(4)
        if len(tail) < 4:
            self._found("the file is cut in a block", missing=length - 8 - there - len(tail))
        elif tail != head[4:]:
            self._found("a block's two lengths differ; nothing behind it is read")
        return tail == head[4:]

    def _describe(self, body: bytes) -> None:
        """Adds an interface of this section."""
        order = self._section.order
        link_type, snaplen = struct.unpack_from(order + "HxxI", body)
        options = dict(options_of(order, body[8:]))
        resolution = options.get(IF_TSRESOL, b"\x06")[0:1] or b"\x06"
        offset = options.get(IF_TSOFFSET, b"")
        said = self._section.said
        name = _text(options.get(IF_NAME, b""))
        ours = said.application.startswith(APPLICATION)
        interface = Interface(
            number=len(self.link_types),
            link_type=link_type,
            ticks_per_s=(2 if resolution[0] & 0x80 else 10) ** (resolution[0] & 0x7F),
            offset_s=struct.unpack(order + "q", offset)[0] if len(offset) == 8 else 0,
            release=release_of(said, _text(options.get(IF_OS, b""))),
            hostname=said.hostname,
            netns=name if ours and IF_NAME in options else None,
            name=name,
            section_number=self._section.number,
            section=said,
        )
        self.link_types.append(link_type)
        self._interfaces.append((interface, snaplen))

    def _packet(self, kind: int, body: bytes, fixed: int, *, cut: bool) -> bool:
        """Gives a packet as an enhanced packet block; False where it is left out."""
        order = self._section.order
        high = low = number = caplen = 0
        if kind == SIMPLE_PACKET:
            (wirelen,) = struct.unpack_from(order + "I", body)
        elif kind == OBSOLETE_PACKET:
            number, _, high, low, caplen, wirelen = struct.unpack_from(order + "HHIIII", body)
        else:
            number, high, low, caplen, wirelen = struct.unpack_from(order + "IIIII", body)
        if number >= len(self._interfaces):
            self._found("a packet names an interface that is not described; it is left out")
            return False
        self.interface, snaplen = self._interfaces[number]
        self.timed = kind != SIMPLE_PACKET
        self.cut = cut
        there = len(body) - fixed
        if kind == SIMPLE_PACKET:
            caplen = min(wirelen, snaplen) if snaplen else wirelen
        if caplen > wirelen:
            self._found("a packet claims more captured bytes than it had; it is left out")
            return False
        if caplen > there and not cut:
            self._found("a packet claims more bytes than its block has; it is left out")
            return False
        self.captured = min(caplen, there)
        size = self.captured + -self.captured % 4
        length = _SHORTEST_BLOCK + _FIXED[ENHANCED_PACKET] + size
        if kind != ENHANCED_PACKET or there != size or self.captured < caplen:
            data = body[fixed : fixed + self.captured] + bytes(size - self.captured)
            body = struct.pack(order + "IIIII", number, high, low, self.captured, wirelen) + data
        ends = struct.pack(order + "I", length)
        self._pieces += (struct.pack(order + "I", ENHANCED_PACKET) + ends, body, ends)
        return True


def is_merged(section: Section) -> bool:
    """Whether several captures were put together to make it."""
    return section.application.startswith(MERGER)


def release_of(section: Section, system: str) -> str:
    """The kernel release of the host of an interface whose own `if_os` is `system`: that stands above its section's."""
    said = system or ("" if is_merged(section) else section.system)
    return said.removeprefix(_LINUX) if said.startswith(_LINUX) else ""


def _said(order: str, options: bytes) -> Section:
    """What a section header's options say; the first `host: ` comment names the host."""
    texts: dict[int, str] = {}
    hostname: str | None = None
    for code, value in options_of(order, options):
        texts[code] = _text(value)
        if code == OPT_COMMENT and texts[code].startswith(HOST_COMMENT) and hostname is None:
            hostname = texts[code].removeprefix(HOST_COMMENT)
    return Section(texts.get(SHB_OS, ""), texts.get(SHB_HARDWARE, ""), texts.get(SHB_USERAPPL, ""), hostname)


def options_of(order: str, options: bytes) -> Iterator[tuple[int, bytes]]:
    """(code, value) of each whole option."""
    at = 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from(order + "HH", options, at)
        at += 4
        if code == 0 or at + length > len(options):
            return
        yield code, options[at : at + length]
        at += length + -length % 4


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")
