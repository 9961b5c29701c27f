"""Files and streams of envelopes: whole ones, exactly the accepted rows, whatever the disk does."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.running import ENVIRONMENT, REPLAY
from tests.conftest import require_program, require_root
from tests.patience import SLOWNESS
from tests.sinks.protobuf import cookies_of, delimited, parsed
from tests.sinks.receivers import StreamListener, until
from tests.sinks.standins import TRAILER, cookies
from tests.sinks.test_whole_batches import assert_settled, at_most
from tests.zoos import ORIGINALS, WITH_TWINS
from xtcp.errors import UsageError
from xtcp.ledger import Account
from xtcp.sinks.destination import parse
from xtcp.sinks.sink import Sink

RECORDS = ["flat", "xtcp2-1", "xtcp2-2", "xtcp"]
THOUSAND = cookies(*range(1000, 2000))


def opened(path: Path, record: str = "flat") -> tuple[Sink, Account]:
    """A sink that writes to `path`."""
    account = Account("file")
    return parse(f"file:{path}?format=envelopes&record={record}").open(account), account


@pytest.mark.parametrize("record", RECORDS)
def test_rows_and_bytes(tmp_path: Path, record: str) -> None:
    """google.protobuf reads every row back; what is accepted is in the file before `close`, and its bytes are told."""
    sink, account = opened(tmp_path / "rows", record)
    sink.accept(cookies(1, 2))
    sink.accept(THOUSAND)
    data = (tmp_path / "rows").read_bytes()
    assert cookies_of(record, delimited(data)) == [1, 2, *range(1000, 2000)]
    assert (account.balance().accepted, account.balance().bytes) == (1002, len(data))
    sink.end_poll(replace(TRAILER, hostname="one"))
    sink.close()
    assert sink.error is None
    if record == "flat":
        *_, last = delimited((tmp_path / "rows").read_bytes())
        assert parsed("flat", last).trailer.poll_id == TRAILER.poll_id
    else:
        assert (tmp_path / "rows").read_bytes() == data


def test_envelopes_are_numbered_in_their_stream(tmp_path: Path) -> None:
    """From 0, the trailer's too; another sink has another stream."""
    streams = set()
    for name in ("a", "b"):
        sink, _ = opened(tmp_path / name)
        for _ in range(3):
            sink.accept(cookies(1, hostname="one"))
            sink.end_poll(replace(TRAILER, hostname="one"))
        sink.close()
        headers = [parsed("flat", message).header for message in delimited((tmp_path / name).read_bytes())]
        assert [header.sequence for header in headers] == list(range(6))
        assert {header.hostname for header in headers} == {"one"}
        streams |= {header.stream for header in headers}
    assert len(streams) == 2


