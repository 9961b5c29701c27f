"""Every exit code that is not the input's fault: 69, 70, 75, 77, 130, on real files and on a scripted kernel."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest

from tests.cli.running import ENVIRONMENT, XTCP, as_nobody, raw_dump, shell, three_parts, xtcp, xtcp_replay
from tests.conftest import require_root
from tests.fake_kernel import SEQ, ScriptedDiag, done, error, row
from tests.patience import patient
from xtcp.chunk import Context
from xtcp.cli.main import run
from xtcp.errors import ExitCode
from xtcp.netlink.request import Request
from xtcp.netlink.socket import DiagSocket
from xtcp.poll.live import LivePoll
from xtcp.poll.one_pass import OnePass
from xtcp.sources.live import LiveDump

PAGE = resource.getpagesize()
# The smallest pipe there is, which a dump of a few sockets fills.
PIPES: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "pipesize": PAGE}
Kernel = Callable[[Mapping[int, list[bytes | OSError]]], None]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Lets `xtcp once` meet a kernel that answers the dump of each family by a script."""

    def follow(scripts: Mapping[int, list[bytes | OSError]]) -> None:
        def make(request: Request, context: Context, **options: Any) -> LiveDump:
            return LiveDump(
                request,
                context,
                **options,
                one_call=False,
                seq=SEQ,
                open_socket=lambda: ScriptedDiag(scripts[request.family]),  # type: ignore[arg-type, return-value]
            )

        monkeypatch.setattr("xtcp.poll.live.LivePoll", partial(LivePoll, make_dump=make))
        monkeypatch.setattr("xtcp.poll.one_pass.verify", lambda: OnePass(False, "scripted"))

    return follow


