"""What a host can and cannot do: the facts behind `xtcp doctor`.

Takes one real poll of this namespace with every attribute asked for, while two connections of its own (IPv4 and IPv6
on loopback) make sure that there is something to see.
"""

from __future__ import annotations

import os
import platform
import resource
import socket
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xtcp import __version__
from xtcp.decode.decoder import Decoder
from xtcp.errors import XtcpError
from xtcp.poll.capabilities import CAPABILITIES, effective, lacks
from xtcp.poll.live import LivePoll, Wanted, this_host
from xtcp.poll.one_pass import verify
from xtcp.schema.inet_diag import ATTRIBUTES
from xtcp.schema.layout import kernel_release, size_of
from xtcp.schema.tcp_info import TCP_INFO


@dataclass
class Examination:
    """Facts by section; `error` is what keeps a poll from working, None if nothing does."""

    host: dict[str, str] = field(default_factory=dict)
    poll: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    capabilities: dict[str, str] = field(default_factory=dict)
    limits: dict[str, str] = field(default_factory=dict)
    error: XtcpError | None = None

    def sections(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Titles with their facts, for people."""
        return [
            (name, list(getattr(self, name).items()))
            for name in ("host", "poll", "attributes", "capabilities", "limits")
        ]

    def as_dict(self) -> dict[str, object]:
        """The same for programs."""
        return {name: dict(rows) for name, rows in self.sections()} | {
            "error": None if self.error is None else str(self.error)
        }


def examine() -> Examination:
    """Looks; never raises for what it finds."""
    found = Examination()
    context = this_host()
    found.host = {
        "kernel": f"{platform.system()} {context.release} {platform.machine()}",
        "byte order": sys.byteorder,
        "network namespace": context.netns or "",
        "cpus": str(len(os.sched_getaffinity(0))),
        "xtcp": f"{__version__}, Python {platform.python_version()}, NumPy {np.__version__}",
    }
    held = effective()
    found.capabilities = {c.name: f"{'held' if held >> c.number & 1 else 'missing'}: {c.adds}" for c in CAPABILITIES}
    found.limits = {
        "open files": str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        "net.core.rmem_max": _sysctl("net/core/rmem_max"),
        "tcp_available_congestion_control": _sysctl("net/ipv4/tcp_available_congestion_control"),
        "tcp_ehash_entries": _sysctl("net/ipv4/tcp_ehash_entries"),
    }
    with ExitStack() as stack:
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            _connection(stack, family, address)
        try:
            _poll(found)
        except XtcpError as error:
            found.error = error
            found.poll["sock_diag"] = f"does not work: {error.what}"
    return found


def _poll(found: Examination) -> None:
    one_pass = verify()
    found.poll["one-pass request"] = f"{'works' if one_pass.works else 'not used'}: {one_pass.why}"
    poll = LivePoll(Wanted(families=(0,) if one_pass.works else (2, 10)), Decoder())
    masks: Counter[int] = Counter()
    for batch in poll:
        for mask, count in zip(*np.unique(batch.columns["attributes"], return_counts=True), strict=True):
            masks[int(mask)] += int(count)
    trailer = poll.trailer
    assert trailer is not None
    found.poll["sock_diag"] = "works" if poll.error is None else f"does not work: {poll.error.what}"
    found.error = poll.error
    found.poll["last poll"] = trailer.line()
    lengths = ", ".join(map(str, sorted(poll.tally.info_lengths)))
    known = size_of(TCP_INFO, kernel_release(trailer.release))
    found.poll["struct tcp_info"] = f"{lengths or 'none'} bytes sent, {known} known"
    for attribute in (a for a in ATTRIBUTES if a.body is not None):
        count = sum(times for mask, times in masks.items() if mask >> attribute.number & 1)
        state = f"seen in {count:,} socket{'s' if count > 1 else ''}" if count else "not seen"
        needs = f", needs {attribute.needs}" if not count and lacks(attribute.needs) else ""
        found.attributes[f"{attribute.number:2} {attribute.name}"] = state + needs
    for path, count in trailer.unknown.items():
        found.attributes[f"{path} (unknown to this version)"] = f"seen {count:,} times, kept in unknown_attributes"


def _connection(stack: ExitStack, family: socket.AddressFamily, address: str) -> None:
    """A listener and a connection to it, held until the stack is closed; nothing where the family is off."""
    try:
        listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        listener.bind((address, 0))
        listener.listen(1)
        client = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        stack.enter_context(server)
    except OSError:
        return


def _sysctl(path: str) -> str:
    try:
        return Path("/proc/sys", path).read_text().strip()
    except OSError:
        return "not readable"
