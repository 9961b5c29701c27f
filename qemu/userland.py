"""Userlands: programs, Python and its libraries of one architecture, as one tar archive.

`userland(architecture, suite)` is made of Debian's packages, unpacked and never installed, so that nothing foreign runs
here; what the packages' scripts would have done, as far as it matters, is done here. Python's libraries come as wheels,
with the hashes of requirements/. ppc64, which no distribution has, is built from source by containers/ppc64.

A guest starts from this archive and a container's image is made of it: both run the same programs.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from qemu import bytecode, cache, compiling, debian, tree
from qemu.architectures import Architecture
from qemu.compiling import Version, byte_code
from qemu.programs import run
from qemu.tree import Tree
from xtcp.errors import Unavailable

ROOT: Final = Path(__file__).resolve().parent.parent
ARCHIVE: Final = "userland.tar"
_PYTHON: Final = "python"

_PACKAGES: Final = (
    # What every Debian has
    "base-files", "base-passwd", "bash", "bsdutils", "coreutils", "dash", "diffutils", "findutils", "grep", "gzip",
    "hostname", "libc-bin", "mount", "ncurses-base", "sed", "tar", "util-linux",
    # What init needs, what captures, what witnesses, and what the suite calls
    "busybox-static", "iproute2", "kmod", "netbase", "nftables", "openssl", "procps", "tcpdump", "tzdata", "xz-utils",
    "zstd", "python3", "python3-numpy",
)  # fmt: skip
# In a container of this one the whole suite runs: more witnesses, and libraries that have no wheel for it.
_MORE: Final = {
    ("s390x", "bookworm"): (
        "prometheus", "protobuf-compiler", "systemd", "tshark",
        "python3-bcrypt", "python3-cryptography", "python3-markupsafe",
    ),
}  # fmt: skip
_WHEELS: Final = {("s390x", "bookworm"): "s390x.txt"}
_WHEELS_OTHERWISE: Final = "pure.txt"
_FROM_DEBIAN: Final = {"bcrypt", "cffi", "cryptography", "markupsafe", "numpy"}
_READ_BY_SOURCE_BUILD: Final = ("cross.txt", "pure.txt", "run.txt")
_PYTHON_OF_SOURCE_BUILD: Final = (3, 11)
_GLIBC: Final = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34")

_LEFT_OUT: Final = re.compile(
    r"""(
      (boot|dev|home|media|mnt|opt|proc|run|srv|sys|tmp|var)/.+
    | etc/(apt|cron\..*|default|dpkg|init\.d|kernel|logrotate\.d|pam\.d|perl|prometheus|systemd|xdg|X11)(/.*)?
    | etc/(hostname|resolv\.conf|fstab)
    | usr/(games|include|local|src)/.+
    | usr/bin/((apt|cpan|deb|dpkg|perl).*|prometheus)
    | usr/lib/(apt|dpkg|init|sysusers\.d|tmpfiles\.d|udev|valgrind)(/.*)?
    | usr/lib/[^/]+-linux-gnu/(cmake|gconv|libperl\..*|perl.*|pkgconfig)(/.*)?
    | usr/lib/python3[^/]*/(.+/)?(tests?|__pycache__)(/.*)?
    | usr/share/(X11|applications|bash-completion|bug|common-licenses|debconf|debianutils|doc|doc-base|dpkg|gcc|gdb
      |fonts.*|icons|info|javascript|keyrings|libc-bin|lintian|locale|man|menu|metainfo|mime|nodejs|pam.*|perl.*|pixmaps|polkit-1|prometheus|xml|zsh)(/.*)?
    | usr/share/zoneinfo/(posix|right)(/.*)?
    )""",
    re.VERBOSE,
)
_SOURCES: Final = re.compile(r"usr/(local/)?lib/python3.*\.py")

_USERS: Final = "usr/share/base-passwd"
_TCPDUMP: Final = b"tcpdump:x:100:100::/nonexistent:/usr/sbin/nologin\n"
_HOSTS: Final = b"127.0.0.1 localhost\n::1 localhost\n"
_WRAPPER: Final = """\
#!/bin/sh
# The repository at /xtcp, as the command that an installation has.
export PYTHONPATH=/xtcp/agent:/xtcp/replay${{PYTHONPATH:+:$PYTHONPATH}}
exec python3 -m {module} "$@"
"""


def userland(architecture: Architecture, suite: str) -> Path:
    """The archive. Raises `XtcpError` where it cannot be made."""
    name = f"userland-{architecture.name}-{suite}"
    if architecture.kernel_package is None:
        return _from_source(name) / ARCHIVE
    which = (architecture.name, suite)
    packages = (*_PACKAGES, *_MORE.get(which, ()))
    pins = (ROOT / "requirements" / _WHEELS.get(which, _WHEELS_OTHERWISE)).read_text()
    modules = (__file__, bytecode.__file__, compiling.__file__, debian.__file__, tree.__file__)
    recipe = [Path(module).read_text() for module in modules]

    def build(folder: Path) -> None:
        unpacked = debian.unpacked(architecture, suite, packages, folder)
        with tarfile.open(unpacked) as archive:
            files = Tree(archive, lambda path: not _LEFT_OUT.fullmatch(path))
            python = _python(files)
            for path, content in _wheels(architecture, python, pins, folder):
                files.add(path, content)
            _configure(files, architecture)
            _compile(files, suite, python)
            files.write(folder / ARCHIVE)
            _note_python(folder, python)
        unpacked.unlink()
        shutil.rmtree(folder / "wheels")

    return cache.built(name, json.dumps([*recipe, *which, packages, pins]), build) / ARCHIVE


def _from_source(name: str) -> Path:
    """ppc64: its own build has its own cache, stage by stage, so its key is all that it may read."""
    home = ROOT / "containers/ppc64"
    inputs = [*sorted(home.rglob("*.sh")), *(ROOT / "requirements" / name for name in _READ_BY_SOURCE_BUILD)]

    def build(folder: Path) -> None:
        run([home / "build.sh", folder / ARCHIVE], f"{name} could not be built")
        _note_python(folder, _PYTHON_OF_SOURCE_BUILD)

    return cache.built(name, json.dumps([_PYTHON_OF_SOURCE_BUILD, *(path.read_text() for path in inputs)]), build)


def python_of(archive: Path) -> Version:
    """The version of Python in a userland that `userland` made."""
    major, minor = archive.with_name(_PYTHON).read_text().split(".")
    return int(major), int(minor)


def _note_python(folder: Path, python: Version) -> None:
    (folder / _PYTHON).write_text("{}.{}".format(*python))


def _python(files: Tree) -> Version:
    """The version of the Python in it."""
    for path in files:
        if found := re.fullmatch(r"usr/bin/python3\.([0-9]+)", path):
            return 3, int(found[1])
    raise Unavailable("The userland has no Python.", "Usually the suite's packages have changed.")


def _wheels(architecture: Architecture, python: Version, pins: str, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of every file that the pinned wheels bring, by the pip of the Python that runs this."""
    to, requirements = folder / "wheels", folder / "wheels.txt"
    requirements.write_text(_without(_FROM_DEBIAN, pins))
    version = "".join(map(str, python))
    run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input",
            "--target", to, "--require-hashes", "--no-deps", "--no-compile", "--only-binary=:all:",
            *(f"--platform={glibc}_{architecture.machine}" for glibc in _GLIBC), "--platform=any",
            f"--python-version={version}", "--implementation=cp", f"--abi=cp{version}", "--abi=abi3", "--abi=none",
            "--requirement", requirements,
        ],
        f"Python's libraries for {architecture.name} are not to be had",
        "Look whether a package index can be reached: pip config list",
    )  # fmt: skip
    home = f"usr/local/lib/python{python[0]}.{python[1]}/dist-packages"
    for path in sorted(to.rglob("*")):
        inside = path.relative_to(to)
        if path.is_file() and inside.parts[0] != "bin":  # programs, which name a Python of this machine
            yield f"{home}/{inside}", path.read_bytes()


