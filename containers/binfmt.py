"""The kernel's table of foreign programs (binfmt_misc): an entry for as long as it is needed.

    with programs_of(architecture):               programs of that architecture run, in containers too

An enabled entry that is there already, whoever made it, is used and left as it is, if it opened its interpreter when
it was made (flag F: a container has no qemu inside). Otherwise one named `xtcp-<architecture>` is added. The table is
mounted where it is not, and unmounted then.

The table is the whole machine's, so several runs may be at it: the last one of an architecture to end removes its
entry, and the last of all the mount, if it was theirs. Locks in /run/lock tell who is the last; they end with a
process, so a run that was killed is cleaned up after by the next.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from containers.engine import undisturbed
from qemu.architectures import Architecture
from xtcp.errors import ConfigurationError, PermissionMissing

TABLE: Final = Path("/proc/sys/fs/binfmt_misc")
PREFIX: Final = "xtcp-"
LOCKS: Final = Path("/run/lock")
# P: argv[0] is kept. O: the program is handed over open. C: its owner and set-id bits count. F: see above.
_FLAGS: Final = "POCF"
_OWN = {"register", "status"}
_MOUNTED: Final = "mounted by us\n"


@dataclass(frozen=True)
class Entry:
    """An entry of the table, as the kernel shows it."""

    name: str
    enabled: bool
    flags: str
    offset: int
    magic: bytes
    mask: bytes

    def runs(self, architecture: Architecture) -> bool:
        """Whether it takes that architecture's programs, in containers too."""
        size = len(self.magic)
        theirs = architecture.binfmt_magic[self.offset : self.offset + size]
        return (
            self.enabled
            and "F" in self.flags
            and size > 0
            and all((a ^ b) & c == 0 for a, b, c in zip(theirs, self.magic, self.mask, strict=True))
        )


@contextmanager
def programs_of(architecture: Architecture) -> Iterator[Entry]:
    """The kernel runs programs of `architecture` here: by that entry."""
    if os.geteuid() != 0:
        yield _others_entry(architecture)
        return
    name = PREFIX + architecture.name
    LOCKS.mkdir(exist_ok=True)
    with (LOCKS / f"xtcp-binfmt-{architecture.name}").open("a") as users:
        try:
            with _turn() as turn:
                fcntl.flock(users, fcntl.LOCK_SH)
                if not (TABLE / "register").exists():
                    _mount(turn)
                entry = _entry(architecture, name)
            yield entry
        finally:
            with undisturbed(), _turn() as turn:
                if _last(users):
                    _remove(name)
                _unmount(turn)


def _others_entry(architecture: Architecture) -> Entry:
    """The entry that somebody else made."""
    for entry in entries():
        if entry.runs(architecture):
            return entry
    raise PermissionMissing(
        f"Only root can tell the kernel to run programs of {architecture.name}.",
        "Usually this is another user.",
        f"Run this as root, or have it done (Debian: apt-get install binfmt-support {architecture.user_package}).",
    )


@contextmanager
def _turn() -> Iterator[IO[str]]:
    """One process at a time changes the table. The file tells whether we have mounted it."""
    with (LOCKS / "xtcp-binfmt").open("a+") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield turn


def _last(users: IO[str]) -> bool:
    """Whether nobody else uses the entry; from now on we do not."""
    fcntl.flock(users, fcntl.LOCK_UN)
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _entry(architecture: Architecture, name: str) -> Entry:
    """The entry for `architecture`, found or made."""
    for entry in entries():
        if entry.runs(architecture):
            return entry
    program = Path(architecture.user_program)
    if not program.is_file():
        raise ConfigurationError(
            f"There is no {program}, which runs programs of {architecture.name}.",
            "Usually qemu's user emulation is not installed.",
            f"Install it (Debian: apt-get install {architecture.user_package}).",
        )
    _remove(name)  # one that does not do
    fields = ("", name, "M", "0", _escaped(architecture.binfmt_magic), _escaped(architecture.binfmt_mask))
    (TABLE / "register").write_text(":".join((*fields, str(program), _FLAGS)))
    return _read(TABLE / name)


def entries() -> list[Entry]:
    """What the table holds; nothing where it is not mounted."""
    if not (TABLE / "register").exists():
        return []
    return [_read(path) for path in sorted(TABLE.iterdir()) if path.name not in _OWN]


def _read(path: Path) -> Entry:
    """One entry, from the kernel's text."""
    lines = path.read_text().splitlines()
    values = {word.rstrip(":"): value for word, _, value in (line.partition(" ") for line in lines)}
    magic = bytes.fromhex(values.get("magic", ""))
    return Entry(
        name=path.name,
        enabled="enabled" in values,
        flags=values.get("flags", ""),
        offset=int(values.get("offset", "0")),
        magic=magic,
        mask=bytes.fromhex(values["mask"]) if "mask" in values else b"\xff" * len(magic),
    )


def _remove(name: str) -> None:
    """Takes an entry out, if it is there."""
    path = TABLE / name
    if path.exists():
        path.write_text("-1")


def _mount(turn: IO[str]) -> None:
    """Mounts the table and notes it for the last user."""
    done = subprocess.run(
        ["mount", "-t", "binfmt_misc", "binfmt_misc", str(TABLE)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ConfigurationError(
            f"{TABLE} could not be mounted: {done.stderr.strip()}",
            "Usually the kernel has no binfmt_misc, or a container forbids the mount.",
            "Load the module (modprobe binfmt_misc), or run this outside the container.",
        )
    turn.truncate(0)
    turn.write(_MOUNTED)
    turn.flush()


def _unmount(turn: IO[str]) -> None:
    """Unmounts the table if we have mounted it and nobody has an entry in it."""
    turn.seek(0)
    if turn.read() == _MOUNTED and not entries():
        subprocess.run(["umount", str(TABLE)], check=False)
        turn.truncate(0)


def _escaped(raw: bytes) -> str:
    """Bytes as the kernel reads them in a new entry."""
    return "".join(f"\\x{byte:02x}" for byte in raw)
