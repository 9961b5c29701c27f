"""A folder of this machine in which a file appears whole or not at all, and stays after a loss of power.

A draft is written under its name with `.tmp` behind it, in the folder where it will be. Publishing it is: fsync of the
file, rename, fsync of the folder; a folder that is made on the way is made durable by an fsync of its parent. Who
reads the folder sees whole files or none.

A draft is locked (flock) as long as it is written. So a draft without a lock is what a crash has left, and `clean`
removes it; those of another process that writes here stay.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, Protocol

from xtcp.errors import PermissionMissing, Temporary, UsageError, XtcpError
from xtcp.sinks.folders.partitions import TEMPORARY, ours

_BUFFER: Final = 1 << 20


@dataclass(frozen=True)
class Stored:
    """A published file or a draft: its path below the folder, bytes, and when it was written (ns since 1970)."""

    path: str
    size: int
    modified_ns: int


class Draft(Protocol):
    """A file that is not there yet."""

    @property
    def file(self) -> BinaryIO:
        """Where to write it."""
        ...

    @property
    def size(self) -> int:
        """Bytes written so far."""
        ...

    def publish(self) -> None:
        """Makes it appear. Raises `OSError`: it did not."""
        ...

    def discard(self) -> None:
        """Gives it up; nothing of it stays. Never raises."""
        ...


class Folder(Protocol):
    """Where files are published. What fails raises `OSError`."""

    @property
    def keeps(self) -> bool:
        """Whether a draft that could not be published may be published again."""
        ...

    def create(self, path: str) -> Draft:
        """A draft of the file at `path` below the folder, parted by `/`."""
        ...

    def clean(self) -> None:
        """Removes the drafts that a crash has left."""
        ...

    def files(self) -> Iterator[Stored]:
        """Every file of the layout of `partitions`, drafts too."""
        ...

    def remove(self, path: str) -> None:
        """Removes a file, and the folders that are empty then."""
        ...


class LocalDraft:
    """A `Draft` in a folder of the operating system; opened by its constructor, which raises `OSError`."""

    def __init__(self, root: Path, path: str) -> None:
        self._final = root / PurePosixPath(path)
        self._draft = self._final.with_name(self._final.name + TEMPORARY)
        try:
            self._file = self._opened()
        except FileNotFoundError:  # who removes old files has just removed the empty folder
            self._file = self._opened()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.fstat(self._file.fileno()).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "removed as a leftover", str(self._draft))
        except OSError:
            self.discard()
            raise

    def _opened(self) -> BinaryIO:
        _make_durable(self._final.parent)
        return self._draft.open("xb", buffering=_BUFFER)

    @property
    def file(self) -> BinaryIO:
        """A buffered file."""
        return self._file

    @property
    def size(self) -> int:
        """Those in the buffer too."""
        return self._file.tell()

    def publish(self) -> None:
        """fsync, rename, fsync."""
        self._file.flush()
        os.fsync(self._file.fileno())
        os.rename(self._draft, self._final)  # noqa: PTH104 - one name for the call that the test of their order watches
        try:
            _sync_folder(self._final.parent)
        except OSError:
            with suppress(OSError):  # it may be gone after a loss of power, so it is not there now either
                self._final.unlink()
            raise
        finally:
            self._file.close()

    def discard(self) -> None:
        """What cannot be removed, `clean` removes at the next start."""
        with suppress(OSError):
            self._draft.unlink()
        with suppress(OSError):  # what was buffered has no place any more
            self._file.close()


class LocalFolder:
    """A `Folder` of the operating system."""

    keeps: Final = False

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(self, path: str) -> LocalDraft:
        """Its folders are made."""
        return LocalDraft(self._root, path)

    def clean(self) -> None:
        """Drafts that nobody has locked."""
        for stored in list(self.files()):
            if stored.path.endswith(TEMPORARY):
                self._clean(self._root / stored.path)

    def _clean(self, draft: Path) -> None:
        try:
            with draft.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                draft.unlink()
        except (BlockingIOError, FileNotFoundError):
            return  # another process writes it, or has just published it

    def files(self) -> Iterator[Stored]:
        """In no order."""
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = Path(folder, name)
                relative = path.relative_to(self._root).as_posix()
                if ours(relative) is None:
                    continue
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
                yield Stored(relative, status.st_size, status.st_mtime_ns)

    def remove(self, path: str) -> None:
        """A folder into which something is just being written is not empty."""
        file = self._root / path
        file.unlink(missing_ok=True)
        for parent in list(file.relative_to(self._root).parents)[:-1]:
            try:
                (self._root / parent).rmdir()
            except OSError:
                return


def open_folder(root: Path, name: str) -> LocalFolder:
    """The folder at `root`, made where it is not there. Raises `XtcpError` where nothing can be written into it;
    `name` is that of the destination, for the message.
    """
    try:
        _make_durable(root)
        if not os.access(root, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        what = f"{name}: {error.strerror or error}."
        if isinstance(error, FileExistsError | NotADirectoryError):
            raise UsageError(what, "A file of that name is there, or above it.", "Name a folder.") from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            why = "The folder, or the one above it, belongs to another user or is read-only."
            raise PermissionMissing(what, why, "Choose another folder.") from error
        raise Temporary(what, "", "") from error
    return LocalFolder(root)


def _make_durable(folder: Path) -> None:
    """Makes `folder` and those above it."""
    if folder.is_dir():
        return
    _make_durable(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def failure(name: str, error: OSError) -> XtcpError:
    """What an error of a folder means to a person."""
    what = f"{name}: {errno_name(error)} ({error.strerror or error})."
    again = "Rows are dropped until it works; it is tried again by itself."
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return PermissionMissing(what, "The folder is read-only, or belongs to another user.", f"Change that. {again}")
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        why = "The disk is full, or a limit is reached; the file that was being written is given up."
        return Temporary(what, why, f"Make room, or keep less: keep-bytes=, keep-age=. {again}")
    return Temporary(what, "The file that was being written is given up.", again)


def errno_name(error: OSError) -> str:
    """The word that a drop is counted by."""
    return errno.errorcode.get(error.errno or 0, "EIO")
