"""A guest that runs: qemu started, read, limited and ended, and what became of the command.

Everything that a run needs on this machine is open files without a name, and qemu dies with the process that started
it: nothing is left of a run, however that ends.

The console has lines of the kernel, of qemu and of qemu/guest/init; the command's output comes by a port of its own. A
run counts as the command's only if init says at its end what the results say too.
"""

from __future__ import annotations

import ctypes
import enum
import os
import re
import selectors
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Final

from qemu import cache
from qemu.architectures import Architecture
from qemu.programs import require

_RESULTS_SIZE: Final = 1 << 30
_READ_SIZE: Final = 1 << 16
_KEPT_LINES: Final = 1000
_PR_SET_PDEATHSIG: Final = 1

_STARTED: Final = re.compile(r"guest: started after \S+ s: (.*)")
_ENDED: Final = re.compile(r"guest: the command ended with ([0-9]+)")
_GAVE_UP: Final = re.compile(r"guest: (memory was too small to .*|there is no .*|the results do not .*)")
_PANIC: Final = re.compile(r"Kernel panic - not syncing: (.*)")
_UNPACKED_IN_PART: Final = re.compile(r"Initramfs unpacking failed: (.*)")
_OUT_OF_MEMORY: Final = re.compile(r"[Oo]ut of memory|deadlocked on memory")


class Fate(enum.Enum):
    """How a run ended."""

    DONE = enum.auto()
    """The command ended, and its results are whole."""
    FAILED = enum.auto()
    """The guest did not get that far."""
    LIMIT = enum.auto()
    """It was still running at its limit."""


@dataclass(frozen=True)
class Machine:
    """A guest to be."""

    architecture: Architecture
    kernel: Path
    memory_mib: int = 2048
    limit_s: float = 600.0
    arguments: str = ""
    """More arguments for the kernel."""
    kvm: bool = False
    """Not by itself: in a machine that is a guest already KVM may be there and never come to the end of a boot."""


@dataclass
class Run:
    """What became of a guest."""

    fate: Fate = Fate.FAILED
    why: str = ""
    """A sentence, unless its fate is `DONE`."""
    code: int | None = None
    """What the command ended with, where its fate is `DONE`."""
    kernel: str = ""
    """Of `uname`, once init has started."""
    booted_s: float = 0.0
    took_s: float = 0.0
    console: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))
    """Its last lines."""


def run(
    machine: Machine, initramfs: IO[bytes], output: IO[bytes], results: Path | None, console: IO[bytes] | None = None
) -> Run:
    """Boots the guest. What its command says goes to `output` as it comes, what it left in /out to `results`, a folder.

    `initramfs` is an open file of this machine. Raises `XtcpError` only where qemu cannot be had.
    """
    program = require(machine.architecture.system_program, machine.architecture.system_package)
    with tempfile.TemporaryFile(dir=cache.folder()) as disk, _pipe() as (port, into_port):
        disk.truncate(_RESULTS_SIZE)
        argv = [program, *_arguments(machine, initramfs.fileno(), disk.fileno(), into_port.fileno())]
        with _started(argv, (initramfs.fileno(), disk.fileno(), into_port.fileno())) as qemu:
            into_port.close()  # so that its end is qemu's
            reading = _Reading(machine.limit_s, output, console)
            reading.read(qemu, port)
        return _judged(reading, qemu.returncode, disk, results)


def _arguments(machine: Machine, initramfs: int, disk: int, port: int) -> list[str]:
    """For qemu. Open files are named by their numbers."""
    virtio = machine.architecture.virtio
    kernel = f"console={machine.architecture.console} panic=-1 quiet rdinit=/init {machine.arguments}"
    return [
        "-accel", "kvm" if machine.kvm else "tcg",
        "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-m", str(machine.memory_mib),
        "-chardev", "stdio,id=console,signal=off", *machine.architecture.machine_arguments,
        "-kernel", str(machine.kernel), "-initrd", f"/dev/fd/{initramfs}", "-append", kernel.strip(),
        "-drive", f"if=none,id=results,format=raw,cache=unsafe,file.locking=off,file=/dev/fd/{disk}",
        "-device", f"virtio-blk-{virtio},drive=results",
        "-device", f"virtio-serial-{virtio}",
        "-chardev", f"file,id=output,path=/dev/fd/{port}", "-device", "virtserialport,chardev=output,name=output",
        "-object", "rng-random,id=random,filename=/dev/urandom", "-device", f"virtio-rng-{virtio},rng=random",
    ]  # fmt: skip


@contextmanager
def _pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The two ends of a pipe."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as out, os.fdopen(writing, "wb", buffering=0) as into:
        yield out, into


