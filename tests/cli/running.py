"""Running the commands as a user does: a process of its own, its output and its exit code."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.fake_kernel import done, message, row
from tests.replay.made import cooked, pcap_header, record
from xtcp.netlink.numbers import SOCK_DIAG_BY_FAMILY

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON", "COLUMNS"))},
    "PYTHONPATH": os.pathsep.join((str(ROOT / "agent"), str(ROOT / "replay"))),
    "PYTHONDONTWRITEBYTECODE": "1",
}
XTCP = (sys.executable, "-m", "xtcp")
REPLAY = (sys.executable, "-m", "xtcp_replay")

Finished = subprocess.CompletedProcess[bytes]


def xtcp(*arguments: str | Path, **options: Any) -> Finished:
    """`xtcp ARGUMENTS`, finished."""
    return _run(XTCP, arguments, options)


def xtcp_replay(*arguments: str | Path, **options: Any) -> Finished:
    """`xtcp-replay ARGUMENTS`, finished."""
    return _run(REPLAY, arguments, options)


def shell(script: str, *arguments: str | Path) -> Finished:
    """`script` in bash, which finds the command in $XTCP and `arguments` in $1 and on."""
    environment = {**ENVIRONMENT, "XTCP": " ".join(XTCP), "REPLAY": " ".join(REPLAY)}
    return subprocess.run(
        ["bash", "-c", script, "bash", *map(str, arguments)],
        env=environment,
        capture_output=True,
        timeout=30,
        check=False,
    )


def _run(command: tuple[str, ...], arguments: tuple[str | Path, ...], options: dict[str, Any]) -> Finished:
    environment = {**ENVIRONMENT, **options.pop("environment", {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([*command, *map(str, arguments)], env=environment, timeout=30, check=False, **options)


def three_parts(finished: Finished, code: int, *words: str) -> str:
    """What a failed command said: the code, no traceback, all `words`; returns standard error."""
    text = finished.stderr.decode()
    assert finished.returncode == code, text
    assert "Traceback" not in text
    for word in words:
        assert word in text, text
    return text


def raw_dump(path: Path, *cookies: int) -> Path:
    """What `ss -D` would have written of sockets with these cookies."""
    path.write_bytes(b"".join(row(cookie) for cookie in cookies) + done())
    return path


def hostile_row(cookie: int, cong: bytes) -> bytes:
    """A row whose congestion control is `cong`, 16 bytes at most."""
    fixed = struct.pack("=BBBB", 2, 1, 0, 0) + struct.pack(">HH", 80, 1024) + bytes(32)
    fixed += struct.pack("=III", 0, cookie, 0) + bytes(20)
    text = cong + b"\0"
    return message(SOCK_DIAG_BY_FAMILY, fixed + struct.pack("=HH", 4 + len(text), 4) + text)


def capture_of(path: Path, *, link_type: int = 253, cut: int = 0, snaplen: int = 0) -> Path:
    """A pcap of this host's order with two rows in a datagram and DONE, `cut` bytes short, packets cut at `snaplen`."""
    packets = [cooked(row(1) + row(2)), cooked(done())]
    content = pcap_header(link_type=link_type)
    for packet in packets:
        content += record(packet[: snaplen or None], wirelen=len(packet))
    path.write_bytes(content[: len(content) - cut])
    return path
