"""`xtcp collect`, where it matters as a process: what it prints, where it ends, what it ends with."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import ENVIRONMENT, XTCP, shell, xtcp
from tests.collect.sending import messages, sockets
from tests.patience import fewer, patient
from tests.sinks.receivers import until
from tests.sinks.standins import TRAILER
from tests.zoos import LITTLE
from xtcp.cli.main import run
from xtcp.errors import ExitCode
from xtcp.records.envelopes import Envelopes
from xtcp.records.layouts import LAYOUTS
from xtcp.records.signature import Keys
from xtcp_replay.cli.main import run as run_replay


@contextmanager
def listening(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int, list[str]]]:
    """A collector that listens, the port it listens on, and what it says while it runs."""
    process = subprocess.Popen(
        [*XTCP, "collect", "--listen", "udp:127.0.0.1:0", *arguments],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said: list[str] = []
    ready = threading.Event()

    def hear() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line.rstrip("\n"))
            ready.set()

    thread = threading.Thread(target=hear, daemon=True)
    thread.start()
    try:
        assert ready.wait(patient(60))
        found = re.search(r"listening on udp:127\.0\.0\.1:(\d+)", said[0])
        assert found, said
        yield process, int(found[1]), said
    finally:
        process.kill()
        process.wait()
        thread.join()
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        process.stderr.close()


def send(port: int, sent: list[bytes]) -> None:
    """Datagrams to the loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for message in sent:
            sender.sendto(message, ("127.0.0.1", port))


def lines(process: subprocess.Popen[str], count: int) -> list[dict[str, Any]]:
    """The next rows of its standard output."""
    assert process.stdout is not None
    return [json.loads(process.stdout.readline()) for _ in range(count)]


def test_rows_are_printed_as_they_come() -> None:
    """xTCP's debug server grown up: a JSON object a record; SIGTERM ends it with 0 and an account that adds up."""
    with listening() as (process, port, said):
        send(port, messages("xtcp", sockets([1, 2])))
        rows = lines(process, 2)
        assert [(r["idiag_cookie"], r["hostname"], r["received_from"]) for r in rows] == [
            (1, "web1", "127.0.0.1"),
            (2, "web1", "127.0.0.1"),
        ]
        assert rows[0]["idiag_state"] == "ESTAB" and rows[0]["cong"] == "cubic" and rows[0]["tcp_info_len"] == 232
        # They come in order: once the last of them is printed, the first has been taken.
        send(port, [b"\x80" * 20, *messages("flat", sockets([3])), *messages("xtcp2-1", sockets([4]))])
        assert sorted(r["idiag_cookie"] for r in lines(process, 2)) == [3, 4]
        process.send_signal(signal.SIGTERM)
        assert process.wait(patient(10)) == ExitCode.OK
    text = "\n".join(said)
    assert "5 messages = 4 kept + 1 set aside (cut 1)" in text
    assert "5 rows = 4 delivered + 1 set aside (cut 1)" in text
    assert "stdout: 4 offered = 4 accepted + 0 dropped + 0 in flight" in text


def test_ctrl_c_ends_with_130(tmp_path: Path) -> None:
    """The rows that came are in the file, the counts too."""
    stats = tmp_path / "stats.json"
    with listening("--dest", f"file:{tmp_path}/rows.csv", "--stats", str(stats)) as (process, port, _):
        send(port, messages("flat", sockets(range(50))))
        assert until(lambda: (tmp_path / "rows.csv").read_text().count("\n") == 51)
        process.send_signal(signal.SIGINT)
        assert process.wait(patient(10)) == ExitCode.INTERRUPTED
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert sorted(int(row["idiag_cookie"]) for row in csv.DictReader(file)) == list(range(50))
    told = json.loads(stats.read_text())
    assert told["balanced"] and told["ledger"]["balanced"]
    assert (told["rows"], told["streams"]["lost"], told["sources"]["127.0.0.1"]["hosts"]) == (50, 0, ["web1"])


