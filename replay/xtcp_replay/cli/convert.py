"""`xtcp-replay convert`: the same messages in another file format, and in the other byte order."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from xtcp.cli.command import say
from xtcp.cli.output import byte_order, distinct_files, warn_of
from xtcp.errors import DamagedInput, UsageError
from xtcp_replay.cli.filters import dump_ranges
from xtcp_replay.cli.reading import add_reading_options, open_named_bytes, told

if TYPE_CHECKING:
    from xtcp.schema.model import Order
    from xtcp_replay.reading.interface import Interface
    from xtcp_replay.rewriting.conversion import Conversion
    from xtcp_replay.rewriting.datagrams import DatagramFile
    from xtcp_replay.rewriting.whole_file import WholeFile
    from xtcp_replay.rewriting.writers import Writer

_FORMATS: Final = ("pcap", "pcapng", "ss", "mlab")

_DESCRIPTION: Final = """\
Writes a capture, a dump of ss -D or an m-lab archive anew, in the format that OUT ends in:

  .pcap .cap          packets and times; ns unless --microseconds
  .pcapng .ntar       the same with what is known of the host: kernel, machine, names
  .bin .dump .ss      rows of TCP sockets as ss -D FILE has them; TCPDIAG_FILE=OUT ss -tinmae prints them
  .jsonl              rows of TCP sockets as m-lab archives them, little-endian

each with .gz, .xz or .zst behind it, or nothing. OUT is there when it is whole, and not before. What a format has no
place for is left out, counted and said; the host's kernel and name then go into a side-car, OUT.toml.
"""
_EXAMPLES: Final = """\
examples:
  xtcp-replay convert nlmon.pcap nlmon.pcapng --kernel-release 6.18.2
  xtcp-replay convert nlmon.pcap twin.pcap --to-order big      as a big-endian host would have sent it
  xtcp-replay convert nlmon.pcapng v4.bin --dump 1             then: TCPDIAG_FILE=v4.bin ss -tinmae
  xtcp-replay convert archive.jsonl.zst archive.pcapng.zst
