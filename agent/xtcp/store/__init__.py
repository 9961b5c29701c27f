"""The embedded store: rows and polls in files of this machine, and SQL over them, so that nothing else is needed.

directory  where it lies, and that one process at a time writes it
embedded   the destination `store:`
views      what SQL sees
query      DuckDB over these, with no way to anything else

This module itself imports nothing, so that the names of the views are to be had without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

VIEWS: Final[Mapping[str, str]] = {
    "sockets": "every socket of every poll; a condition on date and hour (UTC) or host reads only their files",
    "polls": "every poll: when, how many rows, what went wrong",
    "latest": "the sockets of each host's newest whole poll",
    "rates": "what each connection did between two polls of an hour, a second",
}
MEMORY: Final = 1 << 30
