"""The sinks of a run, and what a reload makes of them; the endpoint."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.child import Child
from tests.daemon.world import World
from tests.patience import patient
from tests.sinks.standins import cookies
from xtcp.daemon.endpoint import open_endpoint
from xtcp.daemon.memory import Memory
from xtcp.daemon.outlets import Outlets
from xtcp.errors import XtcpError
from xtcp.metrics.agent_state import Verdict
from xtcp.poll.one_pass import OnePass
from xtcp.settings.effective import Settings, load
from xtcp.sinks.destination import parse


def outlets(*texts: str, limit: int = 1 << 30) -> Outlets:
    """The sinks of these destinations."""
    return Outlets([parse(text) for text in texts], Memory(limit), 30.0)


def rows_in(path: Path) -> list[int]:
    """Cookies, in their order."""
    return [json.loads(line)["idiag_cookie"] for line in path.read_text().splitlines()]


def test_fault_79_an_exchange_keeps_what_stays(tmp_path: Path) -> None:
    """The file that stays is not opened anew, the one that goes has all its rows, the one that comes those behind."""
    stays, goes, comes = tmp_path / "stays", tmp_path / "goes", tmp_path / "comes"
    with closing(outlets(f"file:{stays}", f"file:{goes}")) as sinks:
        sinks.fan.accept(cookies(1, 2))
        sinks.exchange([parse(f"file:{stays}"), parse(f"file:{comes}")])
        sinks.fan.accept(cookies(3))
        sinks.close()
        balances = {balance.name: balance for balance in sinks.fan.ledger.snapshot()}
    assert (rows_in(stays), rows_in(goes), rows_in(comes)) == ([1, 2, 3], [1, 2], [3])
    assert all(balance.balanced and not balance.in_flight for balance in balances.values())
    assert [balance.accepted for balance in balances.values()] == [3, 2, 1]


def test_fault_79_options_that_change(tmp_path: Path) -> None:
    """The same destination with other options is opened anew, and goes on in its account."""
    path = tmp_path / "rows"
    with closing(outlets(f"file:{path}")) as sinks:
        sinks.fan.accept(cookies(1))
        sinks.exchange([parse(f"file:{path}?format=csv")])
        sinks.fan.accept(cookies(2))
        sinks.close()
        (balance,) = sinks.fan.ledger.snapshot()
    assert (balance.name, balance.accepted, balance.in_flight) == (f"file:{path}", 2, 0)
    assert path.read_text().startswith("idiag_cookie") or "," in path.read_text()


def test_fault_79_a_destination_that_cannot_be_opened(tmp_path: Path) -> None:
    """Everything is as before: what was opened for it is closed again, what was open goes on."""
    stays, new = tmp_path / "stays", tmp_path / "new"
    with closing(outlets(f"file:{stays}")) as sinks:
        with pytest.raises(XtcpError, match="nowhere"):
            sinks.exchange([parse(f"file:{new}"), parse("file:/nowhere/at/all")])
        assert sinks.names == (f"file:{stays}",)
        sinks.fan.accept(cookies(1))
        sinks.close()
        assert sinks.fan.ledger.balanced()
    assert rows_in(stays) == [1] and rows_in(new) == []


def test_fault_79_options_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same destination with options that fail is opened as it was."""
    path = tmp_path / "rows"
    with closing(outlets(f"file:{path}")) as sinks:
        changed = parse(f"file:{path}?format=csv")
        real = type(changed).open

        def failing(self: Any, *arguments: Any, **named: Any) -> Any:
            if self.options:
                raise XtcpError("it cannot be opened")
            return real(self, *arguments, **named)

        monkeypatch.setattr(type(changed), "open", failing)
        with pytest.raises(XtcpError, match="it cannot be opened"):
            sinks.exchange([changed])
        sinks.fan.accept(cookies(1))
        sinks.close()
    assert rows_in(path) == [1]


def test_states_are_those_of_the_sinks(tmp_path: Path) -> None:
    """Queue, limit and whether it works; a closed one stays in the ledger and is not up."""
    with closing(outlets("null:?queue=2M", f"file:{tmp_path / 'x'}", limit=64 << 20)) as sinks:
        first, second = sinks.states()
        assert (first.queue_limit_bytes, second.queue_limit_bytes) == (2 << 20, 4 << 20)
        assert first.up and second.up
        sinks.exchange([parse("null:?queue=2M")])
        assert [state.up for state in sinks.states()] == [True, False]


