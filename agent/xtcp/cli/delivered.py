"""What became of rows in the sinks, in words and as an exit code: for the commands that deliver."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from xtcp.cli.command import say
from xtcp.errors import ExitCode

if TYPE_CHECKING:
    from xtcp.sinks.fan_out import FanOut


def faults_of(fan: FanOut, program: str) -> bool:
    """Says what went wrong in the closed sinks of `fan`; whether any of it is a fault of ours, a ledger that does not
    add up among them.
    """
    ours = False
    for name, error in fan.errors().items():
        internal = error.exit_code is ExitCode.INTERNAL
        ours |= internal
        if internal and error.__cause__ is not None:
            say("".join(traceback.format_exception(error.__cause__)).rstrip())
            say(f"{program}: {error} Please report the lines above.")
        else:
            say(f"warning: {name}: rows were dropped: {error}")
    unsettled = [balance.line() for balance in fan.ledger.snapshot() if not balance.balanced or balance.in_flight]
    for line in unsettled:
        say(f"{program}: the ledger does not add up; this is a fault of xtcp, please report it: {line}")
    return ours or bool(unsettled)
