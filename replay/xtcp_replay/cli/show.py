"""`xtcp-replay show`: packets and sockets of a capture, dissected to the last byte."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from xtcp.cli.command import say
from xtcp.errors import ConfigurationError, DamagedInput, ExitCode, UsageError
from xtcp.sinks.text_file import TextFile
from xtcp.spelling import visible
from xtcp_replay.cli.filters import add_filter_options, filters
from xtcp_replay.cli.reading import add_reading_options, open_named_bytes, told

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp_replay.layers.blocks import Style
    from xtcp_replay.layers.details import Line
    from xtcp_replay.layers.pieces import Piece

_EXAMPLES = """\
examples:
  xtcp-replay show nlmon.pcap                          the first messages, all their bytes
  xtcp-replay show nlmon.pcap --packet 3,7-9           these packets, by the number that Wireshark gives them
  xtcp-replay show nlmon.pcapng --port 443 --states ESTAB --limit 3
  xtcp-replay show nlmon.pcap --cookie 4711 --hex      one socket in all dumps, with its bytes
"""
_LIMIT: Final = 10
_LEFT: Final = 38
_VALUE: Final = 28
_NS: Final = 1_000_000_000
_STYLES: Final = {"head": "1", "odd": "31", "note": "33", "member": ""}
_DIM: Final = "2"


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    parser = verbs.add_parser(
        "show",
        help="packets and sockets, byte by byte",
        description="Dissects messages of a capture, a raw dump or an archive: each byte with its place in the file "
        "and in the packet, names and units of the kernel's structs, and in hexadecimal digits what is not understood.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="the capture; - for standard input")
    group = parser.add_argument_group("what is shown")
    group.add_argument(
        "--packet",
        type=_packets,
        metavar="N[-M],…",
        help="packets by their number from 1; messages, where the file has no packets",
    )
    group.add_argument(
        "--cookie", type=_cookies, metavar="N,…", help="sockets: 4711, 0x1267, or sk:1267 as ss -e has it"
    )
    group.add_argument(
        "--limit",
        type=_limit,
        metavar="N",
        help=f"at most N messages (default: {_LIMIT}, and no limit with --packet or --cookie)",
    )
    group.add_argument("--all", action="store_true", help="without limit")
    group.add_argument("--hex", action="store_true", help="all bytes, too")
    group.add_argument("--md5-keys", action="store_true", help="do not hide the keys of INET_DIAG_MD5SIG")
    group.add_argument("-q", "--quiet", action="store_true", help="no notes, only warnings")
    add_filter_options(parser)
    add_reading_options(parser)
    parser.set_defaults(handler=_show)


def _packets(text: str) -> list[range]:
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,12})(?:-(\d{1,12}))?", part.strip(), re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last:
            raise argparse.ArgumentTypeError(f"{part!r} is no packet; write N or N-M, from 1")
        found.append(range(first, last + 1))
    return found


def _cookies(text: str) -> frozenset[int]:
    try:
        return frozenset(int(c[3:], 16) if c.startswith("sk:") else int(c, 0) for c in text.replace(" ", "").split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no cookie; write 4711, 0x1267 or sk:1267") from None


def _limit(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,11}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of messages; write 1 or more")
    return int(text)


def _show(args: argparse.Namespace) -> int:
    if args.strict:
        _insist(args)
    output = TextFile("-")
    showing = _Showing(args)
    for piece in showing.pieces():
        for text in showing.texts(piece):
            output.write(text)
    output.flush()
    return showing.end()


def _insist(args: argparse.Namespace) -> None:
    """Reads everything once and raises at the first thing that is not whole."""
    if args.file == "-" or (Path(args.file).exists() and not Path(args.file).is_file()):
        raise UsageError(
            "--strict reads its input twice, which a pipe cannot give.", "", "Save it to a file, and name that."
        )
    showing = _Showing(args)
    for piece in showing.pieces():
        showing.chosen(piece)
    if showing.damaged:
        what = showing.damage[0] if showing.damage else f"{args.file}: {showing.tally.faults[0].reason}."
        raise DamagedInput(what, "With --strict nothing of a damaged file is shown.", "Leave --strict out.")


class _Showing:
    """One reading of the file: which messages are shown, and how."""

    def __init__(self, args: argparse.Namespace) -> None:
        from xtcp.batch import Tally
        from xtcp.decode.decoder import Decoder

        self._args = args
        self._style = _style(args)
        self._keep = filters(args)
        self._sockets = self._keep.active or args.cookie is not None
        self._decoder = Decoder(self._keep.columns | {"idiag_cookie"})
        self._left = args.limit or _LIMIT
        if args.all or (args.limit is None and (args.packet or args.cookie)):
            self._left = 1 << 62
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self._coloured = sys.stdout is not None and sys.stdout.isatty() and not plain
        self._begun = False
        self.shown = self.passed = 0
        self.damage: list[str] = []
        self.notes: list[str] = []
        self.tally = Tally()

    @property
    def damaged(self) -> bool:
        """Whether anything of the file is not whole."""
        return bool(self.damage or self.tally.quarantined or self.tally.damaged)

    def pieces(self) -> Iterator[Piece]:
        """All of the file."""
        from xtcp_replay.layers.pieces import pieces
        from xtcp_replay.reading.findings import Findings
        from xtcp_replay.reading.sidecar import with_sidecar

        damage, notes = Findings(self.damage), Findings(self.notes)
        said = with_sidecar(self._args.file, told(self._args, self._args.file))
        with open_named_bytes(self._args, self._args.file, damage) as source:
            yield from pieces(source, said, damage, notes, self.damage)

    def chosen(self, piece: Piece) -> frozenset[int] | None:
        """Offsets of the messages that the options choose, in the messages of the piece; None: all of it."""
        offsets: frozenset[int] = frozenset()
        if piece.rows:
            batch = self._decoded(piece)
            self.tally.add(batch.tally)
            if self._sockets:
                offsets = self._offsets(batch)
        if self._args.packet is not None and not any(piece.number in numbers for numbers in self._args.packet):
            return frozenset()
        if self._sockets:
            return offsets
        # What other programs talked about on the same monitor is shown where it is named.
        return None if piece.order is not None or self._args.packet is not None else frozenset()

    def _decoded(self, piece: Piece) -> Batch:
        from xtcp.chunk import Chunk, Context

        return self._decoder.decode(Chunk.of(_netlink(piece), context=piece.context or Context()))

    def _offsets(self, batch: Batch) -> frozenset[int]:
        batch = self._keep(batch)
        if not batch.rows:
            return frozenset()
        pairs = zip(batch.columns["idiag_cookie"].tolist(), batch.position.tolist(), strict=True)
        return frozenset(at for cookie, at in pairs if self._args.cookie is None or cookie in self._args.cookie)

    def texts(self, piece: Piece) -> Iterator[str]:
        """The text of the chosen messages of a piece, as far as the limit allows."""
        offsets = self.chosen(piece)
        if offsets is not None and not offsets:
            return
        if not self._left:
            self.passed += _count(piece) if offsets is None else len(offsets)
            return
        blocks = self._blocks(piece, offsets)
        taken = blocks[: self._left]
        self._left -= len(taken)
        self.shown += len(taken)
        self.passed += len(blocks) - len(taken)
        yield "\n" * self._begun + self._title(piece)
        self._begun = True
        for lines in taken:
            for line in lines:
                yield self._text(line, piece.at)

    def _blocks(self, piece: Piece, offsets: frozenset[int] | None) -> list[list[Line]]:
        from xtcp_replay.layers.blocks import blocks

        return blocks(piece, self._style, offsets)

    def _title(self, piece: Piece) -> str:
        parts = [f"packet {piece.number}" if piece.cooked else f"message {piece.number}"]
        parts[0] += f" at byte {piece.at:,}" if piece.at is not None else ""
        cut = f" of {piece.wirelen:,}" if piece.wirelen > len(piece.data) else ""
        parts.append(f"{len(piece.data):,}{cut} bytes")
        if piece.time_ns is not None:
            parts.append(_time(piece.time_ns))
        if piece.context is not None and piece.context.dump:
            parts.append(f"dump {piece.context.dump}")
        if piece.asking is not None and piece.asking.dump:
            parts.append(f"the request of dump {piece.asking.dump}")
        if piece.order is not None:
            parts.append("little-endian" if piece.order == "<" else "big-endian")
        if piece.release:
            parts.append(f"kernel {piece.release}")
        return self._styled(visible(", ".join(parts)), "1;4") + "\n"

    def _text(self, line: Line, base: int | None) -> str:
        places = f"{line.at:04x}" if base is None else f"{base + line.at:08x}  {line.at:04x}"
        left = "  " * line.depth + line.name
        value, said = visible(line.value), visible(line.said)
        if said:
            left = f"{left:<{_LEFT}}"
            value = f" {value:<{_VALUE}}" if value or line.kind == "member" else ""
        elif value:
            value = f"{'':{max(_LEFT - len(left), 0)}} {value}" if line.name else value
        said = f" {self._styled(said, _DIM)}" if said else ""
        text = self._styled(left + value, _STYLES[line.kind])
        return f"{self._styled(places, _DIM)}  {text}{said}".rstrip() + "\n"

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._coloured and style and text else text

    def end(self) -> int:
        """Says what was not shown, and why; the exit code."""
        for text in self.damage:
            say(f"warning: {text}")
        counts = [f"{self.tally.quarantined:,} quarantined"] * bool(self.tally.quarantined)
        counts += [f"{self.tally.damaged:,} kept up to a damaged attribute"] * bool(self.tally.damaged)
        if counts:
            say(f"warning: not all messages are whole: {', '.join(counts)}")
        if self.passed:
            say(f"note: {self.shown:,} of {self.shown + self.passed:,} messages shown; --all shows all, --limit N more")
        if not self._args.quiet:
            for note in self.notes:
                say(f"note: {note}")
            if not self.shown:
                say("note: no message was chosen")
        return ExitCode.DAMAGED if self.damaged else ExitCode.OK


def _style(args: argparse.Namespace) -> Style:
    """What is shown beside the dissection. Raises `ConfigurationError` where scapy is not installed."""
    # Its warnings are about what is shown here, and say neither file nor place.
    logging.getLogger("scapy").setLevel(logging.ERROR)
    try:
        from xtcp_replay.layers.blocks import Style
    except ImportError as error:
        raise ConfigurationError(
            "Messages are dissected with scapy, which is not installed here.",
            "Usually xtcp was installed without its extra for captures.",
            "Install it: pip install 'xtcp[replay]'",
        ) from error
    return Style(args.md5_keys, args.hex)


def _netlink(piece: Piece) -> bytes:
    from xtcp_replay.layers.cooked import COOKED_LEN

    return piece.data[COOKED_LEN:] if piece.cooked else piece.data


def _count(piece: Piece) -> int:
    """How many messages a piece has, at least one."""
    from xtcp.netlink.byte_order import plausible_messages

    return max(plausible_messages(_netlink(piece), piece.order or "<"), 1)


def _time(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, _NS)
    with suppress(ValueError, OverflowError, OSError):
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"
    return f"{seconds}.{rest:09} s"
