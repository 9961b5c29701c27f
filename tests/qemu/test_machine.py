"""What becomes of a run, by what its console and its results say; and of this machine's programs."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from qemu import bytecode, machine
from qemu.architectures import architecture
from qemu.compiling import byte_code
from qemu.machine import Fate, Machine, Run
from qemu.programs import require, run
from xtcp.errors import ConfigurationError, ExitCode, Unavailable

ROOT = Path(__file__).resolve().parents[2]
STARTED = "[    1.0] x\r\nguest: started after 3.89 s: Linux 6.1.0 s390x\r\n"


def results(*, code: str = "7\n", out: bytes = b"seen", cut: int | None = None) -> io.BytesIO:
    """A disk as init leaves it: an archive, then nothing."""
    disk = io.BytesIO()
    with tarfile.open(fileobj=disk, mode="w") as archive:
        folder = tarfile.TarInfo("out/deep")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        archive.addfile(folder)
        for name, content in (("out/deep/file", out), ("../outside", b"no"), ("out/../../outside", b"no")):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o600
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("out/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        info = tarfile.TarInfo("code")
        info.size = len(code)
        archive.addfile(info, io.BytesIO(code.encode()))
    raw = disk.getvalue()[:cut]
    return io.BytesIO(raw + bytes(1 << 20))


def judged(console: str, disk: io.BytesIO | None = None, to: Path | None = None, status: int = 0) -> Run:
    """A run whose console said that."""
    reading = machine._Reading(10, io.BytesIO(), None)
    for part in (console[:7], console[7:]):
        reading._add_console(part.encode())
    reading._add_line(reading._unfinished)
    return machine._judged(reading, status, disk or io.BytesIO(bytes(1 << 20)), to)


def test_a_command_that_ended_with_whole_results(tmp_path: Path) -> None:
    """Its files come out, none of them elsewhere, and no link."""
    done = judged(STARTED + "guest: the command ended with 7\r\n", results(), tmp_path / "out")
    assert (done.fate, done.code, done.kernel) == (Fate.DONE, 7, "Linux 6.1.0 s390x")
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert found == {"out", "out/deep", "out/deep/file"}
    assert (tmp_path / "out/deep/file").read_bytes() == b"seen"


@pytest.mark.parametrize(
    "disk",
    [
        results(code="0\n"),
        results(code=""),
        results(out=bytes(20000), cut=9000),
        results(cut=512),
        io.BytesIO(bytes(1 << 20)),
        io.BytesIO(b"\xff" * (1 << 20)),
    ],
    ids=["another code", "no code", "cut in a file", "cut behind a folder", "nothing", "rubbish"],
)
def test_results_that_do_not_bear_out_the_console(disk: io.BytesIO, tmp_path: Path) -> None:
    """Nothing of them is taken."""
    done = judged(STARTED + "guest: the command ended with 7\n", disk, tmp_path)
    assert done.fate is Fate.FAILED
    assert "results" in done.why
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("console", "why"),
    [
        ("", "Its first process never started; qemu ended with 3."),
        (STARTED, "It was switched off before its command had ended."),
        ("Kernel panic - not syncing: No working init found.\n", "panicked: No working init found."),
        (STARTED + "[9] Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled\n", "--memory"),
        ("[9] Kernel panic - not syncing: System is deadlocked on memory\n", "--memory"),
        ("Initramfs unpacking failed: write error\n[1] Kernel panic - not syncing: No working init\n", "--memory"),
        (STARTED + "guest: memory was too small to unpack everything\n", "--memory"),
        (STARTED + "guest: there is no port for the output\n", "gave up: there is no port for the output."),
    ],
)
def test_a_guest_that_failed_says_why(console: str, why: str) -> None:
    """Also where the disk has results that look whole."""
    done = judged(console, results(), status=3)
    assert done.fate is Fate.FAILED
    assert why in done.why


def test_a_program_that_is_missing_is_named_with_its_package() -> None:
    """Before anything was started."""
    with pytest.raises(ConfigurationError, match="no program no-such-program") as met:
        require("no-such-program", "its-package")
    assert "apt-get install --no-install-recommends its-package" in str(met.value)
    missing = replace(architecture("s390x"), system_program="qemu-system-none")
    with pytest.raises(ConfigurationError, match="qemu-system-none"):
        machine.run(Machine(missing, Path("/nothing")), io.BytesIO(), io.BytesIO(), None)


def test_a_program_that_fails_is_heard() -> None:
    """The end of what it said, and what was not done."""
    with pytest.raises(Unavailable, match="No kernel: sh ended with 3") as met:
        run(["sh", "-c", "seq 100; echo the reason >&2; exit 3"], "No kernel")
    assert str(met.value).endswith("  the reason")
    assert run(["echo", "said"], "Never") == "said\n"


def boot(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The program itself."""
    argv = [sys.executable, "-m", "qemu.boot", *arguments]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["s390:bookworm", "--", "true"], "Did you mean s390x:bookworm"),
        ([], "No guest is named"),
        (["s390x:bookworm"], "No command is named"),
        (["s390x:bookworm", "--limit", "0", "--", "true"], "'0' is no number from 1"),
        (["s390x:bookworm", "--memry", "1", "--", "true"], "Did you mean --memory"),
    ],
)
def test_wrong_usage(arguments: list[str], says: str) -> None:
    """Nothing is built for it."""
    done = boot(*arguments)
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert says in done.stderr


def test_the_list_and_the_help() -> None:
    """What a person asks first."""
    assert "s390x:bookworm" in boot("--list").stdout.splitlines()
    said = boot("--help").stdout
    assert all(f"\n  {code}  " in said for code in (124, 125, 130))


def test_byte_code_is_used_whatever_its_source_says(tmp_path: Path) -> None:
    """Python itself runs what was compiled, though the source has changed since; what is no Python is left alone."""
    sources = {f"{tmp_path}/module.py": b"print('compiled')\n", f"{tmp_path}/template.py": b"{{ name }} = ;\n"}
    made = byte_code(sources, "none", sys.version_info[:2])
    assert len(made) == 1
    for path, content in made.items():
        Path(path).parent.mkdir()
        Path(path).write_bytes(content)
    (tmp_path / "module.py").write_text("print('source')\n")
    said = subprocess.run([sys.executable, "-m", "module"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout == "compiled\n"


def test_byte_code_by_another_process_is_the_same() -> None:
    """As a program, the module reads and writes what its function takes and gives."""
    import marshal

    sources = {"/a/module.py": b"def f(x: int) -> int:\n    return x + 1\n"}
    done = subprocess.run(
        [sys.executable, "-SP", bytecode.__file__],
        input=marshal.dumps(sources, bytecode.MARSHAL_VERSION), capture_output=True, check=True,
    )  # fmt: skip
    assert marshal.loads(done.stdout) == bytecode.compiled(sources)
