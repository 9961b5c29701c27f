"""`xtcp` with a kernel of the test's: `python -m tests.daemon.scripted ROWS run …`.

ROWS sockets in each dump; `deaf`: it never answers, and says `asked` on standard error when it is asked.
"""

from __future__ import annotations

import sys
from typing import Any

from tests.fake_kernel import SEQ, ScriptedDiag, done, row
from xtcp.cli.main import run
from xtcp.daemon import poller
from xtcp.daemon.agent import Agent
from xtcp.poll.one_pass import OnePass
from xtcp.sources.live import LiveDump

# A datagram of the kernel is no longer.
_DATAGRAM = 32 * 1024


def main(argv: list[str]) -> int:
    """Runs `xtcp` with `argv` behind the number of rows."""
    rows, *arguments = argv
    datagrams = [] if rows == "deaf" else dump(int(rows))

    def diag(**_: Any) -> ScriptedDiag:
        if rows == "deaf":
            print("asked", file=sys.stderr, flush=True)
        return ScriptedDiag(datagrams)

    setattr(poller, "DiagSocket", diag)  # noqa: B010 - a name that it imports
    setattr(poller, "verify", lambda: OnePass(True, "a kernel of the tests"))  # noqa: B010

    def make_dump(*given: Any, **options: Any) -> LiveDump:
        return LiveDump(*given, **{**options, "seq": SEQ, "one_call": False})

    defaults = Agent.__init__.__kwdefaults__
    assert defaults is not None
    defaults["make_dump"] = make_dump
    return run(arguments)


def dump(rows: int) -> list[bytes]:
    """The datagrams of a dump, its end in the last."""
    datagrams, messages = [], b""
    for cookie in range(1, rows + 1):
        message = row(cookie)
        if len(messages) + len(message) > _DATAGRAM:
            datagrams.append(messages)
            messages = b""
        messages += message
    return [*datagrams, messages + done()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
