"""The kernel's table of foreign programs is afterwards as it was before."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT, require_root
from tests.libraries import library

library("docker")

from containers.binfmt import TABLE, Entry, entries, programs_of  # noqa: E402
from qemu.architectures import architecture  # noqa: E402
from xtcp.errors import ConfigurationError, ExitCode  # noqa: E402

# No machine has this number, so that no entry is in the way; "run" by a program that prints its arguments.
MACHINE = dataclasses.replace(architecture("s390x"), name="a-test", elf_machine=0x7E57, user_program="/bin/echo")

PROGRAM = """\
import dataclasses, os, sys
from containers.binfmt import programs_of
from qemu.architectures import architecture
from xtcp.errors import XtcpError
name, number, user = sys.argv[1:]
os.setuid(int(user))
machine = dataclasses.replace(architecture("s390x"), name=name, elf_machine=int(number), user_program="/bin/echo")
try:
    with programs_of(machine) as entry:
        print(entry.name, flush=True)
        sys.stdin.read()
except XtcpError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Afterwards the table, and whether it is mounted, are as before."""
    require_root()
    before = TABLE.is_mount(), entries()
    yield
    assert (TABLE.is_mount(), entries()) == before


pytestmark = pytest.mark.root


def ours() -> list[Entry]:
    """The entries that run `MACHINE`'s programs."""
    return [entry for entry in entries() if entry.runs(MACHINE)]


def test_comes_and_goes(tmp_path: Path) -> None:
    """While it is there the kernel runs such a program."""
    program = tmp_path / "program"
    program.write_bytes(MACHINE.binfmt_magic + bytes(64))
    program.chmod(0o755)
    with programs_of(MACHINE) as entry:
        assert ours() == [entry]
        assert entry.name == "xtcp-a-test" and entry.enabled and set("POCF") <= set(entry.flags)
        done = subprocess.run([program, "and", "more"], capture_output=True, text=True, check=True)
        assert done.stdout.split() == [str(program), str(program), "and", "more"]
    assert not ours()
    with pytest.raises(OSError, match="Exec format error"):
        subprocess.run([program], check=True)


def test_goes_after_an_exception() -> None:
    """And the exception is the caller's."""
    with pytest.raises(ZeroDivisionError), programs_of(MACHINE):
        print(1 / 0)
    assert not ours()


def test_the_last_to_end_removes_it() -> None:
    """Whoever made it."""
    first, second = ExitStack(), ExitStack()
    first.enter_context(programs_of(MACHINE))
    second.enter_context(programs_of(MACHINE))
    assert len(ours()) == 1
    first.close()
    assert len(ours()) == 1
    second.close()
    assert not ours()


def test_one_that_was_killed_is_cleaned_up_after() -> None:
    """By the next of that architecture."""
    command = [sys.executable, "-c", PROGRAM, MACHINE.name, str(MACHINE.elf_machine), "0"]
    running = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with running:
        assert running.stdout is not None and running.stdout.readline() == b"xtcp-a-test\n"
        running.kill()
    assert len(ours()) == 1
    with programs_of(MACHINE):
        assert len(ours()) == 1
    assert not ours()


def test_one_of_somebody_else_is_used_and_left(mounted: None) -> None:
    """Here one with a wider mask."""
    mask = b"\xff" * 6 + bytes(12) + b"\xff" * 2
    with registered("theirs", MACHINE.binfmt_magic, mask, "F"):
        with programs_of(MACHINE) as entry:
            assert entry.name == "theirs"
            assert [each.name for each in ours()] == ["theirs"]
        assert [each.name for each in ours()] == ["theirs"]


def test_one_that_does_not_do_is_not_used(mounted: None) -> None:
    """It looks for its interpreter in the container, where there is none."""
    with (
        registered("theirs", MACHINE.binfmt_magic, MACHINE.binfmt_mask, ""),
        programs_of(MACHINE) as entry,
    ):
        assert entry.name == "xtcp-a-test"


def test_without_qemu() -> None:
    """What to install; nothing is mounted for it."""
    missing = dataclasses.replace(MACHINE, user_program="/nowhere/qemu")
    with pytest.raises(ConfigurationError, match="apt-get install qemu-user-static"), programs_of(missing):
        pass


def test_not_root() -> None:
    """Exit code 77, and what to do."""
    command = [sys.executable, "-c", PROGRAM, MACHINE.name, str(MACHINE.elf_machine), "65534"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.PERMISSION, done.stderr
    assert "Run this as root" in done.stderr


def test_an_entry_is_of_one_architecture() -> None:
    """Which its magic and mask say."""
    entry = Entry("", True, "F", 0, MACHINE.binfmt_magic, MACHINE.binfmt_mask)
    assert entry.runs(MACHINE)
    assert not entry.runs(architecture("s390x"))


@pytest.fixture
def mounted() -> Iterator[None]:
    """The table is there, with nothing for `MACHINE`."""
    with programs_of(dataclasses.replace(MACHINE, name="another-test", elf_machine=0x7E58)):
        yield


@contextmanager
def registered(name: str, magic: bytes, mask: bytes, flags: str) -> Iterator[None]:
    """An entry that an administrator made."""
    escaped = ["".join(f"\\x{byte:02x}" for byte in raw) for raw in (magic, mask)]
    (TABLE / "register").write_text(":".join(("", name, "M", "", *escaped, "/bin/echo", flags)))
    try:
        yield
    finally:
        (TABLE / name).write_text("-1")
