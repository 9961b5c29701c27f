"""What the tests of the server share."""

from __future__ import annotations

import importlib

import pytest

from tests.libraries import is_here
from tests.patience import patient


@pytest.fixture(autouse=True)
def _patient_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients and the server of a slow machine may take as much longer; a test that waits for a limit sets its own."""
    if is_here("uvicorn") and is_here("h11"):
        for module, name in (("protocol", "HEAD_S"), ("protocol", "ANSWER_S"), ("server", "_RELOAD_S")):
            of = importlib.import_module(f"xtcp.web.{module}")
            monkeypatch.setattr(of, name, patient(getattr(of, name)))
