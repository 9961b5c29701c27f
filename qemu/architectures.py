"""The one table of architectures: what they are called in each world, and how qemu makes a machine or a process of one.

A name is that of this project's folders and tags (`x86-64`); the kernel, Debian and qemu have others.
"""

from __future__ import annotations

import platform
import struct
from dataclasses import dataclass
from typing import Final, Literal

from xtcp.errors import UsageError
from xtcp.spelling import meant

ByteOrder = Literal["little", "big"]

# An ELF header from its first byte to e_machine: elf(5). The mask leaves open what programs of one machine differ in:
# the ABI's number up to 3, and whether the file is at home anywhere (ET_DYN) or not (ET_EXEC).
_ELFCLASS64: Final = 2
_EV_CURRENT: Final = 1
_ET_EXEC: Final = 2
_DATA: Final = {"little": 1, "big": 2}


@dataclass(frozen=True)
class Architecture:
    """A processor in one byte order, and the machine around it."""

    name: str
    machine: str
    """What `uname -m` says on it."""
    byte_order: ByteOrder
    debian: str
    """Debian's name, also where Debian has no such port."""
    triplet: str
    elf_machine: int
    kernel_package: str | None
    """Debian's package that depends on the newest kernel; None where there is none."""
    system_program: str
    system_package: str
    machine_arguments: tuple[str, ...]
    """For the system program: machine, processor and the console, which is the chardev `console`."""
    console: str
    """What the kernel calls that console."""
    virtio: str
    """What virtio devices hang on, as a suffix of qemu's device names."""
    user_program: str
    user_package: str = "qemu-user-static"

    @property
    def binfmt_magic(self) -> bytes:
        """The first bytes of a program of this architecture, as binfmt_misc wants them."""
        head = struct.pack("4s3B9x", b"\x7fELF", _ELFCLASS64, _DATA[self.byte_order], _EV_CURRENT)
        return head + struct.pack(self._prefix + "2H", _ET_EXEC, self.elf_machine)

    @property
    def binfmt_mask(self) -> bytes:
        """The bits of them that count."""
        return b"\xff" * 7 + b"\xfc" + b"\xff" * 8 + struct.pack(self._prefix + "2H", 0xFFFE, 0xFFFF)

    @property
    def _prefix(self) -> str:
        return "<" if self.byte_order == "little" else ">"

    @property
    def native(self) -> bool:
        """Whether this machine is one."""
        return platform.machine() == self.machine


_SERIAL: Final = ("-serial", "chardev:console")

ARCHITECTURES: Final = (
    Architecture(
        name="x86-64",
        machine="x86_64",
        byte_order="little",
        debian="amd64",
        triplet="x86_64-linux-gnu",
        elf_machine=62,
        kernel_package="linux-image-amd64",
        system_program="qemu-system-x86_64",
        system_package="qemu-system-x86",
        machine_arguments=("-M", "pc", "-cpu", "max", *_SERIAL),
        console="ttyS0",
        virtio="pci",
        user_program="/usr/bin/qemu-x86_64-static",
    ),
    Architecture(
        name="arm64",
        machine="aarch64",
        byte_order="little",
        debian="arm64",
        triplet="aarch64-linux-gnu",
        elf_machine=183,
        kernel_package="linux-image-arm64",
        system_program="qemu-system-aarch64",
        system_package="qemu-system-arm",
        # Not -cpu max: its pointer authentication, emulated, is slow.
        machine_arguments=("-M", "virt", "-cpu", "cortex-a76", *_SERIAL),
        console="ttyAMA0",
        virtio="pci",
        user_program="/usr/bin/qemu-aarch64-static",
    ),
    Architecture(
        name="s390x",
        machine="s390x",
        byte_order="big",
        debian="s390x",
        triplet="s390x-linux-gnu",
        elf_machine=22,
        kernel_package="linux-image-s390x",
        system_program="qemu-system-s390x",
        system_package="qemu-system-misc",
        machine_arguments=("-M", "s390-ccw-virtio", "-device", "sclpconsole,chardev=console"),
        console="ttysclp0",
        virtio="ccw",
        user_program="/usr/bin/qemu-s390x-static",
    ),
    Architecture(
        name="ppc64",
        machine="ppc64",
        byte_order="big",
        debian="ppc64",
        triplet="powerpc64-linux-gnu",
        elf_machine=21,
        kernel_package=None,
        system_program="qemu-system-ppc64",
        system_package="qemu-system-ppc",
        # The mitigations that these capabilities stand for cannot be emulated; qemu says so for each.
        machine_arguments=(
            "-M", "pseries,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off",
            "-cpu", "power9", "-vga", "none", *_SERIAL,
        ),
        console="hvc0",
        virtio="pci",
        user_program="/usr/bin/qemu-ppc64-static",
    ),
)  # fmt: skip


def architecture(name: str) -> Architecture:
    """The architecture of that name. Raises `UsageError`."""
    for known in ARCHITECTURES:
        if known.name == name:
            return known
    names = [known.name for known in ARCHITECTURES]
    raise UsageError(f"There is no architecture {name!r}.", meant(name, names), f"These there are: {', '.join(names)}.")
