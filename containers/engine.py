"""A Docker engine for as long as it is needed.

    with engine() as client:                      a docker.DockerClient whose engine runs on this machine
        client.containers.run(…)

The engine that answers at DOCKER_HOST (a `unix://` address) or at Docker's usual socket is used as it is. Where none
does, root gets a private one: dockerd with no network of its own, no change to the firewall and its images in
`folder`. It is stopped at the end with all that it started, also after an exception, Ctrl-C or a signal that raises;
if this process is killed, dockerd is told to end by the kernel. Two at a time would share the images' folder, so the
second waits for the first.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import docker
from docker.errors import DockerException

from qemu import cache
from xtcp.errors import ConfigurationError, PermissionMissing, Unavailable

_LOCAL: Final = "unix://"
USUAL: Final = _LOCAL + "/var/run/docker.sock"
START_SECONDS: Final = 60
STOP_SECONDS: Final = 60  # dockerd itself gives its containers 15
_CGROUPS: Final = Path("/sys/fs/cgroup")
_PROGRAMS: Final = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))  # dockerd, runc


@contextmanager
def engine(folder: Path | None = None) -> Iterator[Any]:
    """A client of the engine that answers, or else of a private one whose data lie in `folder`."""
    client = answering(os.environ.get("DOCKER_HOST") or USUAL)
    if client is not None:
        with closing(client):
            yield client
        return
    with _private(folder or cache.folder() / "docker") as address:
        client = answering(address)
        if client is None:
            raise Unavailable("The private Docker engine stopped answering.", "", "Try again.")
        with closing(client):
            yield client


def answering(address: str) -> Any | None:
    """A client of the engine at `address`, if it answers there and shares this machine's files and kernel."""
    if not address.startswith(_LOCAL):
        return None
    try:
        with socket.socket(socket.AF_UNIX) as asked:  # the client leaves its own open when it fails
            asked.connect(address.removeprefix(_LOCAL))
        return docker.DockerClient(base_url=address, version="auto", timeout=600)
    except (DockerException, OSError):
        return None


@contextmanager
def _private(folder: Path) -> Iterator[str]:
    """The address of a dockerd started here."""
    program = shutil.which("dockerd", path=_PROGRAMS)
    if program is None:
        raise ConfigurationError(
            "No Docker engine answers, and there is no dockerd to start one.",
            "Usually only Docker's client is installed, or nothing of it.",
            "Install it (Debian: apt-get install docker.io), or name an engine's socket by DOCKER_HOST=unix://…",
        )
    if os.geteuid() != 0:
        raise PermissionMissing(
            "No Docker engine answers, and only root can start one.",
            "Usually the engine is not running, or you may not open its socket.",
            "Run this as root, start the engine, or name another's socket by DOCKER_HOST=unix://…",
        )
    with ExitStack() as cleaning:
        cleaning.enter_context(_alone(folder))
        place = _place(folder)
        cleaning.callback(_sweep, place, folder)
        _sweep(place, folder)  # of a run that was killed
        place.mkdir(mode=0o700)
        process = _start(program, place, folder)
        cleaning.callback(_stop, process)
        address = f"{_LOCAL}{place}/docker.sock"
        _wait(process, address, place / "dockerd.log")
        yield address


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other private engines off `folder`; waits for the one that has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another private Docker engine to end", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _place(folder: Path) -> Path:
    """Where the run-time files of the engine of `folder` lie: always there, so that a run finds what another left."""
    return Path("/run") / f"xtcp-docker-{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:8]}"


def _start(program: str, place: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Starts dockerd, its run-time files in `place`."""
    (place / "daemon.json").write_text("{}")  # the machine's own settings are for its own engine
    arguments = [
        program,
        f"--config-file={place}/daemon.json",
        f"--data-root={folder}",
        f"--exec-root={place}",
        f"--pidfile={place}/docker.pid",
        f"--host=unix://{place}/docker.sock",
        f"--cgroup-parent={place.name}",
        "--exec-opt=native.cgroupdriver=cgroupfs",
        "--containerd-namespace=xtcp",  # a containerd that runs already is shared with others
        "--containerd-plugins-namespace=xtcp-plugins",
        "--bridge=none",
        "--iptables=false",
        "--ip-forward=false",
        "--ip-masq=false",
    ]
    # A group of its own: Ctrl-C is for us, who then stop it. If we are killed, the kernel tells it to end.
    guarded = ["setpriv", "--pdeathsig=TERM", "--", *arguments] if shutil.which("setpriv") else arguments
    with (place / "dockerd.log").open("wb") as log:
        return subprocess.Popen(
            guarded,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": _PROGRAMS},
            start_new_session=True,
        )


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Waits until the engine answers."""
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit and process.poll() is None:
        client = answering(address)
        if client is not None:
            client.close()
            return
        time.sleep(0.1)
    said = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
    raise ConfigurationError(
        f"dockerd did not start. It said last:\n{said}",
        "Usually this machine forbids it mounts or control groups, as most containers do.",
        "Run this on a machine of its own, or name a running engine by DOCKER_HOST=unix://…",
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends dockerd, which ends its containers and its containerd."""
    with undisturbed():
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _sweep(place: Path, folder: Path) -> None:
    """Removes what a dockerd that was killed leaves: its processes, mounts, control groups, and `place` itself."""
    with undisturbed():
        _end_processes(place)
        for mounted in reversed(mounts_below(place, folder)):
            subprocess.run(["umount", "--lazy", str(mounted)], check=False)
        for group in sorted({*_CGROUPS.glob(f"{place.name}/**/"), *_CGROUPS.glob(f"*/{place.name}/**/")}, reverse=True):
            with suppress(OSError):
                group.rmdir()
        shutil.rmtree(place, ignore_errors=True)


def _end_processes(place: Path) -> None:
    """Ends every process that has `place` in its command line: this engine's containerd and its shims."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        limit = time.monotonic() + 5
        while (found := processes_of(place)) and time.monotonic() < limit:
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(0.1)


def processes_of(place: Path) -> list[int]:
    """The processes whose command line names `place`, but for this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if os.fsencode(place) + b"/" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def mounts_below(*folders: Path) -> list[Path]:
    """The mount points in these folders, outer ones first."""
    points = [Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if any(point.is_relative_to(folder) for folder in folders)]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Holds back Ctrl-C and SIGTERM while something is put back as it was."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
