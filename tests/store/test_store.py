"""The embedded store: where it lies, who writes it, what it keeps."""

from __future__ import annotations

import errno
import os
import stat
import warnings
from pathlib import Path

import pytest

from tests.conftest import require_root
from tests.store.made import CAPTURES, as_stored, batch, captured, files, lines_of, trailer
from xtcp.errors import ExitCode, PermissionMissing, Temporary, UsageError
from xtcp.ledger import Account, Ledger
from xtcp.sinks.destination import parse
from xtcp.sinks.queued import Queued
from xtcp.store import embedded
from xtcp.store.directory import WriterLock, state_directory


@pytest.mark.parametrize(
    ("environment", "root", "expected"),
    [
        ({}, True, "/var/lib/xtcp"),
        ({}, False, "{home}/.local/state/xtcp"),
        ({"XDG_STATE_HOME": "/x"}, False, "/x/xtcp"),
        ({"XDG_STATE_HOME": "/x"}, True, "/var/lib/xtcp"),
        ({"XDG_STATE_HOME": "relative"}, False, "{home}/.local/state/xtcp"),
        ({"STATE_DIRECTORY": "/s:/t"}, False, "/s"),
        ({"STATE_DIRECTORY": "/s", "XTCP_STATE_DIR": "/y"}, True, "/y"),
    ],
)
def test_where_it_lies(
    environment: dict[str, str], root: bool, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Root's, the user's by XDG, systemd's, or where it was said; a relative XDG path is none, as its text says."""
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert str(state_directory(environment)) == expected.format(home=tmp_path)


def test_one_at_a_time_writes(tmp_path: Path) -> None:
    """The second is told who has it and what to do, and nothing of the first is touched; when it ends, another may."""
    maker = parse(f"store:{tmp_path}").maker()
    first = maker(Account("store"))
    first.accept(batch(1))
    before = files(tmp_path)
    with pytest.raises(Temporary, match=f"the process {os.getpid()} writes this store") as told:
        maker(Account("store"))
    assert told.value.exit_code == ExitCode.TEMPORARY and "--state-dir" in str(told.value)
    assert files(tmp_path) == before
    first.close()
    maker(Account("store")).close()


def test_a_full_disk_locks_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the number of the process."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    lock = WriterLock(tmp_path)
    with pytest.raises(Temporary, match="another process writes this store"):
        WriterLock(tmp_path)
    lock.release()
    WriterLock(tmp_path).release()


def test_a_sink_made_again_has_its_store(tmp_path: Path) -> None:
    """Behind its queue, after a fault: the lock is let go and taken again."""
    ledger = Ledger()
    sink = parse(f"store:{tmp_path}").open(ledger.open("store"))
    assert isinstance(sink, Queued)
    inner = sink._sink
    assert inner is not None
    inner.end_poll = lambda _: 1 / 0  # type: ignore[method-assign,assignment]
    sink.end_poll(trailer())
    sink.accept(batch(1))
    sink.close(20)
    balance = ledger.snapshot()[0]
    assert balance.balanced and balance.accepted + sum(balance.dropped.values()) == 1
    assert sink.faults == 1


def test_without_pyarrow_it_keeps_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows, by zstd."""
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    sink = parse(f"store:{tmp_path}").maker()(Account("store"))
    batches = captured(CAPTURES[0])
    for each in batches:
        sink.accept(each)
    sink.end_poll(trailer())
    sink.close()
    assert len(list(lines_of(tmp_path))) == len(as_stored(batches))


def test_folders_that_cannot_be(tmp_path: Path) -> None:
    """A file in the way, a path through a file: told when it is opened."""
    (tmp_path / "file").write_text("")
    for path in ("file", "file/below"):
        with pytest.raises(UsageError, match="A file of that name is there"):
            parse(f"store:{tmp_path}/{path}").maker()(Account("store"))


def test_a_folder_of_another_user(tmp_path: Path) -> None:
    """As nobody: a message of three parts, and exit code 77."""
    require_root()
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:3]:
        parent.chmod(parent.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    with warnings.catch_warnings():
        # Python 3.12 warns of a fork while others' threads exist; the child never returns.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        code = 1
        try:
            os.setresuid(65534, 65534, 65534)
            parse(f"store:{tmp_path}").maker()(Account("store"))
        except PermissionMissing as error:
            code = error.exit_code
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == ExitCode.PERMISSION
