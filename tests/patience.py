"""How long a test waits for what is to come, and what it takes for quick: XTCP_SLOWNESS times what it says.

A pytest plugin for its limits (`timeout` of pyproject.toml, and its marker), and `patient` for those in the tests. An
emulated processor is some twenty times slower: `XTCP_SLOWNESS=20`. Not for how long a test goes on doing something,
nor how long it waits for what must not come. `fewer` is for how much of the same there is: examples of a property.
"""

from __future__ import annotations

import math
import os
from typing import Final

import pytest

SLOWNESS: Final = float(os.environ.get("XTCP_SLOWNESS") or 1)


def patient(seconds: float) -> float:
    """`seconds`, of which a slow machine gets more."""
    return seconds * SLOWNESS


def fewer(many: int) -> int:
    """`many` on an ordinary machine; on one that is 20 times slower between a fourth and a fifth of them."""
    return max(1, round(many / math.sqrt(SLOWNESS)))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """pytest-timeout's limit of each test; the marker that comes first counts."""
    if SLOWNESS == 1:
        return
    usual = float(config.getini("timeout") or 0)
    for item in items:
        marker = item.get_closest_marker("timeout")
        seconds = float(marker.args[0] if marker and marker.args else usual)
        if seconds:
            item.add_marker(pytest.mark.timeout(patient(seconds)), append=False)
