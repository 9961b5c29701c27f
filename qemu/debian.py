"""Debian's packages of any suite and architecture, fetched and unpacked: nothing of them is installed or run here.

They come from the mirror that this machine's apt uses, and are verified with Debian's keys. A suite that is no longer
renewed has a release file past its date, which is no reason to leave it: its packages are old, not forged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from qemu.architectures import Architecture
from qemu.programs import require, run
from xtcp.errors import ConfigurationError

_KEYS: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_NO_MIRROR: Final = "Look whether the mirror can be reached and has that suite: apt-get update"
_ANY_DATE: Final = 'Acquire::Check-Valid-Until "false";'
# Merged folders, as every installed Debian has them; old packages would fill real ones.
_MERGED: Final = 'for name in bin sbin lib lib64; do mkdir -p "$1/usr/$name" && ln -s "usr/$name" "$1/$name"; done'
_OF_KERNEL: Final = re.compile(r"^ *(?:Pre)?Depends: (linux-[a-z]+-[0-9]\S*)$", re.MULTILINE)


def mirror() -> str:
    """The address of Debian's archive that apt uses here. Raises `ConfigurationError`."""
    sites = run(
        [require("apt-get", "apt"), "indextargets", "--format", "$(ORIGIN) $(LABEL) $(SITE)", "Created-By: Packages"],
        "apt does not tell its mirror",
    )
    for line in sites.splitlines():
        origin, label, site = line.split(" ", 2)
        if (origin, label) == ("Debian", "Debian"):
            return site
    raise ConfigurationError(
        "apt knows no mirror of Debian here.",
        "Usually its lists were never fetched, or this is another distribution.",
        "Fetch them, as root: apt-get update",
    )


def keys() -> Path:
    """The keyring that Debian's releases are signed with. Raises `ConfigurationError`."""
    if not _KEYS.is_file():
        raise ConfigurationError(
            f"There is no {_KEYS}, which verifies Debian's packages.",
            "",
            "Install it: apt-get install debian-archive-keyring",
        )
    return _KEYS


def unpacked(architecture: Architecture, suite: str, packages: Sequence[str], folder: Path) -> Path:
    """An archive in `folder` of what `packages`, and all that they depend on, have in them."""
    archive = folder / "packages.tar"
    work = folder / "unpacking"
    work.mkdir()
    run(
        [
            require("mmdebstrap", "mmdebstrap"), "--variant=extract", "--skip=chroot/mount",
            f"--architectures={architecture.debian}", f"--include={','.join(packages)}", f"--keyring={keys()}",
            f"--aptopt={_ANY_DATE}", f"--setup-hook={_MERGED}", suite, archive, mirror(),
        ],
        f"The packages of {suite} for {architecture.name} are not to be had",
        _NO_MIRROR,
        {"TMPDIR": str(work)},
    )  # fmt: skip
    work.rmdir()
    return archive


def kernel_packages(architecture: Architecture, suite: str, folder: Path) -> list[Path]:
    """The files, in `folder`, of the packages that make up the suite's newest kernel.

    That is one, linux-image-VERSION, and from Debian 14 on also those that it has its kernel and its modules in.
    """
    assert architecture.kernel_package is not None
    apt = _private_apt(architecture, suite, folder / "apt")
    what = f"The kernel of {suite} for {architecture.name} is not to be had"
    run([require("apt-get", "apt"), *apt, "update", "--error-on=any"], what, _NO_MIRROR)
    wanted, known = [architecture.kernel_package], set[str]()
    while wanted:
        package = wanted.pop()
        known.add(package)
        depends = run([require("apt-cache", "apt"), *apt, "depends", "--important", package], what, _NO_MIRROR)
        wanted += set(_OF_KERNEL.findall(depends)) - known
    known.remove(architecture.kernel_package)  # it is empty
    run([require("apt-get", "apt"), *apt, "download", *sorted(known)], what, _NO_MIRROR, folder=folder)
    return sorted(folder.glob("*.deb"))


def _private_apt(architecture: Architecture, suite: str, root: Path) -> list[str]:
    """Options with which apt knows that suite alone, and leaves this machine's own state as it is."""
    for path in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
        (root / path).mkdir(parents=True)
    (root / "status").touch()
    (root / "etc/sources.list").write_text(f"deb [signed-by={keys()}] {mirror()} {suite} main\n")
    options = {
        "APT::Architecture": architecture.debian,
        "APT::Architectures": architecture.debian,
        "APT::Sandbox::User": "root",
        "Acquire::Check-Valid-Until": "false",
        "Acquire::Languages": "none",
        "Dir::Cache": root / "cache",
        "Dir::Etc": root / "etc",
        "Dir::State": root / "state",
        "Dir::State::status": root / "status",
    }
    return ["-q", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
