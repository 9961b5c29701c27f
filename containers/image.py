"""An architecture's test image: its userland and what containers/<architecture>/Dockerfile says, nothing else.

The tag is a hash of the two, so the same content is built once for an engine, and what it replaces is removed.
"""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from docker.errors import APIError, BuildError, ImageNotFound

from xtcp.errors import ConfigurationError

REPOSITORY: Final = "xtcp-test-"
DOCKERFILES: Final = Path(__file__).resolve().parent
_PIECE: Final = 1 << 20
_RECORD: Final = tarfile.RECORDSIZE


def image(client: Any, architecture: str, userland: Path, dockerfile: Path | None = None) -> str:
    """The tag of the image of `userland` (a tar) in this engine, built if it is not there."""
    dockerfile = dockerfile or DOCKERFILES / architecture / "Dockerfile"
    repository = REPOSITORY + architecture
    tag = f"{repository}:{content(dockerfile, userland)}"
    try:
        client.images.get(tag)
    except ImageNotFound:
        _build(client, tag, dockerfile, userland)
    _remove_others(client, repository, tag)
    return tag


def content(*files: Path) -> str:
    """Hash of what these files hold."""
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            whole.update(hashlib.file_digest(opened, "sha256").digest())
    return whole.hexdigest()[:16]


def _build(client: Any, tag: str, dockerfile: Path, userland: Path) -> None:
    """Builds it. No platform is given: the engine labels it as its own, and binfmt_misc decides who runs it."""
    begin = time.monotonic()
    context = _Reading(_context(dockerfile, userland))
    try:
        client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True, forcerm=True, pull=False)
    except (APIError, BuildError) as error:
        raise ConfigurationError(
            f"The image {tag} could not be built: {error}",
            "Usually the engine's disk is full.",
            "See df -h, and what docker system df tells of the engine.",
        ) from error
    print(f"{tag}: built in {time.monotonic() - begin:.0f} s", file=sys.stderr)


def _context(dockerfile: Path, userland: Path) -> Iterator[bytes]:
    """What the engine builds from, as a tar of the two files, made while it is sent."""
    for name, file in (("Dockerfile", dockerfile), ("userland.tar", userland)):
        header = tarfile.TarInfo(name)
        header.size = file.stat().st_size
        yield header.tobuf(tarfile.GNU_FORMAT)
        with file.open("rb") as opened:
            while piece := opened.read(_PIECE):
                yield piece
        yield bytes(-header.size % tarfile.BLOCKSIZE)
    yield bytes(_RECORD)


class _Reading(io.RawIOBase):
    """Pieces as a file that is read once from its beginning, which is all that the client needs."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces, self._left = pieces, b""

    def readable(self) -> bool:
        """It is."""
        return True

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def readinto(self, into: Any) -> int:
        """The next bytes."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        taken, self._left = self._left[: len(into)], self._left[len(into) :]
        into[: len(taken)] = taken
        return len(taken)


def _remove_others(client: Any, repository: str, tag: str) -> None:
    """Removes the images that were before this one, unless a container still uses them."""
    for old in (each for found in client.images.list(name=repository) for each in found.tags):
        if old != tag and old.startswith(repository + ":"):
            try:
                client.images.remove(old)
            except APIError as error:
                print(f"{old} stays: {error.explanation}", file=sys.stderr)
