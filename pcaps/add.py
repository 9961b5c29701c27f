"""Adds a capture to the corpus: `make capture ADD=FILE`, or `python pcaps/add.py FILE --shows TEXT`.

Copies it into pcaps/RELEASE-ARCHITECTURE/ and writes beside it: its golden rows; what ss makes of each of its dumps
(`NAME.ss-N.txt`, compressed where NAME is; ss decodes stored messages: `TCPDIAG_FILE=FILE ss`); its twin in the other
byte order (twin/NAME); a side-car where options say what the file does not; and its rows of manifest.toml. Nothing is
left behind where a step fails. What is added is public: clean it first with `xtcp-replay scrub`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gzip
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).resolve().parent
ROOT: Final = CORPUS.parent
sys.path[:0] = [str(ROOT), str(ROOT / "agent"), str(ROOT / "replay")]

from xtcp.chunk import NATIVE, Chunk  # noqa: E402 - a script finds the repository first
from xtcp.cli.command import Parser, run_command, say  # noqa: E402
from xtcp.errors import DamagedInput, ExitCode, UsageError, XtcpError  # noqa: E402
from xtcp.schema.inet_diag import IPPROTO_TCP  # noqa: E402
from xtcp.sinks.capture_file import SECTION_HEADER, SHB_HARDWARE  # noqa: E402
from xtcp_replay.cli import main as replay  # noqa: E402
from xtcp_replay.judging.corpus import Row, read_manifest, write_manifest  # noqa: E402
from xtcp_replay.judging.golden import check_golden, write_golden  # noqa: E402
from xtcp_replay.judging.golden_file import ORDER_NAMES, TWIN, golden_path, is_golden_name, sha256_of  # noqa: E402
from xtcp_replay.reading.findings import Findings  # noqa: E402
from xtcp_replay.reading.opening import Told, open_bytes, open_source  # noqa: E402

LARGEST: Final = 1_500_000
SS_OPTIONS: Final = ("-tinmaeO", "--tos", "--inet-sockopt")
_EXAMPLES: Final = """\
examples:
  python pcaps/add.py odd.pcapng --shows 'a listener with a full queue'
  python pcaps/add.py odd.pcap --kernel-release 6.6.44 --architecture x86_64      what a pcap does not say of its host
