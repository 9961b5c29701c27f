"""Compressed lines without zstandard: gzip, by the same rules."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.store.made import CAPTURES, as_stored, batch, captured, selected, trailer
from xtcp.ledger import Account
from xtcp.sinks.destination import parse
from xtcp.sinks.folders import zstd_lines


def test_gzip_where_zstandard_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by gzip alone, and by DuckDB."""
    monkeypatch.setattr(zstd_lines, "zstandard", None)
    sink = parse(f"lines:{tmp_path}").maker()(Account("lines"))
    batches = captured(CAPTURES[0])
    for each in batches:
        sink.accept(each)
    sink.accept(batch(1))
    sink.end_poll(trailer())
    sink.close()
    one, *_ = sorted((tmp_path / "sockets").glob("host=[!w]*/*/*/*.jsonl.gz"))
    rows = [json.loads(line) for line in gzip.decompress(one.read_bytes()).splitlines()]
    assert len(rows) == len(as_stored(batches))
    polls = selected(f"FROM read_json('{tmp_path}/polls/*/*/*/*.jsonl.gz', format = 'newline_delimited')")
    assert [poll["hostname"] for poll in polls] == ["web-1"]
