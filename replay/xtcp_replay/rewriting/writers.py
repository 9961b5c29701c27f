"""Writers: datagrams to a file of another format.

    pcap     packets and times; nothing of the host
    pcapng   the same, with what sections and interfaces say of it
    ss       rows back to back and one NLMSG_DONE behind them, as TCPDIAG_FILE has ss read them: it stops at the first
    mlab     a JSON object a row, see `mlab_lines`

A writer is given datagrams in the order of the input and counts what its format has no place for.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from xtcp import __version__
from xtcp.errors import UsageError
from xtcp.netlink.numbers import NLM_F_REQUEST, NLMSG_DONE, ROW_LEN, SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK
from xtcp.schema.inet_diag import IPPROTO_TCP
from xtcp.schema.model import Order
from xtcp.sinks.capture_file import APPLICATION, COOKED_HEADER, SNAPLEN, Bytes, PcapngWriter, PcapWriter, Section
from xtcp_replay.reading.interface import Interface
from xtcp_replay.reading.pcapng_stream import is_merged
from xtcp_replay.rewriting.conversion import OTHER_FAMILIES, OTHER_SOCKETS, order_of
from xtcp_replay.rewriting.datagrams import Datagram, messages
from xtcp_replay.rewriting.mlab_lines import MlabLines
from xtcp_replay.rewriting.whole_file import COMPRESSED_ENDINGS

ENDINGS: Final = {
    ".pcap": "pcap",
    ".cap": "pcap",
    ".pcapng": "pcapng",
    ".ntar": "pcapng",
    ".bin": "ss",
    ".dump": "ss",
    ".ss": "ss",
    ".jsonl": "mlab",
}

# Not `APPLICATION`, which says that names of interfaces are namespaces.
OURS: Final = f"xtcp-replay {__version__}"

_LAST_PCAP_NS: Final = (1 << 32) * 1_000_000_000
_LONGEST_OF_SS: Final = 16 << 10
_ROWS: Final = frozenset({SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK})


def format_of(path: str) -> str:
    """The format that a name ends in, before the ending of a compression. Raises `UsageError` for another."""
    name = Path(path)
    if name.suffix.lower() in COMPRESSED_ENDINGS:
        name = name.with_suffix("")
    known = ENDINGS.get(name.suffix.lower())
    if known is None:
        raise UsageError(
            f"{path}: no format is known by the ending {name.suffix or '(none)'}.",
            f"Known are {', '.join(ENDINGS)}, each with {', '.join(COMPRESSED_ENDINGS)} or nothing behind it.",
            f"Choose one of them, or say the format: --format {'|'.join(dict.fromkeys(ENDINGS.values()))}",
        )
    return known


class Writer(Protocol):
    """`left_out` counts what the format has no place for, `remarks` what is written otherwise than it was, `written`
    packets, or rows where the format has no packets.
    """

    left_out: Counter[str]
    remarks: Counter[str]
    written: Counter[str]

    def write(self, datagram: Datagram) -> None:
        """The next datagram. What the file raises passes."""
        ...

    def end(self) -> None:
        """Nothing comes any more."""
        ...


class _Counting:
    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        self.remarks: Counter[str] = Counter()
        self.written: Counter[str] = Counter()


class PcapFile(_Counting):
    """`order` is that of the file, None: of the first packet's messages."""

    def __init__(self, file: Bytes, *, order: Order | None = None, nanoseconds: bool = True) -> None:
        super().__init__()
        self._file = file
        self._order = order
        self._nanoseconds = nanoseconds
        self._writer: PcapWriter | None = None

    def write(self, datagram: Datagram) -> None:
        """A packet."""
        writer = self._begun(order_of(datagram))
        time_ns = datagram.time_ns
        if time_ns is None:
            self.remarks["packets without a time, which have 1970 in a pcap"] += 1
        elif not 0 <= time_ns < _LAST_PCAP_NS:
            self.remarks["packets with a time before 1970 or after 2106, which a pcap cannot say"] += 1
        elif not self._nanoseconds and time_ns % 1000:
            self.remarks["packets whose time had nanoseconds"] += 1
        _note_length(datagram, self.remarks)
        cooked = datagram.cooked or COOKED_HEADER
        writer.write(datagram.netlink, time_ns or 0, cooked=cooked, wirelen=datagram.wirelen)
        self.written["packets"] += 1

    def end(self) -> None:
        """A capture of nothing is one, too."""
        self._begun(None)

    def _begun(self, order: Order | None) -> PcapWriter:
        if self._writer is None:
            order = self._order or order or "<"
            self._writer = PcapWriter(self._file, order=order, nanoseconds=self._nanoseconds)
        return self._writer


