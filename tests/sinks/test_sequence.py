"""What our senders number, our collector counts: nothing is lost where nothing was, and what was is told exactly."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from tests.cli.running import ENVIRONMENT, REPLAY, XTCP, started
from tests.patience import patient
from tests.zoos import BIG


def test_many_hosts_of_one_sender_lose_nothing(tmp_path: Path) -> None:
    """A replay as several hosts, envelopes of all of them in turn, by UDP into the collector."""
    capture = BIG
    stats = tmp_path / "stats"
    command = [*XTCP, "collect", "--listen", "udp:127.0.0.1:0", "--dest", "null:", "--stats", str(stats)]
    with started(command, stdout=subprocess.DEVNULL) as collector:
        assert collector.stderr is not None
        said = os.read(collector.stderr.fileno(), 4096).decode()
        found = re.search(r"udp:127\.0\.0\.1:(\d+)", said)
        assert found, said
        send = [*REPLAY, "send", str(capture), "--speed", "max", "--hosts", "5", "--rewrite-time", "-q"]
        send += ["--dest", f"udp:127.0.0.1:{found[1]}?record=flat&rate=20000"]
        subprocess.run(send, env=ENVIRONMENT, check=True, timeout=patient(30))
        time.sleep(0.3)
        collector.send_signal(signal.SIGTERM)
        collector.stderr.read()
        collector.wait(patient(20))
    written = json.loads(stats.read_text())
    assert written["rows"] == written["delivered"] > 0
    assert (written["streams"]["streams"], written["streams"]["lost"]) == (1, 0)
