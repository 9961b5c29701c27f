"""The real broker, once a test run; it is stopped at the end, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka.broker import Broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that runs."""
    made: Broker | None = None
    try:
        made = Broker(Path(tmp_path_factory.mktemp("kafka")))
        yield made
    finally:
        if made is not None:
            made.kill()
