"""What was built once, kept in $XDG_CACHE_HOME/xtcp (or ~/.cache/xtcp) under a name and a hash of its ingredients.

An entry is a folder that is there when it is whole: it is built beside its place and renamed. Of several processes that
want it one builds, the others wait. A build that failed, or was killed, leaves nothing that is taken for an entry.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from xtcp.errors import ConfigurationError

_HASH_DIGITS: Final = 16


def folder() -> Path:
    """Where entries are; it is made if need be. Raises `ConfigurationError`."""
    named = os.environ.get("XDG_CACHE_HOME")
    path = (Path(named) if named else Path.home() / ".cache") / "xtcp"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: {error.strerror}.",
            "What was built once is kept there.",
            "Name a folder that can be written: XDG_CACHE_HOME=/var/cache.",
        ) from error
    return path


def built(name: str, key: str, build: Callable[[Path], None]) -> Path:
    """The folder of the entry `name` made of `key`; `build` fills an empty folder where it is not there.

    What `build` raises passes. After a success the entries that `name` had before are removed: who has them open can
    read on, who comes later builds again.
    """
    home = folder()
    entry = home / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:_HASH_DIGITS]}"
    if entry.is_dir():
        return entry
    with alone(name):
        if entry.is_dir():
            return entry
        # Whoever holds the lock is the only one at it: what lies here is of one that was killed.
        part = home / f".{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        print(f"building {name}", file=sys.stderr, flush=True)
        began = time.monotonic()
        try:
            build(part)
            part.rename(entry)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        print(f"built {name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        for old in _entries(home, name):
            if old != entry:
                shutil.rmtree(old, ignore_errors=True)
    return entry


def _entries(home: Path, name: str) -> list[Path]:
    """Every entry of that name, and of no other that begins so."""
    pattern = re.compile(re.escape(name) + rf"-[0-9a-f]{{{_HASH_DIGITS}}}")
    return [path for path in home.iterdir() if pattern.fullmatch(path.name)]


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Only one process is inside with that name, who waits says so; the kernel frees what a dead one had."""
    with (folder() / f".{name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that has {name}", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
