"""Partitioned files on a disk that fails: what it costs, what is said, and that everything is as before later."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.patience import fewer
from tests.store.bench import Bench
from tests.store.made import (
    INTERVAL_NS,
    START_NS,
    Clock,
    batch,
    files,
    lines_of,
    trailer,
)
from xtcp.ledger import Account
from xtcp.sinks.folders import partitioned
from xtcp.sinks.folders.local_folder import LocalDraft, LocalFolder
from xtcp.sinks.folders.partitioned import Limits, Partitioned


class Failing(LocalFolder):
    """A folder whose drafts raise what `faults` says next: at creation, at a write, or when published."""

    def __init__(self, root: Path, faults: Sequence[tuple[str, int] | None]) -> None:
        super().__init__(root)
        self._faults = iter(faults)

    def create(self, path: str) -> LocalDraft:
        """With the next fault, if any."""
        what, number = next(self._faults, None) or ("", 0)
        if what == "create":
            raise OSError(number, os.strerror(number))
        draft = super().create(path)
        if what == "publish":
            draft.publish = lambda: _raise(number)  # type: ignore[method-assign]
        if what == "write":
            draft._file = Broken(draft._file, number)  # type: ignore[assignment]
        return draft


class Broken:
    """A file that cannot be written."""

    def __init__(self, file: BinaryIO, number: int) -> None:
        self._file, self._number = file, number

    def write(self, _: bytes) -> int:
        """Fails."""
        _raise(self._number)
        return 0

    @property
    def closed(self) -> bool:
        """As the file below."""
        return self._file.closed

    def tell(self) -> int:
        """Nothing was written."""
        return 0

    def flush(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Closes the file below."""
        self._file.close()


