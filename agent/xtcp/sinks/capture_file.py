"""Netlink messages to a capture file, as nlmon and tcpdump would have written them: LINKTYPE_NETLINK (253).

Each datagram stands behind the 16-byte cooked header of https://www.tcpdump.org/linktypes/LINKTYPE_NETLINK.html:
packet type, ARPHRD type, 10 unused bytes, netlink family, all big-endian. The messages stay as they came, and both
formats are written in this host's order; nanoseconds.

A pcap says nothing about its host. A pcapng does (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng): machine
in `shb_hardware`, `uname -sr` in `shb_os` and `if_os`, xtcp in `shb_userappl`, the network namespace in `if_name`,
and the host's name as the section's comment `host: NAME`.
"""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from xtcp import __version__
from xtcp.errors import PermissionMissing, Temporary, UsageError, XtcpError
from xtcp.netlink.numbers import NETLINK_SOCK_DIAG
from xtcp.sources import Tap

LINKTYPE_NETLINK: Final = 253
SNAPLEN: Final = 262_144
PACKET_KERNEL: Final = 4  # nlmon gives requests and replies this type alike
ARPHRD_NETLINK: Final = 824
COOKED_HEADER: Final = struct.pack(">HH10xH", PACKET_KERNEL, ARPHRD_NETLINK, NETLINK_SOCK_DIAG)

PCAP_NANOSECONDS: Final = 0xA1B23C4D
SECTION_HEADER: Final = 0x0A0D0D0A
INTERFACE_DESCRIPTION: Final = 1
ENHANCED_PACKET: Final = 6
BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
OPT_COMMENT, SHB_HARDWARE, SHB_OS, SHB_USERAPPL = 1, 2, 3, 4
IF_NAME, IF_TSRESOL, IF_OS = 2, 9, 12
HOST_COMMENT: Final = "host: "
APPLICATION: Final = "xtcp "


class CaptureWriter(Tap, Protocol):
    """A `Tap` into a file, and a context manager that closes it."""

    def close(self) -> None:
        """Ends the file. Raises like `write`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_capture(path: str, *, hostname: str, netns: str) -> CaptureWriter:
    """A new capture of this host at `path`, pcap or pcapng by its ending.

    Raises `UsageError` for another ending or a folder, `PermissionMissing`, `Temporary` for a full disk.
    """
    match Path(path).suffix:
        case ".pcap":
            return PcapWriter(path)
        case ".pcapng":
            return PcapngWriter(path, hostname, netns)
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

    def _append(self, *parts: bytes | memoryview) -> None:
        try:
            for part in parts:
                self._file.write(part)
        except OSError as error:
            raise capture_error(self._path, error) from error

    def close(self) -> None:
        """Ends the file. Raises `Temporary` or `PermissionMissing` where the last bytes cannot be written."""
        try:
            self._file.close()
        except OSError as error:
            raise capture_error(self._path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PcapWriter(_File):
    """A nanosecond pcap (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap)."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._append(struct.pack("=IHHIIII", PCAP_NANOSECONDS, 2, 4, 0, 0, SNAPLEN, LINKTYPE_NETLINK))

    def write(self, netlink: bytes | memoryview, time_ns: int) -> None:
        """One datagram of netlink messages and the wall clock of its passing, ns since 1970."""
        kept, length = _snap(netlink)
        seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
        header = struct.pack("=IIII", seconds, nanoseconds, len(COOKED_HEADER) + len(kept), length)
        self._append(header, COOKED_HEADER, kept)


class PcapngWriter(_File):
    """A pcapng of one section and one interface."""

    def __init__(self, path: str, hostname: str, netns: str) -> None:
        super().__init__(path)
        uname = os.uname()
        system = f"{uname.sysname} {uname.release}"
        options = (
            _option(OPT_COMMENT, HOST_COMMENT + hostname)
            + _option(SHB_HARDWARE, uname.machine)
            + _option(SHB_OS, system)
            + _option(SHB_USERAPPL, APPLICATION + __version__)
        )
        section = struct.pack("=IHHq", BYTE_ORDER_MAGIC, 1, 0, -1) + options + _option(0, b"")
        self._append(_block(SECTION_HEADER, section))
        options = _option(IF_NAME, netns) + _option(IF_TSRESOL, bytes([9])) + _option(IF_OS, system)
        interface = struct.pack("=HHI", LINKTYPE_NETLINK, 0, SNAPLEN) + options + _option(0, b"")
        self._append(_block(INTERFACE_DESCRIPTION, interface))

    def write(self, netlink: bytes | memoryview, time_ns: int) -> None:
        """One datagram of netlink messages and the wall clock of its passing, ns since 1970."""
        kept, length = _snap(netlink)
        caplen = len(COOKED_HEADER) + len(kept)
        body = struct.pack("=IIIII", 0, time_ns >> 32, time_ns & 0xFFFFFFFF, caplen, length) + COOKED_HEADER
        self._append(_block(ENHANCED_PACKET, body + bytes(kept) + bytes(-caplen % 4)))


def _snap(netlink: bytes | memoryview) -> tuple[bytes | memoryview, int]:
    """What a packet keeps of a datagram, no more than `SNAPLEN` with its cooked header, and its length before."""
    return netlink[: SNAPLEN - len(COOKED_HEADER)], len(COOKED_HEADER) + len(netlink)


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("=II", kind, length) + body + struct.pack("=I", length)


def _option(code: int, value: str | bytes) -> bytes:
    """An option padded to 4; text is UTF-8 and cut at 1,024 bytes."""
    raw = value.encode("utf-8", "replace")[:1024] if isinstance(value, str) else value
    return struct.pack("=HH", code, len(raw)) + raw + bytes(-len(raw) % 4)


def capture_error(path: str, error: OSError) -> XtcpError:
    """What an OSError at the capture `path` means to a person."""
    what = f"{path}: {error.strerror or error}."
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return PermissionMissing(what, "Usually the folder belongs to another user.", "Write to another folder.")
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}:
        return Temporary(what, "The capture is incomplete.", "Make room, or write to another disk.")
    return UsageError(what, "", "Write to another file.")