@pytest.mark.root
@pytest.mark.parametrize("record", RECORDS)
def test_a_full_disk(tmp_path: Path, record: str) -> None:
    """ENOSPC on a disk of 64 KiB: half an envelope is cut out again, and once there is room rows go on behind."""
    require_root()
    mount = require_program("mount", "mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "none", disk], check=True)
    try:
        (disk / "other").write_bytes(bytes(60_000))
        sink, account = opened(disk / "rows", record)
        sink.accept(cookies(1))
        sink.accept(THOUSAND)
        assert_settled(account, 1, {"ENOSPC": 1000})
        (disk / "other").unlink()
        sink.accept(THOUSAND)
        sink.end_poll(TRAILER)
        sink.close()
        assert cookies_of(record, delimited((disk / "rows").read_bytes())) == [1, *range(1000, 2000)]
        assert_settled(account, 1001, {"ENOSPC": 1000})
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_trailer_that_finds_no_room_is_cut_out(tmp_path: Path) -> None:
    """No row is lost by it, the file is whole, and the error is told."""
    sink, account = opened(tmp_path / "rows")
    sink.accept(cookies(1))
    with at_most((tmp_path / "rows").stat().st_size + 10):
        sink.end_poll(TRAILER)
    sink.accept(cookies(2))
    sink.close()
    assert cookies_of("flat", delimited((tmp_path / "rows").read_bytes())) == [1, 2]
    assert_settled(account, 2, {})
    assert sink.error is not None


@pytest.mark.parametrize("form", ["format=envelopes", "format=csv"])
def test_a_sink_that_is_made_again_goes_on_where_it_was(tmp_path: Path, form: str) -> None:
    """After a fault of this program nothing that was accepted is emptied, and no header comes twice."""
    make = parse(f"file:{tmp_path}/rows?{form}").maker()
    for number in range(3):
        sink = make(Account("file"))
        sink.accept(cookies(number + 1))
        sink.close()
    data = (tmp_path / "rows").read_bytes()
    if form == "format=csv":
        assert data.count(b"timestamp_ns") == 1 and data.count(b"\n") == 4
    else:
        assert cookies_of("flat", delimited(data)) == [1, 2, 3]


@pytest.mark.parametrize("record", RECORDS)
def test_a_stream_to_a_socket(tmp_path: Path, record: str) -> None:
    """The same by `unix:`; those of xtcp2 behind their length once more, as its readers want them."""
    with StreamListener(str(tmp_path / "s")) as there:
        account = Account("unix")
        sink = parse(f"unix:{tmp_path}/s?record={record}").maker()(account)
        sink.accept(cookies(1, 2))
        sink.end_poll(TRAILER)
        sink.close()
        assert until(lambda: bool(there.texts) and len(there.texts[0]) >= account.balance().bytes)
    data = there.texts[0]
    if record.startswith("xtcp2"):
        data = b"".join(delimited(data))
    assert cookies_of(record, delimited(data)) == [1, 2]


def test_captures_played_to_files_and_to_standard_output(tmp_path: Path) -> None:
    """`xtcp-replay send` of our captures: the rows that JSON has, from both byte orders, in records of every layout."""
    captures = WITH_TWINS if SLOWNESS == 1 else ORIGINALS  # a twin has the rows of its original
    command = [*REPLAY, "send", *map(str, captures), "--speed", "max", "--dest", f"file:{tmp_path}/rows.json"]
    command += ["--dest", "stdout:?format=envelopes&record=xtcp"]
    for record in RECORDS:
        command += ["--dest", f"file:{tmp_path}/{record}?format=envelopes&record={record}"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=True)
    expected = sorted(json_cookies(tmp_path / "rows.json"))
    assert expected and done.stdout == (tmp_path / "xtcp").read_bytes()
    for record in RECORDS:
        assert sorted(cookies_of(record, delimited((tmp_path / record).read_bytes()))) == expected


def json_cookies(path: Path) -> list[int]:
    """Of JSON lines."""
    return [json.loads(line).get("idiag_cookie", 0) for line in path.read_text().splitlines()]


def test_the_ending_says_the_form(tmp_path: Path) -> None:
    """As for the others."""
    sink = parse(f"file:{tmp_path}/rows.envelopes").open(Account("file"))
    sink.accept(cookies(5))
    sink.close()
    assert cookies_of("flat", delimited((tmp_path / "rows.envelopes").read_bytes())) == [5]


@pytest.mark.parametrize("text", ["file:rows.json?record=flat&format=json", "stdout:?record=flt"])
def test_refused(text: str) -> None:
    """What would have no meaning."""
    with pytest.raises(UsageError):
        parse(text)


def test_nothing_of_an_extra_is_needed(tmp_path: Path) -> None:
    """Envelopes are written by the standard library and NumPy alone."""
    code = (
        "import sys\n"
        "from xtcp.sinks.destination import parse; from xtcp.ledger import Account\n"
        f"parse('file:{tmp_path}/rows?format=envelopes').open(Account('a')).close()\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('google', 'pyarrow', 'confluent_kafka')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
