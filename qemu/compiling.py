"""Byte code for a userland's Python: an emulated machine would spend its time on compiling, at every start.

Only a Python of the same version makes it, 3.13 for 3.13. Where the one that runs this is of another, Debian's for this
machine is unpacked, and runs as it lies there.
"""

from __future__ import annotations

import json
import marshal
import os
import posixpath
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from qemu import bytecode, cache, debian
from qemu.architectures import ARCHITECTURES
from xtcp.errors import Unavailable

Version = tuple[int, int]


def byte_code(sources: Mapping[str, bytes], suite: str, version: Version) -> dict[str, bytes]:
    """Path and content of files of byte code, for Python files by their absolute paths.

    `suite` is a suite of Debian that has that version. Raises `XtcpError` where it cannot be had.
    """
    made = bytecode.compiled(sources) if version == sys.version_info[:2] else _by_another(sources, suite, version)
    return {_place(path, version): content for path, content in made.items()}


def _place(path: str, version: Version) -> str:
    """Where Python looks for a file's byte code."""
    folder, name = posixpath.split(path)
    return f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-{version[0]}{version[1]}.pyc"


def _by_another(sources: Mapping[str, bytes], suite: str, version: Version) -> dict[str, bytes]:
    root = _unpacked(suite)
    program = root / f"usr/bin/python{version[0]}.{version[1]}"
    [loader, *_] = [*root.glob("usr/lib*/ld-linux*.so.*"), Path("/nowhere")]
    done = subprocess.run(
        [loader, "--library-path", _libraries(root), program, "-SP", bytecode.__file__],
        input=marshal.dumps(dict(sources), bytecode.MARSHAL_VERSION),
        capture_output=True,
        env={**os.environ, "PYTHONHOME": str(root / "usr")},
        check=False,
    )
    if done.returncode != 0:
        raise Unavailable(
            f"Python {version[0]}.{version[1]} of {suite} does not run here: {done.stderr.decode(errors='replace')}",
            "Usually it is newer than this machine's kernel.",
        )
    made: dict[str, bytes] = marshal.loads(done.stdout)
    return made


def _libraries(root: Path) -> str:
    return ":".join(map(str, root.glob("usr/lib/*-linux-gnu")))


def _unpacked(suite: str) -> Path:
    """A folder with that suite's Python for this machine."""
    native = next((known for known in ARCHITECTURES if known.native and known.kernel_package), None)
    if native is None:
        raise Unavailable(f"Debian's {suite} has no Python for this machine, which would make byte code.")

    def build(folder: Path) -> None:
        archive = debian.unpacked(native, suite, ("python3-minimal",), folder)
        with tarfile.open(archive) as packages:
            packages.extractall(folder, members=[m for m in packages if not m.isdev()], filter="fully_trusted")
        archive.unlink()

    return cache.built(f"python-{native.name}-{suite}", json.dumps(Path(debian.__file__).read_text()), build)
