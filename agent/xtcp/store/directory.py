"""The state directory: where the store lies when nobody says otherwise, and the lock of the one who writes it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from xtcp.errors import Temporary

ROOTS: Final = Path("/var/lib/xtcp")
LOCK: Final = "lock"


def state_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """What `$XTCP_STATE_DIR` or systemd's `StateDirectory=` (systemd.exec(5)) says; else `/var/lib/xtcp` for root, and
    `$XDG_STATE_HOME/xtcp` for others (XDG Base Directory Specification 0.8).
    """
    for name in ("XTCP_STATE_DIR", "STATE_DIRECTORY"):
        if environ.get(name):
            return Path(environ[name].split(":")[0] if name == "STATE_DIRECTORY" else environ[name])
    if os.geteuid() == 0:
        return ROOTS
    named = Path(environ.get("XDG_STATE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".local" / "state") / "xtcp"


class WriterLock:
    """Held by the process that writes the store in `directory`, which is there; until `release`, or its end.

    Raises `Temporary` where another process has it, `OSError` where the file cannot be had.
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            who = os.pread(self._descriptor, 20, 0).strip()
            os.close(self._descriptor)
            if not isinstance(error, BlockingIOError):
                raise
            process = f"the process {who.decode()}" if who.isdigit() else "another process"
            raise Temporary(
                f"{directory}: {process} writes this store.",
                "An xtcp is running already, and one at a time writes a store.",
                "Stop it, or write elsewhere: --state-dir DIR, or --dest parquet:DIR, which several may share.",
            ) from error
        with suppress(OSError):  # the disk is full: the lock is what counts, the number is for a message only
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Lets the next one write."""
        os.close(self._descriptor)
