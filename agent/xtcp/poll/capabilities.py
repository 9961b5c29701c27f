"""What this process may do, and what each capability would add. Read from /proc, nothing is tried."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True)
class Capability:
    """`number` as in include/uapi/linux/capability.h; `adds` what the agent gains by it."""

    number: int
    name: str
    adds: str


CAPABILITIES: Final = (
    Capability(12, "CAP_NET_ADMIN", "the columns mark, md5sig and some of ulp_mptcp_*"),
    Capability(11, "CAP_NET_BROADCAST", "closing events of all network namespaces"),
    Capability(21, "CAP_SYS_ADMIN", "entering other network namespaces"),
    Capability(19, "CAP_SYS_PTRACE", "finding the namespaces of other users' processes"),
    Capability(39, "CAP_BPF", "the column bpf_storages, when maps are named"),
)


def effective() -> int:
    """The effective set as a bit mask, 0 where /proc does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def lacks(needs: str) -> bool:
    """Whether the capability that `needs` begins with is missing here; False where it names none."""
    return any(c.name == needs.split(" ", 1)[0] and not effective() >> c.number & 1 for c in CAPABILITIES)


def has_net_admin() -> bool:
    """Whether the kernel shows marks and MD5 keys to this process."""
    return not lacks("CAP_NET_ADMIN")
