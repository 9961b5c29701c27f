"""Text to a file, in UTF-8, or to standard output; every failure as an error of ours, a closed pipe as itself."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from xtcp.errors import PermissionMissing, Temporary, UsageError, XtcpError


def file_error(path: str, error: OSError, option: str = "-o") -> XtcpError:
    """What an OSError at `path`, which `option` named, means to a person."""
    what = f"{'standard output' if path == '-' else path}: {error.strerror or error}."
    other = "Write elsewhere." if path == "-" else f"Choose another file with {option}."
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return PermissionMissing(what, "Usually the folder belongs to another user.", other)
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}:
        return Temporary(what, "What was written is incomplete.", f"Make room. {other}")
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return UsageError(what, "Its folder does not exist.", f"Make the folder. {other}")
    return UsageError(what, "", other)


class TextFile:
    """`path`, or standard output for `-`. Raises `XtcpError`; `BrokenPipeError` passes.

    `option` is the one that named the path, for messages.
    """

    def __init__(self, path: str, option: str = "-o") -> None:
        self._path = path
        self._option = option
        self._file: TextIO
        if path == "-":
            if sys.stdout is None:
                raise UsageError("standard output is closed.", "", "Write to a file, or to /dev/null.")
            self._file = sys.stdout
            return
        try:
            self._file = Path(path).open("w", encoding="utf-8", newline="")  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise file_error(path, error, option) from error

    def write(self, text: str) -> None:
        """Appends `text`."""
        self._do(lambda: self._file.write(text))

    def flush(self) -> None:
        """Hands everything to the operating system."""
        self._do(self._file.flush)

    def close(self) -> None:
        """Ends the file; standard output stays open."""
        if self._path != "-":
            self._do(self._file.close)

    def _do(self, action: Callable[[], object]) -> None:
        try:
            action()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise file_error(self._path, error, self._option) from error
