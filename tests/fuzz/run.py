"""Runs all fuzz targets for some minutes in total, each in a process of its own.

    python tests/fuzz/run.py --minutes 1 [--target decoder]

With Atheris the search is guided by coverage and what it learned is kept in the cache for the next time. Without it
(there are wheels for CPython 3.11 to 3.13 on x86-64 only) the same targets take the corpus and random mutations of it.
A crashing input is kept in the current folder as crash-…; the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import FrameType

ROOT = Path(__file__).parents[2]
PATHS = (str(ROOT), str(ROOT / "agent"), str(ROOT / "replay"))
MEMORY_MB = 512
SECONDS_AN_INPUT = 5
LONGEST_INPUT = 8192


def learned(target: str) -> Path:
    """Where inputs that reached something new are kept between runs."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "xtcp" / "fuzz" / target
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def guided(name: str, seconds: int) -> None:
    """Atheris' search; ends the process."""
    import atheris

    with atheris.instrument_imports(include=["xtcp", "xtcp_replay"]):
        from tests.fuzz import targets

        if name in targets.REPLAY:
            import xtcp_replay.layers.blocks
            import xtcp_replay.reading.opening  # noqa: F401
    options = [
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-timeout={SECONDS_AN_INPUT}",
        f"-max_len={LONGEST_INPUT}",
        f"-artifact_prefix={Path.cwd()}/",
        "-verbosity=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(learned(name)), str(targets.CORPUS / name)], targets.TARGETS[name])
    atheris.Fuzz()


def mutated(data: bytes, random: Random) -> bytes:
    """`data` with a few bytes changed, lost, doubled or replaced by numbers that lengths like."""
    out = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(out) + 1)
        match random.randrange(5):
            case 0:
                out[at : at + 1] = random.randbytes(1)
            case 1:
                at &= ~3
                out[at : at + 2] = random.choice((b"\0\0", b"\4\0", b"\0\4", b"\xff\xff", random.randbytes(2)))
            case 2:
                del out[at : at + random.randint(1, 16)]
            case 3:
                out[at:at] = out[at : at + random.randint(1, 64)]
            case _:
                out[at : at + 4] = random.choice((b"\0\0\0\x10", b"\x10\0\0\0", b"\xff" * 4, random.randbytes(4)))
    return bytes(out[:LONGEST_INPUT])


def plain(name: str, seconds: float, seed: int | None = None) -> int:
    """The corpus, and random mutations of it for `seconds`, one at least; returns how many inputs it took.

    Raises what the target raises, after keeping the input; `TimeoutError` where one takes too long.
    """
    from tests.fuzz import targets

    target = targets.TARGETS[name]
    inputs = [path.read_bytes() for path in targets.corpus_of(name)]
    random = Random(seed)
    end, done = 0.0, 0
    with _alarm():
        while done <= len(inputs) or time.monotonic() < end:
            if done == len(inputs):
                end = time.monotonic() + seconds
            data = inputs[done] if done < len(inputs) else mutated(random.choice(inputs), random)
            signal.alarm(SECONDS_AN_INPUT)
            try:
                target(data)
                if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > MEMORY_MB << 10:
                    raise MemoryError(f"more than {MEMORY_MB} MB")
            except BaseException:
                kept = Path(f"crash-{name}-{hashlib.sha256(data).hexdigest()[:16]}")
                kept.write_bytes(data)
                print(f"{name}: kept {kept.resolve()}", file=sys.stderr)
                raise
            done += 1
    return done


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {SECONDS_AN_INPUT} s")

    before = signal.signal(signal.SIGALRM, late)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def child(name: str, seconds: int) -> None:
    """One target in this process."""
    if importlib.util.find_spec("atheris"):
        guided(name, seconds)
    else:
        print(f"Done {plain(name, seconds)} runs in {seconds} second(s), without Atheris")


def run(names: list[str], minutes: float) -> int:
    """Each target in a process of its own; 1 if one failed."""
    seconds = max(1, round(minutes * 60 / len(names)))
    if not importlib.util.find_spec("atheris"):
        print("Atheris is not installed: random mutations of the corpus, not guided by coverage.")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*PATHS, os.environ.get("PYTHONPATH", "")])}
    failed = 0
    for name in names:
        command = [sys.executable, __file__, "--child", name, "--seconds", str(seconds)]
        with tempfile.TemporaryFile("w+", errors="replace") as log:
            code = subprocess.run(command, env=environment, stdout=log, stderr=log, check=False).returncode
            log.seek(0)
            text = log.read()
        runs = re.findall(r"Done (\d+) runs", text)
        if code or not runs:
            failed += 1
            print(f"{name}: FAILED with exit code {code}\n{text[-4000:]}")
        else:
            print(f"{name}: {int(runs[-1]):,} executions in {seconds} s")
    return 1 if failed else 0


def main() -> int:
    """The command."""
    sys.path[:0] = [path for path in PATHS if path not in sys.path]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="for all targets together (default: 1)")
    parser.add_argument("--target", help="only this one")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=int, default=10, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.seconds)
        return 0
    from tests.fuzz.targets import TARGETS

    if args.target and args.target not in TARGETS:
        parser.error(f"there is no target {args.target}; there are {', '.join(TARGETS)}")
    return run([args.target] if args.target else list(TARGETS), args.minutes)


if __name__ == "__main__":
    sys.exit(main())
