"""What is done on each kernel of the matrix: `python -m qemu.examine OUT`, as root, on the kernel itself.

Records its captures with their witnesses into OUT/corpus (pcaps/record.py), has every witness that is there verify them
in this machine's byte order, looks whether `xtcp doctor` is content, and writes what it found to OUT/kernel.json, the
members of a `KernelRow`. Exit code 1 where a witness disagrees.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "agent"), str(ROOT / "replay")]

import numpy as np  # noqa: E402 - run by its path, it finds the repository first

from pcaps.record import record  # noqa: E402
from qemu.kernel_table import FAILED, VERIFIED, KernelRow  # noqa: E402
from xtcp.cli.command import Parser, run_command, say  # noqa: E402
from xtcp.errors import ExitCode, Unavailable  # noqa: E402
from xtcp_replay.judging.corpus import Row, read_manifest  # noqa: E402
from xtcp_replay.judging.golden_file import GoldenFile  # noqa: E402
from xtcp_replay.judging.verify import Verdict, Witnesses, verify  # noqa: E402
from xtcp_replay.reading.opening import open_source  # noqa: E402

CORPUS: Final = "corpus"
RESULT: Final = "kernel.json"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = Parser(prog="examine.py", description="Records captures of this kernel and verifies them.")
    top.add_argument("out", metavar="OUT", type=Path, help="a folder for the captures and what came of them")
    top.set_defaults(handler=lambda args: examine(args.out), verb="examine")
    return top


def examine(out: Path) -> int:
    """Records, verifies, writes; returns an exit code. Raises `XtcpError` where nothing can be recorded."""
    corpus = out / CORPUS
    recorded = record(corpus)
    rows = [row for row in read_manifest(corpus) if row.file in recorded.files]
    verdicts = verified(corpus, rows)
    _doctor()
    found = summary(corpus, rows, verdicts)
    said = {**dataclasses.asdict(found), "date": found.date.isoformat()}
    (out / RESULT).write_text(json.dumps(said, indent=1) + "\n")
    say(f"{found.release}: {found.sockets:,} sockets, {found.values:,} values compared, {found.ss_values:,} with ss")
    return ExitCode.FINDING if found.differences else ExitCode.OK


def verified(corpus: Path, rows: Sequence[Row]) -> list[Verdict]:
    """What all witnesses here say of each capture; disagreements are told. Raises `Unavailable` where one crashes."""
    witnesses = Witnesses()
    verdicts = []
    for row in rows:
        verdict = verify(open_source(str(corpus / row.file)), witnesses)
        for account in verdict.accounts:
            for found in account.found:
                say(f"{row.file}: {account.witness} {account.version}: {found}")
            if account.failure:
                raise Unavailable(f"{row.file}: {account.witness} failed: {account.failure}")
            counts = f"{account.sockets:,} sockets, {account.values:,} values, {account.count:,} disagreements"
            asked = "not installed" if account.missing else f"{account.version} {counts}".strip()
            say(f"{row.file}: {account.witness} {asked}")
        verdicts.append(verdict)
    return verdicts


def summary(corpus: Path, rows: Sequence[Row], verdicts: Sequence[Verdict]) -> KernelRow:
    """The row of this kernel."""
    mask, lengths, controls = 0, set[int](), set[str]()
    for row in rows:
        golden = GoldenFile(corpus / row.golden)
        for number, line in golden.rows():
            one: dict[str, Any] = golden.parsed(number, line)
            mask |= one["attributes"]
            controls |= {one["cong"]} if "cong" in one else set()
            lengths |= {one["tcp_info_len"]} if "tcpi_state" in one else set()
    accounts = [account for verdict in verdicts for account in verdict.accounts]
    ss = [account for account in accounts if account.witness == "ss" and not account.missing]
    differences = sum(verdict.disagreements for verdict in verdicts)
    first = rows[0]
    return KernelRow(
        guest="",
        outcome=FAILED if differences else VERIFIED,
        date=dt.datetime.now(dt.UTC).date(),
        why=f"{differences} differences" if differences else "",
        folder=first.file.partition("/")[0],
        release=first.kernel,
        machine=os.uname().machine,
        byte_order=sys.byteorder,
        python=platform.python_version(),
        numpy=np.__version__,
        ss=ss[0].version if ss else "",
        sockets=sum(row.rows for row in rows),
        attributes=tuple(number for number in range(64) if mask >> number & 1),
        tcp_info=tuple(sorted(lengths)),
        congestion=tuple(sorted(controls)),
        values=sum(verdict.values for verdict in verdicts),
        ss_values=sum(account.values for account in ss),
        differences=differences,
    )


def _doctor() -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/agent:{ROOT}/replay"}
    done = subprocess.run([sys.executable, "-m", "xtcp", "doctor"], env=environment, check=False)
    if done.returncode:
        raise Unavailable(f"xtcp doctor ended with {done.returncode}.")


if __name__ == "__main__":
    sys.exit(run_command(parser, sys.argv[1:]))
