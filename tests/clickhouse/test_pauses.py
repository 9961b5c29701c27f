"""When a server is asked again: pauses that grow, differ from host to host, and end; on a clock of the test's."""

from __future__ import annotations

from itertools import pairwise

from tests.kafka.standins import of_poll
from tests.sinks.standins import cookies
from xtcp.ledger import Ledger
from xtcp.sinks.clickhouse.inserts import FIRST_PAUSE_S, LONGEST_PAUSE_S, ClickHouse
from xtcp.sinks.clickhouse.server import Failed
from xtcp.sinks.clickhouse.target import target
from xtcp.sinks.destination import parse


class Script:
    """A server that fails as it is told, and keeps when it was asked for which token."""

    def __init__(self, clock: list[float], failure: Failed) -> None:
        self._clock = clock
        self.failure = failure
        self.asked: list[tuple[float, str]] = []

    def post(self, statement: str, data: bytes, token: str, timeout_s: float) -> None:
        """Fails."""
        self.asked.append((self._clock[0], token))
        raise self.failure

    def close(self) -> None:
        """Nothing."""


def opened(ledger: Ledger, failure: Failed) -> tuple[ClickHouse, Script, list[float]]:
    """The sink with a server of that kind."""
    clock = [1000.0]
    sink = ClickHouse(target(parse("clickhouse:http://nowhere/d.t")), ledger.open("ch"), lambda: clock[0])
    sink._server = script = Script(clock, failure)  # type: ignore[assignment]
    return sink, script, clock


def live(sink: ClickHouse, clock: list[float], seconds: float) -> None:
    """Ticks as often as the sink asks for it."""
    end = clock[0] + seconds
    while clock[0] < end:
        clock[0] += sink.tick()


def test_fault_68_pauses_grow_to_a_bound_and_an_end() -> None:
    """Each between half and all of its length, the same token all the time, and after five minutes no more."""
    ledger = Ledger()
    sink, script, clock = opened(ledger, Failed("timeout", "timed out"))
    sink.accept(of_poll(cookies(1, 2), "h", 1))
    sink.flush(0)
    live(sink, clock, 400)
    times = [at for at, _ in script.asked]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    for number, pause in enumerate(pauses):
        longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (number + 1))
        assert 0.5 * longest - 0.02 <= pause <= longest + 0.02
    assert len(set(pauses)) == len(pauses) and 10 < len(pauses) < 40
    assert 300 <= times[-1] - times[0] < 300 + LONGEST_PAUSE_S
    assert len({token for _, token in script.asked}) == 1
    assert dict(ledger.snapshot()[0].dropped) == {"timeout": 2} and ledger.balanced() and sink.ready


def test_fault_68_a_server_that_comes_to_refuse_for_good_drops_all_that_waits() -> None:
    """First away, then back without the table: nothing is left waiting, nothing is asked for a second time."""
    ledger = Ledger()
    sink, script, clock = opened(ledger, Failed("ECONNREFUSED", "refused"))
    for number in range(3):
        sink.accept(of_poll(cookies(number), "h", number))
        sink.flush(0)
    assert not sink.ready and ledger.snapshot()[0].in_flight == 3
    script.failure = Failed("UNKNOWN_TABLE", "no such table", lasting=True)
    before = len(script.asked)
    live(sink, clock, 50)
    assert len(script.asked) == before + 1
    assert dict(ledger.snapshot()[0].dropped) == {"UNKNOWN_TABLE": 3} and ledger.balanced() and sink.ready
