"""The one table of guests: which kernel runs on which architecture, under which userland.

A guest's name is `ARCHITECTURE:SUITE`, the suite of Debian whose kernel it has. Its userland is that of the same suite
if there is one with Python 3.11 or later. No distribution has a big-endian ppc64: its kernel is built from bookworm's
source, its userland from source throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from qemu.architectures import Architecture, architecture
from xtcp.errors import UsageError
from xtcp.spelling import meant


@dataclass(frozen=True)
class Guest:
    """A kernel's suite and a userland's suite on an architecture."""

    architecture: Architecture
    suite: str
    userland: str

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return f"{self.architecture.name}:{self.suite}"


def _guests(name: str, **userlands: str) -> list[Guest]:
    """Guests of one architecture: suite of the kernel, and of the userland."""
    return [Guest(architecture(name), suite.replace("_", "-"), userland) for suite, userland in userlands.items()]


GUESTS: Final = (
    *_guests(
        "x86-64",
        bullseye="bookworm",  # it has Python 3.9
        bookworm="bookworm",
        trixie="trixie",
        trixie_backports="trixie",
        forky="forky",
    ),
    *_guests("arm64", trixie_backports="trixie"),
    *_guests("s390x", bookworm="bookworm", bookworm_backports="bookworm", forky="forky"),
    *_guests("ppc64", bookworm="bookworm"),
)


def guest(name: str) -> Guest:
    """The guest of that name. Raises `UsageError`."""
    for known in GUESTS:
        if known.name == name:
            return known
    names = [known.name for known in GUESTS]
    raise UsageError(f"There is no guest {name!r}.", meant(name, names), f"These there are: {', '.join(names)}.")
