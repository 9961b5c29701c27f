"""All that a guest finds when it starts, as one archive that the kernel unpacks into its first file system.

    /            the userland, without what only the container needs
    /lib/modules of the kernel
    /init        qemu/guest/init
    /xtcp        the repository's files: all that git knows or does not ignore, as they are now
    /command     what init runs, for a shell
    /time        now, for a machine without a clock
    /whole       the last entry: where it is missing, memory was too small for the rest

The format is cpio's, which Documentation/driver-api/early-userspace/buffer-format.rst of the kernel describes: "newc",
not compressed, as an emulated processor would take longer over that than qemu over the bytes.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from qemu import cache
from qemu.compiling import Version, byte_code
from qemu.programs import require
from qemu.userland import python_of
from xtcp.errors import ConfigurationError

ROOT: Final = Path(__file__).resolve().parent.parent
WHOLE: Final = "whole"

_MAGIC: Final = b"070701"
_TRAILER: Final = "TRAILER!!!"
_ALIGNMENT: Final = 4
_COPY: Final = 1 << 20

# A guest holds all of it in memory. What captures are seen with is there; what looks at them afterwards, and what talks
# to S3 and to Kafka, is only in the container.
# Of the repository: what a command may import, and nothing that pytest rewrites.
_COMPILED: Final = re.compile(r"(agent|replay|qemu|pcaps|tests/sockets)/.+\.py")

_LEFT_OUT: Final = re.compile(
    r"""(
      usr/bin/(capinfos|captype|dumpcap|editcap|mergecap|promtool|protoc|rawshark|reordercap|sharkd|text2pcap|tshark)
    | usr/lib/[^/]+-linux-gnu/(libicu|libprotoc|libwireshark|libwiretap|libwsutil|systemd/|wireshark).*
    | usr/lib/systemd/.+ | usr/bin/(.*ctl|systemd.*) | usr/share/(systemd|wireshark)/.+
    | usr/(local/)?lib/python3[^/]*/(dist|site)-packages/(boto|confluent_kafka|moto|s3transfer).*
    )""",
    re.VERBOSE,
)


class Cpio:
    """Writes entries of an archive to `out`. Several make one archive, one behind the other, if the last is ended."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._count = 0

    def folder(self, name: str, mode: int = 0o755) -> None:
        """A folder; its parents have to be there before."""
        self._head(name, stat.S_IFDIR | mode, 0)

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        self.file(name, target.encode(), 0o777, stat.S_IFLNK)

    def file(self, name: str, content: bytes, mode: int = 0o644, kind: int = stat.S_IFREG) -> None:
        """A file with that content."""
        self._head(name, kind | mode, len(content))
        self._out.write(content + bytes(-len(content) % _ALIGNMENT))

    def copy(self, name: str, source: IO[bytes], mode: int) -> None:
        """A file with what is in `source`."""
        size = source.seek(0, os.SEEK_END)
        source.seek(0)
        self._head(name, stat.S_IFREG | mode, size)
        shutil.copyfileobj(source, self._out, _COPY)
        self._out.write(bytes(-size % _ALIGNMENT))

    def device(self, name: str, major: int, minor: int, mode: int = 0o600) -> None:
        """A character device."""
        self._head(name, stat.S_IFCHR | mode, 0, major, minor)

    def end(self) -> None:
        """What ends an archive."""
        self._head(_TRAILER, 0, 0)

    def _head(self, name: str, mode: int, size: int, major: int = 0, minor: int = 0) -> None:
        self._count += 1
        path = name.encode() + b"\0"
        # inode, mode, owner, group, links, time, size, device of the file system, device that this is, length, checksum
        numbers = (self._count, mode, 0, 0, 1, 0, size, 0, 0, major, minor, len(path), 0)
        head = _MAGIC + b"".join(b"%08x" % number for number in numbers) + path
        self._out.write(head + bytes(-len(head) % _ALIGNMENT))