"""
_OTHER: Final = {"little": "big", "big": "little"}


@dataclass(frozen=True)
class Facts:
    """What is known of a capture beside its bytes; empty where the file says it. `uname` is a line of `uname -srvm`."""

    shows: str = ""
    tool: str = ""
    kernel: str = ""
    architecture: str = ""
    byte_order: str = ""
    uname: str = ""
    damaged: bool = False


@dataclass(frozen=True)
class _Read:
    """What the file says of itself."""

    kernels: tuple[str, ...]
    byte_orders: tuple[str, ...]
    architecture: str
    time_ns: int | None
    damage: tuple[str, ...]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = Parser(
        prog="add.py",
        description="Adds a capture to the corpus, with witnesses, golden rows and twin.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("file", metavar="FILE", help="the capture, raw dump or archive")
    top.add_argument("--shows", metavar="TEXT", default="", help="what can be seen in it, for the manifest")
    top.add_argument("--tool", metavar="TEXT", default="", help="what it was made with")
    top.add_argument(
        "--kernel-release", metavar="RELEASE", default="", help="uname -r of its host, where it does not say"
    )
    top.add_argument("--architecture", metavar="NAME", default="", help="uname -m of its host, where it does not say")
    top.add_argument("--byte-order", choices=tuple(_OTHER), default="", help="where the messages do not say")
    top.add_argument("--uname", metavar="TEXT", default="", help="the line of uname -srvm, where it is known")
    top.add_argument("--damaged", action="store_true", help="it is damaged, and that is what it shows")
    top.set_defaults(handler=_add_named, verb="add")
    return top


def _add_named(args: argparse.Namespace) -> int:
    facts = Facts(
        args.shows, args.tool, args.kernel_release, args.architecture, args.byte_order, args.uname, args.damaged
    )
    row = add(Path(args.file), facts)
    say(f"added {row.file}: {row.rows:,} rows. Look at it, then commit: git add pcaps")
    return ExitCode.OK


def add(file: Path, facts: Facts, *, corpus: Path = CORPUS, again: bool = False) -> Row:
    """Adds `file` to `corpus`, in place of one of its name with `again`; returns its row.

    Raises `UsageError` for a file that is there already, too large, or does not say what must be known, `DamagedInput`
    for a damaged one that is not called so.
    """
    rows = read_manifest(corpus)
    sha256 = _may_be_added(file, rows)
    read = _read(file, facts)
    kernel = _the_one("kernel release", facts.kernel, read.kernels, "--kernel-release")
    order = _the_one("byte order", facts.byte_order, read.byte_orders, "--byte-order")
    machine = _the_one("architecture", facts.architecture, (read.architecture,), "--architecture")
    if read.damage and not facts.damaged:
        raise DamagedInput(
            f"{file} is damaged: {read.damage[0]}", "", "Add it as that with --damaged, or capture again."
        )
    folder = corpus / f"{kernel}-{machine}"
    name = f"{folder.name}/{file.name}"
    if not again and (folder / file.name).exists():
        raise UsageError(f"{name} is there already, and is another file.", "", "Give this one another name.")
    with tempfile.TemporaryDirectory(dir=corpus, prefix=".") as work:
        made = Path(work) / folder.name
        (made / TWIN).mkdir(parents=True)
        capture = made / file.name
        shutil.copyfile(file, capture)
        _write_side_car(file, capture, facts)
        if facts.uname:
            (made / "uname").write_text(facts.uname + "\n")
        written = write_golden(capture)
        version = _write_witnesses(capture, order)
        golden = f"{folder.name}/{written.path.name}"
        date = dt.datetime.fromtimestamp((read.time_ns or 0) / 1e9, dt.UTC).date()
        row = Row(
            file=name, kernel=kernel, architecture=machine, byte_order=order, rows=written.summary.tally.rows,
            tool="; witness: ".join(filter(None, (facts.tool or "unknown", version))), date=date, sha256=sha256,
            shows=facts.shows or "see its rows", golden=golden, damaged=facts.damaged,
        )  # fmt: skip
        added = [row]
        if not facts.damaged:
            added.append(_write_twin(capture, row))
        _remove(folder, file.name)
        _move(made, folder)
    kept = [r for r in rows if r.file not in {name, f"{folder.name}/{TWIN}/{file.name}"}]
    write_manifest(corpus, [*kept, *added])
    return row


def _may_be_added(file: Path, rows: Sequence[Row]) -> str:
    """The hash of a file that may be added. Raises `UsageError`."""
    sha256 = sha256_of(file)
    size = file.stat().st_size
    if size > LARGEST:
        raise UsageError(
            f"{file} has {size:,} bytes; a capture of the corpus has {LARGEST:,} at most.",
            "Every clone of the repository carries it.",
            "Compress it, or cut it: editcap -r IN OUT 1-200",
        )
    if is_golden_name(file) or file.name.startswith("."):
        raise UsageError(f"{file.name} is no name for a capture.", "", "Give it another name.")
    same = next((row for row in rows if row.sha256 == sha256), None)
    if same is not None:
        raise UsageError(f"{file} is in the corpus already, as {same.file}.", "", "")
    return sha256


def _read(file: Path, facts: Facts) -> _Read:
    orders = {name: order for order, name in ORDER_NAMES.items()}
    source = open_source(str(file), Told(order=orders.get(facts.byte_order), release=facts.kernel))
    kernels: dict[str, None] = {}
    byte_orders: dict[str, None] = {}
    time_ns = None
    for chunk in source.chunks():
        kernels |= dict.fromkeys(filter(None, (chunk.context.release,)))
        byte_orders[ORDER_NAMES[chunk.context.order]] = None
        time_ns = time_ns or chunk.context.timestamp_ns
    return _Read(tuple(kernels), tuple(byte_orders), _architecture(file), time_ns, tuple(source.damage))


def _architecture(file: Path) -> str:
    """What a pcapng's first section says of its machine (`shb_hardware`), nothing where it does not."""
    with open_bytes(str(file), Told(), Findings([])) as source:
        head = source.read(24)
        if len(head) < 24 or head[:4] != struct.pack(">I", SECTION_HEADER):
            return ""
        order = "<" if head[8] == 0x4D else ">"
        (length,) = struct.unpack_from(order + "I", head, 4)
        options = source.read(min(length, 1 << 16) - 28)
    at = 0
    while at + 4 <= len(options):
        code, size = struct.unpack_from(order + "HH", options, at)
        if code == SHB_HARDWARE:
            return options[at + 4 : at + 4 + size].rstrip(b"\0").decode("utf-8", "replace")
        at += 4 + size + -size % 4
    return ""


