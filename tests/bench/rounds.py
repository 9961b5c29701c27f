"""Rounds: every case once in each, in turn, on a farm of sockets in a network namespace of its own.

Every other round goes through the cases backwards, so that none always stands behind the same one. A case that does
not give every socket of the farm ends the run: its time would say nothing. Needs root.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Self

from tests.bench import programs
from tests.bench.cases import BY_NAME, MANY, TOPIC, Case
from tests.bench.programs import Failed, TooSlow
from tests.bench.sample import Measured, Sample
from tests.sockets.farm import Farm
from tests.sockets.netns import inside

LONGEST_S: Final = 4 * 3600.0


class Worker:
    """The process of the cases that run inside one, as a context manager. Raises `Failed` when it ends early."""

    def __init__(self, pcap: Path, home: int, broker: str, cases: Iterable[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.worker", str(pcap), str(pcap.parent), str(home), broker, *cases],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=programs.environment(),
            cwd=programs.ROOT,
            text=True,
        )

    def __enter__(self) -> Self:
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def measure(self, case: str) -> Sample:
        """One run of a case."""
        assert self._process.stdin is not None
        self._process.stdin.write(case + "\n")
        self._process.stdin.flush()
        return Sample.of(json.loads(self._answer()))

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed("the process of the decoding cases ended; its traceback is on standard error")
        return line


def on_farm(sockets: int, rounds: int, names: Iterable[str]) -> Measured:
    """Opens the farm, measures, closes it. Raises as `Farm`, and `Failed`."""
    missing = {name: why for name, why in programs.not_here().items() if name in set(names)}
    cases = [BY_NAME[name] for name in names if name not in missing]
    _say(f"{sockets:,} sockets: opening")
    with Farm(sockets) as farm:
        expected = 2 * farm.connections + farm.listeners
        times = {case.name: _times(case, rounds, sockets) for case in cases}
        with _broker(times) as broker:
            samples, missing = inside(
                farm.ns, _rounds, times, rounds, expected, missing, os.getpid(), broker, timeout=LONGEST_S
            )
    return Measured(sockets, expected, samples, missing)


@contextmanager
def _broker(names: Iterable[str]) -> Iterator[str]:
    """The address of a broker with a topic, in this network namespace; "" where no case needs one."""
    if "to-kafka" not in names:
        yield ""
        return
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.kafka_broker", TOPIC],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=programs.environment(),
        cwd=programs.ROOT,
        text=True,
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            raise Failed("no Kafka broker could be started; its traceback is on standard error")
        try:
            yield address
        finally:
            process.communicate()


def _times(case: Case, rounds: int, sockets: int) -> int:
    """In how many of the rounds a case takes part."""
    return rounds if case.most_rounds is None or sockets <= MANY else min(rounds, case.most_rounds)


def _rounds(
    times: dict[str, int], rounds: int, expected: int, missing: dict[str, str], home: int, broker: str
) -> tuple[dict[str, list[Sample | None]], dict[str, str]]:
    """In the namespace: samples by case, and why cases are missing."""
    samples: dict[str, list[Sample | None]] = {name: [] for name in times}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xtcp-bench-")))
        pcap = folder / "farm.pcap"
        programs.record(pcap)
        outside = programs.programs(folder, pcap)
        worker = stack.enter_context(Worker(pcap, home, broker, [name for name in times if BY_NAME[name].inside]))
        for number in range(rounds):
            _say(f"{expected:,} sockets: round {number + 1} of {rounds}")
            for name in reversed(times) if number % 2 else times:
                sample = None
                if number < times[name] and name not in missing:
                    try:
                        sample = worker.measure(name) if BY_NAME[name].inside else programs.measure(outside[name])
                    except TooSlow as error:
                        missing[name] = str(error)
                if sample is not None and sample.rows not in (None, expected):
                    raise Failed(f"{BY_NAME[name].title}: {sample.rows:,} of {expected:,} sockets")
                samples[name].append(sample)
    return samples, missing


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
