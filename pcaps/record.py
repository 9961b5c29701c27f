"""Records a capture of this kernel with its witnesses: `make capture` (root), or `python pcaps/record.py`.

In a network namespace of its own it opens one of everything a TCP socket can be (tests/sockets/zoo.py), records a poll
by `xtcp once --record`, and adds it to the corpus as pcaps/RELEASE-MACHINE/zoo.pcapng (see add.py); beside it
missing.txt, what this kernel could not show.
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "agent"), str(ROOT / "replay")]

from pcaps.add import CORPUS, Facts, add  # noqa: E402 - a script finds the repository first
from tests.sockets import netns  # noqa: E402
from tests.sockets.zoo import open_zoo  # noqa: E402
from tests.sockets.zoo_keeping import Zoo  # noqa: E402

SHOWS = "one of everything: states, congestion controls, queues, timers, options, MPTCP subflows, MD5 keys, marks"


def main(corpus: Path = CORPUS) -> None:
    """Records; replaces what an earlier run of the same kernel wrote."""
    uname = os.uname()
    with tempfile.TemporaryDirectory() as work:
        capture = Path(work) / "zoo.pcapng"
        with netns.namespace("zoo") as ns, netns.keep(ns, partial(open_zoo, True), Zoo.told) as (_, missing):
            command = [sys.executable, "-m", "xtcp", "once", "--format", "null", "--record", str(capture)]
            done = netns.run_in(ns, command, env={**os.environ, "PYTHONPATH": f"{ROOT}/agent"})
            print(done.stderr, end="")
            done.check_returncode()
        facts = Facts(
            shows=SHOWS,
            tool="xtcp once --record",
            architecture=uname.machine,
            uname=f"{uname.sysname} {uname.release} {uname.version} {uname.machine}",
        )
        row = add(capture, facts, corpus=corpus, again=True)
    told = "".join(f"{what}: {why}\n" for what, why in sorted(missing.items()))
    ((corpus / row.file).parent / "missing.txt").write_text(told)
    print(f"{row.file}: {row.rows} rows")


if __name__ == "__main__":
    main()
