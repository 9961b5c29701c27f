"""When polls are due: by the plan from the first on; one that takes too long leaves out those it ran over."""

from __future__ import annotations

from typing import cast

import pytest

from tests.playing.clocks import Clock
from xtcp.decode.decoder import Decoder
from xtcp.poll.trailer import Trailer
from xtcp_replay.recording.polls import Polls


class Nothing:
    """A tap that keeps nothing."""

    def write(self, netlink: bytes | memoryview, time_ns: int) -> None:
        """Forgets a datagram."""


@pytest.mark.parametrize(
    ("lasting", "begun"),
    [
        ((1, 1, 1), [0, 10, 20]),
        ((9.5, 0, 0), [0, 10, 20]),
        ((25, 1, 1), [0, 30, 40]),
        ((10, 1, 1), [0, 20, 30]),
    ],
)
def test_polls_begin_by_the_plan(
    monkeypatch: pytest.MonkeyPatch, lasting: tuple[float, ...], begun: list[float]
) -> None:
    """Three polls every 10 s that take so long each."""
    clock, at = Clock(0.0), []

    def poll(_: Polls, decoder: Decoder) -> Trailer:
        at.append(round(clock.now, 3))
        clock.now += lasting[len(at) - 1]
        return cast("Trailer", None)

    monkeypatch.setattr(Polls, "_poll", poll)
    assert len(list(Polls(Nothing(), 10, lambda done: done == 3, clock, clock.sleep))) == 3
    assert at == begun
