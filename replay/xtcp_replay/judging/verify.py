"""Verifying a capture: what the production decoder makes of it, against all that can read it too.

Ours is judged by ours first, everything in the file: by the reference decoder; by the lockstep walk, which uses no
templates; by itself with the templates that it has learned of the same bytes. Then by other programs (`witnesses`),
block by block of `BLOCK` sockets, so that memory does not grow with the file; they are slow, hence `limit`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

import numpy as np

from xtcp.batch import Batch, Tally
from xtcp.chunk import NATIVE, Chunk
from xtcp.decode.decoder import Decoder
from xtcp.decode.reference import decode as decode_plainly
from xtcp.errors import ConfigurationError
from xtcp_replay.judging.account import Account, Disagreement, socket_name
from xtcp_replay.judging.known_faults import BEYOND_LIMIT
from xtcp_replay.judging.subjects import RawRow, raw_rows, subjects_of, told_row
from xtcp_replay.judging.witnesses import pyroute2_diag, ss, tshark
from xtcp_replay.judging.witnesses.testimony import Subject, Witness, WitnessFailed
from xtcp_replay.reading.opening import ReplaySource

BLOCK: Final = 1000

REFERENCE, LOCKSTEP, TEMPLATES = "reference", "lockstep", "templates"
OWN: Final = (REFERENCE, LOCKSTEP, TEMPLATES)
PROGRAMS: Final[dict[str, Callable[[], Witness | None]]] = {
    "ss": ss.find,
    "pyroute2": pyroute2_diag.find,
    "tshark": tshark.find,
}
INSTALL: Final = {
    "ss": "apt-get install iproute2",
    "pyroute2": "pip install 'xtcp[netns]'",
    "tshark": "apt-get install tshark",
}


@dataclass
class Verdict:
    """What verifying one file found: the rows that production decoded, its tally, an account a witness."""

    rows: int = 0
    dumps: int = 0
    tally: Tally = field(default_factory=Tally)
    accounts: list[Account] = field(default_factory=list)

    @property
    def values(self) -> int:
        """Values compared, by all witnesses."""
        return sum(account.values for account in self.accounts)

    @property
    def disagreements(self) -> int:
        """Disagreements that nothing explains."""
        return sum(account.count for account in self.accounts)

    @property
    def sockets(self) -> int:
        """Sockets that at least one witness was asked about."""
        return max((account.sockets for account in self.accounts), default=0)

    @property
    def failed(self) -> bool:
        """Whether a witness crashed."""
        return any(account.failure for account in self.accounts)


class Witnesses:
    """Who is asked, found once for all files: `names` of `OWN` and `PROGRAMS`, or all that are here (None).

    Raises `ConfigurationError` where one that is named is not installed. One that does not work is kept with how it
    failed.
    """

    def __init__(self, names: Collection[str] | None = None) -> None:
        self.own = tuple(name for name in OWN if names is None or name in names)
        self._found: dict[str, Witness | WitnessFailed | None] = {}
        for name in PROGRAMS if names is None else [name for name in PROGRAMS if name in names]:
            try:
                witness = PROGRAMS[name]()
            except WitnessFailed as failure:
                self._found[name] = failure
                continue
            if witness is None and names is not None:
                raise ConfigurationError(
                    f"{name} is not installed, and it was named as a witness.",
                    "",
                    f"Install it ({INSTALL[name]}), or leave --witness out to ask those that are here.",
                )
            self._found[name] = witness

    def accounts(self) -> list[tuple[Witness | None, Account]]:
        """A new account for each, with the witness where it can be asked."""
        made: list[tuple[Witness | None, Account]] = []
        for name, found in self._found.items():
            if found is None:
                made.append((None, Account(name, missing=True)))
            elif isinstance(found, WitnessFailed):
                made.append((None, Account(name, failure=str(found))))
            else:
                made.append((found, Account(name, found.version, notes=list(found.notes))))
        return made


def verify(source: ReplaySource, witnesses: Witnesses, *, limit: int | None = None) -> Verdict:
    """Verifies all of `source`; other programs are asked about `limit` sockets a dump (None: all). Raises as
    `source.chunks` does.
    """
    return _Verification(witnesses, limit).run(source)


class _Verification:
    def __init__(self, witnesses: Witnesses, limit: int | None) -> None:
        self._limit = limit
        self._verdict = Verdict()
        self._own = {name: Account(name) for name in witnesses.own}
        self._programs = witnesses.accounts()
        self._verdict.accounts = [*self._own.values(), *(account for _, account in self._programs)]
        self._production = Decoder()
        self._lockstep = Decoder(templates=False)
        self._pending: list[Subject] = []

    def run(self, source: ReplaySource) -> Verdict:
        verdict = self._verdict
        dump: int | None = None
        asked = 0
        for chunk in source.chunks():
            if chunk.context.dump != dump or not verdict.dumps:
                dump, asked = chunk.context.dump, 0
                verdict.dumps += 1
            batch = self._production.decode(chunk)
            verdict.rows += batch.rows
            verdict.tally.add(batch.tally)
            self._judge(chunk, batch)
            asked += self._ask(chunk, batch, None if self._limit is None else self._limit - asked)
        self._flush()
        return verdict

    def _judge(self, chunk: Chunk, batch: Batch) -> None:
        """By our own decoders, all rows."""
        if TEMPLATES in self._own:
            _compare_batches(self._own[TEMPLATES], batch, self._production.decode(chunk))
        if LOCKSTEP in self._own:
            _compare_batches(self._own[LOCKSTEP], batch, self._lockstep.decode(chunk))
        if REFERENCE in self._own:
            theirs, tally = decode_plainly(chunk)
            _compare_tallies(self._own[REFERENCE], batch, tally)
            _compare_rows(self._own[REFERENCE], batch, raw_rows(batch), theirs)

    def _ask(self, chunk: Chunk, batch: Batch, most: int | None) -> int:
        """Other programs, about the first `most` rows (None: all); returns how many."""
        programs = [account for witness, account in self._programs if witness is not None]
        count = batch.rows if most is None else min(batch.rows, most)
        for account in programs:
            if batch.rows > count:
                account.unasked[BEYOND_LIMIT] += batch.rows - count
        if not programs or not count:
            return count
        for begin in range(0, count, BLOCK):
            self._pending += subjects_of(chunk, batch, slice(begin, min(count, begin + BLOCK)))
            if len(self._pending) >= BLOCK:
                self._flush()
        return count

    def _flush(self) -> None:
        subjects, self._pending = self._pending, []
        if not subjects:
            return
        for i, (witness, account) in enumerate(self._programs):
            if witness is None:
                continue
            if not witness.reads_any_order:
                account.twins += sum(subject.order != NATIVE for subject in subjects)
            try:
                for answer in witness.answers(subjects):
                    subject = answer.subject
                    account.add(answer, subject.message if witness.reads_any_order else subject.native())
            except (WitnessFailed, OSError) as failure:
                # It is not asked again: the next may hang as long. An OSError is one of the files made for it.
                account.failure = str(failure)
                self._programs[i] = (None, account)


def _compare_batches(account: Account, ours: Batch, theirs: Batch) -> None:
    """Two batches of one chunk: array by array, and row by row only where those differ."""
    _compare_tallies(account, ours, theirs.tally)
    a, b = ours.in_order(), theirs.in_order()
    if _equal(a, b):
        account.sockets += a.rows
        account.values += _cells(a)
        return
    _compare_rows(account, ours, raw_rows(a), raw_rows(b))


def _equal(a: Batch, b: Batch) -> bool:
    return (
        a.rows == b.rows
        and a.columns.keys() == b.columns.keys()
        and a.valid.keys() == b.valid.keys()
        and all(np.array_equal(column, b.columns[name]) for name, column in a.columns.items())
        and all(np.array_equal(mask, b.valid[name]) for name, mask in a.valid.items())
    )


def _cells(batch: Batch) -> int:
    return sum(
        int(np.count_nonzero(batch.valid[name])) if name in batch.valid else batch.rows for name in batch.columns
    )


def _compare_tallies(account: Account, ours: Batch, theirs: Tally) -> None:
    """Everything that is counted beside rows."""
    for member in dataclasses.fields(Tally):
        a, b = getattr(ours.tally, member.name), getattr(theirs, member.name)
        account.values += 1
        if a != b:
            account.disagree(Disagreement(ours.context.dump, None, "", f"tally.{member.name}", repr(a), repr(b)))


def _compare_rows(account: Account, batch: Batch, ours: Sequence[RawRow], theirs: Sequence[RawRow]) -> None:
    """The n-th rows of both, column by column where they differ."""
    dump = batch.context.dump
    for mine, other in zip_longest(ours, theirs):
        account.sockets += 1
        if mine is None or other is None:
            there = told_row(mine or other or {})
            names = ("there", "nothing") if other is None else ("nothing", "there")
            account.disagree(Disagreement(dump, _cookie(there), socket_name(there), "row", *names))
            continue
        names_of_both = mine.keys() | other.keys()
        account.values += len(names_of_both)
        if mine == other:
            continue
        row = told_row(mine)
        for name in sorted(names_of_both):
            if mine.get(name) != other.get(name):
                texts = (_text(name, mine.get(name)), _text(name, other.get(name)))
                account.disagree(Disagreement(dump, _cookie(row), socket_name(row), name, *texts))


def _cookie(row: dict[str, object]) -> int | None:
    cookie = row.get("idiag_cookie")
    return cookie if isinstance(cookie, int) else None


def _text(name: str, value: int | bytes | None) -> str:
    """A value for people; of keys only that there are some."""
    if value is None:
        return "absent"
    if isinstance(value, int):
        return str(value)
    return f"{len(value)} bytes" if name == "md5sig" else value.hex() or "empty"
