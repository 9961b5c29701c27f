"""`xtcp-replay record`: a capture of this host, from a netlink monitor or from polls of our own."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from xtcp.amounts import count, duration, size
from xtcp.cli.command import argument, say
from xtcp.errors import ExitCode, Temporary, UsageError, XtcpError

if TYPE_CHECKING:
    from xtcp.sinks.capture_file import CaptureWriter
    from xtcp_replay.recording.nlmon import Seen
    from xtcp_replay.recording.rotation import Limits, Rotating

_INTERVAL = 30.0
_QUIET_S: Final = 0.5
_EXAMPLES = """\
examples:
  xtcp-replay record host.pcapng                        until Ctrl-C, from a netlink monitor made for it (root)
  xtcp-replay record host.pcapng --run ss -tinmae       what passes while ss runs
  xtcp-replay record host.pcapng --via polls --count 1  one poll of our own; no root, no nlmon
  xtcp-replay record day.pcapng --via polls --interval 30 --rotate-time 1h --keep 24

A netlink monitor shows what all programs of this network namespace ask and are told; only sock_diag is kept unless
--all-families is given. Polls are what xtcp itself asks: every TCP socket, all attributes.
"""


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    parser = verbs.add_parser(
        "record",
        help="a capture of this host",
        description="Records sock_diag messages to a pcap or pcapng, until Ctrl-C or what the options say.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("out", metavar="OUT", help="the capture: FILE.pcapng (keeps host and kernel) or FILE.pcap")
    where = parser.add_argument_group("from where")
    where.add_argument(
        "--via",
        choices=("auto", "nlmon", "polls"),
        default="auto",
        help="a netlink monitor, or polls; auto: the monitor where the kernel and this process's rights allow one",
    )
    where.add_argument("--interface", metavar="NAME", help="a netlink monitor that is there already")
    where.add_argument("--all-families", action="store_true", help="keep other netlink families (route, …) too")
    where.add_argument(
        "--interval",
        type=argument(duration),
        metavar="TIME",
        help=f"between polls (default: {_INTERVAL:g}s)",
        default=None,
    )
    until = parser.add_argument_group("how long")
    until.add_argument(
        "--run",
        dest="command",
        metavar="COMMAND",
        nargs=argparse.REMAINDER,
        help="as long as this command runs; the last option, all behind it is the command's",
    )
    until.add_argument("--count", type=argument(count), metavar="N", help="so many polls, or packets of a monitor")
    until.add_argument("--duration", type=argument(duration), metavar="TIME", help="so long: 90, 10m, 2h")
    files = parser.add_argument_group("files")
    files.add_argument(
        "--rotate-size", type=argument(size), metavar="SIZE", help="a new file after so many bytes: 100M, 1G"
    )
    files.add_argument(
        "--rotate-time", type=argument(duration), metavar="TIME", help="a new file after so long: 10m, 1h"
    )
    files.add_argument("--keep", type=argument(count), metavar="N", help="remove all but the last N files of this run")
    parser.add_argument("-q", "--quiet", action="store_true", help="no summary, only warnings")
    parser.set_defaults(handler=_record)


class _Until:
    """Whether to stop: Ctrl-C or SIGTERM, the time, the count, the end of the command."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._count = args.count
        self._end = None if args.duration is None else time.monotonic() + args.duration
        self._command_ended: float | None = None
        self.signalled = threading.Event()

    def command_ended(self) -> None:
        """The command is over: what it asked is waited for a moment."""
        self._command_ended = time.monotonic()

    def now(self, done: int = 0) -> bool:
        """Whether to stop, after `done` polls or packets."""
        ended = self._command_ended
        return (
            self.signalled.is_set()
            or (self._count is not None and done >= self._count)
            or (self._end is not None and time.monotonic() >= self._end)
            or (ended is not None and time.monotonic() - ended > _QUIET_S)
        )


def _record(args: argparse.Namespace) -> int:
    from xtcp_replay.recording.rotation import Limits

    if args.command is not None and not args.command:
        raise UsageError("--run needs a command behind it.", "", "For example: --run ss -tinmae")
    limits = Limits(args.rotate_size, args.rotate_time, args.keep)
    if args.keep is not None and not limits.rotates:
        raise UsageError("--keep has no meaning without --rotate-size or --rotate-time.", "", "Add one of them.")
    until = _Until(args)
    with _signals(until):
        if args.via != "polls" and (code := _via_monitor(args, until, limits)) is not None:
            return code
        return _via_polls(args, until, limits)


