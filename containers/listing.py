"""A pytest plugin (`-p containers.listing`): writes which tests there are, to compare two machines by.

XTCP_LISTING=FILE    a JSON line for each: `test` is pytest's node id, `deselected` the markers that it has if `-m`
                     left it out, else null
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest


class Listing:
    """Keeps the names of all, and at the end of the collection writes them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._deselected: list[pytest.Item] = []

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Those that an option left out."""
        self._deselected += items

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Now all are known."""
        lines: list[tuple[str, list[str] | None]] = [(item.nodeid, None) for item in session.items]
        lines += [(item.nodeid, sorted({marker.name for marker in item.iter_markers()})) for item in self._deselected]
        self._path.write_text(
            "".join(json.dumps({"test": name, "deselected": markers}) + "\n" for name, markers in lines)
        )


def pytest_configure(config: pytest.Config) -> None:
    """Only where a file is named."""
    name = os.environ.get("XTCP_LISTING")
    if name:
        config.pluginmanager.register(Listing(Path(name)), "xtcp-listing")
