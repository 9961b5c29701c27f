"""Opening an input and telling what it is by its first bytes, so that a wrong file is refused by name.

Nothing is decoded or decompressed here.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import BinaryIO, Final

from xtcp.errors import PermissionMissing, Temporary, UsageError, XtcpError

PCAP: Final = "a pcap capture"
PCAPNG: Final = "a pcapng capture"
MODIFIED_PCAP: Final = "a pcap capture of Kuznetzov's modified format (magic 0xa1b2cd34)"
EMPTY: Final = "an empty file"
ZEROS: Final = "nothing but zero bytes"
TEXT: Final = "a text file"
UNKNOWN: Final = "a file of an unknown kind"
COMPRESSED: Final = frozenset({"gzip", "zstd", "xz", "bzip2", "lz4"})

HEAD: Final = 4096

_MAGIC: Final = (
    (b"\xa1\xb2\xc3\xd4", PCAP),
    (b"\xd4\xc3\xb2\xa1", PCAP),
    (b"\xa1\xb2\x3c\x4d", PCAP),
    (b"\x4d\x3c\xb2\xa1", PCAP),
    (b"\xa1\xb2\xcd\x34", MODIFIED_PCAP),
    (b"\x34\xcd\xb2\xa1", MODIFIED_PCAP),
    (b"\x0a\x0d\x0d\x0a", PCAPNG),
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x7fELF", "a program"),
)
_TEXT_BYTES: Final = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\n\r\x1b")


def kind_of(head: bytes) -> str:
    """What a file is, in words, by its first bytes (up to `HEAD` of them); `COMPRESSED` holds the bare names."""
    if not head:
        return EMPTY
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if not any(head):
        return ZEROS
    if _TEXT_BYTES.issuperset(head):
        return TEXT
    return UNKNOWN


def open_raw(path: str) -> io.FileIO:
    """`path` for reading, or standard input for `-`. Raises `UsageError`, `PermissionMissing` or `Temporary`."""
    if path == "-":
        if sys.stdin is None:
            raise UsageError("standard input is closed.", "", "Name a file.")
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    try:
        return Path(path).open("rb", buffering=0)
    except OSError as error:
        raise input_error(path, error) from error


def open_input(path: str) -> BinaryIO:
    """The same, buffered."""
    return io.BufferedReader(open_raw(path))


def input_error(path: str, error: OSError) -> XtcpError:
    """What an OSError at `path` means to a person."""
    if error.errno == errno.EISDIR:
        return UsageError(f"{path} is a folder.", "", "Name a file in it.")
    what = f"{path}: {error.strerror or error}."
    if error.errno in {errno.EACCES, errno.EPERM}:
        return PermissionMissing(what, "Usually the file belongs to another user.", "Run as that user, or as root.")
    if error.errno in {errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE}:
        return Temporary(what, "", "Try again.")
    return UsageError(what, "", "Check the name.")
