"""What have kernel and namespace to offer to the zoo, and what does the zoo add to a namespace of its own?

In: /proc and, where the namespace is the zoo's alone, ``ip``. Out: answers; what was added is on ``Zoo.undo``.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from tests.sockets import zoo_queue
from tests.sockets.zoo_keeping import Unavailable, Zoo

INTERFACE: Final = "zoo0"
SECOND: Final[Mapping[int, str]] = {socket.AF_INET: "127.0.0.2", socket.AF_INET6: "2001:db8::2"}
# What Linux has had since 2014 (net/ipv4/Kconfig): only to say which of them a kernel lacks.
CONTROLS: Final = (
    "bbr", "bic", "cdg", "cubic", "dctcp", "highspeed", "htcp", "hybla", "illinois", "lp", "nv", "reno", "scalable",
    "vegas", "veno", "westwood", "yeah",
)  # fmt: skip


def kernel_at_least(major: int, minor: int) -> bool:
    """Whether the running kernel is of this release or later."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return found is not None and (int(found[1]), int(found[2])) >= (major, minor)


def capable_of_net_admin() -> bool:
    """Whether CAP_NET_ADMIN (12) is in the effective set."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> 12 & 1)


def own_cgroup_id() -> int | None:
    """The id of this process's cgroup (version 2): the inode of its directory, None where it cannot be seen."""
    mounted = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    roots = [Path(fields[1]) for fields in mounted if fields[2] == "cgroup2"]
    paths = re.findall(r"^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
    if not roots or not paths or not (roots[0] / paths[0]).is_dir():
        return None
    return int((roots[0] / paths[0]).stat().st_ino)


def sysctl(name: str) -> str:
    """Its text, empty where the kernel does not have it."""
    path = Path("/proc/sys", *name.split("."))
    return path.read_text().strip() if path.exists() else ""


def _ip(*arguments: str) -> str:
    """Runs ip (iproute2); returns its complaint in one line, empty if there is none."""
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "there is no ip command (iproute2)"
    return " ".join(done.stderr.split())


def congestion_controls_of(zoo: Zoo) -> tuple[str, ...]:
    """Those that the kernel has, after an attempt to load all that stand among its modules."""
    modules = Path("/lib/modules", os.uname().release, "kernel/net/ipv4").glob("tcp_*.ko*")
    names = sorted(path.name.partition(".")[0] for path in modules)
    if names and os.geteuid() == 0:
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(["modprobe", "--quiet", "--all", *names], capture_output=True, check=False)
    found = tuple(sorted(sysctl("net.ipv4.tcp_available_congestion_control").split()))
    for name in sorted({*CONTROLS} - {*found}):
        zoo.missing[f"congestion control {name}"] = "not in tcp_available_congestion_control, nor as a module"
    return found


def furnish(zoo: Zoo) -> None:
    """What the namespace needs for the exhibits that no bare loopback gives."""
    steps = (
        ("ip link", "link", "add", INTERFACE, "type", "dummy"),
        ("ip link", "link", "set", INTERFACE, "up"),
        ("ip address", "-6", "addr", "add", "fe80::200/64", "dev", INTERFACE, "nodad"),
        ("ip address", "-6", "addr", "add", f"{SECOND[socket.AF_INET6]}/128", "dev", "lo", "nodad"),
        ("ip mptcp", "mptcp", "limits", "set", "subflows", "2"),
        ("ip mptcp", "mptcp", "endpoint", "add", SECOND[socket.AF_INET], "subflow"),
        ("ip mptcp", "mptcp", "endpoint", "add", SECOND[socket.AF_INET6], "subflow"),
    )
    for name, *arguments in steps:
        complaint = _ip(*arguments)
        if complaint and "dummy" in arguments:  # a kernel without dummy interfaces: one end of a veth pair does as well
            complaint = _ip("link", "add", INTERFACE, "type", "veth", "peer", "name", f"{INTERFACE}p")
            _ip("link", "set", f"{INTERFACE}p", "up")
        if complaint and "exist" not in complaint:
            zoo.missing[name] = f"ip {' '.join(arguments)}: {complaint}"
    zoo.undo += [partial(_ip, "link", "del", INTERFACE), partial(_ip, "mptcp", "endpoint", "flush")]
    zoo.undo.append(partial(_ip, "-6", "addr", "del", f"{SECOND[socket.AF_INET6]}/128", "dev", "lo"))
    zoo.undo.append(zoo_queue.take_away)
    try:
        zoo.undo.append(partial(write_sysctl, "net.ipv4.tcp_fastopen", sysctl("net.ipv4.tcp_fastopen")))
        write_sysctl("net.ipv4.tcp_fastopen", "3")
    except OSError as error:
        zoo.missing["sysctl tcp_fastopen"] = str(error)


def write_sysctl(name: str, value: str) -> None:
    """Sets it in this namespace; raises OSError where that is not possible."""
    Path("/proc/sys", *name.split(".")).write_text(value)


@contextlib.contextmanager
def sysctl_set(zoo: Zoo, name: str, value: str) -> Iterator[None]:
    """Set for a while, in a namespace of the zoo's own."""
    if not zoo.own_namespace:
        raise Unavailable(f"needs {name}={value}, and this namespace is not ours alone")
    before = sysctl(name)
    try:
        write_sysctl(name, value)
    except OSError as error:
        raise Unavailable(f"the kernel does not take {name}={value}: {error.strerror}") from error
    try:
        yield
    finally:
        write_sysctl(name, before)
