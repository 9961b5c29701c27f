"""Does a decoded row agree with what ss printed for the same socket?

In: the text of ``TCPDIAG_FILE=dump ss -tinmaeO`` or of a live ss, with or without header, one line a socket or indented
continuation lines; rows as mappings by our column names (see ss_print_rules). Out: ``Line`` objects, pairs of line and
row, and differences by token. Every token of the text must be explained by the row, and everything that ss prints by
rule must be in the text. Nothing is decoded here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from xtcp_replay.judging.witnesses.ss_formats import Row, Texts, address_texts, integer
from xtcp_replay.judging.witnesses.ss_print_rules import GROUPS, TOKENS, rules_for
from xtcp_replay.judging.witnesses.testimony import Difference

STATES: Final = frozenset((
    "UNKNOWN", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "UNCONN", "CLOSE-WAIT",
    "LAST-ACK", "LISTEN", "CLOSING",
))  # fmt: skip

_TOKEN: Final = re.compile(
    r"""users:\(\(.*?\)\)(?=\s|$)                          # a process name may hold blanks
      | (?:inet-sockopt):\s*\([^)]*\)
      | (?:send|pacing_rate|delivery_rate|(?:version|cipher|rxconf|txconf):)\s+\S+
      | \S+""",
    re.VERBOSE,
)
_NAME: Final = re.compile(r"(?:send|pacing_rate|delivery_rate) |[a-z0-9_-]+:(?: |(?=\S|$))|tcp-ulp-")


class Address(NamedTuple):
    """An address as ss wrote it, without the scope; ``port`` is 0 for ``*``, ``scope`` is "" without one."""

    text: str
    port: int
    scope: str


@dataclass(frozen=True, slots=True)
class Line:
    """One socket of the text: the fixed columns, and the other tokens in ss's order (a name and its value together)."""

    state: str
    recv_q: int
    send_q: int
    local: Address
    peer: Address
    tokens: tuple[str, ...]
    netid: str = ""

    @property
    def cookie(self) -> int | None:
        """The socket's cookie, None when ss was not asked for details (-e)."""
        for token in self.tokens:
            if token.startswith("sk:"):
                return int(token[3:], 16)
        return None


def parse(text: str) -> list[Line]:
    """All sockets of an ss text, in its order. Raises ValueError with the line number where a line is no socket's."""
    joined: list[tuple[int, str]] = []
    # ss writes MD5 keys past its own buffer of columns: all keys stand in front of the first line (misc/ss.c).
    begins = re.search(r"\b(?:Netid|State)\s|\b(?:" + "|".join(map(re.escape, STATES)) + r")\s+\d", text)
    for number, raw in enumerate(text[begins.start() if begins else 0 :].splitlines(), 1):
        if not raw.strip() or raw.split()[0] in ("State", "Netid"):
            continue
        if raw[0].isspace():
            if not joined:
                raise ValueError(f"line {number}: a continuation without a socket before it")
            joined[-1] = (joined[-1][0], f"{joined[-1][1]} {raw}")
        else:
            joined.append((number, raw))
    return [_line(number, raw) for number, raw in joined]


def _line(number: int, raw: str) -> Line:
    fields = raw.split(maxsplit=6)
    netid = "" if fields[0] in STATES else fields.pop(0)
    try:
        state, recv_q, send_q, local, peer = fields[:5]
        rest = " ".join(fields[5:])
        tokens = tuple(re.sub(r"\s+", " ", token) for token in _TOKEN.findall(rest))
        if state not in STATES:
            raise ValueError(f"unknown state {state!r}")
        return Line(state, int(recv_q), int(send_q), _address(local), _address(peer), tokens, netid)
    except ValueError as error:
        raise ValueError(f"line {number}: not a socket as ss -n prints it ({error}): {raw[:120]!r}") from error


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    host, _, scope = host.partition("%")
    return Address(host, 0 if port == "*" else int(port), scope)


def token_name(token: str) -> str:
    """The key of a token in ``TOKENS``; a bare word that is no flag can only be the congestion control ("cong")."""
    if found := _NAME.match(token):
        return found.group()
    if re.fullmatch(r"[<-]-[>-]", token):
        return "<->"
    return token if token in TOKENS or token in ("fallback", "remote_key") else "cong"


def groups_shown(lines: Iterable[Line]) -> frozenset[str]:
    """The option groups that the text as a whole has tokens of, hence the options ss was called with."""
    names = {token_name(token) for line in lines for token in line.tokens}
    return frozenset(TOKENS[name].group for name in names if name in TOKENS)


