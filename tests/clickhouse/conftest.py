"""An engine with our tables in it, once a test run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clickhouse.server import Server
from tests.clickhouse.tables import create, empty
from tests.libraries import require


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that runs, with our tables, or a skip."""
    require_chdb()
    with Server(tmp_path_factory.mktemp("clickhouse") / "data") as made:
        create(made)
        yield made


@pytest.fixture
def tables(server: Server) -> Iterator[Server]:
    """The server with our tables, empty, and no faults."""
    server.faults()
    empty(server)
    yield server
    server.faults()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For a server that a test ends and starts again."""
    require_chdb()
    return tmp_path / "data"


def require_chdb() -> None:
    """Skips where there is no chdb for this machine."""
    require("chdb")
