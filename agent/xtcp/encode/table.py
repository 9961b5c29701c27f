"""A table for people: aligned columns, ss's names and units, as wide as the terminal.

Without chosen columns the default view: the most useful columns that fit the width, those of least use left out. When
nothing is left to leave out, addresses are cut in their middle. Chosen columns are all shown, in the order chosen.

Absent is blank; `-` stands for a value that says "none" (no round trip measured yet, a rate without a limit). Texts
are left-aligned, numbers right-aligned. Widths are those of the first batch's rows; a longer cell that comes later
pushes what is right of it, so memory does not grow with the rows. Control and other invisible characters are shown
as escapes (`\\x1b`), so that no text of a socket can move the terminal's cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from xtcp.batch import Batch
from xtcp.encode.cells import (
    AF_INET6,
    STATE_NAMES,
    Value,
    address_text,
    bytes_value,
    clean_text,
    is_address,
    with_family,
)
from xtcp.encode.units import FOR_PEOPLE, milliseconds, rate, size
from xtcp.schema.columns import BY_NAME, COLUMNS
from xtcp.schema.model import BLOB, STRING, TEXT, Column
from xtcp.spelling import visible

GAP: Final = "  "
CUT: Final = ".."

# Values by which the kernel says "none".
_NONE: Final[dict[str, int]] = {
    "tcpi_min_rtt": 0xFFFF_FFFF,
    "tcpi_snd_ssthresh": 0x7FFF_FFFF,
    "tcpi_pacing_rate": 0xFFFF_FFFF_FFFF_FFFF,
    "tcpi_max_pacing_rate": 0xFFFF_FFFF_FFFF_FFFF,
    "tcpv_rtt": 0x7FFF_FFFF,
    "tcpv_minrtt": 0x7FFF_FFFF,
    "bbr_min_rtt": 0xFFFF_FFFF,
}
# On a listener these two count connections.
_COUNTS: Final = frozenset({"idiag_rqueue", "idiag_wqueue"})

Cell: TypeAlias = Callable[..., str]


@dataclass(frozen=True)
class View:
    """One column of the table: its title, the batch columns it reads, and the text of their values in a row.

    A cell is blank where any of the columns it reads is absent. `least` is the least width.
    """

    title: str
    reads: tuple[str, ...]
    cell: Cell
    right: bool = True
    least: int = 0
    cuttable: bool = False


def endpoint(address: bytes, port: int, family: int, interface: int | None = None) -> str:
    """Address and port as ss writes them; `%interface` where a link-local address needs it; port 0 is `*`."""
    host = address_text(family, address)
    if family == AF_INET6:
        link_local = address[0] == 0xFE and address[1] & 0xC0 == 0x80
        host = f"[{host}]%{interface}" if interface and link_local else f"[{host}]"
    return f"{host}:{port or '*'}"


def _rtt(rtt: int, rttvar: int) -> str:
    return f"{milliseconds(rtt)}/{milliseconds(rttvar)}" if rtt else "-"


def _min_rtt(min_rtt: int) -> str:
    return "-" if min_rtt in (0, _NONE["tcpi_min_rtt"]) else milliseconds(min_rtt)


def _measured_rate(value: int) -> str:
    return rate(value) if value else "-"


def _share(part: int, whole: int) -> str:
    return f"{min(part / whole, 1):.0%}" if whole else "-"


def _text(raw: bytes | str) -> str:
    return visible(clean_text(raw))


_LOCAL: Final = View(
    "Local Address:Port", ("idiag_src", "idiag_sport", "idiag_family", "idiag_if"), endpoint, right=False, cuttable=True
)
_PEER: Final = View(
    "Peer Address:Port", ("idiag_dst", "idiag_dport", "idiag_family"), endpoint, right=False, cuttable=True
)
_STATE: Final = View("State", ("idiag_state",), STATE_NAMES.__getitem__, right=False, least=10)

# As shown, from left to right.
DEFAULT_VIEW: Final = (
    _STATE,
    View("Recv-Q", ("idiag_rqueue",), str),
    View("Send-Q", ("idiag_wqueue",), str),
    _LOCAL,
    _PEER,
    View("rtt/var ms", ("tcpi_rtt", "tcpi_rttvar"), _rtt, least=11),
    View("minrtt", ("tcpi_min_rtt",), _min_rtt),
    View("cwnd", ("tcpi_snd_cwnd",), str),
    View("retrans", ("tcpi_retrans", "tcpi_total_retrans"), "{}/{}".format),
    View("lost", ("tcpi_lost",), str),
    View("delivery", ("tcpi_delivery_rate",), _measured_rate, least=8),
    View("sent", ("tcpi_bytes_sent",), size, least=5),
    View("received", ("tcpi_bytes_received",), size),
    View("rwnd-lim", ("tcpi_rwnd_limited", "tcpi_busy_time"), _share),
    View("sndbuf-lim", ("tcpi_sndbuf_limited", "tcpi_busy_time"), _share),
    View("cong", ("cong",), _text, right=False, least=5),
)
# What to leave out first stands last. The addresses are never left out.
USE: Final = (
    "State", "Send-Q", "Recv-Q", "rtt/var ms", "retrans", "delivery", "cwnd", "sent", "received", "cong", "minrtt",
    "lost", "rwnd-lim", "sndbuf-lim",
)  # fmt: skip

# What the default view is made of.
DEFAULT_COLUMNS: Final = tuple(c.name for c in COLUMNS if any(c.name in view.reads for view in DEFAULT_VIEW))


def _chosen(name: str) -> View:
    """A schema column as it is, for people."""
    column = BY_NAME[name]
    if is_address(name):
        return View(name, (name, "idiag_family"), lambda address, family: address_text(family, address), right=False)
    if name == "idiag_state":
        return View(name, (name,), STATE_NAMES.__getitem__, right=False)
    if column.kind in (TEXT, STRING):
        return View(name, (name,), _text, right=False)
    if column.kind is BLOB:
        return View(name, (name,), str, right=False)
    return View(name, (name,), number_text(column))


def number_text(column: Column) -> Cell:
    """How a value of a column of numbers is written for people: by its unit, `-` where it says "none"."""
    text: Callable[[int], str] = str if column.name in _COUNTS else FOR_PEOPLE.get(column.unit, str)
    none = _NONE.get(column.name)
    return text if none is None else lambda value: "-" if value == none else text(value)


class Table:
    """Encoder of the table; `columns` None: the default view; `width` None: not a terminal, nothing is left out.

    `use` are the titles of the default view, those of most use first. Raises KeyError for an unknown column.
    """

    def __init__(
        self, columns: Sequence[str] | None = None, width: int | None = None, use: Sequence[str] = USE
    ) -> None:
        self._views = DEFAULT_VIEW if columns is None else tuple(map(_chosen, dict.fromkeys(columns)))
        self._width = width if columns is None else None
        self._use = use
        self._cut: int | None = None
        self._line: str | None = None
        self.reads: frozenset[str] | None = with_family(_names(self._views))

    def begin(self) -> str:
        """Nothing: the header needs the first batch."""
        return ""

    def encode(self, batch: Batch) -> Iterator[str]:
        """A line a row; before the first the header."""
        if not batch.rows:
            return
        names = _names(self._views)
        batch = batch.select(names | {"idiag_family"}).in_order()
        values = {name: _values(batch, name) for name in names}
        texts = {view: _texts(view, values) for view in self._views}
        line = self._line
        if line is None:
            line = self._lay_out({view: max(map(len, column)) for view, column in texts.items()})
            yield _rendered(line, [view.title for view in self._views])
        columns = [texts[view] for view in self._views]
        if self._cut is not None:
            columns = [
                [_shortened(text, self._cut) for text in column] if view.cuttable else column
                for view, column in zip(self._views, columns, strict=True)
            ]
        yield "".join([_rendered(line, row) for row in zip(*columns, strict=True)])

    def end(self) -> str:
        """The header, where there was no row to print it before."""
        if self._line is not None:
            return ""
        return _rendered(self._lay_out(dict.fromkeys(self._views, 0)), [view.title for view in self._views])

    def _lay_out(self, longest: dict[View, int]) -> str:
        """Chooses the columns that fit and fixes their widths; returns the `%` format of a line."""
        widths = {view: max(len(view.title), view.least, longest[view]) for view in self._views}
        if self._width is not None and _total(widths, self._views) > self._width:
            self._views, self._cut = _fitting(self._views, widths, self._width, self._use)
            if self._cut is not None:
                widths |= {view: self._cut for view in self._views if view.cuttable}
        self._line = GAP.join(f"%{'' if view.right else '-'}{widths[view]}s" for view in self._views)
        return self._line


def _names(views: Sequence[View]) -> frozenset[str]:
    return frozenset(name for view in views for name in view.reads)


def _total(widths: dict[View, int], views: Sequence[View]) -> int:
    return sum(widths[view] for view in views) + len(GAP) * (len(views) - 1)


def _fitting(
    views: tuple[View, ...], widths: dict[View, int], width: int, use: Sequence[str]
) -> tuple[tuple[View, ...], int | None]:
    """The views that fit, those of least use left out; where addresses alone do not, the width to cut each to."""
    for kept in range(len(use), -1, -1):
        left = tuple(view for view in views if view.cuttable or view.title in use[:kept])
        if _total(widths, left) <= width:
            return left, None
    left = (_STATE, _LOCAL, _PEER)
    room = width - widths[_STATE] - 2 * len(GAP)
    return left, max(room // 2, len(_LOCAL.title))


def _values(batch: Batch, name: str) -> list[Any]:
    """A column's values as Python objects, None where absent; addresses and texts as bytes."""
    constants = batch.context.constants()
    if name in constants:
        return [constants[name]] * batch.rows
    column = batch.columns.get(name)
    if column is None:
        return [None] * batch.rows
    if is_address(name):
        raw = column.tobytes()
        values: list[Any] = [raw[at : at + 16] for at in range(0, len(raw), 16)]
    elif BY_NAME[name].kind is BLOB:
        values = [_listed(bytes_value(name, raw, batch.context.order)) for raw in column.tolist()]
    else:
        values = column.tolist()
    mask = batch.valid.get(name)
    if mask is not None:
        for row in np.flatnonzero(~mask).tolist():
            values[row] = None
    return values


def _listed(value: Value) -> str:
    """What a column of bytes became, on one line."""
    if isinstance(value, str):
        return value
    return ",".join(e if isinstance(e, str) else f"{e['tcpm_addr']}/{e['tcpm_prefixlen']}" for e in value)


def _texts(view: View, values: dict[str, list[Any]]) -> list[str]:
    rows = zip(*(values[name] for name in view.reads), strict=True)
    return ["" if None in row else view.cell(*row) for row in rows]


def _shortened(text: str, width: int) -> str:
    """`text` in `width` characters: its middle cut out, the port kept."""
    if len(text) <= width:
        return text
    tail = (width - len(CUT)) // 2
    return text[: width - len(CUT) - tail] + CUT + text[-tail:]


def _rendered(line: str, cells: Sequence[str]) -> str:
    return (line % tuple(cells)).rstrip() + "\n"
