"""`xtcp collect`: takes records from the network, a file or a Kafka topic, and hands the rows on."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Final

from xtcp import amounts
from xtcp.cli.command import argument, say
from xtcp.cli.delivered import faults_of
from xtcp.cli.output import distinct_files
from xtcp.collect.bounds import ROWS_PER_DATAGRAM
from xtcp.errors import ExitCode, UsageError
from xtcp.sinks.schemes import overview

if TYPE_CHECKING:
    from collections.abc import Callable

    from xtcp.collect.arrivals import Input
    from xtcp.collect.collector import Collector
    from xtcp.daemon.signals import Signals
    from xtcp.sinks.destination import Destination
    from xtcp.sinks.fan_out import FanOut

# A line so often on a terminal.
EVERY_S: Final = 60.0
# How long the loop may take to notice a signal.
STUCK_S: Final = 1.0

_EXAMPLES = """\
examples:
  xtcp collect                                        what is sent to 127.0.0.1:13000, a JSON object a line
  xtcp collect --listen udp:[::]:13000 --dest parquet:/data/tcp
  xtcp collect --from kafka:broker:9092/xtcp --dest parquet:/data/tcp --stats collected.json
  xtcp collect --from file:rows.pb --dest stdout:?format=csv
  xtcp collect --listen udp:0.0.0.0 --hmac-key /etc/xtcp/keys --dest null:

It takes xtcp's records, one a datagram, and envelopes of ours and of xtcp2, of any epoch, compressed or not; what it
is is told by the bytes. Rows bear the address they came from (received_from) beside the host name that they claim.

inputs:
  --listen udp:[HOST][:PORT]      datagrams; udp: is 127.0.0.1:13000
  --listen unix:PATH              streams of envelopes or records of this host, unixgram:PATH datagrams
  --from file:PATH                a file of envelopes or records, each behind its length; - for standard input
  --from kafka:BROKER/TOPIC       a topic, each value as a datagram; ?group.id=… and librdkafka's other options.
                                  Offsets are committed when every sink has accepted the rows

destinations, several at once, each --dest of its own:
"""


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    parser = verbs.add_parser(
        "collect",
        help="receive records, hand the rows on",
        description="Receives records of xtcp, of this program and of xtcp2, and delivers the rows.",
        epilog=_EXAMPLES + overview(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    where = parser.add_argument_group("where from, where to")
    where.add_argument(
        "--listen", metavar="udp:…", action="append", default=[], help="listen here; may be given several times"
    )
    where.add_argument(
        "--from", dest="sources", metavar="file:…|kafka:…", action="append", default=[], help="read this; likewise"
    )
    where.add_argument(
        "--dest", metavar="SCHEME:…", action="append", default=[], help="where rows go (default: stdout:); likewise"
    )
    trust = parser.add_argument_group("what is believed")
    trust.add_argument("--hmac-key", metavar="FILE", help="take signed messages only; the keys are in FILE, one a line")
    trust.add_argument(
        "--max-rows-per-datagram",
        type=argument(amounts.count),
        default=ROWS_PER_DATAGRAM,
        metavar="N",
        help=f"set aside a datagram with more rows, before reading them (default: {ROWS_PER_DATAGRAM})",
    )
    end = parser.add_argument_group("when to end (default: when the files end; otherwise never)")
    end.add_argument("--seconds", type=argument(amounts.duration), metavar="TIME", help="after so long")
    end.add_argument(
        "--max-idle", type=argument(amounts.duration), metavar="TIME", help="when nothing came for so long"
    )
    end.add_argument(
        "--max-datagrams", type=argument(amounts.count), metavar="N", help="after so many messages, or a few more"
    )
    parser.add_argument("--stats", metavar="FILE", help="write all counts and the ledger to FILE as one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="no summary, only warnings")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """Runs the verb; returns the exit code."""
    destinations = _destinations(args)
    openers = _openers(args)

    from xtcp.collect.collector import Collector
    from xtcp.collect.running import Limits, Running
    from xtcp.daemon.signals import Signals
    from xtcp.records.signature import Keys
    from xtcp.sinks.fan_out import FanOut
    from xtcp.sinks.text_file import TextFile

    keys = None if args.hmac_key is None else Keys.of_file(args.hmac_key)
    limits = Limits(
        **{
            name: value
            for name, value in (
                ("seconds", args.seconds),
                ("idle_s", args.max_idle),
                ("messages", args.max_datagrams),
                ("rows_per_datagram", args.max_rows_per_datagram),
            )
            if value is not None
        }
    )
    signals = Signals()
    with ExitStack() as stack:
        stack.enter_context(signals.handled())
        stats = None if args.stats is None else stack.enter_context(closing(TextFile(args.stats, "--stats")))
        inputs = [stack.enter_context(closing(opener())) for opener in openers]
        # Only what can be asked again may wait for a slow sink; the network would lose more, and not say what. A thread
        # for each, so that none that stands still holds up the others, or the end.
        patient = not args.listen and bool(args.sources)
        fan = stack.enter_context(FanOut.of(destinations, own_threads=True, wait=patient))
        collector = Collector(fan, keys=keys)
        report = _Report(args, collector, inputs, fan)
        running = Running(
            inputs,
            collector,
            fan,
            limits,
            ended=lambda: signals.ending,
            tick=report.line if report.live else lambda: None,
        )
        if not args.quiet and args.listen:
            say(f"listening on {', '.join(one.name for one in inputs)}")
        left_loop = threading.Event()
        watcher = threading.Thread(target=_unblock, args=(signals, left_loop, fan), daemon=True)
        watcher.start()
        try:
            running.run()
        finally:
            left_loop.set()
            watcher.join()
            fan.close()
            settled = running.settle()
            # Who reads nothing but standard output, and leaves, wants to hear nothing more: `| head`.
            left = len(destinations) == 1 and fan.gone and fan.error is None and not signals.ending
            if not left:
                report.end()
            if stats is not None:
                stats.write(json.dumps(report.as_dict()) + "\n")
                stats.flush()
    if left and destinations[0].scheme == "stdout":
        raise BrokenPipeError
    code = _judge(fan, report, settled=settled)
    interrupted = signals.ended_by == signal.SIGINT
    return ExitCode.INTERRUPTED if interrupted and code == ExitCode.OK else code


def _unblock(signals: Signals, left_loop: threading.Event, fan: FanOut) -> None:
    """Closes the sinks where one that stands still keeps the loop from noticing that it is to end."""
    from xtcp.collect.running import LOOK_S
    from xtcp.sinks.sink import PATIENCE_S

    while not left_loop.wait(LOOK_S):
        if signals.ending and not left_loop.wait(STUCK_S):
            fan.close(PATIENCE_S - STUCK_S)
            return


class _Report:
    """What is said of a run."""

    def __init__(self, args: argparse.Namespace, collector: Collector, inputs: list[Input], fan: FanOut) -> None:
        self._quiet = args.quiet
        self._collector = collector
        self._inputs = inputs
        self._fan = fan
        self._due = time.monotonic() + EVERY_S
        self.live = not args.quiet and sys.stderr is not None and sys.stderr.isatty()

    def line(self) -> None:
        """A line a minute."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + EVERY_S
            say("; ".join(self._lines()[:2]))

    def end(self) -> None:
        """The summary and the ledger."""
        if not self._quiet:
            for line in [*self._lines(), *self._fan.ledger.lines()]:
                say(line)

    def damage(self) -> list[str]:
        """What of files is not whole, for warnings."""
        found = [f"{one.name}: {one.counts.damage}" for one in self._inputs if one.counts.damage]
        aside = self._collector.intake.messages_aside
        if aside and all(one.descriptor() is None for one in self._inputs):
            found.append(f"{aside.total():,} messages set aside")
        return found

    @property
    def balanced(self) -> bool:
        """Whether every message and row is accounted for."""
        return self._collector.intake.balanced

    def as_dict(self) -> dict[str, object]:
        """All counts, and the ledger."""
        collector = self._collector
        return {**collector.intake.as_dict(collector.streams, self._inputs), "ledger": self._fan.ledger.as_dict()}

    def _lines(self) -> list[str]:
        return self._collector.intake.lines(self._collector.streams, self._inputs)


