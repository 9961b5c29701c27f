"""Records a capture of this kernel with its witnesses: `make capture` (root), or `python pcaps/record.py`.

In a network namespace of its own it opens one of everything a TCP socket can be (tests/sockets/zoo.py), records a poll
by `xtcp once --record`, and gives the very same bytes to ss, which decodes stored netlink messages
(`TCPDIAG_FILE=FILE ss`). Writes pcaps/RELEASE-MACHINE/: zoo.pcapng, ss-v4.txt, ss-v6.txt, uname, missing.txt (what
this kernel could not show); and the row of pcaps/manifest.toml.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "agent"), str(ROOT / "replay")]

from tests.sockets import netns  # noqa: E402 - a script finds the repository first
from tests.sockets.zoo import open_zoo  # noqa: E402
from tests.sockets.zoo_keeping import Zoo  # noqa: E402
from xtcp_replay.reading.capture_file import CaptureFile  # noqa: E402

SS_OPTIONS = ("-tinmaeO", "--tos", "--inet-sockopt")


def main() -> None:
    """Records; replaces what an earlier run of the same kernel wrote."""
    uname = os.uname()
    folder = ROOT / "pcaps" / f"{uname.release}-{uname.machine}"
    folder.mkdir(exist_ok=True)
    capture = folder / "zoo.pcapng"
    with netns.namespace("zoo") as ns, netns.keep(ns, partial(open_zoo, True), Zoo.told) as (_, missing):
        command = [sys.executable, "-m", "xtcp", "once", "--format", "null", "--record", str(capture)]
        done = netns.run_in(ns, command, env={**os.environ, "PYTHONPATH": f"{ROOT}/agent"})
        print(done.stderr, end="")
        done.check_returncode()
    rows = write_ss_texts(folder, capture)
    (folder / "uname").write_text(f"{uname.sysname} {uname.release} {uname.version} {uname.machine}\n")
    (folder / "missing.txt").write_text("".join(f"{what}: {why}\n" for what, why in sorted(missing.items())))
    write_manifest_row(folder.name, capture, rows)


def write_ss_texts(folder: Path, capture: Path) -> int:
    """Gives each dump of `capture` to ss, one family a file; returns the rows of all."""
    rows = 0
    for chunk, family in zip(CaptureFile(str(capture)).chunks(), ("v4", "v6"), strict=True):
        with tempfile.NamedTemporaryFile() as raw:
            for start, end in zip(chunk.starts.tolist(), chunk.ends.tolist(), strict=True):
                raw.write(chunk.data[start:end].tobytes())
            raw.flush()
            environment = {**os.environ, "TCPDIAG_FILE": raw.name, "LC_ALL": "C.UTF-8"}
            said = subprocess.run(["ss", *SS_OPTIONS], env=environment, capture_output=True, text=True, check=True)
        (folder / f"ss-{family}.txt").write_text(said.stdout)
        rows += len(said.stdout.splitlines()) - 1
    return rows


def write_manifest_row(name: str, capture: Path, rows: int) -> None:
    """Puts the capture's row into pcaps/manifest.toml, in place of an older one."""
    manifest = ROOT / "pcaps" / "manifest.toml"
    version = subprocess.run(["ss", "-V"], capture_output=True, text=True, check=True).stdout.strip()
    row = f"""[[capture]]
file = "{name}/{capture.name}"
kernel = "{os.uname().release}"
architecture = "{os.uname().machine}"
byte_order = "{sys.byteorder}"
rows = {rows}
tool = "xtcp once --record; witness: {version}"
date = {dt.datetime.now(dt.UTC).date()}
sha256 = "{hashlib.sha256(capture.read_bytes()).hexdigest()}"
shows = "one of everything: states, congestion controls, queues, timers, options, MPTCP subflows, MD5 keys, marks"
"""
    head, *blocks = manifest.read_text().split("\n[[capture]]\n") if manifest.exists() else ["# see README.md\n"]
    kept = [block for block in blocks if f'file = "{name}/{capture.name}"' not in block]
    body = "".join(f"\n[[capture]]\n{block.strip()}\n" for block in kept)
    manifest.write_text(f"{head.rstrip()}\n{body}\n{row}")


if __name__ == "__main__":
    main()
