"""Several sinks at once: the same rows to all, and a fault of one is nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sinks.standins import Collected, Failing, blank
from xtcp.errors import ExitCode, UsageError
from xtcp.ledger import Account, Balance
from xtcp.sinks.destination import parse
from xtcp.sinks.fan_out import FanOut


def by_name(fan: FanOut) -> dict[str, Balance]:
    """The ledger."""
    return {balance.name: balance for balance in fan.ledger.snapshot()}


@pytest.mark.parametrize("holding", [False, True])
@pytest.mark.parametrize("at", [1, 2])
def test_an_exception_in_a_sink(holding: bool, at: int) -> None:
    """The sink is given up and closed, its rows are dropped; the others get everything."""
    failing: list[Failing] = []

    def make(account: Account) -> Failing:
        failing.append(Failing(account, at, holding=holding))
        return failing[0]

    with FanOut() as fan:
        fan.add("bad", make)
        fan.add("good", Collected)
        for rows in (3, 5, 7):
            fan.accept(blank(rows))
            assert fan.ledger.balanced()
        assert not fan.gone
    bad, good = by_name(fan)["bad"], by_name(fan)["good"]
    assert (good.offered, good.accepted) == (15, 15)
    assert (bad.offered, bad.accepted, bad.in_flight) == (15, 3 if at == 2 else 0, 0)
    assert bad.dropped == {"fault": 12 if at == 2 else 15}
    assert failing[0].closed
    (error,) = fan.errors().values()
    assert error.exit_code == ExitCode.INTERNAL
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_gone_when_all_are() -> None:
    """One that takes rows is enough to go on."""
    with FanOut() as fan:
        fan.add("full", parse("file:/dev/full").open)
        fan.accept(blank(1))
        gone = [fan.gone]
        fan.add("null", parse("null:").open)
        gone.append(fan.gone)
        fan.accept(blank(2))
    assert gone == [True, False]
    assert by_name(fan)["full"].dropped == {"ENOSPC": 3}
    assert by_name(fan)["null"].accepted == 2
    assert fan.error is not None and "No space left" in str(fan.error)


def test_one_that_cannot_be_opened_closes_the_others(tmp_path: Path) -> None:
    """And nothing has been sent."""
    destinations = [parse(f"file:{tmp_path}/rows"), parse(f"file:{tmp_path}/none/rows")]
    with pytest.raises(UsageError, match="none/rows"):
        FanOut.of(destinations)
    assert (tmp_path / "rows").read_bytes() == b""


class Sulking(Collected):
    """A sink that fails when it is closed."""

    def close(self, timeout_s: float = 0) -> None:
        """Fails."""
        raise OSError("a fault")


def test_a_fault_in_close_is_kept() -> None:
    """The others are closed all the same."""
    with FanOut() as fan:
        fan.add("bad", Sulking)
        fan.add("good", Collected)
        fan.accept(blank(2))
    assert set(fan.errors()) == {"bad"}
    assert by_name(fan)["good"].accepted == by_name(fan)["bad"].accepted == 2
    assert fan.ledger.balanced()
