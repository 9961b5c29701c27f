"""The reader thread of a live dump: how it ends, and what happens without one."""

from __future__ import annotations

import itertools
import threading

import pytest

from tests.fake_kernel import SEQ, ScriptedDiag, done, row
from xtcp.chunk import Context
from xtcp.netlink.request import Request
from xtcp.sources import live
from xtcp.sources.live import LiveDump


class _Watched(ScriptedDiag):
    """Notes which reader threads live when the socket is closed."""

    readers_at_close: tuple[str, ...] | None = None

    def close(self) -> None:
        type(self).readers_at_close = tuple(t.name for t in threading.enumerate() if t.name == "xtcp-reader")
        super().close()


def _dump(script: object) -> LiveDump:
    return LiveDump(
        Request(2),
        Context(),
        overlap=True,
        one_call=False,
        seq=SEQ,
        open_socket=lambda: _Watched(script),  # type: ignore[arg-type, return-value]
    )


def test_reader_ends_before_its_socket_is_closed() -> None:
    """A dump that is given up half way: else the reader could receive from whatever gets the descriptor's number."""
    chunks = _dump(itertools.repeat(row(1))).chunks()
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert _Watched.readers_at_close == ()
    assert _Watched.open_now == 0


def test_without_a_thread_the_dump_is_read_serially(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread may be started (ulimit -u, TasksMax) the dump comes all the same, and no arena is lost."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    list(_dump([row(1), done()]).chunks())
    kept = {slot: len(arenas) for slot, arenas in live._pool.items()}
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert len(list(_dump([row(1), row(2), done()]).chunks())) == 3
    assert _Watched.open_now == 0
    assert sum(len(arenas) for arenas in live._pool.values()) <= sum(kept.values()) + 1