def test_reloads_of_settings_change_what_they_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interval, the memory limit and the deadline from the next poll on; a bad reload is a metric."""
    monkeypatch.setattr("xtcp.daemon.poller.verify", lambda: OnePass(True, "scripted"))
    world = World(max_loops="6", memory=Memory(1 << 30, used=lambda: 0))
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if turns == 2:
            world.configuration = {"XTCP_FREQUENCY": "5s", "XTCP_MEMORY_LIMIT": "100M", "XTCP_DEADLINE": "3s"}
            world.signals._hangups = 1
        if turns == 4:
            assert world.agent.state().reload.successful
            world.configuration = {"XTCP_FREQUENCY": "soon"}
            world.signals._hangups = 1
        if turns == 5:
            assert not world.agent.state().reload.successful

    world.on_wait = turn
    assert world.run() == 0
    assert world.pauses()[-2:] == [5, 5]
    assert world.agent.memory.limit == 100 << 20
    assert world.agent.poller.settings.deadline == 3
    assert [line["event"] for line in world.events if "reload" in line["event"]] == ["reloaded", "reload_failed"]


# --- the endpoint ---


def get(url: str) -> tuple[int, str]:
    """Status and text."""
    try:
        with urllib.request.urlopen(url, timeout=patient(5)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def settings(**flags: str) -> Settings:
    """Of flags."""
    return load({name: [value] for name, value in flags.items()} | {"dest": ["null:"]}, {})


def test_a_taken_port_that_nobody_asked_for(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent does without metrics, and says why; who asked for the port gets an error."""
    asked = settings(listen=f"127.0.0.1:{taken}")
    with pytest.raises(XtcpError, match=str(taken)):
        open_endpoint(asked, Verdict, lambda _error: None)
    told: list[XtcpError] = []
    monkeypatch.setattr(Settings, "asked_for", lambda _self, _name: False)
    assert open_endpoint(asked, Verdict, told.append) is None
    assert str(taken) in told[0].what
    assert open_endpoint(settings(listen="off"), Verdict, told.append) is None


def test_a_file_of_metrics(tmp_path: Path) -> None:
    """Written after each poll, without any port."""
    path = tmp_path / "xtcp.prom"
    world = World(
        max_loops="2",
        textfile=str(path),
        make_endpoint=lambda now, judge: open_endpoint(now, judge, lambda _error: None),
    )
    assert world.run() == 0
    assert "xtcp_polls_total 2.0" in path.read_text()


def test_a_port_that_cannot_be_had_empties_no_file(taken: int, tmp_path: Path) -> None:
    """Who asks for a port that is another's loses nothing: no destination was opened."""
    rows = tmp_path / "rows.json"
    rows.write_text("of yesterday\n")
    with Child("--dest", f"file:{rows}", "--listen", f"127.0.0.1:{taken}") as child:
        assert child.ended() not in {0, 70}
        assert str(taken) in "\n".join(child.lines)
    assert rows.read_text() == "of yesterday\n"


@pytest.mark.live
def test_metrics_of_a_running_agent(tmp_path: Path) -> None:
    """The ledger, the last reload and the verdict are served as they are."""
    config = tmp_path / "xtcp.toml"
    config.write_text('frequency = "100ms"\n')
    with Child("--config", config, "--dest", "null:", "--listen", "127.0.0.1:0") as child:
        url = child.wait_for("started")["metrics"]
        child.wait_for("poll", 2)
        status, text = get(url)
        assert status == 200
        assert 'sink="null"' in text and "xtcp_config_last_reload_successful 1.0" in text
        assert get(url.replace("metrics", "-/ready"))[0] == 200
        assert get(url.replace("metrics", "-/healthy"))[0] == 200
        config.write_text("nonsense")
        child.signal(signal.SIGHUP)
        child.wait_for("reload_failed")
        # What is served is made anew at the end of a poll.
        child.wait_for("poll", len(child.named("poll")) + 2)
        assert "xtcp_config_last_reload_successful 0.0" in get(url)[1]


@pytest.mark.live
def test_an_agent_that_is_switched_off_is_not_ready(tmp_path: Path) -> None:
    """The kill switch is seen from outside, and does not get the agent restarted."""
    switch = tmp_path / "off"
    with Child("--frequency", "50ms", "--dest", "null:", "--listen", "127.0.0.1:0", "--disable-file", switch) as child:
        url = child.wait_for("started")["metrics"]
        child.wait_for("poll", 1)
        switch.touch()
        child.wait_for("polls_switched_off")
        polls = len(child.named("poll"))
        assert get(url.replace("metrics", "-/ready"))[0] == 503
        assert get(url.replace("metrics", "-/healthy"))[0] == 200
        time.sleep(0.2)
        assert len(child.named("poll")) == polls
        switch.unlink()
        child.wait_for("poll", polls + 1)


def test_fault_78_the_end_has_no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that waits for a slow destination stops waiting when the agent is to end."""
    world = World(max_loops="1", frequency="1h", dest=["null:?queue=1M"])
    (queue,) = world.agent.outlets.fan.queues().values()
    assert world.agent.outlets.patience.left > 60
    # The queue is full, and its sink works.
    monkeypatch.setattr(queue, "_takes", lambda _size: False)
    monkeypatch.setattr("xtcp.sinks.queued.HALT_S", 1e6)
    timer = threading.Timer(0.2, lambda: signal.raise_signal(signal.SIGTERM))
    began = time.monotonic()
    with world.signals.handled():
        timer.start()
        world.run()
    timer.join()
    assert time.monotonic() - began < patient(5)
