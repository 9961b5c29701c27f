"""The real broker, once a test run; it is stopped at the end, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.kafka.broker import Broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that runs; what its client is made of may be missing, which is the tests' business."""
    from tests.kafka.broker import Broker

    made: Broker | None = None
    try:
        made = Broker(Path(tmp_path_factory.mktemp("kafka")))
        yield made
    finally:
        if made is not None:
            made.kill()
