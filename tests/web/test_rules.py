"""The shipped rules: what promtool says, their own tests, and a real Prometheus that scrapes a real agent with them."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from tests.conftest import ROOT, require_program
from tests.patience import patient
from tests.web.serving import serving, until
from tests.web.states import ordinary
from xtcp.decode.decoder import Decoder
from xtcp.health.health import Health
from xtcp.metrics.agent_state import AgentState, rows_by_family
from xtcp.metrics.exposition import Exposition
from xtcp.metrics.table import METRICS
from xtcp.poll.live import LivePoll, Wanted
from xtcp.web.server import Server

FOLDER = ROOT / "containers" / "prometheus"


def promtool(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """promtool, in the folder of the rules, with `text` on its standard input."""
    program = require_program("promtool", "prometheus")
    return subprocess.run([program, *arguments], cwd=FOLDER, input=text, capture_output=True, text=True, check=False)


def rules() -> list[dict[str, Any]]:
    """All rules, recording and alerting."""
    groups = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml"), ("check", "config", "prometheus.yml")],
    ids=" ".join,
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    """Rules and configuration are well formed, and the rules' own tests pass."""
    done = promtool(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_is_tested() -> None:
    """Each alert is made to fire once by the rules' tests; each alert says what to do."""
    tested = (FOLDER / "rules_test.yml").read_text()
    for rule in rules():
        if "alert" in rule:
            assert re.search(rf"alertname: {rule['alert']}\n\s+exp_alerts:\n", tested), rule["alert"]
            assert set(rule["annotations"]) == {"summary", "action"}
            assert rule["labels"]["severity"] in {"info", "warning", "critical"}


def names_in(expression: str) -> set[str]:
    """Names of our metrics in an expression, a histogram's without what PromQL adds."""
    found = re.findall(r"\b(?:xtcp|process)_[a-z0-9_]+", expression)
    return {re.sub(r"_(?:bucket|count|sum)$", "", name) for name in found}


def test_every_metric_of_the_rules_exists() -> None:
    """A rule of a metric that nobody exposes would never fire."""
    known = {metric.name for metric in METRICS}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        assert names_in(rule["expr"]) <= known, rule
        assert set(re.findall(r"xtcp:[a-z0-9_:]+", rule["expr"])) <= recorded, rule


def test_the_dashboard() -> None:
    """Every query of it is PromQL by promtool's parser, of metrics that exist; no two panels overlap."""
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    variables = [found["query"] for found in dashboard["templating"]["list"] if found["type"] == "query"]
    known = {metric.name for metric in METRICS}
    for query in (*queries, *variables):
        assert names_in(query) <= known and names_in(query), query
    plain = [query.replace("$__rate_interval", "5m") for query in queries]
    made = {"groups": [{"name": "g", "rules": [{"record": f"a:{n}", "expr": query} for n, query in enumerate(plain)]}]}
    done = promtool("check", "rules", "/dev/stdin", text=json.dumps(made))
    assert done.returncode == 0, done.stdout + done.stderr
    cells = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


class Polled:
    """An agent reduced to its polls: dump, health, exposition."""

    def __init__(self, port: int) -> None:
        self.exposition = Exposition()
        self._health = Health({"mine": [port]})
        self._polls = 0
        self._state: AgentState | None = None

    def poll(self) -> None:
        """One poll of this namespace, published."""
        live = LivePoll(Wanted(), Decoder())
        rows = self._state.rows if self._state is not None else {}
        counts = dict(rows)
        for batch in live:
            self._health.observe(batch)
            for key, count in rows_by_family(batch).items():
                counts[key] = counts.get(key, 0) + count
        assert live.trailer is not None
        self._polls += 1
        self._state = ordinary(polls=self._polls, trailer=live.trailer, rows=counts, interval_s=0.3)
        self.exposition.publish(self._state, self._health.end_poll(live.trailer))


@contextmanager
def traffic(sent: list[int]) -> Iterator[int]:
    """A connection to a port of ours, over which bytes go as long as it is open; `sent` gets how many."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port: int = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as sender:
            receiver, _ = listener.accept()
            stop = threading.Event()

            def send() -> None:
                while not stop.wait(0.01):
                    sent.append(10_000)
                    sender.sendall(b"x" * sent[-1])
                    receiver.recv(1 << 20)

            thread = threading.Thread(target=send, daemon=True)
            thread.start()
            try:
                yield port
            finally:
                stop.set()
                thread.join()
                receiver.close()


@contextmanager
def prometheus(folder: Path, server: Server) -> Iterator[str]:
    """A real one that scrapes `server` as job xtcp and evaluates the shipped rules; its URL."""
    program = require_program("prometheus", "prometheus")
    shutil.copy(FOLDER / "rules.yml", folder)
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 300ms, scrape_timeout: 300ms, evaluation_interval: 300ms}\n"
        "rule_files: [rules.yml]\n"
        f"scrape_configs: [{{job_name: xtcp, static_configs: [{{targets: ['127.0.0.1:{server.port}']}}]}}]\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        [
            *(program, "--config.file", str(folder / "prometheus.yml"), "--storage.tsdb.path", str(folder / "tsdb")),
            *("--web.listen-address", f"127.0.0.1:{port}", "--log.level", "warn"),
        ],
        stdout=log,
        stderr=log,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _answers(f"{url}/-/ready"), 30)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(patient(10))
        log.close()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=patient(2)) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def api(url: str, path: str) -> Any:
    """What Prometheus' API answers."""
    with urllib.request.urlopen(f"{url}/api/v1/{path}", timeout=patient(10)) as answer:
        found = json.load(answer)
    assert found["status"] == "success"
    return found["data"]


def value(url: str, query: str) -> float | None:
    """A query's single value; None where it has none."""
    result = api(url, f"query?query={quote(query)}")["result"]
    return float(result[0]["value"][1]) if len(result) == 1 else None


@pytest.mark.live
def test_a_real_prometheus(tmp_path: Path) -> None:
    """It scrapes every 0.3 s while polls go on; all rules evaluate, and figures are those of this host's traffic."""
    sent: list[int] = []
    with traffic(sent) as port:
        polled = Polled(port)
        polled.poll()
        with serving(exposition=polled.exposition) as server, prometheus(tmp_path, server) as url:
            received = 'rate(xtcp_received_bytes_total{direction="inbound",group="mine"}[1m])'
            p99 = 'xtcp:rtt_seconds:p99_5m{direction="inbound",group="mine"}'
            again = 'xtcp:retransmitted_bytes:ratio5m{direction="outbound",group="mine"}'

            def known() -> bool:
                polled.poll()
                time.sleep(0.2)
                moved = all((value(url, query) or 0) > 0 for query in (received, p99))
                return moved and value(url, again) == 0

            def evaluated() -> list[dict[str, Any]]:
                return [rule for group in api(url, "rules")["groups"] for rule in group["rules"]]

            until(known, 25)
            until(lambda: not any(rule["health"] == "unknown" for rule in evaluated()))
            target = api(url, "targets")["activeTargets"][0]
            assert (target["health"], target["lastError"]) == ("up", "")
            assert len(evaluated()) == len(rules())
            assert {(rule["health"], rule.get("lastError", "")) for rule in evaluated()} == {("ok", "")}
            assert (value(url, received) or 0) > 0
            assert 0 < (value(url, 'xtcp_received_bytes_total{group="mine"} > 0') or 0) <= sum(sent)
            assert 0 < (value(url, p99) or 0) < 1
            assert value(url, again) == 0
            assert value(url, 'xtcp_sockets{state="LISTEN"}') is not None
            metadata = api(url, "metadata")
            assert metadata["xtcp_rtt_seconds"][0]["type"] == "histogram"
            assert server.state().answers[200] >= 2
