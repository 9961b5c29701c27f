"""`xtcp-replay scrub`: a copy of a capture that is safe to share."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from xtcp.cli.command import say
from xtcp.cli.output import distinct_files
from xtcp.errors import DamagedInput, ExitCode, UsageError
from xtcp_replay.cli.reading import add_reading_options, open_named_bytes, told

if TYPE_CHECKING:
    from xtcp_replay.rewriting.pseudonyms import Pseudonyms
    from xtcp_replay.rewriting.scrub_datagram import Report

_CLIENT_PORTS_FROM: Final = 32768
_LONGEST_KEY: Final = 1 << 20

_DESCRIPTION: Final = """\
Writes a copy of a capture (pcap, pcapng, dump of ss -D; gzip, zstd and xz by content) in which nothing names its host.
The copy has the same format, packets, lengths and times, and decodes to the same numbers.

replaced, equal ones by equal ones:
  addresses           shared prefixes stay shared; loopback and unspecified stay, private ranges, link-local,
                      multicast and 2000::/3 stay what they are, v4-mapped addresses match their IPv4 form
  ports of clients    those from --client-ports-from on, within their range; also in filters of requests
  cookies, inodes, uids, cgroup ids, interface numbers, MPTCP tokens, netlink port ids (process ids)
  names of host, network namespace and interface in a pcapng
zeroed or left out:
  MD5 keys, BPF storages, attributes and members not known here, damaged messages and all behind damage, messages
  of other socket families and netlink families, comments, unknown options and blocks of a pcapng
"""
_VISIBLE: Final = """\
what remains visible:
  times of packets; all counters, states, timers, marks, class ids, socket options and names of algorithms; ports below
  --client-ports-from; kernel release and machine; how many sockets there are and which of them share what; uid 0 and
  interface 1; how long an MD5 key is; what kind an address is, and which addresses share how long a prefix. Of public
  IPv4 addresses the bits that they share with a private range stay: 11.0.0.0/8 is recognised beside 10.0.0.0/8.
  Someone who knows some of the connections can find them again, and then knows the prefixes of their neighbours.

the key:
  Drawn at random and forgotten, unless --key-file names one: then all captures scrubbed with it have the same names,
  and who has it can test guesses. Keep it secret.    head -c 32 /dev/urandom > scrub.key

examples:
  xtcp-replay scrub nlmon.pcap clean.pcap
  xtcp-replay scrub edge7.pcapng.zst clean.pcapng.zst --key-file scrub.key
  ssh edge7 cat nlmon.pcap | xtcp-replay scrub - clean.pcap.gz --client-ports-from 1024
