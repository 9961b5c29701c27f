"""The kernel matrix: `python -m qemu.kernels [GUEST…]` (`make kernels`).

Boots each guest (qemu.guests; all of them, or those named; `here` is the kernel that runs this) by qemu.boot, has
qemu.examine record captures and verify them there, verifies them again here, and puts them into pcaps/ in the place of
that guest's earlier ones. What was found goes to pcaps/kernels.toml and from there into docs/fidelity.md.

A guest that fails, or whose captures do not hold here, leaves everything in pcaps/ as it was but its row, which says
FAILED and why; the others go on. Exit code 1 where one failed.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from qemu.examine import CORPUS, RESULT, verified
from qemu.guests import GUESTS, guest
from qemu.kernel_table import FAILED, NAME, KernelRow, inserted, read, replaced, row_of, write
from xtcp.cli.command import Parser, run_command, say
from xtcp.errors import ExitCode, Unavailable, XtcpError
from xtcp_replay.judging.corpus import check_corpus, read_manifest, write_manifest

ROOT: Final = Path(__file__).resolve().parent.parent
PCAPS: Final = ROOT / "pcaps"
PAGE: Final = ROOT / "docs" / "fidelity.md"
HERE: Final = "here"
LIMIT_S: Final = 900
_NAMES: Final = [known.name for known in GUESTS]
_LAST_LINES: Final = 15
_EXAMPLES: Final = """\
examples:
  python -m qemu.kernels                              all guests, one after the other
  python -m qemu.kernels s390x:forky x86-64:trixie    these
  python -m qemu.kernels here                         the kernel that runs this, as root, without qemu
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = Parser(
        prog="qemu.kernels",
        description="Boots kernels, records captures with witnesses in each, verifies them, keeps them in pcaps/.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    names = f"{', '.join(_NAMES)}; {HERE} (default: all but {HERE})"
    top.add_argument("guests", metavar="GUEST", nargs="*", help=names)
    top.add_argument("--limit", metavar="SECONDS", type=int, default=LIMIT_S, help=f"for each (default: {LIMIT_S})")
    top.set_defaults(handler=_run, verb="kernels")
    return top


def _run(args: argparse.Namespace) -> int:
    names = list(dict.fromkeys(args.guests)) or _NAMES
    for name in names:
        if name != HERE:
            guest(name)
    failed = []
    for name in names:
        started = time.monotonic()
        say(f"--- {name}")
        row = examined(name, args.limit, PCAPS)
        known = [other for other in read(PCAPS / NAME) if other.guest in _NAMES or other.guest.startswith(HERE)]
        write(PCAPS / NAME, replaced(known, row))
        PAGE.write_text(inserted(PAGE.read_text(encoding="utf-8"), read(PCAPS / NAME)), encoding="utf-8")
        say(f"--- {name}: {row.outcome} {row.why or row.release} in {time.monotonic() - started:.0f} s")
        failed += [name] if row.outcome == FAILED else []
    if failed:
        say(f"failed: {', '.join(failed)}")
    return ExitCode.FINDING if failed else ExitCode.OK


def examined(name: str, limit_s: int, pcaps: Path) -> KernelRow:
    """Runs one guest, and merges its captures into `pcaps` where everything holds; returns its row."""
    label = f"{HERE}:{'.'.join(os.uname().release.split('.')[:2])}" if name == HERE else name
    before = next((row for row in read(pcaps / NAME) if row.guest == label), None)
    with tempfile.TemporaryDirectory(prefix="xtcp-kernel-") as folder:
        out = Path(folder)
        try:
            code = _examine(name, limit_s, out)
            row = _found(label, out, code)
            if row.outcome != FAILED:
                row = _judged(row, out / CORPUS)
        except XtcpError as error:
            say(str(error))
            row = KernelRow(label, FAILED, dt.datetime.now(dt.UTC).date(), why=error.what)
        if row.outcome == FAILED:
            return dataclasses.replace(row, folder=before.folder if before else "")
        merge(out / CORPUS, pcaps, row.folder)
    others = {other.folder for other in read(pcaps / NAME) if other.guest != label}
    if before is not None and before.folder not in {row.folder, "", *others}:
        remove(pcaps, before.folder)
        say(f"removed {before.folder}: {name} has another kernel now")
    return row


def _examine(name: str, limit_s: int, out: Path) -> int:
    """Runs the examination in the guest, or here; shows its output as it comes. Raises `Unavailable` as it fails."""
    if name == HERE:
        command = [sys.executable, "-m", "qemu.examine", str(out)]
    else:
        job = ["python3", "-m", "qemu.examine", "/out"]
        command = [sys.executable, "-m", "qemu.boot", name, "--out", str(out), "--limit", str(limit_s), "--", *job]
    last: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        with _killed_at_the_end(process):
            for raw in process.stdout:
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                last.append(line)
                say(line)
    code = process.returncode
    if code not in {ExitCode.OK, ExitCode.FINDING}:
        told = [line for line in last if line.strip()] or ["it said nothing"]
        said = next((line for line in told if line.startswith(("qemu.boot: ", "examine.py: "))), told[-1])
        why = {124: f"not done within {limit_s} s", 125: "the guest itself failed"}.get(
            code, f"exit code {code}: {said}"
        )
        raise Unavailable(why, "Its last lines:\n" + "\n".join(last), f"Look closer: python -m qemu.boot {name} -- sh")
    return code


@contextlib.contextmanager
def _killed_at_the_end(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        process.terminate()
        raise


def _found(name: str, out: Path, code: int) -> KernelRow:
    """What the guest says it found. Raises `Unavailable` where it says nothing."""
    try:
        said = json.loads((out / RESULT).read_text())
        row = row_of({**said, "guest": name, "date": dt.date.fromisoformat(said["date"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Unavailable(f"no result came out of the guest: {error}", "", "") from error
    if (code == ExitCode.OK) == (row.outcome == FAILED):
        raise Unavailable(f"its exit code is {code}, and its result says {row.outcome}")
    return row


def _judged(row: KernelRow, corpus: Path) -> KernelRow:
    """The row after everything was verified here as well: manifest, golden rows, twins, and what witnesses here say."""
    problems = []
    for report in check_corpus(corpus):
        if report.code:
            differences = report.verdict.count if report.verdict else 0
            problems.append(
                f"{report.path.name}: {'; '.join(report.problems) or f'{differences} golden values differ'}"
            )
    rows = [captured for captured in read_manifest(corpus) if not captured.made_from]
    differences = sum(verdict.disagreements for verdict in verified(corpus, rows))
    if {captured.file.partition("/")[0] for captured in rows} != {row.folder}:
        problems.append("its captures are not in the folder that its result names")
    if not problems and not differences:
        return row
    for problem in problems:
        say(problem)
    why = problems[0] if problems else f"{differences} differences on the host"
    return dataclasses.replace(row, outcome=FAILED, why=why, differences=row.differences + differences)


# --- the corpus ----------------------------------------------------------------------------------------------------


def merge(corpus: Path, pcaps: Path, folder: str) -> None:
    """Puts `folder` of `corpus`, with its rows of the manifest, into `pcaps` in the place of one of that name."""
    came = [row for row in read_manifest(corpus) if row.file.startswith(f"{folder}/")]
    waiting = pcaps / f".{folder}"
    shutil.rmtree(waiting, ignore_errors=True)
    shutil.copytree(corpus / folder, waiting)
    remove(pcaps, folder)
    waiting.rename(pcaps / folder)
    write_manifest(pcaps, [*read_manifest(pcaps), *came])


def remove(pcaps: Path, folder: str) -> None:
    """Takes a folder and its rows of the manifest out of `pcaps`."""
    write_manifest(pcaps, [row for row in read_manifest(pcaps) if not row.file.startswith(f"{folder}/")])
    shutil.rmtree(pcaps / folder, ignore_errors=True)


def main(argv: Sequence[str]) -> int:
    """Runs with these arguments; returns the exit code."""
    os.chdir(ROOT)
    return run_command(parser, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
