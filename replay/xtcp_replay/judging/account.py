"""What came of asking one witness about one file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from xtcp.encode.cells import clean_text
from xtcp_replay.judging.known_faults import Case, explanation
from xtcp_replay.judging.witnesses.testimony import Answer, Difference, Subject

# Disagreements are counted without end, kept up to this many a witness and file.
KEPT: Final = 1000
_LONGEST: Final = 200


@dataclass(frozen=True)
class Disagreement:
    """One value of one socket, or of a whole dump (`socket` "", `cookie` None): `ours` and `theirs`."""

    dump: int | None
    cookie: int | None
    socket: str
    field: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        where = [f"dump {self.dump}"] if self.dump is not None else []
        if self.socket:
            where.append(self.socket)
        return f"{', '.join(where)}: {self.field}: ours {self.ours}, theirs {self.theirs}"

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass
class Account:
    """Sockets and values compared, disagreements that nothing explains (`count`; the first of them in `found`), those
    that a known fault explains and what was not asked, each by name. `missing`: the witness is not installed;
    `failure`: how it crashed, and everything else is what was compared until then. `twins` sockets were given to it in
    this host's byte order, which is not theirs.
    """

    witness: str
    version: str = ""
    missing: bool = False
    failure: str = ""
    sockets: int = 0
    values: int = 0
    twins: int = 0
    count: int = 0
    found: list[Disagreement] = field(default_factory=list)
    explained: Counter[str] = field(default_factory=Counter)
    unasked: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, answer: Answer, message: bytes) -> None:
        """One more answer of a program that was given `message`."""
        if answer.unasked:
            self.unasked[answer.unasked] += 1
            return
        self.sockets += 1
        self.values += answer.values
        for difference in answer.differences:
            subject = answer.subject
            fault = explanation(self.witness, Case(difference, subject.row, subject.order, message=message))
            if fault is not None:
                self.explained[fault.name] += 1
            else:
                self.disagree(disagreement(subject, difference))

    def disagree(self, found: Disagreement) -> None:
        """One more disagreement that nothing explains."""
        self.count += 1
        if len(self.found) < KEPT:
            self.found.append(found)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "witness": self.witness,
            "version": self.version or None,
            "installed": not self.missing,
            "failure": self.failure or None,
            "sockets": self.sockets,
            "values": self.values,
            "twins": self.twins,
            "disagreements": self.count,
            "explained": dict(sorted(self.explained.items())),
            "unasked": dict(sorted(self.unasked.items())),
            "notes": self.notes,
            "found": [found.as_dict() for found in self.found],
        }


def disagreement(subject: Subject, difference: Difference) -> Disagreement:
    """A difference with the name of its socket."""
    cookie = subject.row.get("idiag_cookie")
    ours = " or ".join(dict.fromkeys(difference.ours)) if difference.ours else "nothing"
    theirs = "nothing" if difference.theirs is None else difference.theirs
    return Disagreement(
        subject.dump,
        cookie if isinstance(cookie, int) else None,
        socket_name(subject.row),
        difference.field.strip(": ") or difference.field,
        _short(ours),
        _short(theirs),
    )


def socket_name(row: dict[str, object]) -> str:
    """`ESTAB 127.0.0.1:22 127.0.0.1:4003 cookie 4097`."""
    ends = []
    for end in ("src", "dst"):
        address = str(row.get(f"idiag_{end}", "?"))
        port = row.get(f"idiag_{end[0]}port", "?")
        ends.append(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
    return f"{row.get('idiag_state', '?')} {ends[0]} {ends[1]} cookie {row.get('idiag_cookie', '?')}"


def _short(text: str) -> str:
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in clean_text(text))
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
