"""`xtcp-replay send`: plays captures into sinks, and says what became of every row."""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from xtcp.cli.command import say
from xtcp.cli.delivered import faults_of
from xtcp.cli.output import distinct_files, warn_of
from xtcp.errors import DamagedInput, ExitCode, UsageError
from xtcp.sinks.destination import parse
from xtcp.sinks.schemes import overview
from xtcp_replay.cli.decode import open_all
from xtcp_replay.cli.filters import add_filter_options, filters
from xtcp_replay.cli.progress import Sending
from xtcp_replay.cli.reading import add_reading_options
from xtcp_replay.playing.hosts import NAMELESS, PATTERN, Hosts
from xtcp_replay.playing.pace import LONGEST_GAP_S, Pace

if TYPE_CHECKING:
    from typing import TextIO

    from xtcp.sinks.destination import Destination
    from xtcp.sinks.fan_out import FanOut
    from xtcp_replay.playing.player import Player
    from xtcp_replay.reading.opening import ReplaySource

MAX_HOSTS: Final = 1_000_000

_EXAMPLES = """\
examples:
  xtcp-replay send day.pcapng --dest stdout: | jq .tcpi_rtt         as it happened, at its own pace
  xtcp-replay send day.pcapng --dest file:rows.csv --speed max      as fast as this machine goes
  xtcp-replay send one.pcap --dest null: --speed max --hosts 1000 --loop 10
                                                                    a load test of ten polls of a thousand hosts
  xtcp-replay send one.pcap --dest stdout: --loop 0 --rewrite-time  as if it happened now, until Ctrl-C

destinations, several at once, each --dest of its own:
"""
_LEDGER = """
the ledger, on standard error at the end, has a line for each:
  offered = accepted + dropped (by reason) + in flight
A destination that fails drops rows and is tried again; the others go on, and the exit code is 75.
"""


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    parser = verbs.add_parser(
        "send",
        help="play captures into sinks",
        description="Plays captures through the decoder into one or more destinations, at their own pace or another.",
        epilog=_EXAMPLES + overview() + _LEDGER,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="captures, one behind the other; - for standard input")
    where = parser.add_argument_group("where to")
    where.add_argument(
        "--dest", metavar="SCHEME:…", action="append", default=[], help="where rows go; may be given several times"
    )
    where.add_argument("--ledger", metavar="FILE", help="also write the ledger to FILE as one JSON object")
    pace = parser.add_argument_group("pace")
    pace.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        metavar="Nx|max",
        help="1x: each dump when it was due (default); 10x, 0.5x; max: without waiting",
    )
    pace.add_argument(
        "--max-gap",
        type=_seconds,
        default=LONGEST_GAP_S,
        metavar="SECONDS",
        help=f"shorten longer gaps between dumps to this, before the speed (default: {LONGEST_GAP_S:g})",
    )
    pace.add_argument(
        "--loop",
        type=_times,
        default=1,
        metavar="N",
        help="play all N times, 0: until Ctrl-C (default: 1); between two times is the longest gap, 1 s at least",
    )
    rows = parser.add_argument_group("what is sent instead")
    rows.add_argument(
        "--rewrite-time", action="store_true", help="timestamp_ns as if it happened now, distances kept; poll_id too"
    )
    rows.add_argument(
        "--hosts", dest="as_hosts", type=_hosts, metavar="N", help="send each row as N hosts, NAME-0001 and so on"
    )
    rows.add_argument(
        "--host-pattern",
        metavar="PATTERN",
        help=f"their names; {{name}} is the row's own, or {NAMELESS!r}, {{n}} the number (default: {PATTERN})",
    )
    add_filter_options(parser)
    add_reading_options(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no summary, ledger or progress, only warnings")
    parser.set_defaults(handler=_send)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    value = _number(text.removesuffix("x"))
    if not 1e-6 <= value <= 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no speed; write 1x, 10x, 0.5x or max")
    return value


def _seconds(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _times(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of times; 0 is for ever")
    return int(text)


def _hosts(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MAX_HOSTS):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of hosts from 1 to {MAX_HOSTS:,}")
    return int(text)


def _send(args: argparse.Namespace) -> int:
    destinations = _destinations(args)
    keep = filters(args)
    hosts = None
    if args.as_hosts is not None or args.host_pattern is not None:
        hosts = Hosts(args.as_hosts or 1, args.host_pattern or PATTERN)
    inputs = _inputs(args)

    from xtcp.sinks.fan_out import FanOut
    from xtcp.sinks.text_file import TextFile
    from xtcp_replay.playing.interrupts import Interrupts
    from xtcp_replay.playing.player import Player

    if args.strict:
        _insist(inputs)
    interrupts = Interrupts()
    pace = Pace(args.speed, args.max_gap)
    with ExitStack() as stack:
        stack.enter_context(interrupts.handled())
        ledger_file = None
        if args.ledger is not None:
            ledger_file = stack.enter_context(closing(TextFile(args.ledger, "--ledger")))
        fan = stack.enter_context(FanOut.of(destinations))
        progress = Sending(_terminal(args, destinations))
        player = Player(
            fan,
            pace,
            hosts=hosts,
            keep=keep if keep.active else None,
            now_ns=time.time_ns if args.rewrite_time else None,
            between=interrupts,
            seen=progress,
        )
        run = _Run(args, inputs, player, pace, progress)
        try:
            code = run.play()
        finally:
            with interrupts:
                progress.end()
                fan.close()
                # Who reads nothing but standard output, and leaves, wants to hear nothing more: `| head`.
                left = len(destinations) == 1 and fan.gone and fan.error is None
                if not args.quiet and not left:
                    run.summary()
                    if keep.untimed:
                        say(f"note: of those filtered out {keep.untimed:,} have no time to be judged by")
                    for line in fan.ledger.lines():
                        say(line)
                if ledger_file is not None:
                    ledger_file.write(json.dumps(fan.ledger.as_dict()) + "\n")
                    ledger_file.flush()
    if left:
        raise BrokenPipeError
    return _judge(fan, code)


class _Run:
    """All passes over all files."""

    def __init__(
        self,
        args: argparse.Namespace,
        inputs: list[tuple[str, ReplaySource]],
        player: Player,
        pace: Pace,
        progress: Sending,
    ) -> None:
        self._args = args
        self._inputs = inputs
        self._player = player
        self._pace = pace
        self._progress = progress
        self._started = time.monotonic()
        self._passes = 0

    def play(self) -> int:
        """Plays; returns the exit code that follows from the files, or from an interrupt."""
        code = int(ExitCode.OK)
        try:
            for number in itertools.count(1) if self._args.loop == 0 else range(1, self._args.loop + 1):
                rows = self._player.played.rows
                self._passes = number
                for path, source in self._inputs:
                    code = self._file(path, source, first=number == 1) or code
                # A capture without rows, or a sink that has gone: another pass would change nothing.
                if self._player.played.rows == rows or self._player.gone:
                    break
                self._pace.next_pass()
        except KeyboardInterrupt:
            return ExitCode.INTERRUPTED
        return code

    def _file(self, path: str, source: ReplaySource, *, first: bool) -> int:
        """Plays one file; the first time says what of it is not whole. Of several, one that is none is passed over."""
        from xtcp.batch import Tally

        tally = Tally()
        damage: list[str] = []
        try:
            tally = self._player.play(source)
        except DamagedInput as error:
            if len(self._inputs) == 1:
                raise
            damage = [error.what]
        if not first:
            return ExitCode.OK
        self._progress.end()
        where = f"{path}: " if len(self._inputs) > 1 else ""
        code = warn_of(tally, damage + [where + text for text in source.damage])
        for message in tally.errors:
            say(f"warning: the captured kernel answered with errno {message.errno} {message.text}".rstrip())
        if not self._args.quiet:
            for note in source.notes:
                say(f"note: {where}{note}")
        return code

    def summary(self) -> None:
        """Rows, where they come from and how fast they went; what of the pace was not as captured."""
        args, played, seconds = self._args, self._player.played, time.monotonic() - self._started
        what = f"{played.rows:,} rows of {_many(played.dumps, 'dump')}"
        if args.as_hosts is not None:
            what += f" as {_many(args.as_hosts, 'host')}"
        if args.loop != 1:
            what += f", played {_many(self._passes, 'time')}"
        parts = [f"{what}: {seconds:.3f} s, {played.rows / max(seconds, 1e-9):,.0f} rows/s"]
        parts += [f"{_many(played.duplicates, 'duplicate')} removed"] * bool(played.duplicates)
        parts += [f"{played.left_out:,} filtered out"] * bool(played.left_out)
        say(", ".join(parts))
        if args.speed is None and not args.rewrite_time:
            return
        pace = self._pace
        for count, text in (
            (pace.cut, f"{_many(pace.cut, 'gap')} between dumps shortened to {args.max_gap:g} s (--max-gap)"),
            (pace.back, f"{_many(pace.back, 'dump')} older than the one before: no waiting there"),
            (pace.untimed, f"{_many(pace.untimed, 'dump')} without a time: no waiting there"),
        ):
            if count:
                say(f"note: {text}")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _judge(fan: FanOut, code: int) -> int:
    """Says what went wrong in the sinks; the exit code of the whole."""
    if faults_of(fan, "xtcp-replay"):
        return ExitCode.INTERNAL
    if fan.error is not None and code != ExitCode.INTERRUPTED:
        return ExitCode.TEMPORARY
    return code


def _destinations(args: argparse.Namespace) -> list[Destination]:
    """What `--dest` names. Raises `UsageError` where there is none, or two would write one file."""
    if not args.dest:
        raise UsageError(
            "--dest is missing: nothing is sent unless told where.",
            "",
            "For example: --dest stdout: (all of them: xtcp-replay send --help)",
        )
    destinations = [parse(text) for text in args.dest]
    if sum(d.scheme == "stdout" for d in destinations) + (args.ledger == "-") > 1:
        raise UsageError("Standard output is named twice.", "Two texts in one are neither.", "Name a file for one.")
    named = [(f"--dest number {n}", d.file) for n, d in enumerate(destinations, 1)]
    inputs = [(f"the input {path}", path) for path in dict.fromkeys(args.files)]
    distinct_files(*inputs, *named, ("--ledger", args.ledger))
    return destinations


def _inputs(args: argparse.Namespace) -> list[tuple[str, ReplaySource]]:
    """The files, checked before any destination is emptied; without the bar that other commands show for reading."""
    if args.loop != 1 and any(path != "-" and Path(path).exists() and not Path(path).is_file() for path in args.files):
        raise UsageError("A pipe can be read once only.", "", "Save it to a file, and name that.")
    if args.loop != 1 and "-" in args.files:
        raise UsageError("Standard input can be read once only.", "", "Save it to a file, and name that.")
    return open_all(argparse.Namespace(**{**vars(args), "no_progress": True}), args.files)


def _insist(inputs: list[tuple[str, ReplaySource]]) -> None:
    """`--strict`: reads everything once, and raises at the first thing that is not whole."""
    from xtcp.cli.replayed import insist
    from xtcp.decode.decoder import Decoder

    for path, source in inputs:
        insist(source, Decoder(), path)


def _terminal(args: argparse.Namespace, destinations: list[Destination]) -> TextIO | None:
    """Where progress is shown: a terminal that shows no rows, and no other program's output."""
    if args.quiet or args.no_progress or any(d.scheme == "stdout" for d in destinations):
        return None
    return sys.stderr if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else None
