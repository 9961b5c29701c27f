"""ss, which reads stored netlink messages: ``TCPDIAG_FILE=dump ss``.

It reads its host's byte order, one dump of TCP sockets, and stops at the first NLMSG_DONE; it prints one socket behind
the other, so that the n-th line is that of the n-th message. Source: iproute2 misc/ss.c, tcp_show_netlink_file.
"""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Iterator, Sequence
from tempfile import NamedTemporaryFile
from typing import Final

from xtcp.chunk import NATIVE, Chunk
from xtcp.decode.reference import decode as decode_plainly
from xtcp.netlink.numbers import NLM_F_MULTI, NLMSG_DONE
from xtcp.schema.inet_diag import IPPROTO_TCP
from xtcp_replay.judging.known_faults import LONG, MPTCP, STATE
from xtcp_replay.judging.subjects import told_row
from xtcp_replay.judging.witnesses.made_up import socket_with_everything
from xtcp_replay.judging.witnesses.programs import output_of
from xtcp_replay.judging.witnesses.ss_print_rules import (
    CGROUP,
    DETAILS,
    INFO,
    LATER_TOKENS,
    MEMORY,
    SOCKOPT,
    TIMER,
    TOS,
    rules_for,
)
from xtcp_replay.judging.witnesses.ss_text import FIXED_COLUMNS, STATES, Line, compare, match, parse, token_name
from xtcp_replay.judging.witnesses.testimony import Answer, Difference, Subject, WitnessFailed

_OPTIONS: Final = ("-t", "-i", "-n", "-m", "-a", "-e", "-o")
_LATER_OPTIONS: Final = {"--oneline": "", "--tos": TOS, "--inet-sockopt": SOCKOPT}
_BUFFER: Final = 16 << 10
_VERSION: Final = re.compile(r"iproute2-\S*?(\d+\.\d+(?:\.\d+)?)|iproute2-(\S+)")


def find() -> Ss | None:
    """The witness, None where ss is not installed. Raises `WitnessFailed` where it is, and does not work."""
    path = shutil.which("ss")
    return None if path is None else Ss(path)


def columns() -> frozenset[str]:
    """The columns that a text of ss depends on, of a socket that has all: those that it can bear witness to."""
    row = _Watched(_made_up_row())
    for rule in rules_for(row).values():
        rule.values(row)
    return frozenset(row.read | FIXED_COLUMNS) - {"tcpi_state"}


class _Watched(dict[str, object]):
    """A row that remembers which of its columns were read."""

    def __init__(self, row: dict[str, object]) -> None:
        super().__init__(row)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> object:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: object = None) -> object:
        self.read.add(name)
        return super().get(name, default)


def _made_up_row() -> dict[str, object]:
    """What the reference decoder makes of the made-up socket."""
    ((raw,), _) = decode_plainly(Chunk.of(socket_with_everything()))
    return told_row(raw)


class Ss:
    """A `Witness`."""

    name: Final = "ss"
    reads_any_order: Final = False

    def __init__(self, path: str, timeout_s: float | None = None) -> None:
        self._path = path
        self._timeout_s = timeout_s
        said = output_of([path, "-V"], timeout_s=timeout_s)
        found = _VERSION.search(said)
        self.version = (found[1] or found[2]) if found else said.strip()[:40]
        help_text = output_of([path, "--help"], timeout_s=timeout_s)
        later = [option for option in _LATER_OPTIONS if option in help_text]
        self._options = (*_OPTIONS, *later)
        # -e shows the control group too, in releases that know it.
        self._groups = {TIMER, DETAILS, MEMORY, INFO, CGROUP, *map(_LATER_OPTIONS.__getitem__, later)} - {""}
        self._unprinted = self._find_unprinted()
        names = ", ".join(sorted(name.strip(": ") for name in self._unprinted))
        self.notes: Sequence[str] = (f"this ss does not print {names}",) if names else ()

    def answers(self, subjects: Sequence[Subject]) -> Iterator[Answer]:
        """As `Witness` says."""
        asked = []
        for subject in subjects:
            unasked = _unasked(subject)
            if unasked:
                yield Answer(subject, unasked=unasked)
            else:
                asked.append(subject)
        if not asked:
            return
        lines = self._lines([subject.native() for subject in asked])
        if len(lines) == len(asked):
            for subject, line in zip(asked, lines, strict=True):
                yield self._compared(subject, line)
            return
        yield from self._unequal(asked, lines)

    def _unequal(self, asked: Sequence[Subject], lines: Sequence[Line]) -> Iterator[Answer]:
        """Not as many lines as messages: those of the same cookie belong together."""
        by_row = {id(subject.row): subject for subject in asked}
        matching = match(lines, [subject.row for subject in asked])
        for line, row in matching.pairs:
            yield self._compared(by_row[id(row)], line)
        for row in matching.rows:
            yield Answer(by_row[id(row)], 1, [Difference("socket", ("there",), None)])
        for line in matching.lines:
            yield Answer(asked[0], 1, [Difference("socket", (), f"one more: {' '.join(line.tokens)[:80]}")])

    def _compared(self, subject: Subject, line: Line) -> Answer:
        values, found = compare(line, subject.row, groups=self._groups, unprinted=self._unprinted)
        return Answer(subject, values, found)

    def _lines(self, messages: Sequence[bytes]) -> list[Line]:
        """What it prints of messages, each ending at a multiple of 4. Raises `WitnessFailed`."""
        with NamedTemporaryFile() as dump:
            for message in messages:
                dump.write(message + bytes(-len(message) % 4))
            dump.write(struct.pack(NATIVE + "IHHIIi", 20, NLMSG_DONE, NLM_F_MULTI, 0, 0, 0))
            dump.flush()
            text = output_of([self._path, *self._options], more={"TCPDIAG_FILE": dump.name}, timeout_s=self._timeout_s)
        try:
            return parse(text)
        except ValueError as error:
            raise WitnessFailed(f"it prints what is no socket: {error}") from error

    def _find_unprinted(self) -> frozenset[str]:
        """The tokens that came with later releases than this one, which prints them of no socket."""
        message = socket_with_everything()
        row = _made_up_row()
        lines = self._lines([message])
        if len(lines) != 1 or lines[0].state != "ESTAB":
            raise WitnessFailed(f"it prints {len(lines)} sockets for one that is made up")
        printed = {token_name(token) for token in lines[0].tokens}
        expected = {name for name, rule in rules_for(row).items() if rule.values(row)}
        return frozenset((expected - printed) & LATER_TOKENS)


def _unasked(subject: Subject) -> str:
    if subject.unasked:
        return subject.unasked
    if subject.protocol != IPPROTO_TCP:
        return MPTCP
    if subject.row["idiag_state"] not in STATES:
        return STATE
    return LONG if len(subject.message) > _BUFFER else ""