def _via_monitor(args: argparse.Namespace, until: _Until, limits: Limits) -> int | None:
    """Records from a netlink monitor; None where there is none and polls may take its place."""
    from xtcp_replay.recording.nlmon import Monitor, monitor_interface

    if args.interval is not None:
        if args.via == "nlmon" or args.interface:
            raise UsageError("--interval has no meaning with a netlink monitor.", "", "Leave it out, or --via polls.")
        return None
    with ExitStack() as stack:
        try:
            interface = args.interface or stack.enter_context(monitor_interface())
            monitor = stack.enter_context(Monitor(interface))
        except XtcpError as error:
            if args.via == "nlmon" or args.interface or args.command or isinstance(error, UsageError):
                raise
            say(f"note: {error.what} Recording polls of our own instead.")
            return None
        files = stack.enter_context(_files(args.out, limits))
        command = stack.enter_context(_running(args.command, until)) if args.command else None
        if not args.quiet and command is None:
            say(f"recording from {interface} to {files.names}; Ctrl-C ends")
        packets, messages = _copy(monitor.packets, files, until, every_family=args.all_families)
    if not args.quiet:
        say(f"{packets:,} packets, {messages:,} bytes of messages in {files.names}")
    if command:
        say(f"warning: the command ended with {command[0]}")
    if monitor.dropped:
        raise Temporary(
            f"The kernel dropped {monitor.dropped:,} packets before they could be read; the capture is incomplete.",
            "Usually more is dumped at a time than fits the socket's buffer.",
            "Record with less going on, or polls alone: --via polls.",
        )
    return ExitCode.OK


def _copy(
    packets: Callable[[Callable[[], bool]], Iterator[Seen]],
    files: Rotating[CaptureWriter],
    until: _Until,
    *,
    every_family: bool,
) -> tuple[int, int]:
    """Packets to files, a new file at a request where one is due; (packets, bytes) written."""
    from xtcp.netlink.numbers import NETLINK_SOCK_DIAG

    copied = written = 0
    for packet in packets(until.now):
        if packet.family != NETLINK_SOCK_DIAG and not every_family:
            continue
        files.may_rotate(between_dumps=_is_request(packet.netlink))
        files.current.write(packet.netlink, packet.time_ns, cooked=packet.cooked, wirelen=packet.wirelen)
        files.wrote(len(packet.netlink))
        copied += 1
        written += len(packet.netlink)
        if until.now(copied):
            break
    return copied, written


def _is_request(netlink: bytes) -> bool:
    """NLM_F_REQUEST in the first header; the messages are in this host's order."""
    from xtcp.netlink.numbers import NLM_F_REQUEST

    return bool(int.from_bytes(netlink[6:8], sys.byteorder) & NLM_F_REQUEST)


def _via_polls(args: argparse.Namespace, until: _Until, limits: Limits) -> int:
    from xtcp_replay.recording.polls import Polls

    if args.command:
        raise UsageError("a COMMAND is recorded from a netlink monitor, not from polls.", "", "Leave --via out.")
    if args.all_families:
        raise UsageError("--all-families has no meaning with polls.", "Polls ask sock_diag alone.", "Leave it out.")
    done = sockets = messages = 0
    with _files(args.out, limits) as files:
        tap = _Counted(files)
        polls = Polls(tap, args.interval or _INTERVAL, until.now)
        if not args.quiet and args.count != 1:
            say(f"recording a poll every {args.interval or _INTERVAL:g} s to {files.names}; Ctrl-C ends")
        for trailer in polls:
            done += 1
            sockets += trailer.delivered
            messages += trailer.messages
            if not until.now(done):
                files.may_rotate(between_dumps=True)
    if not args.quiet:
        plural = "" if done == 1 else "s"
        say(f"{done:,} poll{plural}, {sockets:,} sockets, {messages:,} messages in {files.names}")
    if polls.errors:
        raise polls.errors[0]
    return ExitCode.OK


class _Counted:
    """A `Tap` into the file that is current."""

    def __init__(self, files: Rotating[CaptureWriter]) -> None:
        self._files = files

    def write(self, netlink: bytes | memoryview, time_ns: int) -> None:
        self._files.current.write(netlink, time_ns)
        self._files.wrote(len(netlink))


def _files(path: str, limits: Limits) -> Rotating[CaptureWriter]:
    from xtcp.poll.live import this_host
    from xtcp.sinks.capture_file import open_capture
    from xtcp_replay.recording.rotation import Rotating

    host = this_host()
    hostname, netns = host.hostname or "", host.netns or ""
    return Rotating(path, lambda name: open_capture(name, hostname=hostname, netns=netns), limits)


@contextmanager
def _running(command: list[str], until: _Until) -> Iterator[list[int]]:
    """Runs `command` meanwhile; the list gets its exit code where that is not 0."""
    failed: list[int] = []
    try:
        process = subprocess.Popen(command)  # noqa: S603 - the user's own, as they typed it
    except OSError as error:
        raise UsageError(f"{command[0]}: {error.strerror}.", "", "Check the command behind --run.") from error

    def wait() -> None:
        if process.wait():
            failed.append(process.returncode)
        until.command_ended()

    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    try:
        yield failed
    finally:
        process.terminate()
        waiter.join()


@contextmanager
def _signals(until: _Until) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the recording as it should end: with whole files and a summary."""

    def end(_number: int, _frame: FrameType | None) -> None:
        until.signalled.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
