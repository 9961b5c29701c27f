"""Which columns a row that was read back has. Absent is not zero, and the layouts say it in three ways.

*By field* (proto2, the xtcp record): a column is there where its field came.

*By attributes* (our flat record, which sends no zeros): `attributes` and `tcp_info_len` say what the kernel sent. A
column of the fixed part is in every row; one of `INET_DIAG_INFO` where its member ends within `tcp_info_len`; one of
another attribute where the attribute's bit is set. What they do not tell is judged by the value, zero being absent:
columns of nested attributes (ULP), texts and bytes, and the two that only one of the layouts of tcp_info's last four
bytes has. Of an MPTCP subflow the kernel tells all or nothing, so one that is not zero stands for the others, those
that need CAP_NET_ADMIN by themselves.

*By value* (xtcp2's record, which sends no zeros and says no more): tcp_info came where `tcpi_state` is not zero, and
was as long as the shortest of any kernel that holds every member that is not zero; skmeminfo, meminfo and what a
congestion control has came where any member of theirs is not zero; single values where they are not zero.

A value that is not zero is always there, whatever else is said. Where a layout does not carry `attributes` and
`tcp_info_len`, they are made of what came, because every layout that rows are sent on in needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xtcp.schema.columns import BY_NAME, COLUMNS, columns_needing
from xtcp.schema.layout import members, size_of
from xtcp.schema.model import BLOB, STRING, TEXT
from xtcp.schema.mptcp_info import MPTCP_INFO
from xtcp.schema.tcp_info import TCP_INFO

Mask: TypeAlias = NDArray[np.bool_]
Columns: TypeAlias = Mapping[str, NDArray[np.generic]]

INFO: Final = (2,)

# The lengths that struct tcp_info has had (DESIGN 4).
INFO_LENGTHS: Final = (104, 192, 200, 224, 232, 240, 248, 280)

# What decides whether a column is there: nothing, a bit of `attributes`, a length of tcp_info or mptcp_info, the values
# of a subflow (1: those that need a capability), its own.
_ALWAYS: Final = ("always", 0)
_VALUE: Final = ("value", 0)


def _ends() -> dict[str, tuple[str, int]]:
    """Where each member of INET_DIAG_INFO ends in its struct; of the tails those that every layout has."""
    tails = [{m.column for m in members(TCP_INFO, "<", release)} for release in ((6, 18), (7, 0))]
    whole = size_of(TCP_INFO, (7, 0))
    found = dict.fromkeys(tails[0] & tails[1], ("tcp", whole))
    found |= {m.column: ("mptcp", m.end) for m in members(MPTCP_INFO, "<", None)}
    return found | {m.column: ("tcp", m.end) for m in members(TCP_INFO, "<", None)}


_ENDS: Final = _ends()
_NEEDING: Final = frozenset(columns_needing("CAP_NET_ADMIN", None))
SUBFLOW: Final = {c.name: int(c.name in _NEEDING) for c in COLUMNS if c.attribute and c.attribute[:2] == (19, 3)}


def _rule(name: str) -> tuple[str, int]:
    path = BY_NAME[name].attribute
    if path == () or name == "attributes":
        return _ALWAYS
    if name == "tcp_info_len":
        return "bit", INFO[0]
    if name in SUBFLOW:
        return "subflow", SUBFLOW[name]
    if path is None or len(path) > 1 or BY_NAME[name].kind in (BLOB, STRING, TEXT):
        return _VALUE
    if path == INFO:
        return _ENDS.get(name, _VALUE)
    return "bit", path[0]


RULES: Final = {column.name: _rule(column.name) for column in COLUMNS}


def not_zero(column: NDArray[np.generic]) -> Mask:
    """Which cells are not zero, empty or, of an address, all zeros."""
    if column.dtype == object:
        return np.fromiter((bool(cell) for cell in column), np.bool_, len(column))
    if column.ndim == 2:
        there: Mask = np.logical_or.reduce(column, axis=1)
    else:
        there = column != column.dtype.type()
    return there


def by_attributes(columns: Columns, names: Iterable[str], rows: int) -> dict[str, Mask]:
    """Presence of the columns `names` in rows of our flat record; `columns` are those with a value in any row."""
    attributes = np.asarray(columns.get("attributes", np.zeros(rows, np.uint64)), np.uint64)
    length = np.asarray(columns.get("tcp_info_len", np.zeros(rows, np.uint32)), np.int64)
    # A TCP socket's state is not zero; MPTCP's INFO has no member that tells it, but the row has no tcpi_state.
    tcp = not_zero(columns["tcpi_state"]) if "tcpi_state" in columns else np.zeros(rows, np.bool_)
    info = _bit(attributes, INFO[0])
    told = {"tcp": np.where(info & tcp, length, 0), "mptcp": np.where(info & ~tcp, length, 0)}
    bases: dict[tuple[str, int], Mask] = {_ALWAYS: np.ones(rows, np.bool_), _VALUE: np.zeros(rows, np.bool_)}
    whole: dict[int, bool] = {}
    masks: dict[str, Mask] = {}
    for name in names:
        rule = RULES[name]
        if rule not in bases:
            kind, number = rule
            if kind == "subflow":
                bases[rule] = _any(columns, [one for one, needs in SUBFLOW.items() if needs == number], rows)
            else:
                bases[rule] = _bit(attributes, number) if kind == "bit" else told[kind] >= number
        masks[name] = _with_values(bases[rule], columns.get(name), whole)
    return masks


def by_value(columns: Columns, names: Iterable[str], rows: int) -> dict[str, Mask]:
    """Presence of the columns `names` in rows of xtcp2's record."""
    names = list(names)
    masks = {name: not_zero(columns[name]) if name in columns else np.zeros(rows, np.bool_) for name in names}
    bases: dict[tuple[str, int], Mask] = {_ALWAYS: np.ones(rows, np.bool_)}
    whole: dict[int, bool] = {}
    came = masks.get("tcpi_state", np.zeros(rows, np.bool_))
    length = _told_length(masks, came)
    structs: dict[tuple[str, int], Mask] = {}
    for name in names:
        rule = RULES[name]
        if rule[0] == "bit":
            structs[rule] = structs[rule] | masks[name] if rule in structs else masks[name]
    for name in names:
        rule = RULES[name]
        if rule[0] == "bit":
            masks[name] = structs[rule]
        elif rule[0] == "tcp":
            if rule not in bases:
                bases[rule] = length >= rule[1]
            masks[name] = _with_values(bases[rule], columns.get(name), whole)
        elif rule == _ALWAYS:
            masks[name] = bases[rule]
    return masks