def _the_one(what: str, told: str, said: Sequence[str], option: str) -> str:
    found = told or (said[0] if len(said) == 1 else "")
    if not found or set(found) & set("/\0\n"):
        saying = f"{len(said)} of them" if len(said) > 1 else "none"
        raise UsageError(f"the {what} of the capture must be known; the file says {saying}.", "", f"Give {option}.")
    return found


def _write_side_car(file: Path, capture: Path, facts: Facts) -> None:
    """What the side-car of `file` says, and what the options say otherwise than the file."""
    beside = file.with_name(file.name + ".toml")
    said: dict[str, str] = tomllib.loads(beside.read_text()) if beside.exists() else {}
    if facts.byte_order:
        said["byte_order"] = facts.byte_order
    if facts.kernel and _read(file, Facts(byte_order=facts.byte_order)).kernels != (facts.kernel,):
        said["kernel_release"] = facts.kernel
    if said:
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items())
        capture.with_name(capture.name + ".toml").write_text(text)


def _write_witnesses(capture: Path, order: str) -> str:
    """Gives each dump to ss, where there is one and it can read this byte order; returns its version."""
    if order != ORDER_NAMES[NATIVE]:
        say(f"note: ss reads this host's byte order only; {capture.name} has no witness but its twin's golden rows")
        return ""
    try:
        version = subprocess.run(["ss", "-V"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        say("note: there is no ss here, so there is no witness (Debian: apt-get install iproute2)")
        return ""
    for number, messages in _dumps(capture):
        with tempfile.NamedTemporaryFile() as raw:
            raw.write(messages)
            raw.flush()
            environment = {**os.environ, "TCPDIAG_FILE": raw.name, "LC_ALL": "C.UTF-8"}
            said = subprocess.run(["ss", *SS_OPTIONS], env=environment, capture_output=True, text=True, check=False)
        if said.returncode:
            say(f"note: ss cannot read dump {number}: {said.stderr.strip()}")
        else:
            _write_text(capture.with_name(f"{capture.name}.ss-{number}.txt"), said.stdout, capture.suffix == ".gz")
    return version


def _write_text(path: Path, text: str, packed: bool) -> None:
    """The text, with `packed` in a gzip without name and time: always the same."""
    if packed:
        with path.with_name(f"{path.name}.gz").open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
            file.write(text.encode())
    else:
        path.write_text(text)


def _dumps(capture: Path) -> Iterator[tuple[int, bytes]]:
    """Number and messages of each dump of TCP; ss takes all that it reads of a file for that."""
    current, messages = 0, b""
    for chunk in open_source(str(capture)).chunks():
        if chunk.context.protocol != IPPROTO_TCP:
            continue
        number = chunk.context.dump or 0
        if number != current and messages:
            yield current, messages
            messages = b""
        current = number
        messages += _messages(chunk)
    if messages:
        yield current, messages


def _messages(chunk: Chunk) -> bytes:
    spans = zip(chunk.starts.tolist(), chunk.ends.tolist(), strict=True)
    return b"".join(chunk.data[start:end].tobytes() for start, end in spans)


def _write_twin(capture: Path, row: Row) -> Row:
    """Makes the twin and holds it to the golden rows; returns its row of the manifest."""
    twin = capture.parent / TWIN / capture.name
    order = _OTHER[row.byte_order]
    code = replay.run(["convert", str(capture), str(twin), "--to-order", order, "--quiet"])
    if code:
        raise UsageError(f"{capture.name}: its twin could not be made.", "", "See what xtcp-replay convert says above.")
    verdict = check_golden(twin)
    if verdict.count:
        raise XtcpError(
            f"the twin of {capture.name} does not give the same rows: {verdict.differences[0]}.",
            "Usually a member is missing in the table of host-order members.",
            "This is a fault of xtcp: please report it with the capture.",
        )
    return replace(
        row, file=f"{row.file.rpartition('/')[0]}/{TWIN}/{capture.name}", byte_order=order, made_from=row.file,
        tool=f"xtcp-replay convert --to-order {order}", sha256=sha256_of(twin),
    )  # fmt: skip


def _remove(folder: Path, name: str) -> None:
    """Removes what was there of an earlier capture of this name."""
    for path in (*folder.glob(f"{name}.ss-*.txt*"), folder / (name + ".toml"), folder / TWIN / (name + ".toml")):
        path.unlink(missing_ok=True)
    golden_path(folder / name).unlink(missing_ok=True)


def _move(made: Path, folder: Path) -> None:
    for path in sorted(made.rglob("*")):
        target = folder / path.relative_to(made)
        if path.is_dir():
            if any(path.iterdir()):
                target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)


if __name__ == "__main__":
    sys.exit(run_command(parser, sys.argv[1:]))