def test_a_reader_that_stands_still_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """SIGTERM ends it in the time that a container has, what comes from a file and waits for room too; what was not
    written is counted. A second signal: at once.
    """
    # The rows of one of these are more than any pipe holds: from the first line on it stands still.
    sent = messages("flat", sockets(range(3000)), limit=60_000)
    (tmp_path / "rows.pb").write_bytes(b"".join(messages("flat", sockets(range(fewer(200_000))), limit=60_000)))
    waiting = subprocess.Popen(
        [*XTCP, "collect", "--from", f"file:{tmp_path}/rows.pb", "--dest", "stdout:?queue=64K"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with listening() as (process, port, said), waiting:
        send(port, sent)
        assert lines(process, 1) and lines(waiting, 1)
        begin = time.monotonic()
        for each in (process, waiting):
            each.send_signal(signal.SIGTERM)
        for each in (process, waiting):
            assert each.wait(patient(20)) == ExitCode.TEMPORARY
        assert time.monotonic() - begin < patient(15)
        assert waiting.stderr is not None
        told = waiting.stderr.read()
    for text in (told, "\n".join(said)):
        assert re.search(r"stdout: [\d,]+ offered = .* dropped \(closed [\d,]+\) \+ 0 in flight", text), text
    with listening() as (process, port, _):
        send(port, sent)
        assert lines(process, 1)
        begin = time.monotonic()
        while process.poll() is None and time.monotonic() - begin < patient(20):
            process.send_signal(signal.SIGINT)
            time.sleep(patient(0.05))
        assert process.wait(patient(20)) == ExitCode.INTERRUPTED


def test_it_ends_by_itself(tmp_path: Path) -> None:
    """After so many messages, after a time, when nothing comes."""
    with listening("--max-datagrams", "3", "--dest", "null:") as (process, port, said):
        send(port, messages("xtcp", sockets(range(3))))
        assert process.wait(patient(15)) == ExitCode.OK
    assert "3 rows = 3 delivered" in said
    for option in ("--seconds", "--max-idle"):
        assert run(["collect", "--listen", f"unixgram:{tmp_path}/s", option, "0.1s", "--dest", "null:"]) == ExitCode.OK
        assert not (tmp_path / "s").exists()


def test_a_file_of_envelopes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows and trailers; cut, it is damage: what is whole is delivered, exit code 3."""
    stream = Envelopes("flat", limit_bytes=5000)
    packet = stream.end_poll(TRAILER)
    assert packet is not None
    whole = b"".join(messages("flat", sockets(range(100)), stream=stream)) + packet.data
    path = tmp_path / "rows.pb"
    path.write_bytes(whole)
    assert run(["collect", "--from", f"file:{path}", "--stats", f"{tmp_path}/stats"]) == ExitCode.OK
    assert sorted(json.loads(line)["idiag_cookie"] for line in capsys.readouterr().out.splitlines()) == list(range(100))
    assert json.loads((tmp_path / "stats").read_text())["trailers"] == 1
    path.write_bytes(whole[:-1])
    assert run(["collect", "--from", f"file:{path}", "--dest", "null:"]) == ExitCode.DAMAGED
    assert "it is cut in a message" in capsys.readouterr().err
    done = xtcp("collect", "--from", "-", "-q", "--dest", "null:", input=b"\x03\x0a\x05\x01" + whole)
    assert done.returncode == ExitCode.DAMAGED
    assert done.stderr.decode().splitlines() == ["warning: 1 messages set aside"]


def test_what_the_file_sink_writes_is_read(tmp_path: Path) -> None:
    """Records of every layout, by `xtcp-replay send` and back, are the rows of the capture."""
    send = ["send", str(LITTLE), "--speed", "max", "-q", "--dest", f"file:{tmp_path}/rows.json"]
    for record in LAYOUTS:
        send += ["--dest", f"file:{tmp_path}/{record}.pb?format=envelopes&record={record}"]
    assert run_replay(send) == ExitCode.OK
    for record in LAYOUTS:
        back_again = ["collect", "--from", f"file:{tmp_path}/{record}.pb", "-q"]
        assert run([*back_again, "--dest", f"file:{tmp_path}/{record}.json"]) == ExitCode.OK

    def rows(name: str) -> dict[tuple[Any, ...], dict[str, Any]]:
        found = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        return {(row["timestamp_ns"], row["idiag_cookie"], row["idiag_state"]): row for row in found}

    whole = rows("rows.json")
    assert len(whole) > 100
    assert rows("flat.json") == whole
    for record in ("xtcp", "xtcp2-1", "xtcp2-2"):
        back = rows(f"{record}.json")
        assert back.keys() == whole.keys()
        for key, row in back.items():
            made = {"attributes", "tcp_info_len"}
            assert all(row[name] == whole[key][name] for name in row.keys() - made), key


def test_a_reader_that_leaves_hears_nothing(tmp_path: Path) -> None:
    """`| head` ends it with 0 and no word."""
    (tmp_path / "rows.pb").write_bytes(b"".join(messages("flat", sockets(range(5000)), limit=60_000)))
    done = shell("$XTCP collect --from file:$1/rows.pb | head -1; echo ${PIPESTATUS[0]}", tmp_path)
    assert done.stdout.decode().splitlines()[1] == "0"
    assert done.stderr == b""


def test_keys_and_limits_are_options(tmp_path: Path) -> None:
    """Only what is signed; only so many rows a datagram."""
    keys = tmp_path / "keys"
    keys.write_bytes(b"a key of the fleet\n")
    keys.chmod(0o600)
    with listening("--hmac-key", str(keys), "--max-rows-per-datagram", "2", "--max-datagrams", "3") as (
        process,
        port,
        said,
    ):
        sent = [messages("flat", sockets(range(n)))[0] for n in (2, 3)]
        signed = [m + Keys.of_file(str(keys)).footer(m, time.time_ns()) for m in sent]
        send(port, [*signed, sent[0]])
        assert process.wait(patient(15)) == ExitCode.OK
    assert "3 messages = 1 kept + 2 set aside (not signed 1, too many rows 1)" in said


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--listen", "13000"], ExitCode.USAGE, "udp:[HOST][:PORT]"),
        (["--listen", "udp:no-such-host.invalid"], ExitCode.UNAVAILABLE, "has no address"),
        (["--from", "rows.pb"], ExitCode.USAGE, "Did you mean file:rows.pb?"),
        (["--from", "file:no-such-file"], ExitCode.USAGE, "No such file"),
        (["--from", "kafka:broker"], ExitCode.USAGE, "kafka:BROKER"),
        (["--from", "kafka:b/t?enable.auto.commit=true"], ExitCode.USAGE, "cannot be set"),
        (["--from", "-", "--from", "-"], ExitCode.USAGE, "named twice"),
        (["--dest", "stdout:", "--stats", "-"], ExitCode.USAGE, "named twice"),
        (["--hmac-key", "no-such-file"], ExitCode.USAGE, "no-such-file"),
        (["--max-rows-per-datagram", "0"], ExitCode.USAGE, "no number from 1"),
        (["--seconds", "soon"], ExitCode.USAGE, "no time"),
    ],
)
def test_what_cannot_be(capsys: pytest.CaptureFixture[str], arguments: list[str], code: ExitCode, says: str) -> None:
    """Each with three parts and its exit code, and no traceback."""
    assert run(["collect", *arguments]) == code
    text = capsys.readouterr().err
    assert says in text and "Traceback" not in text


def test_a_port_in_use_and_a_broker_that_is_not_there() -> None:
    """Both say what to look at."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        done = xtcp("collect", "--listen", f"udp:127.0.0.1:{other.getsockname()[1]}")
        assert done.returncode == ExitCode.TEMPORARY
        assert "Usually another collector runs." in done.stderr.decode()


def test_a_full_disk_is_75_and_said(tmp_path: Path) -> None:
    """Rows that a sink could not take are dropped by the errno's name; the file can be read again."""
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("needs /dev/full")
    (tmp_path / "rows.pb").write_bytes(b"".join(messages("flat", sockets(range(10)))))
    with Path("/dev/full").open("w") as full:
        done = xtcp("collect", "--from", f"file:{tmp_path}/rows.pb", stdout=full)
    assert done.returncode == ExitCode.TEMPORARY
    assert "10 dropped (ENOSPC 10)" in done.stderr.decode()


def test_help_loads_no_numpy() -> None:
    """So it is quick."""
    code = "import sys\nfrom xtcp.cli.main import run\nrun(['collect', '--help'])\nassert 'numpy' not in sys.modules"
    done = subprocess.run([XTCP[0], "-c", code], env=ENVIRONMENT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"kafka:BROKER/TOPIC" in done.stdout
