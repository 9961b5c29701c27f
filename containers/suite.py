"""The suite on another architecture: `python -m containers.suite s390x`, from the root of the repository.

Builds what is missing (userland, image), lets the kernel run that architecture's programs, runs pytest in two
containers that share the files of the suite, and compares what came of it with the tests that there are natively.
Prints pytest's output as it comes and a table; `containers.verdict` says what is good. With `-- COMMAND ARGUMENTS…`
that command runs in one container instead, and its exit code is this program's.

Exit codes: 0 good, 1 not, 2 wrong usage, 77 not root, 78 something is not installed, 124 the limit was reached.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from containers import image, running
from containers.binfmt import programs_of
from containers.engine import engine
from containers.sharing import SECONDS
from containers.tree import copied
from containers.verdict import Outcome, judge, listed_in, outcomes_of, table
from qemu import cache
from qemu.architectures import Architecture, architecture
from qemu.userland import userland
from xtcp.errors import ExitCode, UsageError, XtcpError

ROOT: Final = Path(__file__).resolve().parent.parent
SUITES: Final = {"s390x": "bookworm", "ppc64": "bookworm"}
LIMIT: Final = 1500.0
# What needs another kernel than this one, far sides without a build there, compilers for this machine, quiet, or time.
LEFT_OUT: Final = ("live", "root", "kafka", "clickhouse", "abi", "external", "bench", "slow")
# What prepares and runs guests and containers: this machine's business.
LEFT_HERE: Final = ("tests/containers", "tests/qemu")
SLOWNESS: Final = "20"  # of an emulated processor
PROCESSES: Final = 3  # on two processors: tests that wait leave room


def main(arguments: Sequence[str]) -> int:
    """The command."""
    options = _options(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _ended)
    try:
        target = architecture(options.architecture)
        if target.name not in SUITES:
            raise UsageError(f"There is no image of {target.name}.", "", f"These there are: {', '.join(SUITES)}.")
        if options.prepare:
            userland(target, SUITES[target.name])
            return ExitCode.OK
        native = outcomes_of([options.native]) if options.native else []
        with _container(target) as run:
            if options.command:
                return run([running.Job(options.command, _environment())], [], options.limit)[0]
            return _suite(target, run, options.limit, native)
    except XtcpError as error:
        print(f"containers.suite: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="containers.suite",
        usage="containers.suite [options] architecture [-- COMMAND ARGUMENTS…]",
        description="The suite on another architecture, or a command there.",
        allow_abbrev=False,
    )
    parser.add_argument("architecture", help=" or ".join(SUITES))
    parser.add_argument("--native", type=Path, metavar="FILE", help="results of a native run (XTCP_RESULTS)")
    parser.add_argument("--limit", type=float, default=LIMIT, metavar="SECONDS", help=f"for all tests ({LIMIT:.0f})")
    parser.add_argument("--prepare", action="store_true", help="only build its userland, if need be")
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return parser.parse_args(arguments[:end], argparse.Namespace(command=list(arguments[end + 1 :])))


def _ended(number: int, _frame: object) -> NoReturn:
    """A signal that ends this program lets it put everything back first."""
    sys.exit(128 + number)


Run = Callable[[Sequence[running.Job], Sequence[running.Folder], float], list[int]]


@contextmanager
def _container(target: Architecture) -> Iterator[Run]:
    """Runs commands in containers of that architecture, the repository at /xtcp."""
    tar = userland(target, SUITES[target.name])
    # Whose containers read the copy of the repository has it alone.
    with cache.alone(f"tree-{target.name}"), engine() as client, programs_of(target):
        tag = image.image(client, target.name, tar)
        # Compiling takes minutes under emulation: what was compiled in a run is there in the next, also of a new clone.
        compiled = cache.built(f"compiled-{target.name}", tag, partial(_seed, tar))
        tree = copied(ROOT, cache.folder() / f"tree-{target.name}")
        shared = [running.Folder(tree, "/xtcp"), running.Folder(compiled, "/pycache", read_only=False)]

        def run(jobs: Sequence[running.Job], folders: Sequence[running.Folder], limit: float) -> list[int]:
            return running.run(client, tag, jobs, [*shared, *folders], limit)

        yield run


def _seed(tar: Path, folder: Path) -> None:
    """Puts the compiled files of a userland where Python looks for all of them, ours included, with a prefix given."""
    with tarfile.open(tar) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(".pyc") and (content := archive.extractfile(member)):
                path = folder / member.name.replace("/__pycache__/", "/").removeprefix("./")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())


def _environment(**more: str) -> dict[str, str]:
    return {
        "PYTHONPATH": "/xtcp/agent:/xtcp/replay",  # of the commands that tests start
        "PYTHONPYCACHEPREFIX": "/pycache",
        "HYPOTHESIS_STORAGE_DIRECTORY": "/pycache/hypothesis",  # its table of all characters
        "XTCP_SLOWNESS": SLOWNESS,
        **more,
    }


def _suite(target: Architecture, run: Run, limit: float, native: Sequence[Outcome]) -> int:
    """The whole suite."""
    begin = time.monotonic()
    out = cache.folder() / "results" / target.name
    last = _durations(out, native)
    shutil.rmtree(out, ignore_errors=True)
    (out / "sharing").mkdir(parents=True)
    (out / "sharing" / SECONDS).write_text(json.dumps(last))
    with _native_listing(out / "native.jsonl"):
        # The commands that tests start write no compiled files: what they import is compiled before.
        run(
            [running.Job(["python3", "-m", "compileall", "-q", "/xtcp/agent", "/xtcp/replay"], _environment())],
            [],
            limit,
        )
        jobs = [
            running.Job(
                _pytest("python3", "--durations=15", "-p", "containers.sharing"),
                _environment(XTCP_RESULTS=f"/out/results-{number}.jsonl", XTCP_SHARING="/out/sharing"),
            )
            for number in range(PROCESSES)
        ]
        codes = run(jobs, [running.Folder(out, "/out", read_only=False)], limit - (time.monotonic() - begin))
    verdict = judge(target.name, listed_in(out / "native.jsonl"), outcomes_of(_results(out)), LEFT_OUT)
    verdict.faults += [f"pytest ended with {code}" for code in codes if code not in (0, 1)]
    print(table(verdict, native))
    print(f"{time.monotonic() - begin:.0f} s; results in {out}", flush=True)
    if running.STOPPED in codes:
        return running.STOPPED
    return ExitCode.OK if verdict.good else ExitCode.FINDING


def _results(out: Path) -> list[Path]:
    return sorted(out.glob("results-*.jsonl"))


def _durations(out: Path, native: Sequence[Outcome]) -> dict[str, float]:
    """How long each file took, or will take: as in the last run that had it, else as natively, but slower."""
    natively = {file: seconds * float(SLOWNESS) for file, seconds in _seconds(native).items()}
    try:
        before = json.loads((out / "sharing" / SECONDS).read_text())
    except (OSError, ValueError):
        before = {}
    return {**natively, **before, **_seconds(outcomes_of(_results(out)))}


def _seconds(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """How long each file took."""
    taken: dict[str, float] = {}
    for outcome in outcomes:
        file = outcome.test.partition("::")[0]
        taken[file] = taken.get(file, 0.0) + outcome.seconds
    return taken


def _pytest(python: str, *options: str) -> list[str]:
    """pytest, without what is left out."""
    expression = " and ".join(f"not {marker}" for marker in LEFT_OUT)
    here = [word for folder in LEFT_HERE for word in ("--deselect", folder)]
    plain = ["-q", "--no-header", "-rfE", "-p", "no:cacheprovider"]
    plain += [
        "-o",
        "console_output_style=classic",
        "-o",
        "faulthandler_timeout=0",
    ]
    return [python, "-m", "pytest", *plain, "-m", expression, *here, *options]


@contextmanager
def _native_listing(file: Path) -> Iterator[None]:
    """At its end that file has the tests that there are natively; collected meanwhile."""
    command = _pytest(sys.executable, "--collect-only", "-qq", "-p", "containers.listing")
    collecting = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "XTCP_LISTING": str(file)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield
        said, _ = collecting.communicate()
    finally:
        collecting.kill()
        collecting.wait()
    if collecting.returncode != 0:
        raise UsageError("pytest could not collect the tests natively:\n" + said, "", "Mend that first: make test.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