@contextmanager
def _started(argv: Sequence[str], descriptors: Sequence[int]) -> Iterator[subprocess.Popen[bytes]]:
    """qemu, for as long as the context; it ends when this process does, if that is killed too."""
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def before_it_is_qemu() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    qemu = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        pass_fds=descriptors,
        preexec_fn=before_it_is_qemu,  # noqa: PLW1509 - there are no threads here
        start_new_session=True,  # Ctrl-C is for this process, which ends it
    )
    with qemu:
        try:
            yield qemu
        finally:
            qemu.kill()


class _Reading:
    """Reads a guest until its end or its limit; what its console said is in `run`."""

    def __init__(self, limit_s: float, output: IO[bytes], console: IO[bytes] | None) -> None:
        self.run = Run()
        self.panic = self.unpacking = self.gave_up = ""
        self._began = time.monotonic()
        self._limit_s = limit_s
        self._output = output
        self._console = console
        self._unfinished = b""

    def read(self, qemu: subprocess.Popen[bytes], port: IO[bytes]) -> None:
        """All that comes by the port and on the console."""
        assert qemu.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(port, selectors.EVENT_READ, self._add_output)
            selector.register(qemu.stdout, selectors.EVENT_READ, self._add_console)
            while selector.get_map():
                left = self._began + self._limit_s - time.monotonic()
                ready = selector.select(left) if left > 0 else []
                if not ready:
                    self.run.fate = Fate.LIMIT
                    break
                for key, _ in ready:
                    data = os.read(key.fd, _READ_SIZE)
                    if not data:
                        selector.unregister(key.fileobj)
                    key.data(data)
            else:
                qemu.wait()
        self._add_line(self._unfinished)
        self.run.took_s = time.monotonic() - self._began

    def _add_output(self, data: bytes) -> None:
        self._output.write(data)
        self._output.flush()

    def _add_console(self, data: bytes) -> None:
        if self._console is not None:
            self._console.write(data)
            self._console.flush()
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        for line in lines:
            self._add_line(line)

    def _add_line(self, raw: bytes) -> None:
        line = raw.decode(errors="replace").rstrip("\r")
        if not line:
            return
        self.run.console.append(line)
        if found := _STARTED.search(line):
            self.run.kernel, self.run.booted_s = found[1], time.monotonic() - self._began
        elif found := _ENDED.search(line):
            self.run.code = int(found[1])
        elif found := _GAVE_UP.search(line):
            self.gave_up = found[1]
        elif found := _PANIC.search(line):
            self.panic = found[1]
        elif found := _UNPACKED_IN_PART.search(line):
            self.unpacking = found[1]


def _judged(reading: _Reading, status: int, disk: IO[bytes], results: Path | None) -> Run:
    """The run with its fate, its results brought out if they are whole."""
    run = reading.run
    if run.fate is Fate.LIMIT:
        run.why = "It was still running." if run.kernel else "Its first process had not started."
    elif run.code is None:
        run.why = _why(reading, status)
    else:
        try:
            with tarfile.open(fileobj=disk, mode="r:") as archive:
                said = _code_of(archive)
                if said == run.code:
                    run.fate = Fate.DONE
                    _bring_out(archive, results)
                else:
                    run.why = f"Its console says that the command ended with {run.code}, its results say {said}."
        except (tarfile.TarError, EOFError) as error:
            run.why = f"Its results are damaged: {error}."
    return run


def _why(reading: _Reading, status: int) -> str:
    """A sentence on a guest that ended before its command had."""
    if _OUT_OF_MEMORY.search(reading.panic):
        return "It ran out of memory; give it more: --memory."
    if reading.gave_up.startswith("memory") or (reading.unpacking and not reading.run.kernel):
        return "Its memory was too small to unpack all that it starts from; give it more: --memory."
    if reading.panic:
        return f"Its kernel panicked: {reading.panic}."
    if reading.gave_up:
        return f"Its first process gave up: {reading.gave_up}."
    if not reading.run.kernel:
        return f"Its first process never started; qemu ended with {status}."
    return "It was switched off before its command had ended."


def _code_of(archive: tarfile.TarFile) -> int | None:
    """The exit code in results: their last file, so that all others are there if it is."""
    members = archive.getmembers()
    file = archive.extractfile(members[-1]) if members and members[-1].name == "code" else None
    text = file.read() if file else b""
    return int(text) if text.strip().isdigit() else None


def _bring_out(archive: tarfile.TarFile, results: Path | None) -> None:
    """The files and folders of the guest's /out; what is neither, and what would lead elsewhere, stays there."""
    if results is None:
        return
    for member in archive:
        path = PurePosixPath(member.name)
        if path.parts[:1] != ("out",) or ".." in path.parts:
            continue
        place = results.joinpath(*path.parts[1:])
        if member.isdir():
            place.mkdir(parents=True, exist_ok=True)
        elif member.isreg() or member.islnk():
            source = archive.extractfile(member)
            assert source is not None
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            with source, place.open("wb") as target:
                shutil.copyfileobj(source, target)
            place.chmod(member.mode & 0o777 | 0o644)