"""
_FORMATS: Final = {".pcap": "pcap", ".cap": "pcap", ".pcapng": "pcapng", ".ntar": "pcapng"}


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    parser = verbs.add_parser(
        "scrub",
        help="a copy of a capture that is safe to share",
        description=_DESCRIPTION,
        epilog=_VISIBLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="IN", help="the capture; - for standard input")
    parser.add_argument("output", metavar="OUT", help="the copy, compressed if it ends in .gz, .xz or .zst")
    parser.add_argument("--key-file", metavar="FILE", help="the secret, 16 bytes or more (default: a new random one)")
    parser.add_argument(
        "--client-ports-from",
        metavar="PORT",
        type=_port,
        default=_CLIENT_PORTS_FROM,
        help=f"lowest port that is replaced (default: {_CLIENT_PORTS_FROM}, where Linux begins those of clients)",
    )
    parser.add_argument(
        "--keep-unknown",
        action="store_true",
        help="do not zero attributes and members of sockets that are not known here: they may hold anything",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no summary, only warnings")
    add_reading_options(parser)
    parser.set_defaults(handler=_scrub)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:6]) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 1 to 65535")
    return int(text)


def _scrub(args: argparse.Namespace) -> int:
    from xtcp.sources.input_file import PCAP, PCAPNG, UNKNOWN, kind_of
    from xtcp_replay.reading.findings import Findings
    from xtcp_replay.reading.sidecar import side_car_of, with_sidecar
    from xtcp_replay.rewriting.pseudonyms import Pseudonyms
    from xtcp_replay.rewriting.scrub import scrub
    from xtcp_replay.rewriting.whole_file import WholeFile

    if args.output == "-":
        raise UsageError("OUT is the name of a file; - is none.", "A copy is there when it is whole.", "Name a file.")
    if args.hosts:
        raise UsageError("scrub has no use for --host: names become pseudonyms.", "", "Leave it out.")
    distinct_files(("IN", args.file), ("OUT", args.output), ("--key-file", args.key_file))
    pseudonyms = Pseudonyms(_key(args.key_file), args.client_ports_from)
    said = with_sidecar(args.file, told(args, args.file))
    lines: list[str] = []
    damage = Findings(lines)
    with open_named_bytes(args, args.file, damage) as source:
        _insist_on_ending(args.output, {PCAP: "pcap", PCAPNG: "pcapng", UNKNOWN: "messages"}.get(kind_of(source.head)))
        with WholeFile(args.output) as copy:
            report = scrub(source, copy.write, pseudonyms, damage, said, keep_unknown=args.keep_unknown)
            if report.damaged:
                lines.append(
                    f"{report.damaged:,} messages are not whole, or stand where nothing proves it; they are emptied."
                )
            if lines and args.strict:
                raise DamagedInput(
                    lines[0],
                    "With --strict nothing of a damaged file is written.",
                    "Leave --strict out to get the rest.",
                )
    if side_car_of(args.file) is not None:
        _write_sidecar(args.file, args.output, pseudonyms)
    for line in lines:
        say(f"warning: {line}")
    if not args.quiet:
        _summary(report, args)
    return ExitCode.DAMAGED if lines else ExitCode.OK


def _key(path: str | None) -> bytes:
    """The key of the secret in the file at `path`, without white space around it; a random one for None."""
    from xtcp_replay.rewriting.addresses import KEY_SIZE
    from xtcp_replay.rewriting.pseudonyms import SHORTEST_KEY, make_key

    if path is None:
        import secrets

        return secrets.token_bytes(KEY_SIZE)
    from xtcp.sources.input_file import input_error

    try:
        with Path(path).open("rb") as file:
            content = file.read(_LONGEST_KEY + 1)
    except OSError as error:
        raise input_error(path, error) from error
    secret = content.strip()
    how = "Make one: head -c 32 /dev/urandom > scrub.key"
    if len(content) > _LONGEST_KEY:
        raise UsageError(f"{path} has more than {_LONGEST_KEY:,} bytes.", "Usually another file was meant.", how)
    if len(secret) < SHORTEST_KEY or len(set(secret)) < SHORTEST_KEY // 4:
        what = (
            f"{path} has no secret of {SHORTEST_KEY} bytes or more: {len(secret)} bytes, {len(set(secret))} different."
        )
        raise UsageError(what, "A short one could be found by trying.", how)
    return make_key(secret)


def _insist_on_ending(path: str, kind: str | None) -> None:
    """Raises `UsageError` where the name promises another format than the copy has."""
    from xtcp_replay.rewriting.whole_file import COMPRESSED_ENDINGS

    name = Path(path)
    ending = (name.with_suffix("") if name.suffix.lower() in COMPRESSED_ENDINGS else name).suffix.lower()
    promised = _FORMATS.get(ending)
    if promised is not None and kind is not None and promised != kind:
        what = "raw messages" if kind == "messages" else f"a {kind}"
        raise UsageError(
            f"{path} would be {what}, as the original is.",
            "scrub keeps the format.",
            "Choose another ending, or change the format of the copy: xtcp-replay convert",
        )


def _write_sidecar(original: str, path: str, pseudonyms: Pseudonyms) -> None:
    """The original's side-car under the copy's name: what it says of the kernel, and pseudonyms of its names."""
    from xtcp_replay.reading.sidecar import SUFFIX, with_sidecar
    from xtcp_replay.reading.told import Told
    from xtcp_replay.rewriting.scrub_pcapng import clean_release
    from xtcp_replay.rewriting.whole_file import WholeFile

    said = with_sidecar(original, Told())
    values = {
        "kernel_release": clean_release(said.release),
        "byte_order": {"<": "little", ">": "big", None: ""}[said.order],
        "hostname": pseudonyms.name("host", said.hostname or ""),
        "netns": pseudonyms.name("netns", said.netns or ""),
    }
    with WholeFile(path + SUFFIX) as file:
        file.write("".join(f'{key} = "{value}"\n' for key, value in values.items() if value).encode())
    say(f"note: {path}{SUFFIX} has what the side-car said, without its comment")


def _summary(report: Report, args: argparse.Namespace) -> None:
    for what, counts in (("replaced", report.replaced), ("zeroed", report.zeroed), ("left out", report.left_out)):
        say(f"{what}: {_counted(counts) or 'nothing'}")
    say(
        f"as it was: times, ports below {args.client_ports_from}, counters, states, marks, class ids, "
        "kernel release and machine"
        + (", unknown attributes, whatever they hold" if args.keep_unknown else "")
        + " (see --help)"
    )
    if args.key_file is None:
        say("the key was random and is forgotten; --key-file gives several captures the same names")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{what} {count:,}" for what, count in sorted(counts.items()) if count)
