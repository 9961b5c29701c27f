"""The same poll by pyroute2, what a Python user has today: IPv4 and IPv6, all extensions, every attribute read.

Out: a line of JSON, a `Sample` of the poll without the start of Python and the imports. pyroute2 decodes an attribute
when it is read, so each is.
"""

from __future__ import annotations

import json
import socket
import time

from pyroute2 import DiagSocket

from tests.bench.sample import Sample

ALL_EXT = 0xFF


def poll() -> int:
    """Returns the number of sockets."""
    rows = 0
    with DiagSocket() as diag:
        diag.bind()
        for family in (socket.AF_INET, socket.AF_INET6):
            for message in diag.get_sock_stats(family=family, extensions=ALL_EXT):
                rows += 1
                for _name, _value in message["attrs"]:
                    pass
    return rows


if __name__ == "__main__":
    wall, cpu = time.perf_counter(), time.process_time()
    found = poll()
    print(json.dumps(Sample(time.perf_counter() - wall, time.process_time() - cpu, rows=found).as_dict()))
