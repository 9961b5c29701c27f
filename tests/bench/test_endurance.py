"""What a soak holds, for some seconds; and that each of its verdicts can be the other one."""

from __future__ import annotations

import pytest

from tests.bench.endurance import Account, Endured, Plan, endure
from tests.conftest import require_program, require_root


@pytest.mark.root
@pytest.mark.live
@pytest.mark.slow
def test_fault_83_nothing_is_lost_under_churn_and_outages() -> None:
    """Churn, and an outage of all far sides every few seconds: every row of every poll is accounted for in each sink,
    nothing is said that is no event, and it ends well. Memory and its slope need the hours of `make soak`.
    """
    require_root()
    require_program("ip", "iproute2")
    endured = endure(Plan(0.3, sockets=2_000, every_s=0.6, churn=True, outage_s=3.0, outage_every_s=8.0))
    assert endured.faults() == [], "\n".join(endured.lines())
    assert len(endured.polled) > 10
    names = {account.name.partition(":")[0] for account in endured.accounts}
    assert names == {"kafka", "unix", "file", "udp", "statsd", "clickhouse", "store", "null"}
    assert all(account.accepted for account in endured.accounts if not account.name.startswith("clickhouse"))


@pytest.mark.root
@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_fault_76_a_minute_with_every_far_side_stalled() -> None:
    """20,000 sockets, nobody takes a row: memory stays under 256 MiB, every row is accounted for."""
    require_root()
    require_program("ip", "iproute2")
    endured = endure(Plan(1.0, sockets=20_000, every_s=1.0, stalled=True))
    assert endured.faults() == [], "\n".join(endured.lines())
    assert sum(account.dropped for account in endured.accounts) > 0


def endured(**changes: object) -> Endured:
    """A run in which all holds, but for the changes."""
    account = Account("null", 200, 150, 50, 0, balanced=True)
    run = Endured(Plan(1, stalled=True), [0.0] * 10, [100.0] * 10, [20] * 10, [9] * 10, [100, 100], [account], 0)
    for name, value in changes.items():
        setattr(run, name, value)
    return run


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"code": 70}, "ended with 70"),
        ({"polled": [100, 101]}, "1 rows unaccounted for"),
        ({"accounts": [Account("null", 200, 150, 49, 0, balanced=True)]}, "1 rows unaccounted for"),
        ({"accounts": [Account("null", 200, 150, 50, 0, balanced=False)]}, "1 rows unaccounted for"),
        ({"accounts": [Account("null", 200, 100, 50, 50, balanced=True)]}, "200 rows unaccounted for"),
        ({"accounts": []}, "no account"),
        ({"polled": []}, "no poll"),
        ({"complaints": ["Traceback (most recent call last):"]}, "it said: Traceback"),
        ({"descriptors": [*[20] * 9, 29]}, "descriptors went from 20 to 29"),
        ({"threads": [*[9] * 9, 18]}, "threads went from 9 to 18"),
        ({"rss": [257.0] * 10}, "257 MiB of memory"),
    ],
)
def test_each_verdict(changes: dict[str, object], says: str) -> None:
    """What does not hold is said, and nothing else."""
    assert endured().faults() == []
    assert any(says in fault for fault in endured(**changes).faults())


def test_growth_is_a_slope_behind_the_warm_up() -> None:
    """Mebibytes an hour; what came before the warm-up does not count."""
    hour = [3600.0 * n / 10 for n in range(10)]
    rising = [500.0, 0.0, 900.0, *(10.0 + 5 * n / 10 for n in range(3, 10))]
    assert endured(seconds=hour, rss=rising).growth_mib_h == pytest.approx(5.0)
