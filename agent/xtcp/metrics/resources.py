"""What this process uses, read from /proc."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final

from xtcp.metrics.agent_state import Resources

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def resources() -> Resources:
    """Now; what /proc does not say is 0 (proc_pid_stat(5): fields are counted behind the program's name)."""
    times = os.times()
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        boot = _boot_time()
        threads, started, virtual, pages = (int(fields[n]) for n in (17, 19, 20, 21))
    except (OSError, ValueError, IndexError):
        threads = started = virtual = pages = 0
        boot = 0.0
    return Resources(
        rss_bytes=pages * _PAGE,
        virtual_bytes=virtual,
        cpu_seconds=times.user + times.system,
        open_fds=_open_fds(),
        max_fds=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        threads=threads,
        start_time_s=boot + started / _TICKS if boot else 0.0,
    )


def _boot_time() -> float:
    for line in Path("/proc/stat").read_bytes().splitlines():
        if line.startswith(b"btime "):
            return float(line.split()[1])
    return 0.0


def _open_fds() -> int:
    try:
        # One of them is the listing itself.
        return sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1
    except OSError:
        return 0
