"""One connection in N, before the queue and without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sinks.standins import cookies
from xtcp.ledger import Account
from xtcp.poll.sampling import Sampler
from xtcp.sinks.destination import parse
from xtcp.sinks.fan_out import FanOut
from xtcp.sinks.sampled import Sampled


@pytest.mark.parametrize("own_threads", [False, True])
def test_a_sampled_destination(tmp_path: Path, own_threads: bool) -> None:
    """The sink is offered the sample alone, and its rows say what they stand for; its neighbour gets every row."""
    rows = cookies(*range(1, 2001), hostname="here")
    expected = Sampler(20).keep(rows)
    some, every = tmp_path / "some.json", tmp_path / "every.json"
    with FanOut.of([parse(f"file:{some}?sample=20"), parse(f"file:{every}")], own_threads=own_threads) as fan:
        fan.accept(rows)
        assert len(fan.queues()) == (2 if own_threads else 0)
    sampled, whole = fan.ledger.snapshot()
    assert (sampled.offered, sampled.accepted) == (expected.rows, expected.rows)
    assert whole.accepted == 2000
    read = [json.loads(line) for line in some.read_text().splitlines()]
    assert {row["idiag_cookie"] for row in read} == set(expected.columns["idiag_cookie"].tolist())
    assert {row["weight"] for row in read} == {20}
    assert "weight" not in json.loads(every.read_text().splitlines()[0])


def test_one_in_one_is_every_row() -> None:
    """A sample of one in one costs nothing: there is nothing between."""
    assert not isinstance(parse("null:?sample=1").open(Account("null")), Sampled)