def _raise(number: int) -> None:
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("where", ["create", "write", "publish"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_fault_65_a_disk_that_fails_and_recovers(where: str, number: int, tmp_path: Path) -> None:
    """The file is given up, its rows are dropped by the errno's name, their poll says so, and nothing of it stays;
    after a pause everything is as before.
    """
    bench = Bench(tmp_path, folder=Failing(tmp_path, [None, None, (where, number)]))
    name = errno.errorcode[number]
    bench.poll(0, 0)
    bench.poll(1, 1, 2, then_s=0)
    bench.sink.flush()
    assert dict(bench.balance.dropped) == {name: 2}
    assert name in str(bench.sink.error)
    assert 0 < bench.sink.tick() <= 1 and bench.sink.ready is False
    bench.sink.accept(batch(3, start_ns=START_NS + 2 * INTERVAL_NS))
    bench.sink.end_poll(trailer(START_NS + 2 * INTERVAL_NS))
    assert dict(bench.balance.dropped) == {name: 3}
    bench.clock.now += 2
    bench.poll(3, 4)
    bench.sink.close()
    assert bench.cookies() == [0, 4] and bench.balance.accepted == 2
    assert not [path for table in ("sockets", "polls") for path in files(tmp_path, table) if path.endswith("tmp")]
    flags = [row["flags"] for row in lines_of(tmp_path, "polls")]
    assert flags == [[], ["dropped"], ["dropped"], []]


def test_pauses_grow_while_it_fails(tmp_path: Path) -> None:
    """From a second to a minute."""
    bench = Bench(tmp_path, folder=Failing(tmp_path, [("create", errno.ENOSPC)] * 40))
    pauses = []
    for number in range(12):
        bench.sink.accept(batch(number, start_ns=START_NS + number * INTERVAL_NS))
        pauses.append(bench.sink._resume_at - bench.clock.now)
        bench.clock.now = bench.sink._resume_at
    assert 0.5 <= pauses[0] <= 1 and 30 <= pauses[-1] <= 60
    assert dict(bench.balance.dropped) == {"ENOSPC": 12}


STEPS = st.one_of(
    st.tuples(st.just("rows"), st.integers(0, 2), st.integers(0, 50)),
    st.tuples(st.just("end"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 900), st.just(0)),
    st.tuples(st.just("flush"), st.just(0), st.just(0)),
)
FAULTS = st.none() | st.tuples(st.sampled_from(["create", "write", "publish"]), st.just(errno.ENOSPC))


@pytest.mark.parametrize("most_open", [2, 64])
@settings(max_examples=fewer(40))
@given(steps=st.lists(STEPS, max_size=30), faults=st.lists(FAULTS, max_size=20))
def test_the_ledger_whatever_happens(
    most_open: int,
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, int, int]],
    faults: list[tuple[str, int] | None],
) -> None:
    """Balanced after every step; accepted are exactly the rows in final files; nothing in flight at the end; a poll
    that does not say `dropped` has all its rows.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitioned, "MOST_OPEN", most_open)
        _ledger(tmp_path_factory.mktemp("ledger"), steps, faults)


def _ledger(path: Path, steps: list[tuple[str, int, int]], faults: list[tuple[str, int] | None]) -> None:
    bench = Bench(path, Limits(age_s=300, size=2_000), Failing(path, faults))
    cookie = 0
    polling: dict[str, set[int]] = {}
    polls: dict[tuple[str, int], set[int]] = {}
    for number, (what, first, count) in enumerate(steps):
        start = START_NS + number * INTERVAL_NS
        if what == "rows":
            bench.sink.accept(batch(*range(cookie, cookie + count), start_ns=start, host=f"h{first}"))
            polling.setdefault(f"h{first}", set()).update(range(cookie, cookie + count))
            cookie += count
        elif what == "end":
            polls[f"h{first}", start] = polling.pop(f"h{first}", set())
            bench.sink.end_poll(trailer(start, f"h{first}"))
        elif what == "wait":
            bench.clock.now += first
            bench.sink.tick()
        else:
            bench.sink.flush()
        assert bench.balance.offered == cookie
    bench.sink.close()
    assert bench.balance.in_flight == 0
    found = bench.cookies()
    assert len(found) == bench.balance.accepted == len(set(found))
    for row in lines_of(path, "polls"):
        assert "dropped" in row["flags"] or polls[row["hostname"], row["poll_id"]] <= set(found)
    bench.sink.accept(batch(1))
    assert bench.balance.dropped["closed"] >= 1


def test_a_full_disk_when_memory_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing what is kept fails: of another file, of the one in hand; the rest goes on."""
    from xtcp.sinks.folders.parquet import Parquet

    monkeypatch.setattr(partitioned, "BUFFER_BYTES", 0)
    clock, account = Clock(), Account("parquet")
    folder = Failing(tmp_path, [None, ("write", errno.ENOSPC), None, ("write", errno.EIO)])
    sink = Partitioned(folder, Parquet(), account, Limits(age_s=1e9, size=1), clock=clock, wall=clock.wall)
    for number in range(8):
        sink.accept(batch(*range(number * 10, number * 10 + 10), host=f"h{number}"))
        assert account.balance().balanced
        clock.now += 100
    sink.close()
    balance = account.balance()
    assert balance.balanced and set(balance.dropped) == {"ENOSPC", "EIO"} and balance.accepted == 60


def test_many_hosts_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More hosts than files may be open, and nothing can be written: no end without return, trailers are bounded."""
    monkeypatch.setattr(partitioned, "MOST_OPEN", 3)
    monkeypatch.setattr(partitioned, "MOST_WAITING", 20)
    bench = Bench(tmp_path, folder=Failing(tmp_path, [*[None] * 8, *[("create", errno.ENOSPC)] * 1000]))
    for number in range(200):
        bench.poll(0, number, host=f"h{number}", then_s=7)
        bench.sink.tick()
        assert len(bench.sink._open) <= 21
    assert bench.balance.accepted == 4 and bench.balance.dropped["ENOSPC"] == 196
