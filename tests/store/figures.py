"""What storing costs: CPU and bytes a row, and memory, of polls of 118,800 connections as `farm` makes them.

`python -m tests.store.figures` prints a line for Parquet and one for compressed lines. CPU is that of all threads,
user and system, without making the rows; the first poll, in which libraries are loaded, is not counted. Memory is what
the process has more at its highest than before the sink was opened.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from dataclasses import dataclass

from tests.store import farm

POLLS = 5


@dataclass(frozen=True)
class Figures:
    """Of one destination."""

    scheme: str
    cpu_us: float
    wall_us: float
    bytes_a_row: float
    mib_more: float

    def line(self) -> str:
        """For people."""
        return (
            f"{self.scheme}: {self.cpu_us:.2f} µs of CPU a row ({self.wall_us:.2f} wall), "
            f"{self.bytes_a_row:.0f} bytes a row, {self.mib_more:.0f} MiB more memory"
        )


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(scheme: str) -> Figures:
    """The figures of `scheme`, of this process."""
    from xtcp.ledger import Account
    from xtcp.sinks.destination import parse

    made = farm.columns()
    polls = list(farm.poll(made=made))
    before = _peak_mib()
    account = Account(scheme)
    with tempfile.TemporaryDirectory() as folder:
        sink = parse(f"{scheme}:{folder}").maker()(account)
        for batch in polls:
            sink.accept(batch)
        sink.flush(60)
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(POLLS):
            for batch in polls:
                sink.accept(batch)
        sink.close(60)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    balance = account.balance()
    rows = POLLS * farm.ROWS
    assert balance.accepted == rows + farm.ROWS
    return Figures(scheme, cpu / rows * 1e6, wall / rows * 1e6, balance.bytes / balance.accepted, _peak_mib() - before)


def main() -> None:
    """Each in a process of its own."""
    processes = multiprocessing.get_context("spawn")
    for scheme in ("parquet", "lines"):
        with processes.Pool(1) as pool:
            print(pool.apply(measured, (scheme,)).line(), flush=True)


if __name__ == "__main__":
    main()
