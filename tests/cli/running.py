"""Running the commands as a user does: a process of its own, its output and its exit code."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.fake_kernel import done, message, row
from tests.patience import patient
from tests.replay.made import cooked, pcap_header, record
from xtcp.netlink.numbers import SOCK_DIAG_BY_FAMILY

# Where compiled modules are; without it every process of an emulated machine compiles NumPy again. They are read only:
# Python does not notice that what it compiles is cut short by a limit on the size of files, as some tests have one.
_COMPILED = "PYTHONPYCACHEPREFIX"
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON", "COLUMNS"))},
    "PYTHONPATH": os.pathsep.join((str(ROOT / "agent"), str(ROOT / "replay"))),
    "PYTHONDONTWRITEBYTECODE": "1",
    **({_COMPILED: os.environ[_COMPILED]} if _COMPILED in os.environ else {}),
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


Main = Callable[[list[str]], int]


def here(main: Main, capture: pytest.CaptureFixture[bytes], *arguments: str | Path) -> Finished:
    """The same of a command's `main` in this process, where the process is not what a test is about."""
    capture.readouterr()
    code = main([str(argument) for argument in arguments])
    return Finished(arguments, code, *capture.readouterr())


def shell(script: str, *arguments: str | Path) -> Finished:
    """`script` in bash, which finds the command in $XTCP and `arguments` in $1 and on."""
    environment = {**ENVIRONMENT, "XTCP": " ".join(XTCP), "REPLAY": " ".join(REPLAY)}
    return subprocess.run(
        ["bash", "-c", script, "bash", *map(str, arguments)],
        env=environment,
        capture_output=True,
        timeout=patient(30),
        check=False,
    )


def _run(command: tuple[str, ...], arguments: tuple[str | Path, ...], options: dict[str, Any]) -> Finished:
    environment = {**ENVIRONMENT, **options.pop("environment", {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(
        [*command, *map(str, arguments)], env=environment, timeout=patient(30), check=False, **options
    )


def as_nobody(*arguments: str | Path) -> Finished:
    """`xtcp ARGUMENTS` with no capability and no permission; root only.

    The interpreter may lie where nobody may read, so the process changes its user after everything is imported.
    """
    code = (
        "import os, sys\n"
        "from xtcp.cli.main import run\n"
        "assert run(['doctor', '--json']) == run(['once', '-q']) == run(['once', '-q', '--format', 'json']) == 0\n"
        "import xtcp.sinks.capture_file, xtcp.sources.dump_file, xtcp.cli.replayed\n"
        "sys.stdout.flush(); os.ftruncate(1, 0); os.lseek(1, 0, 0); os.ftruncate(2, 0); os.lseek(2, 0, 0)\n"
        "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "sys.exit(run(sys.argv[1:]))"
    )
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        finished = _run((sys.executable, "-c", code), arguments, {"stdout": out, "stderr": err, "cwd": "/"})
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(finished.args, finished.returncode, out.read(), err.read())


def three_parts(finished: Finished, code: int, *words: str) -> str:
    """What a failed command said: the code, no traceback, all `words`; returns standard error."""
    text = finished.stderr.decode()
    assert finished.returncode == code, text
    assert "Traceback" not in text
    for word in words:
        assert word in text, text
    return text


@contextmanager
def started(argv: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process in this environment, its output in pipes; killed where the test ends before it does."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with subprocess.Popen(argv, env=ENVIRONMENT, **pipes) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def raw_dump(path: Path, *cookies: int) -> Path:
    """What `ss -D` would have written of sockets with these cookies."""
    path.write_bytes(b"".join(row(cookie) for cookie in cookies) + done())
    return path


def cong_row(cookie: int, cong: bytes) -> bytes:
    """A row whose congestion control is `cong`, 15 bytes at most."""
    return attribute_row(cookie, 4, cong + b"\0")


def attribute_row(cookie: int, number: int, payload: bytes) -> bytes:
    """A row with one attribute."""
    fixed = struct.pack("=BBBB", 2, 1, 0, 0) + struct.pack(">HH", 80, 1024) + bytes(32)
    fixed += struct.pack("=III", 0, cookie, 0) + bytes(20)
    return message(SOCK_DIAG_BY_FAMILY, fixed + struct.pack("=HH", 4 + len(payload), number) + payload)


def capture_of(path: Path, *, link_type: int = 253, cut: int = 0, snaplen: int = 0) -> Path:
    """A pcap of this host's order with two rows in a datagram and DONE, `cut` bytes short, packets cut at `snaplen`."""
    packets = [cooked(row(1) + row(2)), cooked(done())]
    content = pcap_header(link_type=link_type)
    for packet in packets:
        content += record(packet[: snaplen or None], wirelen=len(packet))
    path.write_bytes(content[: len(content) - cut])
    return path
