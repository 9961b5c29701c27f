"""What a terminal shows, on a terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from tests.batches import batch_of
from tests.cli.running import ENVIRONMENT, XTCP
from tests.conftest import require_program
from tests.patience import patient
from xtcp.batch import Batch
from xtcp.chunk import Context
from xtcp.daemon.top import Top, joined, score
from xtcp.daemon.view import View
from xtcp.ledger import Balance
from xtcp.metrics.agent_state import SinkState
from xtcp.poll.live import LivePoll, Wanted
from xtcp.poll.trailer import Trailer

CALM: dict[str, Any] = {
    "idiag_family": 2,
    "idiag_state": 1,
    "idiag_src": bytes([10, 0, 0, 1]) + bytes(12),
    "idiag_dst": bytes([10, 0, 0, 2]) + bytes(12),
    "idiag_sport": 443,
    "idiag_dport": 50000,
    "idiag_rqueue": 0,
    "idiag_wqueue": 0,
    "tcpi_rtt": 1000,
    "tcpi_rttvar": 100,
    "tcpi_min_rtt": 1000,
    "tcpi_segs_out": 1000,
    "tcpi_total_retrans": 0,
    "tcpi_retrans": 0,
    "tcpi_lost": 0,
    "tcpi_busy_time": 1_000_000,
    "tcpi_rwnd_limited": 0,
    "tcpi_sndbuf_limited": 0,
}


def connections(*changes: dict[str, Any]) -> Batch:
    """A batch of calm connections, each with something changed; cookies from 1."""
    return batch_of(
        [{**CALM, "idiag_cookie": n, **change} for n, change in enumerate(changes, 1)], Context(hostname="h")
    )


def trailer(rows: int, start_s: float = 0.0) -> Trailer:
    """Of a complete poll that took half a second."""
    began = round((1_795_872_421 + start_s) * 1e9)
    return Trailer(
        "h", "", began, "n", "6.1", "little", began, began, round(start_s * 1e9), round((start_s + 0.5) * 1e9),
        1, rows + 1, rows, 0, 0, 0, 1, 0,
    )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"tcpi_total_retrans": 50},
        {"tcpi_lost": 5},
        {"tcpi_rwnd_limited": 600_000},
        {"tcpi_sndbuf_limited": 600_000},
        {"idiag_wqueue": 500_000},
        {"idiag_rqueue": 500_000},
        {"tcpi_rtt": 60_000},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_hurts_comes_first(change: dict[str, Any]) -> None:
    """Each thing that hurts a connection puts it before a calm one, and twice as much of it further."""
    more = {name: value * 2 for name, value in change.items()}
    marks = score(connections({}, change, more))
    assert marks[0] == 0 < marks[1] < marks[2]


def test_the_busiest_of_the_calm_ones() -> None:
    """Traffic decides where nothing hurts, and never stands before what does."""
    marks = score(connections({}, {"tcpi_bytes_sent": 10}, {"tcpi_bytes_received": 1 << 60}, {"tcpi_total_retrans": 1}))
    assert marks[0] == 0 < marks[1] < marks[2] < marks[3]


def test_what_is_no_trouble() -> None:
    """The queue of a listener counts connections; no least round trip is none; no tcp_info is nothing."""
    assert score(connections({"idiag_state": 10, "idiag_rqueue": 4096}))[0] == 0
    assert score(connections({"tcpi_min_rtt": 0xFFFF_FFFF, "tcpi_rtt": 90_000}))[0] == 0
    assert score(batch_of([{"idiag_cookie": 1, "idiag_state": 6}]))[0] == 0


def test_the_best_of_all_batches() -> None:
    """Of a hundred batches the ten best rows, best first, in the order of their score."""
    rng = np.random.default_rng(10)
    retransmits = rng.permutation(1000)
    top = Top(10)
    for batch in np.split(retransmits, 100):
        top.observe(connections(*({"tcpi_total_retrans": int(n), "tcpi_segs_out": 100_000} for n in batch)))
    best = top.rows()
    assert best is not None
    assert best.columns["tcpi_total_retrans"].tolist() == list(range(999, 989, -1))


def test_rows_of_different_batches_make_one() -> None:
    """What one of them has not is absent in its rows, and only there."""
    whole = connections({"tcpi_lost": 3})
    without = batch_of([{"idiag_cookie": 9, "idiag_state": 6}], Context(hostname="h"))
    both = joined([whole, without])
    assert both.rows == 2
    assert both.columns["tcpi_lost"].tolist() == [3, 0]
    assert both.valid["tcpi_lost"].tolist() == [True, False]
    assert "idiag_cookie" not in both.valid


def shown(view: View, *batches: Batch, at: float, sinks: tuple[SinkState, ...] = (), cpu: float = 0.0) -> None:
    """One poll of these batches."""
    for batch in batches:
        view.observe(batch)
    view.end_poll(trailer(sum(batch.rows for batch in batches), at), cpu, sinks)


def test_a_line_a_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets by state, what came and went, the share of segments sent again, processor time, what sinks lost."""
    monkeypatch.setenv("COLUMNS", "200")
    stream = io.StringIO()
    view = View(stream)
    away = SinkState(Balance("kafka:b:9092/t", 10, 0, {"queue": 7}, 3, 0), 2048, 4096, up=False)
    shown(view, connections({}, {}, {"idiag_state": 10}), at=0)
    shown(
        view,
        connections(
            {"tcpi_segs_out": 1100, "tcpi_total_retrans": 5},
            {"idiag_cookie": 70},
            {"idiag_state": 10},
            {"idiag_cookie": 71, "idiag_state": 6},
        ),
        at=30,
        sinks=(away,),
        cpu=0.3,
    )
    first, second = [line for line in stream.getvalue().splitlines() if "poll " in line]
    assert re.match(r"\d\d:\d\d:\d\d  3 sockets: 2 ESTAB, 1 LISTEN  poll 0.5s", first)
    assert (
        "4 sockets: 2 ESTAB, 1 TIME-WAIT, 1 LISTEN" in second or "4 sockets: 2 ESTAB, 1 LISTEN, 1 TIME-WAIT" in second
    )
    assert "+2 -1  retrans 5.00%  poll 0.5s  cpu 1.0%" in second
    assert "kafka:b:9092/t is away, 2K wait; kafka:b:9092/t LOST 7 rows" in second


