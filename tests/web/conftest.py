"""What the tests of the server share."""

from __future__ import annotations

import importlib

import pytest

from tests.libraries import is_here
from tests.patience import patient


@pytest.fixture(autouse=True)
def _patient_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of a slow machine may take as much longer; a test that waits for a limit sets its own."""
    if is_here("uvicorn") and is_here("h11"):
        protocol = importlib.import_module("xtcp.web.protocol")
        for name in ("HEAD_S", "ANSWER_S"):
            monkeypatch.setattr(protocol, name, patient(getattr(protocol, name)))
