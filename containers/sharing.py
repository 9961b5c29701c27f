"""A pytest plugin (`-p containers.sharing`): several pytest processes share the files of one suite.

    XTCP_SHARING=FOLDER    where they tell each other who has which file; the same for all, empty at the start

Each collects everything and takes the next file that nobody has, so that all of them end at about the same time,
however slow one file is. FOLDER/seconds.json, if it is there, says how long each file took before (path to seconds):
the longest are taken first. The tests of a file stay together, in their order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest

SECONDS = "seconds.json"


class Sharing:
    """This process's part of the suite."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """As pytest's own, which is passed over, but for the items: they are only known as far as the next."""
        if session.testsfailed or session.config.option.collectonly:
            return None  # what could not be collected ends the run there
        item: pytest.Item | None
        mine = self._items(session.items)
        item = next(mine, None)
        while item is not None:
            following = next(mine, None)
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
            item = following
        return True

    def _items(self, items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
        """The items of one file after the other that nobody else has, the longest first; a new one is long."""
        seconds = _seconds(self._folder / SECONDS)
        files: dict[str, list[pytest.Item]] = {}
        for item in items:
            files.setdefault(_file(item), []).append(item)
        for file in sorted(files, key=lambda file: -seconds.get(file, float("inf"))):
            if self._take(file):
                yield from files[file]

    def _take(self, file: str) -> bool:
        """Whether nobody was before us."""
        try:
            (self._folder / quote(file, safe="")).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def _seconds(file: Path) -> Mapping[str, float]:
    try:
        return dict(json.loads(file.read_text()))
    except FileNotFoundError:
        return {}


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def pytest_configure(config: pytest.Config) -> None:
    """Only where there is somebody to share with."""
    folder = os.environ.get("XTCP_SHARING")
    if folder:
        config.pluginmanager.register(Sharing(Path(folder)), "xtcp-sharing")
