"""Standard output whose reader leaves: `| head` ends every command quietly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.running import REPLAY, XTCP, started
from tests.patience import fewer, patient
from tests.replay.made import pcap, row, saved


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Rows that as text fill any pipe."""
    rows = [b"".join(row(1000 * i + j) for j in range(1, 301)) for i in range(fewer(20))]
    return saved(tmp_path_factory.mktemp("pipe"), pcap(rows))


LIVE = [(*XTCP, "once", "--format", "json"), (*XTCP, "doctor")]
SEND = (*REPLAY, "send", "CAPTURE", "--speed", "max", "--dest")
COMMANDS = [
    (*XTCP, "columns"),
    (*REPLAY, "decode", "CAPTURE", "--format", "csv"),
    (*SEND, "stdout:"),
]
# Of the same kinds.
MORE = [
    (*XTCP, "--help"),
    (*REPLAY, "info", "CAPTURE"),
    (*REPLAY, "show", "CAPTURE"),
    (*SEND, "stdout:?format=csv"),
]


@pytest.mark.parametrize(
    ("command", "before"),
    [
        *(pytest.param(command, 1, marks=pytest.mark.live) for command in LIVE),
        *((command, 1) for command in COMMANDS),
        *(pytest.param(command, 1, marks=pytest.mark.slow) for command in MORE),
        ((*SEND, "stdout:"), 0),
        pytest.param((*SEND, "stdout:?format=csv"), 0, marks=pytest.mark.slow),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else " ".join(value[2:]),
)
def test_fault_71_a_reader_that_leaves(command: tuple[str, ...], before: int, capture: str) -> None:
    """Before the first byte, and behind it: exit 0, nothing on standard error of it."""
    argv = [capture if argument == "CAPTURE" else argument for argument in command]
    with started(argv) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(before)
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait(patient(30)) == 0, said
    assert "Traceback" not in said and "Broken pipe" not in said and "EPIPE" not in said


def test_fault_71_the_agent_goes_on_for_its_other_destinations(tmp_path: Path, capture: str) -> None:
    """Standard output is not the only one: the file is whole."""
    argv = [*REPLAY, "send", capture, "--speed", "max", "--dest", "stdout:", "--dest", f"file:{tmp_path}/rows"]
    with started(argv) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.wait(patient(30))
    assert (tmp_path / "rows").read_bytes().count(b"\n") == 300 * fewer(20)