def notes(masks: Mapping[str, Mask], rows: int) -> dict[str, NDArray[np.generic]]:
    """`attributes` and `tcp_info_len` of what came: the bits of attributes of which any column is there, and the
    length of the shortest tcp_info that has every member that is.
    """
    came: dict[int, Mask] = {}
    for name, mask in masks.items():
        path = BY_NAME[name].attribute
        if path:
            came[path[0]] = came[path[0]] | mask if path[0] in came else mask
    attributes = np.zeros(rows, np.uint64)
    for number, mask in came.items():
        attributes[mask] |= np.uint64(1 << number)
    length = _told_length(masks, came.get(INFO[0], np.zeros(rows, np.bool_)))
    return {"attributes": attributes, "tcp_info_len": length.astype(np.uint32)}


def _bit(attributes: NDArray[np.uint64], number: int) -> Mask:
    return (attributes >> np.uint64(number) & np.uint64(1)).astype(np.bool_)


def _any(columns: Columns, names: Iterable[str], rows: int) -> Mask:
    """Rows in which any of the columns is not zero."""
    found = np.zeros(rows, np.bool_)
    for name in names:
        if name in columns:
            found |= not_zero(columns[name])
    return found


def _with_values(base: Mask, column: NDArray[np.generic] | None, whole: dict[int, bool]) -> Mask:
    """`base`, and where the column is not zero; `base` itself where that adds nothing. `whole` keeps which bases are
    everywhere.
    """
    if id(base) not in whole:
        whole[id(base)] = bool(base.all())
    if column is None or whole[id(base)]:
        return base
    there = not_zero(column)
    return base | there if bool((there & ~base).any()) else base


def _told_length(masks: Mapping[str, Mask], came: Mask) -> NDArray[np.int64]:
    """The shortest tcp_info that any kernel sends and that has every member that is there; 0 where none came."""
    ends: dict[int, Mask] = {}
    for name, mask in masks.items():
        kind, end = RULES[name]
        if kind == "tcp":
            ends[end] = ends[end] | mask if end in ends else mask
    length = np.where(came, INFO_LENGTHS[0], 0)
    for end in sorted(ends):
        length[ends[end] & came] = next(one for one in INFO_LENGTHS if one >= end)
    return length
