"""A crash, a full disk, a loss of power: final files are whole, and what was accepted is in them."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import require_program, require_root
from tests.patience import patient
from tests.store import crashing, farm
from tests.store.made import Clock, batch, files, parquet_cookies, selected, trailer
from xtcp.ledger import Account
from xtcp.sinks.folders.local_folder import LocalFolder
from xtcp.sinks.folders.parquet import Parquet
from xtcp.sinks.folders.partitioned import Limits, Partitioned

KILLS = int(os.environ.get("XTCP_KILLS", "40"))


@pytest.mark.slow
def test_fault_66_killed_at_any_moment(tmp_path: Path) -> None:
    """Every final file opens in pyarrow and in DuckDB, no accepted row is missing, the next start removes drafts."""
    chance = random.Random(66)
    drafts = rows = 0
    for number in range(KILLS):
        folder, told = tmp_path / str(number), tmp_path / f"{number}.told"
        folder.mkdir()
        told.write_bytes(bytes(8))
        process = crashing.process(crashing.write_for_ever, folder, told)
        end = time.monotonic() + patient(20)
        while told.read_bytes() == bytes(8) and process.is_alive() and time.monotonic() < end:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.1))
        process.kill()
        process.join()
        assert process.exitcode == -9
        accepted = int.from_bytes(told.read_bytes(), "little")
        final = list(folder.rglob("*.parquet"))
        assert final and accepted
        for path in final:
            pq.read_table(path)
        cookies = parquet_cookies(folder)
        assert cookies == list(range(len(cookies)))
        assert len(cookies) >= accepted
        polls = selected(f"SELECT count(*) AS n FROM '{folder}/polls/*/*/*/*.parquet'")[0]["n"]
        assert polls * crashing.ROWS <= len(cookies)
        drafts += sum(path.endswith(".tmp") for table in ("sockets", "polls") for path in files(folder, table))
        rows += accepted
        crashing.opened(folder, Account("parquet")).close()
        assert not list(folder.rglob("*.tmp"))
        assert parquet_cookies(folder) == cookies
    assert rows and (drafts or KILLS < 20), "never killed while a file was being written"


def test_drafts_of_others_stay(tmp_path: Path) -> None:
    """A second writer in the same folder does not take a living one's draft for a leftover."""
    first, second = Account("first"), Account("second")
    one = crashing.opened(tmp_path, first)
    one.accept(batch(1))
    other = crashing.opened(tmp_path, second)
    assert len(files(tmp_path)) == 1
    other.accept(batch(2))
    one.close()
    other.close()
    assert first.balance().accepted == second.balance().accepted == 1
    assert parquet_cookies(tmp_path) == [1, 2]


class Recorder:
    """What is asked of the operating system, in order: (call, path below the folder)."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, str]] = []
        self._folder = folder
        fsync, rename, mkdir = os.fsync, os.rename, Path.mkdir

        def recorded_fsync(descriptor: int) -> None:
            self._note("fsync", Path(f"/proc/self/fd/{descriptor}").readlink())
            fsync(descriptor)

        def recorded_rename(source: Path, target: Path) -> None:
            self._note("rename", target)
            rename(source, target)

        def recorded_mkdir(path: Path, *arguments: object, **options: object) -> None:
            self._note("mkdir", path)
            mkdir(path, *arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "fsync", recorded_fsync)
        monkeypatch.setattr(os, "rename", recorded_rename)
        monkeypatch.setattr(Path, "mkdir", recorded_mkdir)

    def _note(self, call: str, path: object) -> None:
        self.calls.append((call, os.path.relpath(str(path), self._folder)))


class Accepting(Account):
    """An account that notes when rows are accepted."""

    def __init__(self, calls: list[tuple[str, str]]) -> None:
        super().__init__("parquet")
        self._calls = calls

    def accept(self, rows: int, size: int = 0) -> None:
        """Notes it."""
        self._calls.append(("accept", str(rows)))
        super().accept(rows, size)


def test_fault_67_fsync_rename_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's bytes before its name, its name before its rows are accepted, its rows before their poll; and each
    new folder before what lies in it.
    """
    recorder = Recorder(tmp_path, monkeypatch)
    sink = crashing.opened(tmp_path, Accepting(recorder.calls))
    sink.accept(batch(1, 2, 3))
    sink.end_poll(trailer())
    sink.close()
    steps = []
    for table in ("sockets", "polls"):
        folders = [table, f"{table}/host=web-1", f"{table}/host=web-1/date=2026-11-23"]
        folders.append(f"{folders[-1]}/hour=22")
        for parent, folder in zip([".", *folders], folders, strict=False):
            steps += [("mkdir", folder), ("fsync", parent)]
        (path,) = (tmp_path / table).rglob("*.parquet")
        name = str(path.relative_to(tmp_path))
        steps += [("fsync", f"{name}.tmp"), ("rename", name), ("fsync", folders[-1])]
        steps += [("accept", "3")] * (table == "sockets")
    assert recorder.calls == steps


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB of its own."""
    require_root()
    require_program("mount", "mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _remounted(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


@pytest.mark.root
@pytest.mark.parametrize(("breaks", "mends", "reason"), [("", "size=16m", "ENOSPC"), ("ro", "rw", "EROFS")])
def test_fault_65_a_real_disk(breaks: str, mends: str, reason: str, tmpfs: Path) -> None:
    """A disk of 1 MiB that fills, or turns read-only: final files are whole and have what was accepted; with room, or
    writable again, it goes on by itself.
    """
    clock, account = Clock(), Account("parquet")
    sink = Partitioned(LocalFolder(tmpfs), Parquet(), account, Limits(age_s=0.0), clock=clock, wall=clock.wall)

    made = farm.columns(2000)

    def poll(number: int) -> None:
        for each in farm.poll(number, 2000, made):
            sink.accept(each)
        sink.end_poll(trailer(farm.START_NS + number * farm.INTERVAL_NS))

    poll(0)
    if breaks:
        _remounted(tmpfs, breaks)
    number = 1
    while not account.balance().dropped:
        poll(number)
        number += 1
    balance = account.balance()
    assert balance.balanced and set(balance.dropped) == {reason}
    assert sink.error is not None and reason in str(sink.error)
    assert len(parquet_cookies(tmpfs)) == balance.accepted > 0
    _remounted(tmpfs, mends)
    assert not sink.ready
    clock.now += 2
    poll(1000)
    sink.close()
    after = account.balance()
    assert after.balanced and after.accepted == balance.accepted + 2000
    assert len(parquet_cookies(tmpfs)) == after.accepted
    crashing.opened(tmpfs, Account("parquet")).close()
    assert not list(tmpfs.rglob("*.tmp"))


def test_fault_65_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: EFBIG instead of a signal, and nothing of the file stays."""
    results = crashing.PROCESSES.Queue()
    process = crashing.process(crashing.write_under_a_limit, tmp_path, 60_000, results)
    balance, error = results.get(timeout=patient(30))
    process.join()
    assert process.exitcode == 0
    assert balance.balanced and (balance.accepted, dict(balance.dropped)) == (10, {"EFBIG": 100_000})
    assert "EFBIG" in error
    assert parquet_cookies(tmp_path) == list(range(10)) and not list(tmp_path.rglob("*.tmp"))