def test_a_line_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A narrow one sees fewer states by name, and the same numbers of sockets."""
    stream = io.StringIO()
    view = View(stream)
    states = connections(*({"idiag_state": state} for state in (1, 1, 1, 10, 10, 8, 6, 11)))
    for at, columns in ((0, "200"), (30, "70"), (60, "20")):
        monkeypatch.setenv("COLUMNS", columns)
        shown(view, states, at=at)
    wide, narrow, narrowest = [line for line in stream.getvalue().splitlines() if "poll " in line]
    assert "8 sockets: 3 ESTAB, 2 LISTEN, 1 " in wide and wide.count(" others") == 1
    assert len(narrow) <= 70 and "8 sockets: 3 ESTAB, 5 others" in narrow
    assert "8 sockets: 3 ESTAB, 5 others" in narrowest


def test_the_first_poll_has_a_table() -> None:
    """Once, with a line that says what it is of."""
    stream = io.StringIO()
    view = View(stream)
    shown(view, connections({"tcpi_total_retrans": 100, "tcpi_retrans": 1}, {}), at=0)
    shown(view, connections({"tcpi_total_retrans": 100}, {}), at=30)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("the 1 of 2 sockets that matter most")
    assert "retrans" in lines[1] and "1/100" in lines[2]
    assert len([line for line in lines if "matter most" in line]) == 1


def test_calm_hosts_have_no_table() -> None:
    """Where nothing hurts there is nothing to show."""
    stream = io.StringIO()
    shown(View(stream), connections({}, {}), at=0)
    assert "matter most" not in stream.getvalue()


def test_flags_of_a_poll_are_shouted() -> None:
    """A poll that is not whole is seen at a glance; a terminal that has gone away is nobody's fault."""
    stream = io.StringIO()
    view = View(stream)
    view.end_poll(replace(trailer(0), flags=("deadline", "shed")), 0.0, ())
    assert "DEADLINE SHED" in stream.getvalue()
    stream.close()
    view.say("nobody sees this")