class PcapngFile(_Counting):
    """Sections and interfaces as the input has them, as far as they have packets. `order` as for `PcapFile`."""

    def __init__(self, file: Bytes, *, order: Order | None = None) -> None:
        super().__init__()
        self._file = file
        self._order = order
        self._writer: PcapngWriter | None = None
        self._section: int | None = None
        self._numbers: dict[int, int] = {}

    def write(self, datagram: Datagram) -> None:
        """A packet."""
        writer = self._begun(order_of(datagram))
        interface = datagram.interface
        if interface.section_number != self._section:
            self._section = interface.section_number
            self._numbers.clear()
            writer.begin_section(section_of(interface))
        number = self._numbers.get(interface.number)
        if number is None:
            name = interface.name if interface.netns is None else interface.netns
            number = self._numbers[interface.number] = writer.add_interface(name, _system(interface))
        cut = datagram.wirelen > len(datagram.netlink)
        if datagram.time_ns is None and (number or cut):
            self.remarks["packets without a time, which have 1970 now"] += 1
        elif datagram.time_ns is not None and datagram.time_ns < 0:
            self.remarks["packets with a time before 1970, which have 1970 now"] += 1
        _note_length(datagram, self.remarks)
        writer.write(
            datagram.netlink,
            datagram.time_ns,
            cooked=datagram.cooked or COOKED_HEADER,
            wirelen=datagram.wirelen,
            interface=number,
        )
        self.written["packets"] += 1

    def end(self) -> None:
        """A capture of nothing has a section and an interface, too."""
        writer = self._begun(None)
        if self._section is None:
            writer.begin_section(Section(application=OURS))
            writer.add_interface("")

    def _begun(self, order: Order | None) -> PcapngWriter:
        if self._writer is None:
            self._writer = PcapngWriter(self._file, order=self._order or order or "<")
        return self._writer


def section_of(interface: Interface) -> Section:
    """What its section said, with what was told beside it. A namespace is one only in captures of ours."""
    said = interface.section
    application = said.application
    if interface.netns is not None and not application.startswith(APPLICATION):
        application = APPLICATION + __version__
    # Of merged captures each interface has a system of its own, or none.
    system = "" if is_merged(said) else _system(interface) or said.system
    return Section(system, said.hardware, application or OURS, interface.hostname)


def _system(interface: Interface) -> str:
    return f"Linux {interface.release}" if interface.release else ""


def _note_length(datagram: Datagram, remarks: Counter[str]) -> None:
    if len(datagram.netlink) > SNAPLEN - len(COOKED_HEADER):
        remarks[f"packets longer than {SNAPLEN:,} bytes, which are cut there"] += 1


class SsFile(_Counting):
    """Rows of TCP sockets as `ss -D` writes them; all datagrams are in one byte order."""

    def __init__(self, file: Bytes) -> None:
        super().__init__()
        self._file = file
        self._done = b""
        self._dones = 0

    def write(self, datagram: Datagram) -> None:
        """Its rows."""
        for kind, message in rows_and_ends(datagram, self.left_out):
            padded = message + bytes(-len(message) % 4)
            if kind == NLMSG_DONE:
                self._done = padded
                self._dones += 1
                continue
            if self._done:
                self.remarks["NLMSG_DONE between dumps left out, so that ss reads on (--dump takes one)"] += 1
                self._done = b""
            if len(message) > _LONGEST_OF_SS:
                self.remarks[f"messages longer than {_LONGEST_OF_SS:,} bytes, which ss does not read"] += 1
            self._file.write(padded)
            self.written["rows"] += 1

    def end(self) -> None:
        """The last dump's NLMSG_DONE, if it came."""
        self._file.write(self._done)


class MlabFile(_Counting):
    """Rows of TCP sockets as m-lab archives them; all datagrams are little-endian."""

    def __init__(self, file: Bytes) -> None:
        super().__init__()
        self._lines = MlabLines(self.left_out)
        self._file = file

    def write(self, datagram: Datagram) -> None:
        """Its rows."""
        context = datagram.context
        for kind, message in rows_and_ends(datagram, self.left_out):
            if kind != NLMSG_DONE and context is not None:
                self._file.write(self._lines.of(message, context.timestamp_ns, datagram.interface.hostname))
                self.written["rows"] += 1

    def end(self) -> None:
        """An archive has no end of its own."""


def rows_and_ends(datagram: Datagram, left_out: Counter[str]) -> Iterator[tuple[int, bytes]]:
    """(type, message) of each row of a TCP socket and each NLMSG_DONE behind some; the rest goes to `left_out`."""
    context, order, netlink = datagram.context, datagram.order, datagram.netlink
    if context is None or order is None:
        left_out[OTHER_FAMILIES] += 1
        return
    if not context.dump:
        left_out[OTHER_SOCKETS] += 1
        return
    header = struct.Struct(order + "IHH").unpack_from
    for at, length in messages(netlink, order):
        _, kind, flags = header(netlink, at)
        message = netlink[at : at + length]
        if flags & NLM_F_REQUEST:
            left_out["requests"] += 1
        elif context.protocol != IPPROTO_TCP:
            left_out["messages about MPTCP sockets, which the format cannot tell from TCP's"] += 1
        elif kind == NLMSG_DONE or (kind in _ROWS and length >= ROW_LEN):
            yield kind, message
        else:
            left_out["messages that are no rows"] += 1
