"""A copy of the repository in which a file that did not change keeps the time that it had in the copy before.

Python and pytest take a compiled file for good when it names the time and size of its source, and a clone gives every
file a new time. Under emulation compiling all tests takes half a minute in each process; with such a copy only what
changed is compiled again, wherever the repository was cloned to.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path
from typing import Final

from xtcp.errors import Temporary

# What is made in the repository, and what tools and git keep there.
_NOT_COPIED: Final = shutil.ignore_patterns("__pycache__", ".git", ".venv", ".hypothesis", ".*_cache", "build", "dist")


def copied(source: Path, folder: Path) -> Path:
    """Puts a copy of `source` in the place of `folder`; that path again. Raises `Temporary`.

    Nobody may be using `folder`.
    """
    new = folder.with_name(folder.name + ".new")
    shutil.rmtree(new, ignore_errors=True)

    def copy(file: str, to: str) -> str:
        shutil.copy(file, to)
        before = folder / os.path.relpath(to, new)
        if before.is_file() and filecmp.cmp(file, before, shallow=False):
            seconds = before.stat().st_mtime_ns
            os.utime(to, ns=(seconds, seconds))
        return to

    try:
        shutil.copytree(source, new, symlinks=True, ignore=_NOT_COPIED, copy_function=copy)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        reason = error.args[0][0][2] if isinstance(error, shutil.Error) else error  # of each file, of which one will do
        raise Temporary(
            f"{source} cannot be copied to {folder}: {reason}.",
            "Containers see a copy of the repository.",
            "Make room there, or name another folder: XDG_CACHE_HOME=/var/cache.",
        ) from error
    return folder
