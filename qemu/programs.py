"""Other programs: found, or an error that names Debian's package; run, or an error with the end of what they said."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from xtcp.errors import ConfigurationError, Unavailable

_LAST_LINES: Final = 15
# Debian's administration programs, which PATH does not name for everybody.
_SEARCH: Final = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))


def require(name: str, package: str) -> str:
    """The path of a program. Raises `ConfigurationError`."""
    found = shutil.which(name, path=_SEARCH)
    if found is None:
        raise ConfigurationError(
            f"There is no program {name} here.",
            f"Usually the package {package} is not installed.",
            f"Install it (Debian): apt-get install --no-install-recommends {package}",
        )
    return found


def run(
    argv: Sequence[str | Path],
    what: str,
    to_do: str = "",
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """The standard output of a program that ends with 0. Raises `Unavailable`: `what` did not happen, and its end."""
    done = subprocess.run(
        [*map(str, argv)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        cwd=folder,
        env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-_LAST_LINES:]
        end = "\n".join(f"  {line}" for line in said)
        raise Unavailable(f"{what}: {Path(argv[0]).name} ended with {done.returncode}.\n{end}", "", to_do)
    return done.stdout
