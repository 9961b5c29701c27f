"""`xtcp once`: one poll of this network namespace, or of a file of raw messages."""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from xtcp.cli.command import say
from xtcp.cli.output import (
    Output,
    add_output_options,
    add_source_options,
    byte_order,
    distinct_files,
    selection,
    warn_of,
)
from xtcp.cli.selection import Selection, states
from xtcp.errors import ExitCode, UsageError
from xtcp.schema.columns import columns_needing

if TYPE_CHECKING:
    from xtcp.poll.live import LivePoll
    from xtcp.sources import Tap

_DEADLINE = 30.0
_FLAGS = {
    "interrupted": "the kernel's table changed during the dump; ask again",
    "truncated": "messages came longer than the buffer for them; ask again",
    "overrun": "the kernel dropped messages; ask again",
    "deadline": "the deadline came first; give a longer --deadline, or fewer --states",
    "limit": "the kernel sent more than a dump may have; ask for fewer --states",
}
_EXAMPLES = """\
examples:
  xtcp once                                       the connections of this host, as a table
  xtcp once --states established --format json    one JSON object a line
  xtcp once --columns idiag_src,idiag_sport,tcpi_rtt,tcpi_total_retrans
  xtcp once --format null                         capture and decode everything, print the summary
  xtcp once --record host.pcapng                  keep the raw messages as well
  xtcp once --from dump.bin                       what ss -D dump.bin wrote
"""


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    parser = verbs.add_parser(
        "once",
        help="one poll of this host",
        description="One poll: every TCP socket of this network namespace, decoded. Needs no privilege.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_output_options(parser)
    what = parser.add_argument_group("what to ask for")
    what.add_argument("-4", dest="ipv4", action="store_true", help="IPv4 sockets")
    what.add_argument("-6", dest="ipv6", action="store_true", help="IPv6 sockets")
    what.add_argument(
        "--states",
        metavar="NAME,…",
        help="states by ss's names: established, syn-sent, time-wait, listening, connected, all … (default: all)",
    )
    what.add_argument("--mptcp", action="store_true", help="MPTCP connections instead of TCP sockets")
    what.add_argument(
        "--deadline", type=_seconds, metavar="SECONDS", help=f"give up after this long (default: {_DEADLINE:g})"
    )
    keep = parser.add_argument_group("captures")
    keep.add_argument(
        "--record", metavar="FILE", help="also write the raw messages to FILE.pcap or FILE.pcapng (LINKTYPE_NETLINK)"
    )
    keep.add_argument(
        "--from",
        dest="source",
        metavar="FILE",
        help="read the raw messages of `ss -D FILE` instead of asking the kernel; - for standard input",
    )
    add_source_options(keep)
    parser.add_argument("--trailer", metavar="FILE", help="write the poll's trailer to FILE as one JSON object")
    parser.set_defaults(handler=handle)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0 and below 86400, a day")
    return value


def handle(args: argparse.Namespace) -> int:
    """Runs the verb; returns the exit code."""
    chosen = selection(args)
    mask = states(args.states)
    distinct_files(("--from", args.source), ("-o", args.output), ("--record", args.record), ("--trailer", args.trailer))
    if args.source is not None:
        _refuse(args, "--from", ("record", "mptcp", "trailer", "deadline", "ipv4", "ipv6", "states"))
        return _from_file(args, chosen)
    _refuse(args, "a live poll", ("strict", "kernel_release", "byte_order"))
    return _live(args, chosen, mask)


def _refuse(args: argparse.Namespace, what: str, names: tuple[str, ...]) -> None:
    """Options that would be ignored are an error."""
    spelled = {"ipv4": "-4", "ipv6": "-6"}
    for name in names:
        if getattr(args, name):
            option = spelled.get(name, "--" + name.replace("_", "-"))
            raise UsageError(f"{option} has no meaning with {what}", "", "See: xtcp once --help")


def _live(args: argparse.Namespace, chosen: Selection, mask: int | None) -> int:
    from xtcp.decode.decoder import Decoder
    from xtcp.netlink.request import ALL_STATES
    from xtcp.poll.live import LivePoll, Wanted
    from xtcp.poll.unique import NEEDED_COLUMNS
    from xtcp.schema.inet_diag import IPPROTO_MPTCP, IPPROTO_TCP
    from xtcp.sources.live import Limits

    wanted = Wanted(
        families=_families(args),
        states=ALL_STATES if mask is None else mask,
        ext=chosen.ext,
        protocol=IPPROTO_MPTCP if args.mptcp else IPPROTO_TCP,
        limits=Limits(deadline_s=args.deadline or _DEADLINE),
    )
    decoded = None if chosen.decoded is None else chosen.decoded | NEEDED_COLUMNS
    with ExitStack() as stack:
        tap = _tap(args, stack)
        output = stack.enter_context(Output(args, chosen))
        poll = LivePoll(wanted, Decoder(decoded, md5_keys=args.md5_keys), tap=tap)
        for batch in poll:
            output.write(batch)
        output.end()
    return _finish(args, chosen, poll)


def _families(args: argparse.Namespace) -> tuple[int, ...]:
    """(0,) for one pass where nothing speaks against it."""
    import socket

    from xtcp.poll.one_pass import verify

    if args.ipv4 != args.ipv6:
        return (int(socket.AF_INET),) if args.ipv4 else (int(socket.AF_INET6),)
    if args.record or args.mptcp or args.ipv4 or not verify().works:
        return (int(socket.AF_INET), int(socket.AF_INET6))
    return (0,)


def _tap(args: argparse.Namespace, stack: ExitStack) -> Tap | None:
    if not args.record:
        return None
    from xtcp.poll.live import this_host
    from xtcp.sinks.capture_file import open_capture

    host = this_host()
    return stack.enter_context(open_capture(args.record, hostname=host.hostname or "", netns=host.netns or ""))


def _finish(args: argparse.Namespace, chosen: Selection, poll: LivePoll) -> int:
    from xtcp.poll.capabilities import has_net_admin
    from xtcp.schema.layout import kernel_release

    trailer = poll.trailer
    assert trailer is not None
    if args.trailer:
        from xtcp.sinks.text_file import TextFile

        file = TextFile(args.trailer, "--trailer")
        file.write(json.dumps(trailer.as_dict()) + "\n")
        file.close()
    code = warn_of(poll.tally, [])
    if not args.quiet:
        say(trailer.line())
        needing = columns_needing("CAP_NET_ADMIN", kernel_release(trailer.release))
        hidden = [name for name in needing if chosen.decoded is None or name in chosen.decoded]
        if hidden and not has_net_admin():
            say(f"note: without CAP_NET_ADMIN the kernel does not show {', '.join(hidden)}")
    if poll.error is not None:
        raise poll.error
    if trailer.flags:
        say(f"warning: rows may be missing: {'; '.join(_FLAGS.get(flag, flag) for flag in trailer.flags)}")
        return code or ExitCode.TEMPORARY
    return code


def _from_file(args: argparse.Namespace, chosen: Selection) -> int:
    from xtcp.cli.replayed import write_source
    from xtcp.sources.dump_file import DumpFile

    source = DumpFile(args.source, order=byte_order(args.byte_order), release=args.kernel_release)
    return write_source(args, chosen, source, args.source)
