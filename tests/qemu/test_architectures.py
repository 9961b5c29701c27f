"""The tables: what they say of programs and names against the programs and Debian's own tables."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from qemu.architectures import ARCHITECTURES, Architecture, architecture
from qemu.guests import GUESTS, guest
from tests.conftest import require_program
from xtcp.errors import UsageError

# Those that the suite has compilers for; arm64 has no container that would need its programs told apart.
COMPILED = ("x86-64", "s390x", "ppc64")

every_architecture = pytest.mark.parametrize("known", ARCHITECTURES, ids=lambda known: known.name)


def takes(known: Architecture, program: bytes) -> bool:
    """Whether binfmt_misc would take a program for one of that architecture."""
    head = program[: len(known.binfmt_magic)]
    return all((a ^ b) & mask == 0 for a, b, mask in zip(head, known.binfmt_magic, known.binfmt_mask, strict=True))


@pytest.mark.parametrize("known", [a for a in ARCHITECTURES if a.name in COMPILED], ids=lambda known: known.name)
@pytest.mark.parametrize("position", ["-no-pie", "-pie"])
def test_a_compiled_program_is_taken_for_its_own_architecture_only(
    known: Architecture, position: str, tmp_path: Path
) -> None:
    """The compilers are the witness, with programs at a place of their own and at any."""
    compiler = require_program(f"{known.triplet}-gcc", f"gcc-{known.triplet.replace('_', '-')}")
    source, program = tmp_path / "nothing.c", tmp_path / "nothing"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run([compiler, position, "-o", program, source], check=True)
    assert [other.name for other in ARCHITECTURES if takes(other, program.read_bytes())] == [known.name]


@pytest.mark.parametrize("known", [a for a in ARCHITECTURES if not a.native], ids=lambda known: known.name)
def test_magic_and_mask_are_those_of_qemus_package(known: Architecture) -> None:
    """Debian's qemu-user brings a table for systemd; its mask for arm64 leaves the ABI's number open altogether."""
    name = Path(known.user_program).name.removesuffix("-static")
    table = Path(f"/usr/lib/binfmt.d/{name}.conf")
    if not table.is_file():
        pytest.skip(f"needs {table} (apt-get install qemu-user-static)")
    _, _, _, _, magic, mask, *_ = table.read_text().split(":")
    theirs = [bytes.fromhex(text.replace("\\x", "")) for text in (magic, mask)]
    assert known.binfmt_magic == theirs[0]
    assert [a | b for a, b in zip(known.binfmt_mask, theirs[1], strict=True)] == list(known.binfmt_mask)


@every_architecture
def test_debian_calls_them_so(known: Architecture) -> None:
    """dpkg knows the triplet, the byte order and the number of bits."""
    program = require_program("dpkg-architecture", "dpkg-dev")
    said = subprocess.run([program, "-a", known.debian], capture_output=True, text=True, check=True).stdout
    assert f"DEB_HOST_MULTIARCH={known.triplet}\n" in said
    assert f"DEB_HOST_ARCH_ENDIAN={known.byte_order}\n" in said
    assert "DEB_HOST_ARCH_BITS=64\n" in said


@every_architecture
def test_qemu_has_the_devices(known: Architecture) -> None:
    """Each device that a guest gets is one that qemu for that architecture can make."""
    program = require_program(known.system_program, known.system_package)
    said = subprocess.run([program, "-device", "help"], capture_output=True, text=True, check=True).stdout
    devices = set(re.findall(r'^name "([^"]+)"', said, re.MULTILINE))
    assert {f"virtio-{kind}-{known.virtio}" for kind in ("blk", "serial", "rng")} <= devices


def test_every_guest_is_found_by_its_name() -> None:
    """No two have one."""
    assert [guest(known.name) for known in GUESTS] == list(GUESTS)
    assert {known.architecture for known in GUESTS} == set(ARCHITECTURES)


def test_names_that_do_not_exist() -> None:
    """The message names those that do."""
    with pytest.raises(UsageError, match="Did you mean s390x:bookworm") as met:
        guest("s390:bookworm")
    assert "x86-64:forky" in str(met.value)
    with pytest.raises(UsageError, match="Did you mean x86-64"):
        architecture("x86_64")
