"""Log lines: their form, their limits, and what never stands in one."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import threading
from typing import Any

import pytest

from xtcp.daemon.log import FromLibraries, Log, unbuffered


class Lines:
    """A log with a clock of the test's, and what it wrote."""

    def __init__(self, **options: Any) -> None:
        self.now = 0.0
        self._stream = io.StringIO()
        self.log = Log(self._stream, clock=lambda: self.now, wall_ns=lambda: 1_795_872_421_453_286_654, **options)

    @property
    def text(self) -> list[str]:
        """Line by line."""
        return self._stream.getvalue().splitlines()


def test_text_and_json() -> None:
    """UTC to the ms, the level, the event, the fields; the same in both forms."""
    text, machine = Lines(), Lines(machine=True)
    for lines in (text, machine):
        lines.log.warning("rows_dropped", sink="kafka:b:9092/t", rows=12, share=0.25, why='a "b"\nc\x1b[2J')
    (line,) = text.text
    assert line.startswith("2026-11-28T13:27:01.453Z warning rows_dropped sink=kafka:b:9092/t rows=12 share=0.250 why=")
    assert line.endswith(r'why="a \"b\" | c\x1b[2J"')
    assert json.loads(machine.text[0]) == {
        "time": "2026-11-28T13:27:01.453Z",
        "level": "warning",
        "event": "rows_dropped",
        "sink": "kafka:b:9092/t",
        "rows": 12,
        "share": 0.25,
        "why": 'a "b"\nc\x1b[2J',
    }


def test_levels() -> None:
    """Below the least nothing is written, nor counted as suppressed."""
    lines = Lines(least="warning")
    lines.log.info("a")
    lines.log.debug("a")
    lines.log.error("b")
    assert len(lines.text) == 1 and lines.log.suppressed == 0


def test_what_comes_often_is_written_seldom() -> None:
    """Six warnings of an event a minute; the next one says how many there were; other events are not touched."""
    lines = Lines(machine=True)
    for _ in range(1000):
        lines.log.warning("sink_away")
    lines.log.warning("other")
    assert [json.loads(line)["event"] for line in lines.text] == ["sink_away"] * 6 + ["other"]
    assert lines.log.suppressed == 994
    lines.now = 61
    lines.log.warning("sink_away")
    assert json.loads(lines.text[-1])["suppressed"] == 994
    lines.log.warning("sink_away")
    assert "suppressed" not in json.loads(lines.text[-1])


def test_limits_are_by_what_a_line_is_about() -> None:
    """One line a minute for each sink and reason, and what is remembered of them has a bound."""
    lines = Lines()
    for number in range(5000):
        lines.log.write("warning", "rows_dropped", {}, about=f"sink {number % 2}", most=1)
    assert len(lines.text) == 2
    for number in range(5000):
        lines.log.write("warning", "rows_dropped", {}, about=f"{number}", most=1)
    assert len(lines.log._windows) <= 1024


@pytest.mark.parametrize("machine", [False, True])
def test_no_line_shows_a_secret(machine: bool) -> None:
    """Wherever it turns up: in an error of a library, a URL, a traceback."""
    lines = Lines(machine=machine, secrets=["hunter2-secret", "a&b"])
    lines.log.error("library", message="login as joe:hunter2-secret@host failed", other="x=a&b")
    assert "hunter2" not in lines.text[0] and "a&b" not in lines.text[0]
    assert lines.text[0].count("***") == 2


def test_nobody_reads_it() -> None:
    """A closed stream takes nothing, and nothing fails."""
    stream = io.StringIO()
    log = Log(stream)
    stream.close()
    log.error("x")


def test_libraries_log_through_it() -> None:
    """Warnings of uvicorn, librdkafka and others are events like all others."""
    lines = Lines(machine=True)
    logger = logging.getLogger("xtcp.test.library")
    logger.propagate = False
    handler = FromLibraries(lines.log)
    logger.addHandler(handler)
    logger.warning("what %s", "happened")
    logger.error("worse")
    logger.info("nothing")
    logger.removeHandler(handler)
    assert [(line["event"], line["level"], line["message"]) for line in map(json.loads, lines.text)] == [
        ("library", "warning", "what happened"),
        ("library", "error", "worse"),
    ]


def test_a_line_is_one_line() -> None:
    """Whatever is in a field, a text log has a line an event."""
    lines = Lines()
    lines.log.info("poll", text="a\r\nb\u2028c\x85d\n\ne")
    assert len(re.split(r"[\n\r\x85\u2028\u2029]", "\n".join(lines.text))) == 1


def test_a_line_that_a_signal_cuts_short_is_written_to_its_end() -> None:
    """A full pipe takes part of a line, then a signal comes: Python's raw files leave the rest to their caller."""
    line = "x" * 300_000
    received = []
    reading, writing = os.pipe()
    signalled = threading.Event()
    writer = threading.get_ident()

    def read() -> None:
        while not signalled.wait(0.2):
            signal.pthread_kill(writer, signal.SIGUSR1)
        with os.fdopen(reading, "rb") as pipe:
            received.append(pipe.read())

    before = signal.signal(signal.SIGUSR1, lambda *_: signalled.set())
    reader = threading.Thread(target=read)
    reader.start()
    try:
        with os.fdopen(writing, "w") as pipe:
            unbuffered(pipe).write(line)
        reader.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert received == [line.encode()]
