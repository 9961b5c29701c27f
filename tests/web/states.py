"""States of an agent, made up: an ordinary one, and one full of what others could put into it."""

from __future__ import annotations

from xtcp.ledger import Balance
from xtcp.metrics.agent_state import AgentState, Reload, Resources, SinkState, Verdict
from xtcp.poll.trailer import Trailer

HOSTILE_NAMES = (
    'quote " backslash \\ end',
    "line\nfeed",
    "carriage\rreturn",
    "NUL \0 inside",
    "escape \x1b[31mred\x1b[0m",
    "lone surrogate \udc80",
    "right-to-left \u202eabc\u200f",
    "x" * 10_000,
    "x" * 9_999 + "y",
    "",
    "ünïcode ✓",
    "{}=,#",
)


def trailer(poll_id: int = 1, *flags: str) -> Trailer:
    """The end of a poll of 0.25 s."""
    return Trailer(
        *("host", "boot", poll_id, "4026531840", "6.18.0", "little"),
        *(1_700_000_000 * 10**9, 1_700_000_000 * 10**9 + 250_000_000, 0, 250_000_000),
        *(2, 105, 100, 3, 1, 0, 4, 0),
        flags=flags,
    )


def ordinary(poll_id: int = 1, **changes: object) -> AgentState:
    """An agent after some polls."""
    balance = Balance("udp:127.0.0.1:13000", 100, 90, {"queue": 6, "ECONNREFUSED": 1}, 3, 9000)
    fields: dict[str, object] = {
        "version": "0.1.0",
        "started_wall_ns": 1_699_999_000 * 10**9,
        "run_id": "r",
        "interval_s": 30.0,
        "polls": 12,
        "failed": {"deadline": 1},
        "overruns": 2,
        "long_polls": 3,
        "trailer": trailer(poll_id),
        "rows": {("4026531840", "inet"): 70, ("4026531840", "inet6"): 30},
        "messages": 105,
        "duplicates": 3,
        "quarantined": 1,
        "shed": {"health": 5},
        "sinks": (SinkState(balance, 1000, 32 << 20), SinkState(Balance("null", 100, 100, {}, 0, 0))),
        "resources": Resources(50 << 20, 300 << 20, 12.5, 20, 1024, 6, 1_699_999_000.0),
        "reload": Reload(True, 1_699_999_000 * 10**9),
        "features": {"mark": False},
        "verdict": Verdict(True, True),
    }
    return AgentState(**(fields | changes))  # type: ignore[arg-type]


def hostile() -> AgentState:
    """An agent whose every name was made by somebody who wishes it ill."""
    many = {f"{name}{number}": number for number in range(20) for name in HOSTILE_NAMES}
    return ordinary(
        version=HOSTILE_NAMES[5],
        failed=many,
        shed=many,
        rows={(name, family): count for name, count in many.items() for family in ("inet", "inet6")},
        features=dict.fromkeys(many, True),
        sinks=tuple(SinkState(Balance(name, 1, 0, many, 0, 0), 1, 2) for name in HOSTILE_NAMES),
    )
