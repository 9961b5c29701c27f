"""PcapStream: a classic pcap as a file object that checks each record before a reader sees it.

Readers take a cut or damaged file for one that ends (scapy does). This one is read record by record, ends cleanly
where the damage is, and has told `findings` of it by then. A record cut by the end of the file is passed on with
the bytes that are there and a capture length that says so.

Format: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap, with its nanosecond variant.
"""

from __future__ import annotations

import struct
from typing import Final

from xtcp.errors import DamagedInput
from xtcp_replay.reading.findings import Findings, at_byte
from xtcp_replay.reading.input_bytes import InputBytes
from xtcp_replay.reading.interface import LINKTYPE_NETLINK, Interface, wrong_link_type
from xtcp_replay.reading.record_stream import RecordStream

# No capture program takes more of a packet than 262,144 bytes.
LONGEST_PACKET: Final = 1 << 20

_FILE_HEADER: Final = 24
_RECORD_HEADER: Final = 16


class PcapStream(RecordStream):
    """Adds `interface` and `nanoseconds`.

    Raises `DamagedInput` where the file header is cut, of another version, or of another link type.
    """

    def __init__(self, source: InputBytes, findings: Findings) -> None:
        super().__init__()
        name = source.name
        self._source = source
        self._findings = findings
        header = source.read(_FILE_HEADER)
        if len(header) < _FILE_HEADER:
            raise DamagedInput(
                f"{name} is cut in the header of the pcap: {len(header)} of {_FILE_HEADER} bytes are there.",
                "Usually the capture or the copy was interrupted.",
                "Copy it again.",
            )
        self._order = ">" if header[0] == 0xA1 else "<"
        self.nanoseconds = 0x4D in (header[0], header[3])
        major, minor = struct.unpack_from(self._order + "HH", header, 4)
        if major != 2:
            raise DamagedInput(
                f"{name} is a pcap of version {major}.{minor}; only version 2 is known.",
                "",
                "Rewrite it with: editcap -F pcap IN OUT",
            )
        # The upper bits of the word say how long a frame check sequence is.
        link_type = struct.unpack_from(self._order + "I", header, 20)[0] & 0xFFFF
        if link_type != LINKTYPE_NETLINK:
            raise wrong_link_type(name, link_type)
        self._read_header = struct.Struct(self._order + "IIII").unpack
        self._second = 1_000_000_000 if self.nanoseconds else 1_000_000
        self.interface = Interface(0, link_type, self._second)
        self._pieces.append(header)

    def _next(self) -> bool:
        """Reads and checks the next record."""
        self.offset = self._source.offset
        header = self._source.read(_RECORD_HEADER)
        if not header:
            return False
        if len(header) < _RECORD_HEADER:
            return self._stop("the file is cut in the header of a packet")
        seconds, fraction, caplen, wirelen = self._read_header(header)
        if not wirelen:
            return self._stop("a packet of no length; nothing behind it is read")
        if caplen > LONGEST_PACKET:
            return self._stop("a packet claims to be longer than any packet; nothing behind it is read")
        if caplen > wirelen:
            return self._stop("a packet claims more captured bytes than it had; nothing behind it is read")
        if fraction >= self._second:
            return self._stop("a packet's time has more than a second in its fraction; nothing behind it is read")
        body = self._source.read(caplen)
        if len(body) < caplen:
            self._stop("the file is cut in a packet", missing=caplen - len(body))
            self.cut = True
            header = struct.pack(self._order + "IIII", seconds, fraction, len(body), wirelen)
        self._pieces.append(header)
        if body:
            self._pieces.append(body)
        self.captured = len(body)
        return True

    def _stop(self, what: str, missing: int = 0) -> bool:
        self._findings.add(what, at_byte(self.offset), missing=missing)
        return False