def refusing(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Lets every `socket(AF_NETLINK)` of this process fail, as seccomp or an address family filter does."""

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("xtcp.netlink.socket.socket.socket", refuse)
    with pytest.raises(Exception, match="sock_diag"):
        DiagSocket()
    monkeypatch.setattr("xtcp.poll.one_pass.verify", lambda: OnePass(False, "refused"))


def test_fault_09_no_tcp_diag_is_69(kernel: Kernel, capsys: pytest.CaptureFixture[str]) -> None:
    """A kernel without the module answers DONE with ENOENT: no row, the modprobe to run, exit 69."""
    kernel({2: [done(-errno.ENOENT)], 10: [done(-errno.ENOENT)]})
    assert run(["once", "--format", "json"]) == ExitCode.UNAVAILABLE
    out, err = capsys.readouterr()
    assert out == ""
    assert "ENOENT" in err and "modprobe tcp_diag" in err and "Traceback" not in err


def test_fault_07_one_family_refused_the_other_goes_on(
    kernel: Kernel, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """IPv6 is not there: IPv4's rows are written, the summary says ERROR, and the exit code that rows are missing."""
    kernel({2: [row(1) + row(2), done()], 10: [error(errno.ENOENT)]})
    trailer = tmp_path / "trailer.json"
    assert run(["once", "--format", "json", "--trailer", str(trailer)]) == ExitCode.UNAVAILABLE
    out, err = capsys.readouterr()
    assert [json.loads(line)["idiag_cookie"] for line in out.splitlines()] == [1, 2]
    assert "ERROR" in err and "IPv6" in err
    assert json.loads(trailer.read_text())["flags"] == ["error"]


def test_no_ipv6_at_all_is_no_error(kernel: Kernel, capsys: pytest.CaptureFixture[str]) -> None:
    """A kernel that has IPv6's diag and no IPv6 sockets gives an empty dump: exit 0."""
    kernel({2: [row(1), done()], 10: [done()]})
    assert run(["once", "--format", "null"]) == ExitCode.OK
    assert "1 socket in" in capsys.readouterr().err


def test_fault_16_an_endless_dump_ends_at_the_deadline(kernel: Kernel, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows that came are written, the poll is called incomplete, exit 75."""
    kernel({2: [row(1)]})
    began = time.monotonic()
    # Long enough for the row that comes, should the reader be held up before it asks for it.
    assert run(["once", "-4", "--format", "json", "--deadline", "1"]) == ExitCode.TEMPORARY
    assert time.monotonic() - began < patient(15)
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert "DEADLINE" in err and "give a longer --deadline" in err


@pytest.mark.parametrize(
    ("code", "exit_code", "word"),
    [
        (errno.EPERM, ExitCode.PERMISSION, "xtcp doctor"),
        (errno.EACCES, ExitCode.PERMISSION, "seccomp"),
        (errno.EAFNOSUPPORT, ExitCode.UNAVAILABLE, "AF_NETLINK"),
        (errno.EPROTONOSUPPORT, ExitCode.UNAVAILABLE, "modprobe"),
        (errno.EMFILE, ExitCode.TEMPORARY, "ulimit -n"),
        (errno.ENOBUFS, ExitCode.TEMPORARY, "Try again"),
    ],
)
def test_fault_57_no_netlink_socket(
    code: int,
    exit_code: ExitCode,
    word: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever forbids the socket: its errno, why usually, what to do, and no traceback; doctor ends the same."""
    refusing(monkeypatch, code)
    for command, said in ((["once", "--format", "json"], ""), (["doctor"], "does not work")):
        assert run(command) == exit_code
        out, err = capsys.readouterr()
        assert errno.errorcode[code] in err and word in err and "Traceback" not in err
        assert said in out
        assert bool(out) == bool(said)


def test_internal_fault_is_70_with_its_traceback(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """A fault of ours is shown as one: with what a report needs, on standard error."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("injected")

    monkeypatch.setattr("xtcp.poll.one_pass.verify", broken)
    assert run(["once", "--format", "json"]) == ExitCode.INTERNAL
    out, err = capfd.readouterr()
    assert out == ""
    assert "Traceback" in err and "ZeroDivisionError: injected" in err and "Please report" in err


@pytest.mark.parametrize("arguments", [["once"], ["columns"], ["--help"]])
def test_full_disk_behind_standard_output(arguments: list[str]) -> None:
    """Exit 75 and one message, even where all that fails is the last flush."""
    with Path("/dev/full").open("wb") as full:
        finished = xtcp(*arguments, stdout=full)
    text = three_parts(finished, ExitCode.TEMPORARY, "standard output: No space left on device", "Make room")
    assert "Exception ignored" not in text


@pytest.mark.parametrize(
    "arguments",
    [["info"], pytest.param(["info", "--json"], marks=pytest.mark.slow), ["verify", "--witness", "reference"]],
)
def test_full_disk_behind_what_is_told_of_a_capture(tmp_path: Path, arguments: list[str]) -> None:
    """The verbs that write no rows end as those that do; so does a standard output that is closed."""
    dump = raw_dump(tmp_path / "dump.bin", 1)
    with Path("/dev/full").open("wb") as full:
        finished = xtcp_replay(*arguments, dump, stdout=full)
    three_parts(finished, ExitCode.TEMPORARY, "standard output: No space left on device", "Make room")
    finished = shell(f"$REPLAY {' '.join(arguments)} $1 >&-", dump)
    three_parts(finished, ExitCode.USAGE, "standard output is closed")


def test_no_memory_is_75(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is no fault of the program: a message, and no traceback."""

    def hungry(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("xtcp.poll.one_pass.verify", hungry)
    assert run(["once", "--format", "json"]) == ExitCode.TEMPORARY
    err = capsys.readouterr().err
    assert "not enough memory" in err and "Traceback" not in err


def test_full_disk_behind_each_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The option whose file it was is named."""
    capture = tmp_path / "full.pcapng"
    capture.symlink_to("/dev/full")
    for option, path in (("-o", "/dev/full"), ("--trailer", "/dev/full"), ("--record", str(capture))):
        command = ["once", option, path] if option == "-o" else ["once", "--format", "null", option, path]
        assert run(command) == ExitCode.TEMPORARY
        err = capsys.readouterr().err
        assert path in err and "No space left" in err
        assert option in err or option == "--record"


def test_limit_on_file_size(tmp_path: Path) -> None:
    """RLIMIT_FSIZE is met like a full disk, not by the signal's death."""
    source = raw_dump(tmp_path / "many.bin", *range(1, 200))
    target = tmp_path / "rows.json"
    finished = xtcp(
        "once",
        "--from",
        source,
        "--format",
        "json",
        "-o",
        target,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    three_parts(finished, ExitCode.TEMPORARY, str(target), "File too large", "incomplete")
    assert target.stat().st_size == 4096


@pytest.mark.live
@pytest.mark.root
def test_folders_of_others_are_77() -> None:
    """As nobody: an output and a capture where nobody may write, an input that nobody may read."""
    require_root()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        secret = raw_dump(Path(folder, "dump.bin"), 1)
        secret.chmod(0o600)
        for option, path in (("-o", f"{folder}/rows"), ("--record", f"{folder}/a.pcap"), ("--from", str(secret))):
            finished = as_nobody("once", option, path)
            three_parts(finished, ExitCode.PERMISSION, f"{path}: Permission denied", "another user")
        assert [path.name for path in Path(folder).iterdir()] == ["dump.bin"]


def test_interrupted_while_the_reader_sleeps(tmp_path: Path) -> None:
    """Ctrl-C ends a command that waits for who reads its output: 130 at once, one word, no traceback."""
    source = raw_dump(tmp_path / "dump.bin", *range(1, 50))
    with subprocess.Popen(
        [*XTCP, "once", "--from", str(source), "--format", "json"], env=ENVIRONMENT, **PIPES
    ) as running:
        until = time.monotonic() + patient(20)
        while _waiting_in(running.stdout) < PAGE and time.monotonic() < until:
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _is_interrupted(running)


def test_interrupted_between_two_writes() -> None:
    """What is still buffered when Ctrl-C comes does not wait for a reader either."""
    code = (
        "import sys\n"
        "from xtcp.cli import once\n"
        "from xtcp.cli.main import run\n"
        "def handle(args):\n"
        f"    sys.stdout.write('x' * {PAGE}); sys.stdout.flush(); sys.stdout.write('more'); raise KeyboardInterrupt\n"
        "once.handle = handle\n"
        "sys.exit(run(['once']))"
    )
    with subprocess.Popen([sys.executable, "-c", code], env=ENVIRONMENT, **PIPES) as running:
        _is_interrupted(running)


def _is_interrupted(running: subprocess.Popen[bytes]) -> None:
    try:
        assert running.wait(patient(20)) == ExitCode.INTERRUPTED
    finally:
        running.kill()
    assert running.stderr is not None
    assert running.stderr.read() == b"interrupted\n"


def _waiting_in(pipe: IO[bytes] | None) -> int:
    """Bytes that nobody has read yet."""
    assert pipe is not None
    count = fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))
    return int.from_bytes(count, sys.byteorder)


def test_without_numpy() -> None:
    """Another Python than the one it was installed with: a sentence, 78, no traceback."""
    code = "import sys; sys.modules['numpy'] = None; from xtcp.cli.main import run; sys.exit(run(['once']))"
    done = subprocess.run([XTCP[0], "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.CONFIGURATION
    assert "NumPy is not installed" in done.stderr and "Traceback" not in done.stderr
