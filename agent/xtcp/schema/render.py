"""Renders proto/columns.md, the list of columns for people, from the table.

In: the table alone; the same table gives the same text on every machine. Out: Markdown, one table a group of columns.
`python -m xtcp.schema.render` prints it, with `--write` it goes to its file (`make columns`). Needs no NumPy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from xtcp.schema.columns import COLUMNS
from xtcp.schema.inet_diag import ATTRIBUTES
from xtcp.schema.model import ADDRESS, BE16, BLOB, FLAG, PAIR64, STRING, TEXT, Attribute, Column, Nest

COLUMNS_MD: Final = Path(__file__).resolve().parents[3] / "proto" / "columns.md"

_TYPES: Final = {
    ADDRESS: "address",
    BE16: "u16",
    BLOB: "bytes",
    FLAG: "u8",
    PAIR64: "u64",
    STRING: "text",
    TEXT: "text",
}

_INTRODUCTION: Final = """\
# Columns

Made from agent/xtcp/schema by 'make columns'. Do not edit.

Every column of a batch, in the order of every output. A name is the kernel's own wherever there is one. *Since* is
the kernel that first has the member or attribute; on an older one, and on a socket to which it does not apply, the
column is absent, which is not zero. *Bit* is the bit of `idiag_ext` that asks for an attribute.
"""


def columns_md() -> str:
    """The text of proto/columns.md."""
    ours = [column for column in COLUMNS if _is_ours(column)]
    fixed = [column for column in COLUMNS if column.attribute == ()]
    parts = [
        _INTRODUCTION,
        f"## Ours\n\n{_table(ours)}",
        f"## The fixed part: struct inet_diag_msg\n\nIn every message.\n\n{_table(fixed)}",
        *(_section(attribute) for attribute in ATTRIBUTES),
    ]
    return "\n".join(parts)


def _is_ours(column: Column) -> bool:
    return column.source == "xtcp"


def _section(attribute: Attribute) -> str:
    """One attribute: how it comes, and its columns."""
    columns = [c for c in COLUMNS if c.attribute and c.attribute[0] == attribute.number and not _is_ours(c)]
    facts = [
        f"number {attribute.number}",
        f"asked for by bit {attribute.ext}" if attribute.ext else "sent unasked",
        f"since {attribute.since}",
        f"needs {attribute.needs}" if attribute.needs else "needs no capability",
    ]
    heading = f"## {attribute.name}\n\n{attribute.meaning[0].upper()}{attribute.meaning[1:]}: {', '.join(facts)}.\n"
    return f"{heading}\n{_table(columns)}" if columns else f"{heading}\nNo column.\n"


def _table(columns: Iterable[Column]) -> str:
    rows = ["| name | type | unit | since | meaning | source |", "|---|---|---|---|---|---|"]
    rows += [f"| {' | '.join(_cells(column))} |" for column in columns]
    return "\n".join(rows) + "\n"


def _cells(column: Column) -> tuple[str, ...]:
    return (
        f"`{column.name}`",
        _TYPES.get(column.kind, column.kind.name),
        column.unit or "–",
        column.since or "–",
        _meaning(column).replace("|", "\\|").replace("*", "\\*"),
        _source(column),
    )


def _meaning(column: Column) -> str:
    nested = _nested(column)
    return f"{column.meaning}; needs {nested.needs}" if nested and nested.needs else column.meaning


def _source(column: Column) -> str:
    nested = _nested(column)
    return f"{column.source}, {nested.name}" if nested else column.source


def _nested(column: Column) -> Attribute | None:
    """The attribute inside a nest that the column comes from; None for one that comes from no nest."""
    if not column.attribute or len(column.attribute) < 2:
        return None
    found: Attribute | None = None
    attributes: Sequence[Attribute] = ATTRIBUTES
    for number in column.attribute:
        found = next(attribute for attribute in attributes if attribute.number == number)
        attributes = found.body.attributes if isinstance(found.body, Nest) else ()
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the document, or with `--write` writes proto/columns.md of the source tree this module lies in."""
    parser = argparse.ArgumentParser(prog="python -m xtcp.schema.render", description=main.__doc__)
    parser.add_argument("--write", action="store_true", help="write proto/columns.md instead of printing it")
    if not parser.parse_args(arguments).write:
        sys.stdout.write(columns_md())
    elif COLUMNS_MD.parent.is_dir():
        COLUMNS_MD.write_text(columns_md(), encoding="utf-8")
    else:
        parser.error(f"no folder {COLUMNS_MD.parent}: this is an installed xtcp; run it in the source tree")


if __name__ == "__main__":
    main()
