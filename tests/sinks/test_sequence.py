"""What our senders number, our collector counts: nothing is lost where nothing was, and what was is told exactly."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

from tests.cli.running import ENVIRONMENT, REPLAY, XTCP, started
from tests.patience import fewer, patient
from tests.sinks.receivers import until
from tests.zoos import BIG, ROWS


def untaken(port: int) -> int:
    """The bytes that wait in the UDP socket at that port; proc(5), /proc/net/udp."""
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        _, local, _, _, queues, *_ = line.split()
        if int(local.rpartition(":")[2], 16) == port:
            return int(queues.partition(":")[2], 16)
    raise ValueError(port)


def test_many_hosts_of_one_sender_lose_nothing(tmp_path: Path) -> None:
    """A replay as several hosts, envelopes of all of them in turn, by UDP into the collector."""
    capture = BIG
    stats = tmp_path / "stats"
    command = [*XTCP, "collect", "--listen", "udp:127.0.0.1:0", "--dest", "null:", "--stats", str(stats)]
    with started(command, stdout=subprocess.DEVNULL) as collector:
        assert collector.stderr is not None
        said = collector.stderr.readline().decode()
        found = re.search(r"udp:127\.0\.0\.1:(\d+)", said)
        assert found, said
        hosts = max(2, fewer(5))
        send = [*REPLAY, "send", str(capture), "--speed", "max", "--hosts", str(hosts), "--rewrite-time", "-q"]
        send += ["--dest", f"udp:127.0.0.1:{found[1]}?record=flat&rate=20000"]
        subprocess.run(send, env=ENVIRONMENT, check=True, timeout=patient(30))
        assert until(lambda: not untaken(int(found[1])))
        collector.send_signal(signal.SIGTERM)
        collector.stderr.read()
        collector.wait(patient(30))
    written = json.loads(stats.read_text())
    assert written["rows"] == written["delivered"] == hosts * ROWS[capture]
    assert (written["streams"]["streams"], written["streams"]["lost"]) == (1, 0)
