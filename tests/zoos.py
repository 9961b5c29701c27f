"""Captures of real sockets for tests that need some, not those of every kernel: one of each byte order, and its twin.

All of pcaps/ is what tests/golden is for; with every kernel that comes there the rest would take longer otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import pytest

from tests.conftest import ROOT
from xtcp_replay.judging.corpus import Row, read_manifest

PCAPS: Final = ROOT / "pcaps"
BIG: Final = min(PCAPS.glob("6.1.*-s390x/zoo.pcapng"))
LITTLE: Final = min(PCAPS.glob("6.18.*-x86_64/zoo.pcapng"))
# The sockets of each, whenever it was recorded.
ROWS: Final = {PCAPS / row.file: row.rows for row in read_manifest(PCAPS)}
ORIGINALS: Final = (BIG, LITTLE)
_FOLDERS: Final = frozenset(path.parent for path in ORIGINALS)
WITH_TWINS: Final = tuple(path for zoo in ORIGINALS for path in (zoo.parent / "twin" / zoo.name, zoo))


def of_the_corpus(rows: Iterable[Row]) -> list[Any]:
    """Parameters of a test for each of these files of pcaps/, slow but for those of the two kernels of `ORIGINALS`."""
    return [
        pytest.param(
            row,
            id=row.file,
            marks=[] if (PCAPS / (row.made_from or row.file)).parent in _FOLDERS else pytest.mark.slow,
        )
        for row in rows
    ]