def _without(names: set[str], pins: str) -> str:
    """Pins without those of some packages: a pin goes from its name to the line before the next."""
    kept = re.split(r"^(?=[a-z0-9])", pins, flags=re.MULTILINE)
    return "".join(pin for pin in kept if pin.partition("==")[0] not in names)


def _configure(files: Tree, architecture: Architecture) -> None:
    """What scripts of packages do when they are installed, and what a machine's administrator does."""
    libraries = f"usr/lib/{architecture.triplet}"
    for library in ("blas", "lapack"):
        files.link(f"{libraries}/lib{library}.so.3", f"{library}/lib{library}.so.3")
    files.link("usr/bin/sh", "dash")
    for kind in ("passwd", "group"):
        tcpdump = _TCPDUMP if kind == "passwd" else b"tcpdump:x:100:\n"
        files.add(f"etc/{kind}", files.read(f"{_USERS}/{kind}.master") + tcpdump)
    files.add("etc/hosts", _HOSTS)
    files.add("etc/hostname", b"guest\n")
    for name in ("dev", "proc", "root", "run", "sys", "var", "var/lib"):
        files.folder(name)
    for name in ("tmp", "var/tmp"):
        files.folder(name, 0o1777)
    for command in ("xtcp", "xtcp-replay"):
        script = _WRAPPER.format(module=command.replace("-", "_"))
        files.add(f"usr/local/bin/{command}", script.encode(), 0o755)


def _compile(files: Tree, suite: str, python: Version) -> None:
    """Byte code beside everything of Python."""
    sources = {f"/{path}": files.read(path) for path in files if _SOURCES.fullmatch(path) and files.is_file(path)}
    for path, content in byte_code(sources, suite, python).items():
        files.add(path.removeprefix("/"), content)
