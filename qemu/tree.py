"""A tree of files on its way from one tar archive to another: some left out, some added, and all in one form.

Nothing is unpacked, so root's files need no root. Paths begin without a slash.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

_EPOCH: Final = 1_600_000_000  # of every file: an archive made of the same packages is the same


class Tree:
    """The files of `archive` whose path `wanted` wants, and those added."""

    def __init__(self, archive: tarfile.TarFile, wanted: Callable[[str], bool]) -> None:
        self._archive = archive
        self._members: dict[str, tarfile.TarInfo] = {}
        self._added: dict[str, bytes] = {}
        for member in archive:
            path = member.name.removeprefix("./").rstrip("/")
            if path not in {"", "."} and wanted(path):
                self._members[path] = member

    def __contains__(self, path: str) -> bool:
        return path in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._members))

    def is_file(self, path: str) -> bool:
        """Whether it is a file, no folder nor symbolic link."""
        member = self._members[path]
        return member.isreg() or member.islnk()

    def add(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """A file, in place of one that may be there, with the folders that it needs."""
        self._put(path, tarfile.REGTYPE, mode)
        self._added[path] = content

    def link(self, path: str, target: str) -> None:
        """A symbolic link, unless something is there."""
        if path not in self:
            self._put(path, tarfile.SYMTYPE, 0o777).linkname = target

    def folder(self, path: str, mode: int = 0o755) -> None:
        """A folder, unless it is there."""
        if path not in self:
            self._put(path, tarfile.DIRTYPE, mode)

    def _put(self, path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        if above := posixpath.dirname(path):
            self.folder(above)
        info = self._members[path] = tarfile.TarInfo(path)
        info.type, info.mode = kind, mode
        return info

    def read(self, path: str) -> bytes:
        """What is in a file."""
        with self._open(path) as file:
            return file.read()

    def _open(self, path: str) -> IO[bytes]:
        if path in self._added:
            return io.BytesIO(self._added[path])
        file = self._archive.extractfile(self._members[path])
        assert file is not None, path
        return file

    def write(self, path: Path) -> None:
        """The archive: sorted, everything root's and of one time; a file that has two names is there twice."""
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as out:
            for name in self:
                member = self._members[name]
                info = tarfile.TarInfo(name)
                info.type, info.mode, info.mtime = member.type, member.mode & 0o1777, _EPOCH
                if self.is_file(name):
                    info.type = tarfile.REGTYPE
                    with self._open(name) as file:
                        info.size = file.seek(0, io.SEEK_END)
                        file.seek(0)
                        out.addfile(info, file)
                elif member.isdir() or member.issym():
                    info.linkname = member.linkname
                    out.addfile(info)
