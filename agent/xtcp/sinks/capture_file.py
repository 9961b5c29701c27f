"""Netlink messages to a capture file, as nlmon and tcpdump would have written them: LINKTYPE_NETLINK (253).

Each datagram stands behind the 16-byte cooked header of https://www.tcpdump.org/linktypes/LINKTYPE_NETLINK.html:
packet type, ARPHRD type, 10 unused bytes, netlink family, all big-endian. The messages stay as they came; the file's
own order is this host's unless another is asked for.

A pcap says nothing about its host. A pcapng does (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng): machine
in `shb_hardware`, `uname -sr` in `shb_os` and `if_os`, xtcp in `shb_userappl`, the network namespace in `if_name`,
and the host's name as the section's comment `host: NAME`.
"""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from xtcp import __version__
from xtcp.chunk import NATIVE
from xtcp.errors import PermissionMissing, Temporary, UsageError, XtcpError
from xtcp.netlink.numbers import NETLINK_SOCK_DIAG
from xtcp.schema.model import Order

LINKTYPE_NETLINK: Final = 253
SNAPLEN: Final = 262_144
PACKET_KERNEL: Final = 4  # nlmon gives requests and replies this type alike
ARPHRD_NETLINK: Final = 824
COOKED_HEADER: Final = struct.pack(">HH10xH", PACKET_KERNEL, ARPHRD_NETLINK, NETLINK_SOCK_DIAG)

PCAP_MICROSECONDS: Final = 0xA1B2C3D4
PCAP_NANOSECONDS: Final = 0xA1B23C4D
SECTION_HEADER: Final = 0x0A0D0D0A
INTERFACE_DESCRIPTION: Final = 1
SIMPLE_PACKET: Final = 3
ENHANCED_PACKET: Final = 6
BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
OPT_COMMENT, SHB_HARDWARE, SHB_OS, SHB_USERAPPL = 1, 2, 3, 4
IF_NAME, IF_TSRESOL, IF_OS = 2, 9, 12
HOST_COMMENT: Final = "host: "
APPLICATION: Final = "xtcp "

_LAST_SECOND: Final = 0xFFFFFFFF
_LAST_TICK: Final = (1 << 64) - 1


@dataclass(frozen=True)
class Section:
    """What a section of a pcapng says of the host it was taken on; empty, and None, where it says nothing."""

    system: str = ""
    hardware: str = ""
    application: str = ""
    hostname: str | None = None


def this_host(hostname: str) -> Section:
    """What is true of the machine that this runs on."""
    uname = os.uname()
    return Section(f"{uname.sysname} {uname.release}", uname.machine, APPLICATION + __version__, hostname)


class Bytes(Protocol):
    """Where a capture goes."""

    def write(self, data: bytes, /) -> object:
        """Takes all of `data`. What it raises goes to the caller."""
        ...


def open_capture(path: str, *, hostname: str, netns: str) -> CaptureWriter:
    """A new capture of this host at `path`, pcap or pcapng by its ending.

    Raises `UsageError` for another ending or a folder, `PermissionMissing`, `Temporary` for a full disk.
    """
    match Path(path).suffix:
        case ".pcap":
            file = _File(path)
            return CaptureWriter(file, PcapWriter(file))
        case ".pcapng":
            file = _File(path)
            writer = PcapngWriter(file)
            writer.begin_section(this_host(hostname))
            writer.add_interface(netns)
            return CaptureWriter(file, writer)
        case other:
            raise UsageError(
                f"{path}: captures end in .pcap or .pcapng, not in {other or 'nothing'}.",
                "A pcapng also keeps the names of host, kernel and namespace.",
                f"For example: {Path(path).with_suffix('.pcapng')}",
            )


