"""Kernels: Debian's of any suite, unpacked, with the modules that a guest may want and those that these need.

    kernel(guest).image      what qemu boots
                 .modules    a folder with lib/modules/RELEASE, made ready by depmod, and `WANTED`: names, one a line,
                             that init loads; a name that this kernel has not, or has built in, is not among them
                 .release    `uname -r`
                 .config     the kernel's configuration

ppc64's has no modules and is built from source by qemu/ppc64.
"""

from __future__ import annotations

import fnmatch
import json
import lzma
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from qemu import cache, debian
from qemu.guests import Guest
from qemu.programs import require, run
from xtcp.errors import Unavailable

WANTED: Final = "wanted"
"""The list's name, in the folder of the modules' release."""

_HOME: Final = Path(__file__).resolve().parent

# Patterns of names, with `_` for `-`. What is in neither list, and not needed by one that is, is left out.
_LOADED: Final = (
    "virtio_blk", "virtio_console", "virtio_mmio", "virtio_pci", "virtio_rng",  # the machine
    "af_packet_diag", "inet_diag", "mptcp_diag", "netlink_diag", "raw_diag", "tcp_diag", "udp_diag", "unix_diag",
    "tcp_*", "tls", "dummy", "nlmon", "veth",
)  # fmt: skip
_LOADED_BY_THE_KERNEL: Final = (
    "aes_generic", "aes_s390", "aesni_intel", "ccm", "chacha*", "ctr", "gcm", "ghash_*", "libaes", "poly1305*",  # tls
    "nf_tables", "nfnetlink", "nft_ct", "nft_reject*", "sch_fq", "sch_fq_codel", "sch_netem",
)  # fmt: skip
_LIKE: Final = re.compile(r"\.ko(\.xz)?$")


@dataclass(frozen=True)
class Kernel:
    """A kernel that is there."""

    image: Path
    modules: Path
    release: str
    config: Path


def kernel(guest: Guest) -> Kernel:
    """The guest's kernel. Raises `XtcpError` where it cannot be had."""
    name = f"kernel-{guest.architecture.name}-{guest.suite}"
    if guest.architecture.kernel_package is None:
        folder = _from_source(name, guest)
    else:
        key = json.dumps([Path(__file__).read_text(), Path(debian.__file__).read_text(), guest.name])
        folder = cache.built(name, key, lambda to: _from_packages(guest, to))
    return Kernel(folder / "image", folder / "modules", (folder / "release").read_text().strip(), folder / "config")


def _from_source(name: str, guest: Guest) -> Path:
    """A kernel that is built here, by the script of its architecture."""
    home = _HOME / guest.architecture.name
    key = json.dumps([path.read_text() for path in sorted(home.iterdir())])

    def build(folder: Path) -> None:
        run([home / "build.sh", folder], f"{name} could not be built")
        (folder / "vmlinux").rename(folder / "image")
        (folder / "modules").mkdir()

    return cache.built(name, key, build)


def _from_packages(guest: Guest, folder: Path) -> None:
    """Fills `folder` from Debian's packages. They lay files out in two ways, so these are looked for."""
    packages, unpacked = folder / "packages", folder / "unpacked"
    packages.mkdir()
    for package in debian.kernel_packages(guest.architecture, guest.suite, packages):
        run([require("dpkg-deb", "dpkg"), "--extract", package, unpacked], f"{package.name} cannot be unpacked")
    modules = [path for path in unpacked.glob("**/lib/modules/*") if path.is_dir()]
    if len(modules) != 1:
        raise Unavailable(
            f"The packages of {guest.name}'s kernel have {len(modules)} folders of modules.",
            "Usually the suite's packages are laid out anew.",
        )
    [whole] = modules
    release = whole.name
    (folder / "release").write_text(release + "\n")
    _found(unpacked, (f"boot/vmlinu[xz]-{release}", f"**/{release}/vmlinu[xz]")).rename(folder / "image")
    _found(unpacked, (f"boot/config-{release}", f"**/{release}/config")).rename(folder / "config")

    ready = folder / "modules" / "lib" / "modules" / release
    ready.mkdir(parents=True)
    for source, place in _needed(whole, release, unpacked):
        target = ready / _LIKE.sub(".ko", str(place))
        target.parent.mkdir(parents=True, exist_ok=True)
        # Not packed: the guest, which is slow, would have to unpack it.
        target.write_bytes(lzma.decompress(source.read_bytes()) if source.suffix == ".xz" else source.read_bytes())
    for listing in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        for path in unpacked.glob(f"**/{release}/{listing}"):
            shutil.copyfile(path, ready / listing)
    run([require("depmod", "kmod"), "-b", folder / "modules", release], "The modules are not made ready")
    (ready / WANTED).write_text("".join(f"{name}\n" for name in _named(ready, _LOADED)))
    shutil.rmtree(packages)
    shutil.rmtree(unpacked)


def _found(root: Path, patterns: tuple[str, ...]) -> Path:
    """The first file that one of the patterns finds."""
    for pattern in patterns:
        for path in root.glob(pattern):
            return path
    raise Unavailable(
        f"The kernel's packages have no {' and no '.join(patterns)}.",
        "Usually the suite's packages are laid out anew.",
    )


def _named(modules: Path, patterns: tuple[str, ...]) -> list[str]:
    """Names of the modules there that a pattern fits, in the order of the patterns."""
    names = sorted(_LIKE.sub("", path.name).replace("-", "_") for path in modules.glob("**/*.ko*"))
    return list(dict.fromkeys(name for pattern in patterns for name in fnmatch.filter(names, pattern)))


def _needed(modules: Path, release: str, root: Path) -> Iterator[tuple[Path, Path]]:
    """The files of wanted modules and of all that these depend on, and their places in the folder."""
    if not modules.is_relative_to(root / "lib"):  # depmod knows one place only
        (root / "lib").symlink_to("usr/lib")
    run([require("depmod", "kmod"), "-b", root, release], "The modules' dependencies are not found out")
    wanted = set(_named(modules, (*_LOADED, *_LOADED_BY_THE_KERNEL)))
    places = set[str]()
    for line in (modules / "modules.dep").read_text().splitlines():
        place, _, needs = line.partition(":")
        if _LIKE.sub("", Path(place).name).replace("-", "_") in wanted:
            places |= {place, *needs.split()}
    for place in sorted(places):
        yield modules / place, Path(place)
