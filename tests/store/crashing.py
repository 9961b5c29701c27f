"""What the tests of crashes and limits run in a process of its own."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import resource
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from tests.store.made import INTERVAL_NS, START_NS, batch, trailer
from xtcp.ledger import Account
from xtcp.sinks.folders.local_folder import LocalFolder
from xtcp.sinks.folders.parquet import Parquet
from xtcp.sinks.folders.partitioned import Limits, Partitioned

ROWS = 300
# The modules are imported once; each process is a copy of one that has them.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.store.crashing"])


def opened(folder: Path, account: Account) -> Partitioned:
    """A sink whose every poll has a file of its own."""
    return Partitioned(LocalFolder(folder), Parquet(), account, Limits(age_s=0.0))


def write_for_ever(folder: Path, told: Path) -> None:
    """Polls of `ROWS` rows one behind the other; `told` has 8 bytes that say how many rows were accepted."""
    account = Account("parquet")
    sink = opened(folder, account)
    with told.open("r+b", buffering=0) as file:
        for number in itertools.count():
            start = START_NS + number * INTERVAL_NS
            sink.accept(batch(*range(number * ROWS, (number + 1) * ROWS), start_ns=start))
            sink.end_poll(trailer(start, rows=ROWS))
            os.pwrite(file.fileno(), account.balance().accepted.to_bytes(8, "little"), 0)


def write_under_a_limit(folder: Path, size: int, results: Any) -> None:
    """One poll of few rows, one of many, with files of at most `size` bytes; gives the balance and the error."""
    sys.dont_write_bytecode = True  # a module compiled under the limit would be cut short for good
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    account = Account("parquet")
    sink = opened(folder, account)
    for number, rows in enumerate((10, 100_000)):
        start = START_NS + number * INTERVAL_NS
        sink.accept(batch(*range(number * 10, number * 10 + rows), start_ns=start))
        sink.end_poll(trailer(start, rows=rows))
    sink.close()
    results.put((account.balance(), str(sink.error)))


def process(target: Any, *arguments: Any) -> BaseProcess:
    """A process that runs `target`, started."""
    made = PROCESSES.Process(target=target, args=arguments, daemon=True)
    with pytest.MonkeyPatch.context() as patch:  # the first one starts the server, which must find the modules
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        made.start()
    return made