"""


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    parser = verbs.add_parser(
        "convert",
        help="the same messages in another format or byte order",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="IN", help="what is read; - for standard input")
    parser.add_argument("output", metavar="OUT", help="what is written")
    parser.add_argument("--format", choices=_FORMATS, help="the format of OUT, whatever it ends in")
    parser.add_argument(
        "--to-order", choices=("little", "big"), help="byte order of the messages (default: as they are)"
    )
    parser.add_argument("--dump", type=dump_ranges, metavar="N[-M],…", help="only these dumps (the column dump)")
    parser.add_argument(
        "--file-order", choices=("little", "big"), help="of a capture's own numbers (default: that of its messages)"
    )
    parser.add_argument("--microseconds", action="store_true", help="a pcap for programs that know no nanoseconds")
    parser.add_argument("-q", "--quiet", action="store_true", help="no summary, only warnings")
    add_reading_options(parser)
    parser.set_defaults(handler=_convert)


def _convert(args: argparse.Namespace) -> int:
    from xtcp_replay.reading.findings import Findings
    from xtcp_replay.reading.sidecar import with_sidecar
    from xtcp_replay.rewriting.conversion import Conversion
    from xtcp_replay.rewriting.datagrams import DatagramFile
    from xtcp_replay.rewriting.whole_file import WholeFile

    form, to = _wanted(args)
    distinct_files(("IN", args.file), ("OUT", args.output))
    said = with_sidecar(args.file, told(args, args.file))
    lines: list[str] = []
    notes: list[str] = []
    taken: set[int] = set()

    def takes(dump: int) -> bool:
        wanted = args.dump is None or any(first <= dump <= last for first, last in args.dump)
        if wanted and dump and not taken:
            taken.add(dump)
        return wanted

    damage = Findings(lines)
    conversion = Conversion(to, one_order=form == "ss", takes=None if args.dump is None else takes)
    hosts = _Hosts()
    with open_named_bytes(args, args.file, damage) as source:
        file = DatagramFile(source, said, damage, Findings(notes), takes)
        with WholeFile(args.output) as out:
            writer = _writer(form, out, args, to)
            for datagram in conversion.of(file):
                hosts.see(datagram.interface)
                writer.write(datagram)
            writer.end()
            lines += file.lines
            if args.dump is not None and not taken:
                raise UsageError(f"--dump: there is no such dump; {args.file} has {file.contents.numbered:,}.")
            if args.strict:
                _insist(file, lines, args.file)
    notes += hosts.write(args.output, form)
    code = warn_of(file.tally, lines)
    if not args.quiet:
        _summary(args.output, file, conversion, writer)
        for note in [*notes, *_remarks(conversion, writer)]:
            say(f"note: {note}")
    return code


def _wanted(args: argparse.Namespace) -> tuple[str, Order | None]:
    """The format, and the byte order of the messages. Raises `UsageError` for what does not go together."""
    from xtcp_replay.rewriting.writers import format_of

    if args.output == "-":
        raise UsageError("OUT is the name of a file; - is none.", "A file is there when it is whole.", "Name a file.")
    form: str = args.format or format_of(args.output)
    if form not in {"pcap", "pcapng"} and args.file_order is not None:
        raise UsageError(
            "--file-order is for captures.", "Other formats have no numbers of their own.", "Leave it out."
        )
    if form != "pcap" and args.microseconds:
        raise UsageError(
            "--microseconds is for a pcap.", "Other formats say their unit, or have no times.", "Leave it out."
        )
    to = byte_order(args.to_order)
    if form == "mlab":
        if to == ">":
            raise UsageError("an m-lab archive is always little-endian.", "", "Leave --to-order out.")
        to = "<"
    return form, to


def _writer(form: str, out: WholeFile, args: argparse.Namespace, to: Order | None) -> Writer:
    from xtcp_replay.rewriting.writers import MlabFile, PcapFile, PcapngFile, SsFile

    order = byte_order(args.file_order) or to
    match form:
        case "pcap":
            return PcapFile(out, order=order, nanoseconds=not args.microseconds)
        case "pcapng":
            return PcapngFile(out, order=order)
        case "ss":
            return SsFile(out)
        case _:
            return MlabFile(out)


def _insist(file: DatagramFile, lines: list[str], path: str) -> None:
    """Raises at the first thing that is not whole."""
    tally = file.tally
    if not lines and not tally.quarantined and not tally.damaged:
        return
    what = lines[0] if lines else f"{path}: {tally.faults[0].reason}."
    raise DamagedInput(
        what,
        "With --strict nothing of a damaged file is written.",
        "Leave --strict out to get everything that is whole.",
    )


class _Hosts:
    """What the file says of the host, as far as a side-car can say it again: kernel release, host name, namespace."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str | None, str | None]] = set()

    def see(self, interface: Interface) -> None:
        """Takes the interface of a datagram that is written."""
        if len(self._seen) < 2:
            self._seen.add((interface.release, interface.hostname, interface.netns))

    def write(self, path: str, form: str) -> list[str]:
        """Writes the side-car of OUT where its format has no place for what is known; returns what is to be noted."""
        from xtcp.schema.layout import kernel_release
        from xtcp_replay.reading.sidecar import SUFFIX
        from xtcp_replay.rewriting.whole_file import WholeFile

        if not Path(path).is_file():
            return []
        known = {facts for facts in self._seen if any(facts)}
        if form != "pcapng" and known and len(self._seen) == 1:
            release, hostname, netns = known.pop()
            values = {"kernel_release": release, "hostname": hostname, "netns": netns}
            if kernel_release(release) is None:
                del values["kernel_release"]
            text = "".join(f"{key} = {_quoted(value)}\n" for key, value in values.items() if value)
            with WholeFile(path + SUFFIX) as sidecar:
                sidecar.write(text.encode())
            return [f"{path}{SUFFIX} says what the format cannot: {', '.join(v for v in values.values() if v)}"]
        notes = []
        if form != "pcapng" and known:
            notes.append("names and kernels of several hosts are lost: only a pcapng can say them")
        if Path(path + SUFFIX).exists():
            notes.append(f"{path}{SUFFIX} was there before, and is read with {path}")
        return notes


def _quoted(text: str) -> str:
    """As a basic string of TOML, whose escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _summary(path: str, file: DatagramFile, conversion: Conversion, writer: Writer) -> None:
    written = [f"{count:,} {what}" for what, count in writer.written.items()] or ["nothing"]
    if "rows" not in writer.written:
        written.append(f"{file.tally.rows:,} rows")
    dumps = file.contents.numbered
    text = f"{path}: {', '.join(written)}, {dumps:,} dump{'s' if dumps != 1 else ''} read"
    if conversion.turned:
        text += f", {conversion.turned:,} datagrams turned to {'big' if conversion.to == '>' else 'little'}-endian"
    left_out = conversion.left_out + writer.left_out
    say(text + (f"; left out: {_counted(left_out)}" if left_out else ""))


def _remarks(conversion: Conversion, writer: Writer) -> list[str]:
    """What is not as it was."""
    remarks = [f"{what}: {count:,}" for what, count in writer.remarks.items()]
    if conversion.kept:
        remarks.append(
            f"not turned round, because nobody knows where a number begins in them: {_counted(conversion.kept)}"
        )
        if "the end of tcp_info" in conversion.kept:
            remarks.append(
                "6.18 and 7.0 lay out the end of tcp_info differently: give --kernel-release to turn it round"
            )
    return remarks


def _counted(counts: Counter[str]) -> str:
    shown = [f"{what} {count:,}" for what, count in counts.most_common(8)]
    return ", ".join(shown) + (f" and {len(counts) - 8:,} kinds more" if len(counts) > 8 else "")
