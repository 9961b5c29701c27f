"""`xtcp doctor` on the kernel that is here: it sees what a poll sees, in this machine's byte order."""

from __future__ import annotations

import json
import os
import sys

import pytest

from tests.conftest import ROOT
from tests.sockets import netns

pytestmark = [pytest.mark.live, pytest.mark.root]


def test_doctor_of_this_kernel(namespace: str) -> None:
    """Kernel, byte order and a poll that works; both requests give the same bytes."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/agent:{ROOT}/replay"}
    done = netns.run_in(namespace, [sys.executable, "-m", "xtcp", "doctor", "--json"], env=environment)
    assert done.returncode == 0, done.stderr
    text = json.dumps(json.loads(done.stdout))
    assert os.uname().release in text
    assert sys.byteorder in text
    assert "works" in text
