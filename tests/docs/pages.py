"""The parts of docs/ that are rendered from the product's tables, each between two marks in its page.

`python -m tests.docs.pages --write` (`make docs`) writes them; a test renders and compares.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.conftest import ROOT
from xtcp.errors import ExitCode
from xtcp.metrics.table import render_markdown as metrics
from xtcp.metrics.xtcp_names import XTCP_NAMES
from xtcp.records.layouts import LAYOUTS
from xtcp.records.model import Derivation, Message, Nested, Presence, RecordField
from xtcp.settings.rendered import render_markdown as settings
from xtcp.sinks.schemes import COMMON, SCHEMES

DOCS: Final = ROOT / "docs"
_PART: Final = re.compile(r"(<!-- rendered: (\w+) -->\n).*?(<!-- end of \2 -->)", re.DOTALL)

_MEANINGS: Final = {
    ExitCode.OK: "done; ended by SIGTERM or `--max-loops`",
    ExitCode.FINDING: "a difference was found (`xtcp-replay verify`, `golden check`, `diff`)",
    ExitCode.USAGE: "wrong usage: an option, a destination, an SQL statement",
    ExitCode.DAMAGED: "damaged input (`collect`, `once --from`, `xtcp-replay`)",
    ExitCode.UNAVAILABLE: "the kernel has no `tcp_diag`, a port is taken, a broker is not there",
    ExitCode.INTERNAL: "a fault of xtcp: a ledger that does not add up, too many faults in a minute; report it",
    ExitCode.TEMPORARY: "memory above its limit after three polls, a full disk, rows that were dropped at the end",
    ExitCode.PERMISSION: "a permission is missing",
    ExitCode.CONFIGURATION: "a bad setting in the file or the environment, an extra that is not installed",
    ExitCode.INTERRUPTED: "Ctrl-C at a terminal",
}


def destinations() -> str:
    """Every scheme with its options."""
    parts = []
    for scheme in SCHEMES.values():
        parts.append(f"**`{scheme.form}`** — {scheme.meaning}\n")
        parts += [f"- `{name}`: {meaning}" for name, meaning in scheme.options.items()]
        parts += [""] * bool(scheme.options)
    parts.append("Every destination takes these too:\n")
    parts += [f"- `{name}`: {meaning}" for name, meaning in COMMON.items()]
    return "\n".join(parts) + "\n"


def exit_codes() -> str:
    """The codes and what they mean for the agent and its commands."""
    rows = [f"| {int(code)} | {_MEANINGS[code]} |" for code in ExitCode]
    return "\n".join(["| code | meaning |", "|---|---|", *rows]) + "\n"


def xtcp_metrics() -> str:
    """xTCP's metrics that `--xtcp-names` serves."""
    rows = [f"| `{m.name}` | {', '.join(m.labels)} | {m.meaning} |" for m in XTCP_NAMES]
    return "\n".join(["| xTCP's metric | labels | what it is here |", "|---|---|---|", *rows]) + "\n"


def xtcp_fields() -> str:
    """Every field of xTCP's record and the column it is filled from."""
    rows = ["| field | number | column | when it is sent |", "|---|---|---|---|"]
    rows += _fields(LAYOUTS["xtcp"].record, "", "")
    return "\n".join(rows) + "\n"


def _fields(message: Message, names: str, numbers: str) -> list[str]:
    rows = []
    for field in message.fields:
        name, number = f"{names}{field.name}", f"{numbers}{field.number}"
        if isinstance(field, Nested):
            rows += _fields(field.message, f"{name}.", f"{number}.")
        else:
            rows.append(f"| `{name}` | {number} | {_column(field)} | {_when(field)} |")
    return rows


def _column(field: RecordField) -> str:
    if field.derivation is Derivation.CONSTANT:
        return f"none: `?{field.name}=…` of the destination"
    if not field.column:
        return "none: nothing here knows it"
    same = field.derivation is Derivation.SAME
    return f"`{field.column}`" if same else f"`{field.column}`: {field.derivation.value}"


def _when(field: RecordField) -> str:
    if not field.column and field.derivation is not Derivation.CONSTANT:
        return "never"
    return "where the column came, zeros too" if field.presence is Presence.GIVEN else "where it is not zero or empty"


PARTS: Final[dict[str, Callable[[], str]]] = {
    "settings": settings,
    "destinations": destinations,
    "metrics": metrics,
    "exit_codes": exit_codes,
    "xtcp_metrics": xtcp_metrics,
    "xtcp_fields": xtcp_fields,
}


def rendered(page: str) -> str:
    """The page with its parts made anew."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]().strip()}\n\n{found[3]}", page)


def pages() -> list[Path]:
    """Those with such parts."""
    return [path for path in sorted(DOCS.glob("*.md")) if _PART.search(path.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    for path in pages():
        text = rendered(path.read_text(encoding="utf-8"))
        if "--write" in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        else:
            sys.stdout.write(text)
