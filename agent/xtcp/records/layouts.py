"""The layouts by name: xTCP's record, our flat record, xtcp2's in both of its epochs."""

from __future__ import annotations

from typing import Final

from xtcp.records.flat_record import FLAT
from xtcp.records.model import Layout
from xtcp.records.xtcp2_record import XTCP2_1, XTCP2_2
from xtcp.records.xtcp_record import XTCP

LAYOUTS: Final[dict[str, Layout]] = {layout.name: layout for layout in (XTCP, FLAT, XTCP2_1, XTCP2_2)}
