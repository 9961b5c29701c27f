"""Rows to a file: whole batches, exactly the accepted ones, whatever the disk does."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import require_program, require_root
from tests.sinks.standins import cookies, cookies_in
from xtcp.encode import make_encoder
from xtcp.errors import Temporary, XtcpError
from xtcp.ledger import CLOSED, Account
from xtcp.sinks.files.form import TextForm
from xtcp.sinks.files.whole_batches import WholeBatches

THOUSAND = cookies(*range(1, 1001))


def opened(path: Path, form: str = "json") -> tuple[WholeBatches, Account]:
    """A sink that writes to `path`."""
    account = Account(str(path))
    return WholeBatches(str(path), TextForm(make_encoder(form)), account), account


def assert_settled(account: Account, accepted: int, dropped: dict[str, int]) -> None:
    """The account after a fault."""
    balance = account.balance()
    assert balance.balanced
    assert (balance.accepted, balance.dropped, balance.in_flight) == (accepted, dropped, 0)


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Files of this process grow no further than `size`; writing beyond is EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    sys.dont_write_bytecode = True  # a module compiled under the limit would be cut short for good
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        sys.dont_write_bytecode = False


@pytest.mark.parametrize("form", ["json", "csv"])
def test_rows_and_bytes(tmp_path: Path, form: str) -> None:
    """What is accepted is in the file before `close`; bytes are those of rows."""
    sink, account = opened(tmp_path / "rows", form)
    head = (tmp_path / "rows").stat().st_size
    sink.accept(cookies(1, 2))
    sink.accept(cookies(3))
    assert account.balance().accepted == 3
    assert account.balance().bytes == (tmp_path / "rows").stat().st_size - head
    sink.close()
    sink.close()
    assert len((tmp_path / "rows").read_text().splitlines()) == 3 + (form == "csv")
    assert sink.error is None


def test_a_failing_disk_leaves_whole_batches_and_is_tried_again(tmp_path: Path) -> None:
    """The batch in whose midst writing fails is cut out again; once there is room, rows go on behind."""
    sink, account = opened(tmp_path / "rows")
    sink.accept(cookies(1, 2))
    with at_most(5000):
        sink.accept(THOUSAND)
        assert_settled(account, 2, {"EFBIG": 1000})
        sink.accept(cookies(3))
    sink.accept(cookies(4))
    sink.close()
    assert cookies_in((tmp_path / "rows").read_text()) == [1, 2, 3, 4]
    assert_settled(account, 4, {"EFBIG": 1000})
    assert isinstance(sink.error, Temporary)
    assert not sink.gone


@pytest.mark.root
def test_a_full_disk(tmp_path: Path) -> None:
    """ENOSPC on a disk of 64 KiB, and room again."""
    require_root()
    mount = require_program("mount", "mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "none", disk], check=True)
    try:
        (disk / "other").write_bytes(bytes(60_000))
        sink, account = opened(disk / "rows")
        sink.accept(cookies(1))
        sink.accept(THOUSAND)
        assert_settled(account, 1, {"ENOSPC": 1000})
        (disk / "other").unlink()
        sink.accept(THOUSAND)
        sink.close()
        assert cookies_in((disk / "rows").read_text()) == [1, *range(1, 1001)]
        assert_settled(account, 1001, {"ENOSPC": 1000})
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_full_device() -> None:
    """A device takes nothing back: it ends with its first failure, and what comes later is refused."""
    sink, account = opened(Path("/dev/full"))
    sink.accept(cookies(1, 2))
    sink.accept(cookies(3))
    sink.close()
    assert_settled(account, 0, {"ENOSPC": 3})
    assert sink.gone
    assert sink.error is not None and sink.error.exit_code == 75


def test_a_header_that_cannot_be_written() -> None:
    """It is an error of opening."""
    with pytest.raises(Temporary):
        opened(Path("/dev/full"), "csv")


def test_a_reader_that_leaves(tmp_path: Path) -> None:
    """EPIPE on a named pipe: rows are dropped, and the sink is gone."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: pipe.open("rb").close(), daemon=True)
    reader.start()
    sink, account = opened(pipe)
    reader.join()
    sink.accept(cookies(1, 2))
    sink.accept(cookies(3))
    sink.close()
    assert_settled(account, 0, {"EPIPE": 3})
    assert sink.gone


class Stuck:
    """An encoder that is interrupted in the midst of a batch."""

    reads = None

    def begin(self) -> str:
        """Nothing."""
        return ""

    def encode(self, _: object) -> Iterator[str]:
        """Half of it."""
        yield "half a"
        raise KeyboardInterrupt

    def end(self) -> str:
        """Nothing."""
        return ""


def test_a_batch_that_was_broken_off_is_taken_back(tmp_path: Path) -> None:
    """A second Ctrl-C in the midst of writing: the file ends with the last accepted row."""
    account = Account("file")
    sink = WholeBatches(str(tmp_path / "rows"), TextForm(Stuck()), account)
    with pytest.raises(KeyboardInterrupt):
        sink.accept(cookies(1, 2))
    assert account.balance().in_flight == 2
    assert account.balance().balanced
    sink.close()
    assert_settled(account, 0, {CLOSED: 2})
    assert (tmp_path / "rows").read_bytes() == b""


def test_after_close_rows_are_refused(tmp_path: Path) -> None:
    """Nothing is lost silently even then."""
    sink, account = opened(tmp_path / "rows")
    sink.close()
    sink.accept(cookies(1))
    assert_settled(account, 0, {CLOSED: 1})


def test_standard_output_of_python(capsys: pytest.CaptureFixture[str]) -> None:
    """What Python had buffered comes before, and it stays open."""
    print("before")
    account = Account("stdout")
    sink = WholeBatches("-", TextForm(make_encoder("json")), account)
    sink.accept(cookies(1))
    sink.close()
    print("behind")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "before" and lines[2] == "behind" and json.loads(lines[1]) == {"idiag_cookie": 1}


def test_a_pipe_that_does_not_block(tmp_path: Path) -> None:
    """Someone else may have made our standard output so; all rows come through."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    sink, account = opened(pipe)
    os.set_blocking(sink._file.fileno(), False)
    for _ in range(20):
        sink.accept(THOUSAND)
    sink.close()
    reader.join()
    assert got[0].count(b"\n") == 20_000
    assert_settled(account, 20_000, {})


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """As an error of ours."""
    with pytest.raises(XtcpError):
        opened(tmp_path)