class _File:
    """A file of binary records whose errors are ours."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._file = Path(path).open("wb", buffering=1 << 18)  # noqa: SIM115 - closed by close
        except OSError as error:
            raise capture_error(path, error) from error

    def write(self, data: bytes, /) -> None:
        """Appends `data`. Raises `XtcpError`."""
        try:
            self._file.write(data)
        except OSError as error:
            raise capture_error(self._path, error) from error

    def close(self) -> None:
        """Raises `Temporary` or `PermissionMissing` where the last bytes cannot be written."""
        try:
            self._file.close()
        except OSError as error:
            raise capture_error(self._path, error) from error


class CaptureWriter:
    """A `Tap` into a file, and a context manager that closes it."""

    def __init__(self, file: _File, writer: PcapWriter | PcapngWriter) -> None:
        self._file = file
        self._writer = writer

    def write(
        self,
        netlink: bytes | memoryview,
        time_ns: int,
        *,
        cooked: bytes = COOKED_HEADER,
        wirelen: int | None = None,
    ) -> None:
        """One datagram behind its cooked header; `wirelen` is how long it was where less of it is there."""
        self._writer.write(netlink, time_ns, cooked=cooked, wirelen=wirelen)

    def close(self) -> None:
        """Ends the file. Raises like `write`."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PcapWriter:
    """A pcap (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap) to `file`, whose errors pass."""

    def __init__(self, file: Bytes, *, order: Order = NATIVE, nanoseconds: bool = True) -> None:
        self._file = file
        self._record = struct.Struct(order + "IIII")
        self._unit = 1 if nanoseconds else 1000
        magic = PCAP_NANOSECONDS if nanoseconds else PCAP_MICROSECONDS
        file.write(struct.pack(order + "IHHIIII", magic, 2, 4, 0, 0, SNAPLEN, LINKTYPE_NETLINK))

    def write(
        self,
        netlink: bytes | memoryview,
        time_ns: int,
        *,
        cooked: bytes = COOKED_HEADER,
        wirelen: int | None = None,
    ) -> None:
        """One datagram of netlink messages and the wall clock of its passing, ns since 1970.

        `wirelen` is how long it was where less of it is there. A time before 1970 becomes 1970, one after 2106 the
        last that a pcap can say.
        """
        packet = _snap(cooked, netlink)
        length = len(cooked) + (len(netlink) if wirelen is None else wirelen)
        seconds, rest = divmod(max(time_ns, 0), 1_000_000_000)
        header = self._record.pack(min(seconds, _LAST_SECOND), rest // self._unit, len(packet), length)
        self._file.write(header + packet)


class PcapngWriter:
    """A pcapng to `file`, whose errors pass. A section, and an interface in it, come before the first packet."""

    def __init__(self, file: Bytes, *, order: Order = NATIVE) -> None:
        self._file = file
        self._order = order
        self._system = ""
        self._interfaces = 0

    def begin_section(self, section: Section) -> None:
        """The packets behind it are of this host; interfaces are counted anew."""
        self._system = section.system
        self._interfaces = 0
        options = (
            ("" if section.hostname is None else HOST_COMMENT + section.hostname, OPT_COMMENT),
            (section.hardware, SHB_HARDWARE),
            (section.system, SHB_OS),
            (section.application, SHB_USERAPPL),
        )
        body = struct.pack(self._order + "IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)
        self._block(SECTION_HEADER, body + b"".join(self._option(code, text) for text, code in options if text))

    def add_interface(self, name: str, system: str = "") -> int:
        """An interface of that name, `""` for none, on `system`, which is the section's unless given; returns its
        number in the section.
        """
        options = self._option(IF_NAME, name) if name else b""
        options += self._option(IF_TSRESOL, bytes([9]))
        if system or self._system:
            options += self._option(IF_OS, system or self._system)
        self._block(INTERFACE_DESCRIPTION, struct.pack(self._order + "HHI", LINKTYPE_NETLINK, 0, SNAPLEN) + options)
        self._interfaces += 1
        return self._interfaces - 1

    def write(
        self,
        netlink: bytes | memoryview,
        time_ns: int | None,
        *,
        cooked: bytes = COOKED_HEADER,
        wirelen: int | None = None,
        interface: int = 0,
    ) -> None:
        """As that of `PcapWriter`. A packet without a time, of the first interface, stays one (a simple packet block);
        of others it gets 1970.
        """
        packet = _snap(cooked, netlink)
        length = len(cooked) + (len(netlink) if wirelen is None else wirelen)
        if time_ns is None and not interface and length == len(packet):
            head = struct.pack(self._order + "I", length)
            kind = SIMPLE_PACKET
        else:
            ticks = min(max(time_ns or 0, 0), _LAST_TICK)
            head = struct.pack(self._order + "IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(packet), length)
            kind = ENHANCED_PACKET
        self._block(kind, head + packet + bytes(-len(packet) % 4), options=False)

    def _block(self, kind: int, body: bytes, *, options: bool = True) -> None:
        """A block; `options`: its body ends in some, whose end is marked."""
        body += bytes(4) if options else b""
        length = struct.pack(self._order + "I", 12 + len(body))
        self._file.write(struct.pack(self._order + "I", kind) + length + body + length)

    def _option(self, code: int, value: str | bytes) -> bytes:
        """An option padded to 4; text is UTF-8 and cut at 1,024 bytes."""
        raw = value.encode("utf-8", "replace")[:1024] if isinstance(value, str) else value
        return struct.pack(self._order + "HH", code, len(raw)) + raw + bytes(-len(raw) % 4)


def _snap(cooked: bytes, netlink: bytes | memoryview) -> bytes:
    """What a packet keeps of a datagram: no more than `SNAPLEN` with its cooked header."""
    return b"".join((cooked, netlink[: SNAPLEN - len(cooked)]))


def capture_error(path: str, error: OSError) -> XtcpError:
    """What an OSError at the capture `path` means to a person."""
    what = f"{path}: {error.strerror or error}."
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return PermissionMissing(what, "Usually the folder belongs to another user.", "Write to another folder.")
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}:
        return Temporary(what, "The capture is incomplete.", "Make room, or write to another disk.")
    return UsageError(what, "", "Write to another file.")
