"""Figures of recorded hosts, other kernels and byte orders among them, against the rows as JSON says them."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.health.made import Clock, trailer
from tests.rows import Row, rows_of
from tests.zoos import WITH_TWINS
from xtcp.decode.decoder import Decoder
from xtcp.health.classes import CONTROLS
from xtcp.health.health import Health
from xtcp.health.snapshot import DISTRIBUTED
from xtcp_replay.reading.opening import open_source

OWN = WITH_TWINS
CONNECTED = {"ESTAB", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "LAST-ACK", "CLOSING"}


@pytest.mark.parametrize("capture", OWN, ids=lambda path: str(path.relative_to(ROOT / "pcaps")))
def test_our_captures(capture: Path) -> None:
    """Two architectures, and their twins in the other byte order."""
    assert compared(capture) > 0


@pytest.mark.external
@pytest.mark.parametrize("folder", ["4_19_319", "5_4_281", "6_10_3", "7_0_3"])
def test_captures_of_others(folder: str, captures: Path) -> None:
    """Older kernels lack columns; what they have is right."""
    found = sorted((captures / folder).glob("*.pcap"), key=lambda path: path.stat().st_size)
    assert sum(compared(path) for path in found[:6]) > 0


def compared(capture: Path) -> int:
    """Compares each dump's figures with its rows; returns how many rows there were."""
    decoder = Decoder()
    compared = 0
    batches = [decoder.decode(chunk) for chunk in open_source(str(capture)).chunks()]
    for _, dump in groupby(batches, key=lambda batch: batch.context.dump):
        found = list(dump)
        rows = rows_of(found)
        health = Health(clock=Clock())
        for batch in found:
            health.observe(batch)
        snapshot = health.end_poll(trailer(rows=len(rows)))
        compared += len(rows)
        assert {name: count for name, count in snapshot.sockets.items() if count} == Counter(
            row["idiag_state"] for row in rows
        )
        connected = [row for row in rows if row["idiag_state"] in CONNECTED and "tcp_info_len" in row]
        for what in DISTRIBUTED:
            values = [row for row in connected if row.get(what.column, what.absent) != what.absent]
            histograms = snapshot.histograms[what.name].values()
            assert sum(sum(histogram.counts) for histogram in histograms) == len(values if what.column else [])
            total = sum(row[what.column] for row in values) * what.scale if what.column else 0
            assert sum(histogram.sum for histogram in histograms) == pytest.approx(total)
        named = Counter(_control(row) for row in connected if row.get("tcpi_snd_cwnd") is not None)
        by_control: Counter[str] = Counter()
        for found_class, histogram in snapshot.histograms["cwnd"].items():
            by_control[found_class.cc] += sum(histogram.counts)
        assert by_control == named
    return compared


def _control(row: Row) -> str:
    return row["cong"] if row.get("cong") in CONTROLS else "other"