def _judge(fan: FanOut, report: _Report, *, settled: bool) -> int:
    """Says what went wrong; the exit code of the whole."""
    if faults_of(fan, "xtcp") or not report.balanced:
        return ExitCode.INTERNAL
    dropped = any(balance.dropped for balance in fan.ledger.snapshot())
    if fan.error is not None or dropped:
        if not settled:
            say("note: offsets were not committed beyond what arrived; those rows come again")
        return ExitCode.TEMPORARY
    damage = report.damage()
    for text in damage:
        say(f"warning: {text}")
    return ExitCode.DAMAGED if damage else ExitCode.OK


def _destinations(args: argparse.Namespace) -> list[Destination]:
    """What `--dest` names; standard output where nothing is said."""
    from xtcp.sinks.destination import parse

    destinations = [parse(text) for text in args.dest or ["stdout:"]]
    if sum(d.scheme == "stdout" for d in destinations) + (args.stats == "-") > 1:
        raise UsageError("Standard output is named twice.", "Two texts in one are neither.", "Name a file for one.")
    named = [(f"--dest number {n}", d.file) for n, d in enumerate(destinations, 1)]
    files = [(f"--from {text}", text.removeprefix("file:")) for text in args.sources if text.startswith("file:")]
    distinct_files(*files, *named, ("--stats", args.stats))
    return destinations


def _openers(args: argparse.Namespace) -> list[Callable[[], Input]]:
    """What opens each input; checks them all before any is opened."""
    from xtcp.collect import listening

    if not args.listen and not args.sources:
        args.listen = ["udp:"]
    found: list[Callable[[], Input]] = []
    for text in args.listen:
        where = listening.parsed(text)
        found.append(lambda where=where: listening.opened(where))  # type: ignore[misc]
    found.extend(_source(text) for text in args.sources)
    if sum(text in {"-", "file:-"} for text in args.sources) > 1:
        raise UsageError("Standard input is named twice.", "It can be read once only.", "Name a file for one.")
    return found


def _source(text: str) -> Callable[[], Input]:
    """What opens the input that `--from` names. Raises `UsageError`."""
    scheme, colon, rest = text.partition(":")
    if text == "-" or (scheme == "file" and rest):

        def frames() -> Input:
            from xtcp.collect.frames import Frames

            return Frames("-" if text == "-" else rest)

        return frames
    if scheme == "kafka" and colon:
        from urllib.parse import unquote

        from xtcp.collect.kafka_topic import KafkaTopic, parsed

        address, _, behind = rest.partition("?")
        pairs = [part.partition("=") for part in behind.split("&") if part]
        for name, equals, _value in pairs:
            if not equals:
                raise UsageError(f"{text}: {name!r} behind the ? is no option of the form name=value.", "", "")
        wanted = parsed(address, {name: unquote(value) for name, _, value in pairs})
        return lambda: KafkaTopic(wanted)
    near = f"Did you mean file:{text}?" if not colon else "To listen for datagrams: --listen."
    raise UsageError(f"{text!r} names nothing to read.", near, "Write file:PATH, - or kafka:BROKER:9092/TOPIC")
