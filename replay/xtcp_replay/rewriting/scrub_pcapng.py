"""A pcapng block by block as it may be shared: the same blocks in the same order, without what names the host.

1. Packet blocks of all three kinds keep their fields; their packets are those of `scrub_packet`.
2. Of options stay those that are numbers and known here. Names of host and interfaces get pseudonyms, kernel release,
   machine and the capturing program stay where they are what they seem; comments, filters, addresses and hashes go.
3. All other blocks go: name resolution, decryption secrets, what is not known.
4. Behind damage nothing is copied, and `findings` has been told of it, as by `reading.pcapng_stream`. A file that is
   cut in a packet stays cut there.

Format: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from xtcp.errors import DamagedInput
from xtcp.schema.layout import kernel_release
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
from xtcp_replay.reading.findings import at_byte
from xtcp_replay.reading.input_bytes import InputBytes
from xtcp_replay.reading.interface import LINKTYPE_NETLINK, Interface, wrong_link_type
from xtcp_replay.reading.packets import Packet
from xtcp_replay.reading.pcapng_stream import (
    IF_TSOFFSET,
    LONGEST_BLOCK,
    MERGER,
    OBSOLETE_PACKET,
    is_merged,
    options_of,
    release_of,
)
from xtcp_replay.rewriting.scrub_packet import NOT_NETLINK, PacketScrub

INTERFACE_STATISTICS: Final = 5

Sink: TypeAlias = Callable[[bytes], object]
# An option's new value, None where it goes.
_Rewrite: TypeAlias = Callable[[bytes], bytes | None]

_SECTION_BYTES: Final = struct.pack(">I", SECTION_HEADER)  # reads the same in both orders
_FIXED: Final = {ENHANCED_PACKET: 20, OBSOLETE_PACKET: 20, SIMPLE_PACKET: 4, INTERFACE_DESCRIPTION: 8,
                 INTERFACE_STATISTICS: 12}  # fmt: skip
_GONE: Final = {
    4: "blocks of name resolution",
    9: "blocks of a journal",
    10: "blocks of decryption secrets",
}

# Options that are a number of this many bytes, by block: all that is kept of those that are not named below.
_NUMBERS: Final[dict[int, dict[int, int]]] = {
    INTERFACE_DESCRIPTION: {8: 8, IF_TSRESOL: 1, 13: 1, IF_TSOFFSET: 8, 16: 8, 17: 8},
    INTERFACE_STATISTICS: {2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 7: 8, 8: 8},
    ENHANCED_PACKET: {2: 4, 4: 8, 5: 8, 6: 4},
    OBSOLETE_PACKET: {2: 4},
}
_LINUX: Final = "Linux "
_RELEASE: Final = re.compile(r"\d{1,3}\.\d{1,4}[-.+~_A-Za-z0-9]{0,80}", re.ASCII)
_DOTTED: Final = re.compile(r"\d+\.\d+\.\d+\.\d+")
_OURS: Final = re.compile(re.escape(APPLICATION) + r"\d{1,4}\.\d{1,4}(\.\d{1,4})?")
_PROGRAM: Final = re.compile(r"(Dumpcap|TShark|Wireshark|Editcap|Mergecap)( \(Wireshark\))? \d{1,4}\.\d{1,4}\.\d{1,4}")
# What uname -m says.
_MACHINES: Final = frozenset(
    {"x86_64", "i386", "i586", "i686", "aarch64", "armv6l", "armv7l", "armv8l", "s390", "s390x", "ppc", "ppc64"}
    | {"ppc64le", "riscv64", "mips", "mips64", "sparc64", "loongarch64", "parisc64", "alpha", "ia64", "m68k"}
)


class PcapngScrub:
    """`copy` reads all of `source` and gives the blocks to `sink`."""

    def __init__(self, source: InputBytes, packets: PacketScrub, sink: Sink) -> None:
        self._source = source
        self._packets = packets
        self._left_out = packets.report.left_out
        self._findings = packets.damage
        self._sink = sink
        self._order = "<"
        self._said = Section()
        self._ours = False
        self._interfaces: list[tuple[Interface, int]] = []
        self._link_types: list[int] = []
        self._at = 0

    def copy(self) -> None:
        """Raises `DamagedInput` where the first section header is damaged, or nothing in the file is netlink."""
        sections = 0
        while self._block():
            sections += 1
        if not sections:
            raise DamagedInput(
                f"{self._source.name} is a pcapng whose first section header is cut or damaged.",
                "Usually the capture or the copy was interrupted.",
                "Copy it again.",
            )
        if self._link_types and LINKTYPE_NETLINK not in self._link_types:
            raise wrong_link_type(self._source.name, self._link_types[0])

    def _found(self, what: str, missing: int = 0) -> bool:
        self._findings.add(what, at_byte(self._at), missing=missing)
        return False

    def _block(self) -> bool:
        """The next block; False at the end of the file, or of its good part."""
        self._at = self._source.offset
        head = self._source.read(8)
        if not head:
            return False
        if len(head) < 8:
            return self._found("the file is cut in the header of a block")
        if head[:4] == _SECTION_BYTES:
            return self._section(head)
        kind, length = struct.unpack(self._order + "II", head)
        fixed = _FIXED.get(kind)
        if length % 4 or length < 12 + (fixed or 0) or (fixed and length > LONGEST_BLOCK):
            return self._found("a block has an impossible length; nothing behind it is copied")
        if fixed is None:
            return self._skip(kind, head, length)
        body = self._source.read(length - 12)
        tail = self._source.read(4)
        cut = len(tail) < 4
        if cut:
            self._found("the file is cut in a block", missing=length - 8 - len(body) - len(tail))
        elif tail != head[4:]:
            return self._found("a block's two lengths differ; nothing behind it is copied")
        if len(body) < fixed:
            return False
        if kind in {INTERFACE_DESCRIPTION, INTERFACE_STATISTICS}:
            if not cut:
                self._interface(kind, body, fixed)
        else:
            self._packet(kind, head, body, fixed, cut=cut)
        return not cut

    def _skip(self, kind: int, head: bytes, length: int) -> bool:
        there = self._source.skip(length - 12)
        tail = self._source.read(4)
        self._left_out[_GONE.get(kind, "blocks of other types")] += 1
        if len(tail) < 4:
            return self._found("the file is cut in a block", missing=length - 8 - there - len(tail))
        if tail != head[4:]:
            return self._found("a block's two lengths differ; nothing behind it is copied")
        return True

    def _section(self, head: bytes) -> bool:
        start = head + self._source.read(16)
        if len(start) < 24:
            return self._found("the file is cut in a section header")
        order = next((o for o in "<>" if struct.unpack_from(o + "I", start, 8)[0] == BYTE_ORDER_MAGIC), None)
        if order is None:
            return self._found("a section header has no byte order; nothing behind it is copied")
        length, _, major, minor = struct.unpack_from(order + "IIHH", start, 4)
        if length < 28 or length % 4 or length > LONGEST_BLOCK or major != 1:
            return self._found(
                "a section header has an impossible length or an unknown version; nothing behind it is copied"
            )
        rest = self._source.read(length - 24)
        if len(rest) < length - 24:
            return self._found("the file is cut in a section header")
        if rest[-4:] != start[4:8]:
            return self._found("a section header's two lengths differ; nothing behind it is copied")
        self._order = order
        self._interfaces = []
        self._said = Section()
        self._ours = False
        # The length of the section changes with its options: unspecified.
        fixed = struct.pack(order + "IHHq", BYTE_ORDER_MAGIC, major, minor, -1)
        rewrites: dict[int, _Rewrite] = {
            OPT_COMMENT: self._host_comment,
            SHB_HARDWARE: _machine,
            SHB_OS: self._system_of_section,
            SHB_USERAPPL: self._program,
        }
        self._write(SECTION_HEADER, fixed + self._options(SECTION_HEADER, rest[:-4], rewrites))
        return True

    def _interface(self, kind: int, body: bytes, fixed: int) -> None:
        """A description of an interface, or its statistics."""
        rewrites: dict[int, _Rewrite] = {}
        if kind == INTERFACE_DESCRIPTION:
            link_type, snaplen = struct.unpack_from(self._order + "HxxI", body)
            system = _text(dict(options_of(self._order, body[fixed:])).get(IF_OS, b""))
            interface = Interface(len(self._link_types), link_type, release=release_of(self._said, system))
            self._interfaces.append((interface, snaplen))
            self._link_types.append(link_type)
            rewrites = {IF_NAME: self._interface_name, IF_OS: _system}
        self._write(kind, body[:fixed] + self._options(kind, body[fixed:], rewrites))

    def _packet(self, kind: int, head: bytes, body: bytes, fixed: int, *, cut: bool) -> None:
        order = self._order
        number = caplen = 0
        if kind == SIMPLE_PACKET:
            (wirelen,) = struct.unpack_from(order + "I", body)
        else:
            shape = "HxxIIII" if kind == OBSOLETE_PACKET else "IIIII"
            number, _, _, caplen, wirelen = struct.unpack_from(order + shape, body)
        if number >= len(self._interfaces):
            self._found("a packet names an interface that is not described; it is left out")
            return
        interface, snaplen = self._interfaces[number]
        if kind == SIMPLE_PACKET:
            caplen = min(wirelen, snaplen) if snaplen else wirelen
        there = len(body) - fixed
        if caplen > wirelen or (caplen > there and not cut):
            self._found("a packet claims more bytes than it has; it is left out")
            return
        if interface.link_type != LINKTYPE_NETLINK:
            self._left_out["packets of interfaces that are not netlink"] += 1
            return
        data = body[fixed : fixed + caplen]
        clean = self._packets.packet(Packet(data, wirelen, None, interface, self._at, cut))
        if clean is None:
            self._left_out[NOT_NETLINK] += 1
            return
        clean = body[:fixed] + clean
        if cut:
            self._sink(head + clean)
            return
        options = b"" if kind == SIMPLE_PACKET else body[fixed + caplen + -caplen % 4 :]
        self._write(kind, clean + bytes(-len(clean) % 4) + self._options(kind, options, {}))

    def _write(self, kind: int, body: bytes) -> None:
        length = 12 + len(body)
        self._sink(struct.pack(self._order + "II", kind, length) + body + struct.pack(self._order + "I", length))

    def _options(self, block: int, options: bytes, rewrites: dict[int, _Rewrite]) -> bytes:
        """The options that stay, and their end where it was marked."""
        numbers = _NUMBERS.get(block, {})
        out = b""
        at = 0
        while at + 4 <= len(options):
            code, length = struct.unpack_from(self._order + "HH", options, at)
            at += 4
            if code == 0:
                return out + bytes(4)
            value = options[at : at + length]
            at += length + -length % 4
            if code in rewrites:
                new = rewrites[code](value) if len(value) == length else None
            else:
                new = value if numbers.get(code) == len(value) == length else None
            if new is None:
                self._left_out["comments" if code == OPT_COMMENT else "options of blocks"] += 1
            else:
                out += struct.pack(self._order + "HH", code, len(new)) + new + bytes(-len(new) % 4)
        return out

    def _host_comment(self, value: bytes) -> bytes | None:
        text = _text(value)
        if not text.startswith(HOST_COMMENT):
            return None
        self._packets.report.replaced["names of hosts"] += 1
        return (HOST_COMMENT + self._packets.pseudonyms.name("host", text.removeprefix(HOST_COMMENT))).encode()

    def _interface_name(self, value: bytes) -> bytes:
        """Of our own captures the network namespace, of others the interface they were taken on."""
        kind = "netns" if self._ours else "interface"
        self._packets.report.replaced[f"names of {'namespaces' if self._ours else 'interfaces'}"] += 1
        return self._packets.pseudonyms.name(kind, _text(value)).encode()

    def _system_of_section(self, value: bytes) -> bytes | None:
        clean = _system(value)
        self._said = replace(self._said, system="" if clean is None else _text(clean))
        return clean

    def _program(self, value: bytes) -> bytes | None:
        text = _text(value)
        self._said = replace(self._said, application=text)
        self._ours = text.startswith(APPLICATION)
        known = _OURS.match(text) if self._ours else _PROGRAM.match(text)
        if known:
            return known[0].encode()
        # Both names say how the rest is to be read.
        return f"{APPLICATION}0".encode() if self._ours else MERGER.encode() if is_merged(self._said) else None


def _machine(value: bytes) -> bytes | None:
    return value if _text(value) in _MACHINES else None


def _system(value: bytes) -> bytes | None:
    """`Linux` and the release, which decoding needs, and nothing that may stand behind it."""
    text = _text(value)
    clean = clean_release(text.removeprefix(_LINUX)) if text.startswith(_LINUX) else ""
    return f"{_LINUX}{clean}".encode() if clean else None


def clean_release(release: str) -> str:
    """A kernel release without anything else in the text: whole, or `major.minor`, or nothing where it has none."""
    if _RELEASE.fullmatch(release) and not _DOTTED.search(release):
        return release
    known = kernel_release(release)
    return "" if known is None else f"{known[0]}.{known[1]}"


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")
