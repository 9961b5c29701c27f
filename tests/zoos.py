"""Captures of real sockets for tests that need some, not those of every kernel: one of each byte order, and its twin.

All of pcaps/ is what tests/golden is for; with every kernel that comes there the rest would take longer otherwise.
"""

from __future__ import annotations

from typing import Final

from tests.conftest import ROOT
from xtcp_replay.judging.corpus import read_manifest

PCAPS: Final = ROOT / "pcaps"
BIG: Final = min(PCAPS.glob("6.1.*-s390x/zoo.pcapng"))
LITTLE: Final = min(PCAPS.glob("6.18.*-x86_64/zoo.pcapng"))
# The sockets of each, whenever it was recorded.
ROWS: Final = {PCAPS / row.file: row.rows for row in read_manifest(PCAPS)}
ORIGINALS: Final = (BIG, LITTLE)
WITH_TWINS: Final = tuple(path for zoo in ORIGINALS for path in (zoo.parent / "twin" / zoo.name, zoo))
