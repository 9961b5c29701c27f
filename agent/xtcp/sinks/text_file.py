"""Text to a file or standard output; every failure as an error of ours, a closed pipe as itself."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import TextIO

from xtcp.errors import PermissionMissing, Temporary, UsageError, XtcpError


def file_error(path: str, error: OSError) -> XtcpError:
    """What an OSError at `path` means to a person."""
    what = f"{path}: {error.strerror or error}"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return PermissionMissing(what, "Usually the folder belongs to another user.", "Choose another file with -o.")
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}:
        return Temporary(what, "The file is incomplete.", "Make room, or choose another file with -o.")
    return UsageError(what, "", "Choose another file with -o.")


class TextFile:
    """`path`, or standard output for `-`. Raises `XtcpError`; `BrokenPipeError` passes."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: TextIO
        if path == "-":
            self._file = sys.stdout
            if hasattr(self._file, "reconfigure"):
                self._file.reconfigure(encoding="utf-8", errors="backslashreplace")
            return
        try:
            self._file = Path(path).open("w", encoding="utf-8", newline="")  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise file_error(path, error) from error

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

    def _do(self, action: object) -> None:
        try:
            action()  # type: ignore[operator]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise file_error(self._path, error) from error
