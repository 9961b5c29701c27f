"""`xtcp-replay send` plays captures into every sink that needs no server, several at once: each has every row."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import ENVIRONMENT, REPLAY
from tests.patience import SLOWNESS, fewer, patient
from tests.replay.made import pcap, row, saved
from tests.sinks.protobuf import cookies_of, delimited, parsed
from tests.sinks.receivers import Listener, StreamListener, nobody, until
from tests.sinks.standins import cookies_in
from tests.sinks.test_statsd import gauges
from tests.zoos import LITTLE, WITH_TWINS

# So few rows that no datagram of theirs is lost, however small the buffer and however long its reader sleeps.
CAPTURES = WITH_TWINS if SLOWNESS == 1 else [LITTLE]


def ledger(path: Path) -> dict[str, dict[str, Any]]:
    """What `--ledger` wrote, by sink; it must add up."""
    written = json.loads(path.read_text())
    assert written["balanced"] is True
    return {sink["sink"]: sink for sink in written["sinks"]}


def test_into_all_at_once(tmp_path: Path) -> None:
    """UDP bare and in envelopes, both kinds of local sockets, statsd, files: the same rows."""
    received: list[bytes] = []
    with (
        Listener() as bare,
        Listener() as enveloped,
        Listener() as statsd,
        StreamListener(str(tmp_path / "stream")) as stream,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gram,
    ):
        gram.bind(str(tmp_path / "gram"))

        def take() -> None:
            while data := gram.recv(65536):
                received.append(data)

        taker = threading.Thread(target=take, daemon=True)
        taker.start()
        destinations = [
            f"udp:{bare.address}",
            f"udp:{enveloped.address}?record=flat",
            f"statsd:{statsd.address}",
            f"unix:{tmp_path}/stream",
            f"unixgram:{tmp_path}/gram?record=xtcp2-2",
            f"file:{tmp_path}/rows.envelopes",
            f"file:{tmp_path}/rows.json",
        ]
        command = [*REPLAY, "send", *map(str, CAPTURES), "--speed", "max", "--ledger", str(tmp_path / "ledger")]
        for destination in destinations:
            command += ["--dest", destination]
        done = subprocess.run(
            command, env=ENVIRONMENT, capture_output=True, text=True, timeout=patient(60), check=False
        )
        assert done.returncode == 0, done.stderr
        expected = sorted(cookies_in((tmp_path / "rows.json").read_text()))
        sinks = ledger(tmp_path / "ledger")
        size = sinks[f"udp:{enveloped.address}"]["bytes"]
        assert until(lambda: sum(map(len, enveloped.datagrams)) >= size)
        assert until(lambda: len(bare.datagrams) == len(expected))
        assert until(lambda: bool(stream.texts) and stream.texts[0].count(b"\n") == len(expected))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.connect(str(tmp_path / "gram"))
            end.send(b"")
        taker.join(patient(30))
    assert len(sinks) == len(destinations)
    assert {(sink["accepted"], sink["in_flight"]) for sink in sinks.values()} == {(len(expected), 0)}
    assert sorted(cookies_of("xtcp", iter(bare.datagrams))) == expected
    assert sorted(cookies_of("flat", delimited(b"".join(enveloped.datagrams)))) == expected
    assert sorted(cookies_of("xtcp2-2", delimited(b"".join(received)))) == expected
    assert sorted(cookies_of("flat", delimited((tmp_path / "rows.envelopes").read_bytes()))) == expected
    assert sorted(cookies_in(stream.texts[0].decode())) == expected
    assert sum(map(len, map(gauges, statsd.datagrams))) > 10


@pytest.mark.parametrize("destination", ["udp:127.0.0.1:{port}", "statsd:127.0.0.1:{port}"])
def test_nobody_listens(tmp_path: Path, destination: str) -> None:
    """It ends in no time, says so in one line of its ledger, and exits with 75; the other destination is whole."""
    count = fewer(20)
    path = saved(tmp_path, pcap([b"".join(row(1000 * i + j) for j in range(1, 301)) for i in range(count)]))
    command = [*REPLAY, "send", path, "--speed", "max", "--ledger", str(tmp_path / "ledger")]
    with nobody() as port:
        command += ["--dest", destination.format(port=port), "--dest", f"file:{tmp_path}/rows"]
        done = subprocess.run(
            command, env=ENVIRONMENT, capture_output=True, text=True, timeout=patient(40), check=False
        )
    refused, whole = ledger(tmp_path / "ledger").values()
    assert done.returncode == 75
    assert refused["dropped"] == {"ECONNREFUSED": 300 * count} and whole["accepted"] == 300 * count
    assert "Nobody listens" in done.stderr and "Traceback" not in done.stderr


def test_many_hosts(tmp_path: Path) -> None:
    """Each host's polls end with its own trailer, in order, though all share a queue."""
    path = saved(tmp_path, pcap([row(1) + row(2)]))
    count = fewer(200)
    command = [*REPLAY, "send", path, "--speed", "max", "--hosts", str(count), "--loop", "2", "--rewrite-time"]
    command += ["--dest", f"file:{tmp_path}/rows?record=flat"]
    subprocess.run(command, env=ENVIRONMENT, capture_output=True, timeout=patient(60), check=True)
    envelopes = [parsed("flat", message) for message in delimited((tmp_path / "rows").read_bytes())]
    ends = [envelope.trailer.hostname for envelope in envelopes if envelope.HasField("trailer")]
    hosts = [envelope.header.hostname for envelope in envelopes if not envelope.HasField("trailer")]
    assert len(hosts) == 2 * count and sum(len(envelope.record) for envelope in envelopes) == 4 * count
    assert ends == hosts
