"""Renders docs/witnesses.md: who judges decoding, what of it, and what they are known to get wrong.

In: `known_faults` and the witnesses' own tables; the same tables give the same text on every machine, whatever is
installed. `python -m xtcp_replay.judging.witnesses_page` prints it, with `--write` it goes to its file.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from xtcp.schema.columns import COLUMNS, CONTEXT_NAMES
from xtcp_replay.judging.known_faults import KNOWN_FAULTS, LIMITS
from xtcp_replay.judging.witnesses import pyroute2_diag, ss, tshark

WITNESSES_MD: Final = Path(__file__).resolve().parents[3] / "docs" / "witnesses.md"
_WIDTH: Final = 118

_INTRODUCTION: Final = """\
# Witnesses

Made from replay/xtcp_replay/judging by 'python -m xtcp_replay.judging.witnesses_page --write'. Do not edit.

`xtcp-replay verify` compares what the decoder makes of a capture with what others read in the very same bytes.

| witness | what it is | asked about |
|---|---|---|
| reference | our plain decoder: one message at a time, straight from the schema table | every value, every count |
| lockstep | the vectorised decoder without templates | the same |
| templates | the vectorised decoder once more, with the templates that it learned of the same bytes | the same |
| ss | `TCPDIAG_FILE=dump ss -tinmaeo --oneline --tos --inet-sockopt`, of iproute2 | what it prints |
| pyroute2 | its class `inet_diag_msg`, without a socket | what it reads |
| tshark | Wireshark's dissector of sock_diag, of a pcap made of the messages | what it reads |

The first three share the schema table: a wrong offset in it is wrong in all of them. The others share nothing with us.
A value that is counted was on both sides: for ss that is a text that it printed (`skmem:(…)` is one), for the others
a column. What a witness does not say is not counted.
"""
_FAULTS: Final = """
## Known faults

Each was understood in that program's source, and seen; where *seen* says read, it was not run, for want of a host of
that byte order. A disagreement that one of them foretells to the letter is counted as explained; every other is
listed, and ends the command with exit code 1. A release without the fault simply agrees.

| fault | concerns | what | because | seen | source |
|---|---|---|---|---|---|
"""
_LIMITS: Final = """
## What is not compared

| witness | what | because |
|---|---|---|
"""
_COLUMNS: Final = """
## Columns

What other programs judge, where the attribute came:
"""


def witnesses_md() -> str:
    """The document."""
    faults = [
        (f"`{fault.name}`", _fields(fault.fields), fault.what, fault.why, fault.seen, _link(fault.source))
        for fault in KNOWN_FAULTS
    ]
    limits = [(limit.witness, limit.what, limit.why) for limit in LIMITS]
    return "".join((_INTRODUCTION, _FAULTS, _table(faults), _LIMITS, _table(limits), _COLUMNS, *_columns()))


def _link(source: str) -> str:
    url, _, functions = source.partition(" ")
    return f"[{functions}]({url})"


def _fields(names: Sequence[str]) -> str:
    shown = names if len(names) <= 8 else (names[0], "…", names[-1])
    return ", ".join(name if name == "…" else f"`{name.strip(': ')}`" for name in shown)


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def _columns() -> list[str]:
    judged = {"ss": ss.columns(), "pyroute2": pyroute2_diag.columns(), "tshark": tshark.columns()}
    names = [column.name for column in COLUMNS if column.name not in CONTEXT_NAMES]
    parts = [f"\n- {witness}: {len(columns)} of {len(names)} columns" for witness, columns in judged.items()]
    alone = [name for name in names if not any(name in columns for columns in judged.values())]
    text = (
        "No other program here judges these; the offsets of those that are members of a struct are checked by "
        f"compilers for three architectures (tests/abi): {', '.join(f'`{name}`' for name in alone)}."
    )
    parts.append("\n\n" + textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False) + "\n")
    return parts


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the document, or with `--write` writes docs/witnesses.md of the source tree this module lies in."""
    parser = argparse.ArgumentParser(prog="python -m xtcp_replay.judging.witnesses_page", description=main.__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/witnesses.md instead of printing it")
    if not parser.parse_args(arguments).write:
        sys.stdout.write(witnesses_md())
    elif WITNESSES_MD.parent.is_dir():
        WITNESSES_MD.write_text(witnesses_md(), encoding="utf-8")
    else:
        parser.error(f"no folder {WITNESSES_MD.parent}: this is an installed xtcp; run it in the source tree")


if __name__ == "__main__":
    main()
