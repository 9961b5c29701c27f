"""The loop of the collector."""

from __future__ import annotations

import itertools
import socket
from contextlib import closing

from tests.collect.sending import Kept, messages, sockets
from xtcp.collect.collector import Collector
from xtcp.collect.datagrams import Datagrams
from xtcp.collect.running import Limits, Running
from xtcp.sinks.fan_out import FanOut


def test_a_process_that_was_stopped_takes_what_waited() -> None:
    """An hour between any two looks at the clock, and the end is asked for already: what came is taken all the same."""
    sink = Kept()
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far, FanOut() as fan:
        fan.add("kept", lambda _: sink)
        for message in messages("xtcp", sockets(range(1, 4))):
            far.send(message)
        with closing(Datagrams(near, "unix")) as source:
            hours = itertools.count(0, 3600)
            running = Running(
                [source], Collector(fan), fan, Limits(), ended=lambda: True, clock=lambda: float(next(hours))
            )
            running.run()
    assert sink.cookies() == [1, 2, 3]