def write(out: IO[bytes], userland: Path, suite: str, modules: Path, command: Sequence[str]) -> None:
    """The archive for a guest of that userland, made of that suite, and folder of modules. Raises `XtcpError`."""
    with _entries_of(userland).open("rb") as entries:
        shutil.copyfileobj(entries, out, _COPY)
    cpio = Cpio(out)
    cpio.device("dev/console", 5, 1)  # init's first output, before it has mounted anything
    _add_folder(cpio, modules / "lib/modules", "usr/lib/modules")  # where /lib leads to
    cpio.file("init", (ROOT / "qemu/guest/init").read_bytes(), 0o755)
    cpio.file("command", f"exec {shlex.join(command)}\n".encode())
    _add_repository(cpio, suite, python_of(userland))
    cpio.file("time", f"{time.time():.0f}\n".encode())
    cpio.file(WHOLE, b"")
    cpio.end()


def _entries_of(userland: Path) -> Path:
    """The entries of a userland, without an end: made once."""
    key = json.dumps([str(userland), userland.stat().st_mtime_ns, Path(__file__).read_text()])

    def build(folder: Path) -> None:
        with tarfile.open(userland) as archive, (folder / "entries").open("wb") as out:
            add_archive(Cpio(out), archive)

    return cache.built(f"entries-{userland.parent.name.rpartition('-')[0]}", key, build) / "entries"


def add_archive(cpio: Cpio, archive: tarfile.TarFile) -> None:
    """What of a userland's archive a guest needs."""
    for member in archive:
        name = member.name.removeprefix("./").rstrip("/")
        if name in {"", "."} or _LEFT_OUT.fullmatch(name):
            continue
        if member.isdir():
            cpio.folder(name, member.mode)
        elif member.issym():
            cpio.link(name, member.linkname)
        elif member.isreg() or member.islnk():
            file = archive.extractfile(member)
            assert file is not None
            cpio.copy(name, file, member.mode)


def _add_folder(cpio: Cpio, folder: Path, place: str) -> None:
    """A folder of this machine, if it is there."""
    if folder.is_dir():
        cpio.folder(place)
        for path in sorted(folder.rglob("*")):
            name = f"{place}/{path.relative_to(folder)}"
            if path.is_dir():
                cpio.folder(name)
            else:
                cpio.file(name, path.read_bytes())


def _add_repository(cpio: Cpio, suite: str, python: Version) -> None:
    """The repository as it is: what git has and what it would take, without what was removed; with byte code."""
    listing = subprocess.run(
        [
            require("git", "git"), "-C", ROOT, "-c", "safe.directory=*",
            "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate",
        ],
        capture_output=True,
        check=False,
    )  # fmt: skip
    if listing.returncode != 0:
        raise ConfigurationError(
            f"git does not list the files of {ROOT}: {os.fsdecode(listing.stderr).strip()}",
            "Usually this is no clone of the repository.",
            "Clone it.",
        )
    paths = {name: ROOT / name for name in os.fsdecode(listing.stdout).rstrip("\0").split("\0")}
    files = {name: path for name, path in paths.items() if path.is_file() or path.is_symlink()}
    sources = {f"/xtcp/{name}": path.read_bytes() for name, path in files.items() if _COMPILED.fullmatch(name)}
    compiled = byte_code(sources, suite, python)
    folders = {str(above) for name in [*files, *(path[6:] for path in compiled)] for above in Path(name).parents}
    cpio.folder("xtcp")
    for name in sorted(folders - {"."}):
        cpio.folder(f"xtcp/{name}")
    for name, path in sorted(files.items()):
        if path.is_symlink():
            cpio.link(f"xtcp/{name}", str(path.readlink()))
        else:
            cpio.file(f"xtcp/{name}", path.read_bytes(), 0o755 if os.access(path, os.X_OK) else 0o644)
    for name, content in sorted(compiled.items()):
        cpio.file(name.removeprefix("/"), content)
