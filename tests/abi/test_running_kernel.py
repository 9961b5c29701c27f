"""The schema table against the kernel that runs here: its BTF has the newest members, headers may not."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.abi import btf
from tests.abi.btf import Place
from tests.abi.table import STRUCTS, enumerators, rows_of
from xtcp.schema.layout import Member, kernel_release, members
from xtcp.schema.model import Order, Struct

pytestmark = [pytest.mark.abi, pytest.mark.live]

VMLINUX: Final = Path("/sys/kernel/btf/vmlinux")
ORDER: Final[Order] = "<" if sys.byteorder == "little" else ">"
# Prefix of each enumeration, and its first enumerator: BTF has all of one or, if a module declares it, nothing.
ENUMERATIONS: Final = {
    "INET_DIAG_": "INET_DIAG_NONE",
    "INET_ULP_INFO_": "INET_ULP_INFO_UNSPEC",
    "MPTCP_SUBFLOW_ATTR_": "MPTCP_SUBFLOW_ATTR_UNSPEC",
    "TLS_INFO_": "TLS_INFO_UNSPEC",
    "SK_MEMINFO_": "SK_MEMINFO_RMEM_ALLOC",
    "TCP_": "TCP_ESTABLISHED",
    "IPPROTO_": "IPPROTO_IP",
}


@pytest.fixture(scope="module")
def dump() -> str:
    """All types of the running kernel, as text."""
    bpftool = shutil.which("bpftool", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if bpftool is None:
        pytest.skip("no bpftool: apt-get install bpftool")
    if not os.access(VMLINUX, os.R_OK):
        pytest.skip(f"this kernel has no {VMLINUX}, or not for this user (CONFIG_DEBUG_INFO_BTF)")
    command = [bpftool, "btf", "dump", "file", str(VMLINUX), "format", "raw"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def kernel(dump: str) -> dict[str, dict[str, Place]]:
    """Members of the table's structs, as this kernel has them."""
    return btf.places(dump, [struct.name for struct in STRUCTS])


def _place(member: Member) -> Place:
    """Where the table puts `member`; BTF counts bits from the first in memory, which a big-endian host has on top."""
    if member.mask is None:
        return Place(8 * member.offset, None, member.end - member.offset)
    holder, width = member.end - member.offset, member.mask.bit_length()
    first = member.shift if ORDER == "<" else 8 * holder - member.shift - width
    return Place(8 * member.offset + first, width, holder)


def _joined(places: list[Place]) -> Place:
    return Place(places[0].bit, places[0].width, sum(place.size for place in places))


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.name)
def test_members_lie_where_this_kernel_has_them(kernel: dict[str, dict[str, Place]], struct: Struct) -> None:
    """Each member this release should have is there, in its place; a vendor's kernel may have newer ones as well."""
    if struct.name not in kernel:
        pytest.skip(f"struct {struct.name} is not in this kernel's BTF: built as a module or left out")
    release = kernel_release(platform.release())
    assert release is not None
    places = kernel[struct.name]
    rows = [row for row in rows_of(struct) if row.since <= release]
    assert {row.column for row in rows} - {row.column for row in rows if row.paths[0] in places} == set()
    ours = {member.column: _place(member) for member in members(struct, ORDER, release)}
    theirs = {row.column: _joined([places[path] for path in row.paths]) for row in rows}
    assert {name: ours[name] for name in theirs} == theirs


@pytest.mark.parametrize(("prefix", "first"), ENUMERATIONS.items())
def test_numbers_of_this_kernel(dump: str, prefix: str, first: str) -> None:
    """Each attribute, state or protocol that this release should have is in its BTF and bears our number."""
    theirs = btf.enumerators(dump, [prefix])
    if first not in theirs:
        pytest.skip(f"{prefix}* is not in this kernel's BTF: built as a module or left out")
    release = kernel_release(platform.release())
    assert release is not None
    ours = {e.name: e.number for e in enumerators("TCP_") if e.name.startswith(prefix) and e.since <= release}
    assert ours
    assert {name: theirs.get(name) for name in ours} == ours
