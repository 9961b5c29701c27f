"""Commands in containers of one image, side by side: what they print is passed on as it comes, and nothing is left.

A container has no network but its own loopback, no privilege beyond what a test needs that starts another's process or
owns files, a limit of memory, and nothing to write to but what is mounted and memory. All are removed at the end, also
after an exception; what a run that was killed left in the engine is removed before.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
from docker.types import Mount

from containers.engine import undisturbed
from xtcp.errors import Unavailable

LABEL: Final = "xtcp-suite"  # with the number of the process that it is for
MEMORY: Final = 4 << 30  # of all together
STOPPED: Final = 124  # as timeout(1) says it
KILLED: Final = 137
# Of those that Docker gives: to become another user, to give files away and to signal such a process.
_CAPABILITIES: Final = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")


@dataclass(frozen=True)
class Job:
    """A command and its environment."""

    command: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Folder:
    """A folder of this machine and where it appears."""

    source: Path
    target: str
    read_only: bool = True


def run(client: Any, image: str, jobs: Sequence[Job], folders: Sequence[Folder], limit: float) -> list[int]:
    """The exit codes; `STOPPED` for what was still running after `limit` seconds."""
    end = time.monotonic() + limit
    _remove_stale(client)
    with ExitStack() as cleaning:
        started = []
        for number, job in enumerate(jobs, 1):
            container = _create(client, image, job, folders, MEMORY // len(jobs))
            cleaning.callback(_remove, container)
            container.start()
            prefix = f"{number}| " if len(jobs) > 1 else ""
            reader = threading.Thread(target=_pass_on, args=(container, prefix), daemon=True)
            reader.start()
            started.append((container, reader))
        return [_code(container, reader, end) for container, reader in started]


def _create(client: Any, image: str, job: Job, folders: Sequence[Folder], memory: int) -> Any:
    return client.containers.create(
        image,
        list(job.command),
        environment=dict(job.environment),
        labels={LABEL: str(os.getpid())},
        mounts=[Mount(each.target, str(each.source), "bind", each.read_only) for each in folders],
        network_mode="none",
        sysctls={"net.ipv6.conf.all.disable_ipv6": "0", "net.ipv6.conf.lo.disable_ipv6": "0"},
        read_only=True,
        tmpfs={"/tmp": "exec", "/run": "", "/var/tmp": ""},
        mem_limit=memory,
        memswap_limit=memory,
        pids_limit=1024,
        cap_drop=["ALL"],
        cap_add=list(_CAPABILITIES),
        init=True,  # whoever a test leaves behind is waited for
    )


def _pass_on(container: Any, prefix: str) -> None:
    """Prints what the container prints, whole lines of it."""
    output = sys.stdout
    for line in _lines(container.logs(stream=True, follow=True)):
        output.write(f"{prefix}{line}\n")
        output.flush()


def _lines(pieces: Iterator[bytes]) -> Iterator[str]:
    left = b""
    for piece in pieces:
        *whole, left = (left + piece).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)
    if left:
        yield left.decode(errors="replace")


def _code(container: Any, reader: threading.Thread, end: float) -> int:
    """Its exit code, or `STOPPED`."""
    try:
        code = int(container.wait(timeout=max(end - time.monotonic(), 0.001))["StatusCode"])
    except requests.RequestException as error:
        if time.monotonic() < end:
            raise Unavailable("The Docker engine stopped answering.", str(error), "Look at its log.") from error
        return STOPPED
    reader.join()
    if code == KILLED:
        container.reload()
        if container.attrs["State"]["OOMKilled"]:
            print("the container needed more memory than it may have", file=sys.stderr)
    return code


def _remove(container: Any) -> None:
    with undisturbed():
        container.remove(force=True, v=True)


def _remove_stale(client: Any) -> None:
    """The containers of runs that were killed."""
    for container in client.containers.list(all=True, filters={"label": LABEL}):
        if not Path("/proc", container.labels[LABEL]).exists():
            _remove(container)