@pytest.mark.live
def test_columns_that_this_kernel_gives() -> None:
    """Score and view read a live poll as it comes."""
    from xtcp.decode.decoder import Decoder

    stream = io.StringIO()
    view = View(stream)
    poll = LivePoll(Wanted(), Decoder())
    for batch in poll:
        view.observe(batch)
    assert poll.trailer is not None
    view.end_poll(poll.trailer, 0.0, ())
    assert f"{poll.trailer.delivered:,} socket" in stream.getvalue()


class Terminal:
    """`xtcp run` on a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            # setsid -c: the terminal is the one that controls the process.
            [require_program("setsid", "util-linux"), "-c", *XTCP, "run", "--listen", "off", "--nice", "0", *arguments],
            env={**ENVIRONMENT, "COLUMNS": "120"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self.text = ""

    def read_until(self, pattern: str, seconds: float = 15.0) -> str:
        """What was shown up to a line that matches."""
        end = time.monotonic() + patient(seconds)
        while not re.search(pattern, self.text, re.MULTILINE):
            left = end - time.monotonic()
            assert left > 0, self.text
            if select.select([self.master], [], [], left)[0]:
                try:
                    self.text += os.read(self.master, 65536).decode().replace("\r\n", "\n")
                except OSError:
                    break
        return self.text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        try:
            os.close(self.master)
        except OSError:
            return


@pytest.mark.live
def test_ctrl_c_on_a_terminal() -> None:
    """The first poll at once, a line a poll, no log lines between; Ctrl-C sends what is left: the ledger, 130."""
    with Terminal("--frequency", "100ms", "--dest", "null:") as terminal:
        terminal.read_until(r"(poll [0-9.]+s.*\n(.|\n)*){3}")
        os.write(terminal.master, b"\x03")
        text = terminal.read_until(r"null: .* 0 in flight")
        assert terminal.process.wait(patient(10)) == 130
    assert text.startswith("xtcp ")
    assert "Ctrl-C ends it" in text.splitlines()[0]
    assert '"event"' not in text and " info " not in text
    assert re.search(r"^\d\d:\d\d:\d\d  [0-9,]+ sockets?: ", text, re.MULTILINE)


@pytest.mark.live
def test_a_terminal_that_is_closed_ends_it() -> None:
    """SIGHUP of a terminal that has gone away is no reload: whoever closes the window wants it to end."""
    with Terminal("--frequency", "100ms", "--dest", "null:") as terminal:
        terminal.read_until(r"poll [0-9.]+s")
        os.close(terminal.master)
        assert terminal.process.wait(patient(10)) == 0


@pytest.mark.live
def test_a_hangup_while_the_terminal_is_there_is_a_reload(tmp_path: Path) -> None:
    """Somebody who runs it in the foreground may reload it, too; a bad file is told at once."""
    config = tmp_path / "xtcp.toml"
    config.write_text('frequency = "100ms"\n')
    with Terminal("--config", str(config), "--dest", "null:") as terminal:
        terminal.read_until(r"poll [0-9.]+s")
        config.write_text("frequncy = 1\n")
        terminal.process.send_signal(signal.SIGHUP)
        text = terminal.read_until(r"error reload_failed .*\n")
        assert "Did you mean frequency" in text
        assert terminal.process.poll() is None
