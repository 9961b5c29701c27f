"""WholeFile: a file that is there when it is whole, and not before; compressed as its name ends."""

from __future__ import annotations

import gzip
import lzma
import secrets
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, cast

from xtcp.errors import ConfigurationError
from xtcp.sinks.capture_file import capture_error

# By the last ending of a name.
COMPRESSED_ENDINGS: Final = (".gz", ".xz", ".zst")


class WholeFile:
    """A context manager around writing `path`. It writes beside it and takes the name at the end, if no error passed.

    What is no regular file (a pipe, /dev/null) is written as it stands. Raises `UsageError`, `PermissionMissing` or
    `Temporary` where a file cannot be written, `ConfigurationError` for .zst without zstandard.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        target = Path(path)
        self._target = target.resolve() if target.is_symlink() else target
        self._in_place = target.exists() and not target.is_file() and not target.is_dir()
        name = f".{self._target.name[:100]}.{secrets.token_hex(4)}.part"
        self._written = self._target if self._in_place else self._target.with_name(name)
        self._stack = ExitStack()
        packing = target.suffix.lower()
        compressor = _zstandard(path) if packing == ".zst" else None
        try:
            if target.is_dir():
                raise IsADirectoryError(21, "Is a directory")
            raw = self._stack.enter_context(self._written.open("wb" if self._in_place else "xb"))
            file: object = raw
            if packing == ".gz":
                # Without name and time: the same copy is the same file.
                file = self._stack.enter_context(gzip.GzipFile("", "wb", 6, raw, mtime=0))
            elif packing == ".xz":
                file = self._stack.enter_context(lzma.LZMAFile(raw, "wb"))  # noqa: SIM115 - closed by the stack
            elif compressor is not None:
                file = self._stack.enter_context(compressor.stream_writer(raw, closefd=False))
            self._file = cast(BinaryIO, file)
        except OSError as error:
            raise capture_error(path, error) from error

    def write(self, piece: bytes) -> None:
        """Appends `piece`."""
        try:
            self._file.write(piece)
        except OSError as error:
            raise capture_error(self._path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._stack.close()
            if error is None and not self._in_place:
                self._written.replace(self._target)
        except OSError as problem:
            self._remove()
            if error is None:
                raise capture_error(self._path, problem) from problem
        else:
            if error is not None:
                self._remove()

    def _remove(self) -> None:
        if not self._in_place:
            self._written.unlink(missing_ok=True)


def _zstandard(path: str):  # type: ignore[no-untyped-def]
    try:
        import zstandard
    except ImportError as error:
        raise ConfigurationError(
            f"{path} would be zstd data, which is written with zstandard; it is not installed here.",
            "Usually xtcp was installed without its extra for captures.",
            "Install it: pip install 'xtcp[replay]', or let the name end in .gz or .xz.",
        ) from error
    return zstandard.ZstdCompressor()