def compare(
    line: Line, row: Row, *, groups: Collection[str] = GROUPS, unprinted: Collection[str] = ()
) -> tuple[int, list[Difference]]:
    """How many texts of `line` were compared with `row`, and what the two do not agree on, by token.

    ``groups`` are the option groups ss was called with (``groups_shown``); only their tokens are missed when absent.
    ``unprinted`` are names of tokens that this release of ss does not know ("rcv_wnd:"). What neither prints nor has
    is not counted. Raises KeyError or TypeError for a row without the fixed columns or with a value of another type.
    """
    fixed = _fixed_columns(line, row)
    found = [Difference(name, ours, theirs) for name, ours, theirs in fixed if theirs not in ours]
    compared = len(fixed)
    rules = rules_for(row)
    counts: Counter[str] = Counter()
    for token in line.tokens:
        name = token_name(token)
        counts[name] += 1
        if name == "users:":
            continue
        if name not in rules:
            found.append(Difference(name, (), token))
            continue
        texts = rules[name].values(row)
        value = token if name in ("cong", "<->") else token.removeprefix(name)
        exact = rules[name].exact or value.startswith("unreachable:")
        compared += exact
        if not texts or (exact and value not in texts):
            found.append(Difference(name, texts, value))
        # -e and --cgroup both print the control group
        if counts[name] == (3 if name == "cgroup:" else 2):
            found.append(Difference(name, texts, f"{value} once more"))
    for name, rule in rules.items():
        missed = name not in counts and rule.group in groups and name not in unprinted
        if missed and (texts := rule.values(row)):
            found.append(Difference(name, texts, None))
    return compared, found


FIXED_COLUMNS: Final = frozenset({
    "idiag_state", "idiag_rqueue", "idiag_wqueue", "idiag_src", "idiag_sport", "idiag_if", "idiag_dst", "idiag_dport",
})  # fmt: skip
"""What is compared of every line."""


def _fixed_columns(line: Line, row: Row) -> list[tuple[str, Texts, str]]:
    """The columns that every line has: name, what the row gives, what ss printed."""
    scope = ("with a scope", "without a scope")
    return [
        ("State:", (str(row["idiag_state"]),), line.state),
        ("Recv-Q:", (str(integer(row, "idiag_rqueue")),), str(line.recv_q)),
        ("Send-Q:", (str(integer(row, "idiag_wqueue")),), str(line.send_q)),
        ("Local Address:", address_texts(row, "idiag_src"), line.local.text),
        ("Local Port:", (str(integer(row, "idiag_sport")),), str(line.local.port)),
        ("Scope:", (scope[not integer(row, "idiag_if")],), scope[not line.local.scope]),
        ("Peer Address:", address_texts(row, "idiag_dst"), line.peer.text),
        ("Peer Port:", (str(integer(row, "idiag_dport")),), str(line.peer.port)),
    ]


Key = tuple[object, ...]


def rows_by_key(rows: Iterable[Row], *, by_cookie: bool = True) -> dict[Key, list[Row]]:
    """Rows by cookie, or by (state, local address, port, peer address, port); several rows may share a key."""
    found: dict[Key, list[Row]] = {}
    for row in rows:
        found.setdefault(_row_key(row, by_cookie), []).append(row)
    return found


def _row_key(row: Row, by_cookie: bool) -> Key:
    if by_cookie:
        return (integer(row, "idiag_cookie"),)
    local, peer = address_texts(row, "idiag_src")[0], address_texts(row, "idiag_dst")[0]
    return (row["idiag_state"], local, integer(row, "idiag_sport"), peer, integer(row, "idiag_dport"))


def _line_key(line: Line, by_cookie: bool) -> Key:
    if by_cookie:
        return (line.cookie,)
    return (line.state, line.local.text, line.local.port, line.peer.text, line.peer.port)


@dataclass(frozen=True, slots=True)
class Matching:
    """Pairs of the same socket, and what has no partner: lines without a row, rows without a line."""

    pairs: tuple[tuple[Line, Row], ...]
    lines: tuple[Line, ...]
    rows: tuple[Row, ...]


def match(lines: Sequence[Line], rows: Iterable[Row]) -> Matching:
    """Pair each line with a row: by cookie when every line shows one (ss -e), else by state and both ends.

    Where several rows share a key, a line takes the one with which it disagrees least.
    """
    by_cookie = all(line.cookie is not None for line in lines)
    left = rows_by_key(rows, by_cookie=by_cookie)
    pairs: list[tuple[Line, Row]] = []
    alone: list[Line] = []
    for line in lines:
        candidates = left.get(_line_key(line, by_cookie))
        if not candidates:
            alone.append(line)
            continue
        best = 0
        if len(candidates) > 1:
            scores = [len(compare(line, row, groups=())[1]) for row in candidates]
            best = scores.index(min(scores))
        pairs.append((line, candidates.pop(best)))
    return Matching(tuple(pairs), tuple(alone), tuple(row for rest in left.values() for row in rest))
