"""Unique rows: whatever cookies come in whatever batches, each is given once, and with the right row.

A row is known by its `idiag_inode`, which no other row of a test has.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from tests.batches import batch_of
from xtcp.poll import unique as unique_module
from xtcp.poll.unique import SLOTS, SeenCookies, Unique

LAST = 2**64 - 1
POINTER = 0xFFFF_8880_1234_5000  # what kernels before 4.1 gave as a cookie

cookies = st.one_of(
    st.integers(0, 5),
    st.integers(POINTER, POINTER + 5),
    st.sampled_from((SLOTS - 1, SLOTS, SLOTS + 1, 2 * SLOTS, 2**32, 2**63 - 1, 2**63, LAST - 1, LAST)),
)


class Came(NamedTuple):
    """A row: its cookie, whether INET_DIAG_INFO came with it, its place in the chunk."""

    cookie: int
    info: bool
    position: int


@st.composite
def dumps(draw: st.DrawFn) -> list[list[Came]]:
    """Batches of rows, some empty, some without any INET_DIAG_INFO, in any order of their positions."""
    pool = draw(st.lists(cookies, min_size=1, max_size=8))
    rows = st.lists(st.tuples(st.sampled_from(pool), st.booleans()), max_size=8)
    out = []
    for batch in draw(st.lists(rows, max_size=8)):
        positions = draw(st.permutations(range(len(batch))))
        out.append([Came(*row, 4 * position) for row, position in zip(batch, positions, strict=True)])
    return out


def through(batches: Iterable[list[Came]]) -> tuple[list[list[int]], int]:
    """The inodes of each batch given, and how many rows were removed; row i of all that came has inode i."""
    unique = Unique()
    out: list[list[int]] = []
    inode = 0
    for batch in batches:
        rows = []
        for row in batch:
            info = {"tcp_info_len": 280} if row.info else {}
            rows.append({"idiag_cookie": row.cookie, "idiag_inode": inode, **info})
            inode += 1
        made = batch_of(rows, positions=[row.position for row in batch])
        out += [given.columns["idiag_inode"].tolist() for given in unique.add(made)]
    out += [given.columns["idiag_inode"].tolist() for given in unique.end()]
    return out, unique.removed


def expected(batches: list[list[Came]]) -> list[list[int]]:
    """The same by the words of the module: of two rows in hand the one with tcp_info, of two alike the newer.

    In hand is the batch before only if it has rows without tcp_info.
    """
    out: list[list[int]] = []
    held: dict[int, tuple[Came, int]] = {}
    seen: set[int] = set()
    inode = 0
    for batch in batches:
        best: dict[int, tuple[Came, int]] = {}
        for row in batch:
            other = best.get(row.cookie)
            if other is None or (row.info, row.position) > (other[0].info, other[0].position):
                best[row.cookie] = (row, inode)
            inode += 1
        if not batch:
            continue
        kept = {}
        for cookie, (row, number) in best.items():
            if cookie in held:
                if held[cookie][0].info and not row.info:
                    continue
                del held[cookie]
            elif cookie in seen:
                continue
            kept[cookie] = (row, number)
        out.append([number for _, number in held.values()])
        held = kept
        seen |= best.keys()
        if all(row.info for row, _ in kept.values()):
            out.append([number for _, number in kept.values()])
            held = {}
    out.append([number for _, number in held.values()])
    return [sorted(numbers) for numbers in out if numbers]


@given(batches=dumps())
@example(batches=[[Came(POINTER, True, 0)], [Came(5, True, 0), Came(POINTER, False, 4)], [Came(POINTER, True, 0)]])
@example(batches=[[Came(LAST, False, 0)], [], [Came(0, True, 4), Came(LAST, True, 0)], [Came(0, False, 0)]])
def test_each_cookie_once_and_the_better_row(batches: list[list[Came]]) -> None:
    """Equal to a dictionary's answer; rows in = rows out + removed, and no batch is given empty."""
    given_out, removed = through(batches)
    came = [row for batch in batches for row in batch]
    flat = [number for numbers in given_out for number in numbers]
    event(f"removed: {removed > 0}")
    assert [sorted(numbers) for numbers in given_out] == expected(batches)
    assert len(flat) + removed == len(came)
    assert sorted(came[number].cookie for number in flat) == sorted({row.cookie for row in came})


@pytest.mark.parametrize("slots", [2, 8])
@given(groups=st.lists(st.lists(cookies, max_size=6, unique=True), max_size=8))
def test_seen_cookies_in_a_crowded_table(slots: int, groups: list[list[int]]) -> None:
    """Cookies that want the same slot are told apart, 0 and all ones among them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(unique_module, "SLOTS", slots)
        is_a_set(groups)


@given(groups=st.lists(st.lists(cookies, max_size=6, unique=True), max_size=8))
def test_seen_cookies_is_a_set(groups: list[list[int]]) -> None:
    """`SeenCookies` answers as a set of integers does."""
    is_a_set(groups)


def is_a_set(groups: list[list[int]]) -> None:
    """Asks about each group, then adds it."""
    seen = SeenCookies()
    known: set[int] = set()
    for group in groups:
        array = np.array(group, np.uint64)
        assert seen.add(array).tolist() == [cookie in known for cookie in group]
        known.update(group)
