"""What `make kernels` found last, a row a guest: pcaps/kernels.toml, and the table that docs/fidelity.md shows of it.

`read` and `write` are the file, `render` is the table, `inserted` puts it into a page between its marks. Standard
library only: a guest's Python writes rows too.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

NAME: Final = "kernels.toml"
VERIFIED: Final = "verified"
FAILED: Final = "FAILED"
HEADER: Final = "# what `make kernels` found last; written by it, and rendered into docs/fidelity.md\n"
_PART: Final = re.compile(r"(<!-- kernels -->\n).*?(<!-- end -->)", re.DOTALL)
_COLUMNS: Final = (
    "guest", "kernel", "machine", "byte order", "Python", "NumPy", "ss", "sockets", "attributes", "`tcp_info`",
    "values compared", "of them with ss", "differences", "congestion controls", "date",
)  # fmt: skip
_NUMBERS: Final = frozenset({"sockets", "values compared", "of them with ss", "differences", "congestion controls"})


@dataclass(frozen=True)
class KernelRow:
    """One guest: what is in it, what was captured there, and what came of comparing it.

    `values` were compared with what every witness in the guest says, `ss_values` of them with what ss prints there, of
    the bytes in that machine's own order; `differences` are those that nothing explains, there and on the host.
    `folder` is where in pcaps/ its captures are: those of the last run that was good. `why` says what failed.
    """

    guest: str
    outcome: str
    date: dt.date
    why: str = ""
    folder: str = ""
    release: str = ""
    machine: str = ""
    byte_order: str = ""
    python: str = ""
    numpy: str = ""
    ss: str = ""
    sockets: int = 0
    attributes: tuple[int, ...] = ()
    tcp_info: tuple[int, ...] = ()
    congestion: tuple[str, ...] = ()
    values: int = 0
    ss_values: int = 0
    differences: int = 0

    def as_toml(self) -> str:
        """The row as it stands in the file: what is empty is left out."""
        lines = ["[[guest]]"]
        for field in fields(self):
            value = getattr(self, field.name)
            if value or field.name == "differences":
                text = value.isoformat() if isinstance(value, dt.date) else json.dumps(value, ensure_ascii=False)
                lines.append(f"{'name' if field.name == 'guest' else field.name} = {text}")
        return "\n".join(lines) + "\n"


def row_of(said: dict[str, Any]) -> KernelRow:
    """A row from its members, lists as tuples. Raises `TypeError` for one that lacks a member or has a strange one."""
    members: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in said.items()}
    return KernelRow(**members)


def read(path: Path) -> list[KernelRow]:
    """The rows, none where there is no file. Raises `ValueError` or `TypeError` for one that is wrong."""
    if not path.exists():
        return []
    rows = tomllib.loads(path.read_text(encoding="utf-8")).get("guest", [])
    return [row_of({"guest" if name == "name" else name: value for name, value in row.items()}) for row in rows]


def write(path: Path, rows: Sequence[KernelRow]) -> None:
    """Writes them, by machine and kernel."""
    path.write_text(HEADER + "".join(f"\n{row.as_toml()}" for row in sorted(rows, key=_place)), encoding="utf-8")


def replaced(rows: Sequence[KernelRow], row: KernelRow) -> list[KernelRow]:
    """The rows with this one in the place of its guest's."""
    return [*(other for other in rows if other.guest != row.guest), row]


def render(rows: Sequence[KernelRow]) -> str:
    """The table, in Markdown."""
    if not rows:
        return "Not run yet.\n"
    rule = ["---:" if name in _NUMBERS else "---" for name in _COLUMNS]
    lines = [_line(_COLUMNS), _line(rule), *(_line(_cells(row)) for row in sorted(rows, key=_place))]
    return "\n".join(lines) + "\n"


def inserted(page: str, rows: Sequence[KernelRow]) -> str:
    """The page with the table between `<!-- kernels -->` and `<!-- end -->`."""
    return _PART.sub(lambda found: f"{found[1]}\n{render(rows)}\n{found[2]}", page)


def _cells(row: KernelRow) -> list[str]:
    head = [f"`{row.guest}`", row.release]
    if row.outcome != VERIFIED:
        return [*head, f"**{row.outcome}**: {row.why}", *[""] * (len(_COLUMNS) - 4), str(row.date)]
    return [
        *head,
        row.machine,
        row.byte_order,
        row.python,
        row.numpy,
        row.ss or "none",
        f"{row.sockets:,}",
        _ranges(row.attributes),
        ", ".join(map(str, row.tcp_info)),
        f"{row.values:,}",
        f"{row.ss_values:,}",
        f"{row.differences:,}",
        str(len(row.congestion)),
        str(row.date),
    ]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _ranges(numbers: Sequence[int]) -> str:
    """1, 2, 3, 5 as `1–3, 5`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in parts)


def _place(row: KernelRow) -> tuple[str, list[int], str]:
    machine, _, _ = row.guest.partition(":")
    return row.machine or machine, [int(n) for n in re.findall(r"\d+", row.release)[:3]], row.guest
