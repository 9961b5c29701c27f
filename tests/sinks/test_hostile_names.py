"""Names that others chose (hosts, namespaces, congestion controls) through every sink: each stays valid, none is lost.

A row a name: what a reader of that form gets back is the name, as a `Context` has it. `/metrics` has its own test
(tests/web), partitions theirs (tests/store).
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.batches import batch_of
from tests.cli.running import ENVIRONMENT
from tests.libraries import library
from tests.sinks.protobuf import delimited, parsed, records
from tests.sinks.receivers import Listener, StreamListener, until
from tests.sinks.standins import TRAILER
from tests.sinks.test_statsd import gauges
from xtcp.batch import Batch
from xtcp.chunk import Context
from xtcp.encode import FORMATS, make_encoder
from xtcp.errors import UsageError
from xtcp.ledger import Account, Ledger
from xtcp.poll.live import this_host
from xtcp.sinks.destination import parse
from xtcp.sinks.kafka.messages import messages
from xtcp.sinks.record_choice import RecordChoice
from xtcp.spelling import LONGEST_NAME, cleaned

NAMES = {
    "quotes": "a\"b'c`d\\e",
    "newlines": "line\nfeed\r\nreturn\u2028separator",
    "nul": "NUL\0inside",
    "long": "x" * 10_000,
    "long and wide": "€" * 4_000,
    "escapes": "\x1b[31mred\x1b]0;title\x07\x9b1m",
    "surrogates": "lone \ud800 and \udcff",
    "undecodable": os.fsdecode(b"host\xff\xfe"),
    "right to left": "abc\u202edef\u2066\u200f",
    "path": "../../etc/passwd",
    "sql": "'; DROP TABLE sockets; --",
    "statsd": "a:1|c\nb:2|g",
    "csv": '=cmd|"/c calc"!A1,;\t',
    "json": '{"hostname":"other"}',
    "format": "%s%n{0}{hostname}$PATH",
    "empty": "",
    "not characters": "\ufffe\uffff\U0010ffff",
}
RECORDS = ["flat", "xtcp2-1", "xtcp2-2", "xtcp"]
every_name = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())


def rows(name: str) -> Batch:
    """A row of a host, a namespace and a congestion control of that name."""
    kernel = cleaned(name).encode()[:15]
    return batch_of([{"idiag_family": 2, "idiag_cookie": 7, "cong": kernel}], Context(hostname=name, netns=name))


def sent(text: str, name: str) -> None:
    """Opens `text`, sends a row and its trailer, closes; the row must have been accepted."""
    account = Account("sink")
    sink = parse(text).maker()(account)
    sink.accept(rows(name))
    sink.end_poll(replace(TRAILER, hostname=name, netns=name))
    sink.close()
    balance = account.balance()
    assert (balance.accepted, balance.dropped, sink.error) == (1, {}, None)


@every_name
def test_fault_88_a_name_is_cleaned_where_it_comes_in(name: str) -> None:
    """255 bytes of UTF-8 at most, no surrogates; a name that is well stays as it is."""
    context = Context(hostname=name, netns=name)
    assert context.hostname == context.netns == replace(TRAILER, hostname=name).hostname == cleaned(name)
    data = cleaned(name).encode()
    assert len(data) <= LONGEST_NAME
    if len(name) < 60 and not any("\ud800" <= character <= "\udfff" for character in name):
        assert context.hostname == name


def test_fault_88_names_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """What uname and the names in /run/netns say need not be UTF-8: both come as surrogates."""
    uname = os.uname()
    bad = os.uname_result((uname.sysname, "host\udcff", uname.release, uname.version, uname.machine))
    monkeypatch.setattr(os, "uname", lambda: bad)
    monkeypatch.setattr("xtcp.poll.live.namespace_name", lambda: "net\udcfe\n")
    context = this_host()
    assert (context.hostname, context.netns) == ("host\N{REPLACEMENT CHARACTER}", "net\N{REPLACEMENT CHARACTER}\n")


@every_name
def test_fault_88_json(name: str, tmp_path: Path) -> None:
    """One line of ASCII, and the name in it."""
    sent(f"file:{tmp_path}/rows", name)
    data = (tmp_path / "rows").read_bytes()
    assert data.isascii() and data.count(b"\n") == 1 and b"\x1b" not in data and b"\0" not in data
    row = json.loads(data)
    assert (row["hostname"], row["netns"]) == (cleaned(name), cleaned(name))


@every_name
def test_fault_88_csv(name: str, tmp_path: Path) -> None:
    """A record whose fields are the name; Python's reader refuses none."""
    sent(f"file:{tmp_path}/rows.csv", name)
    text = (tmp_path / "rows.csv").read_bytes().decode()
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert (row["hostname"], row["netns"]) == (cleaned(name), cleaned(name))


@every_name
@pytest.mark.parametrize("record", RECORDS)
def test_fault_88_envelopes(name: str, record: str, tmp_path: Path) -> None:
    """google.protobuf takes the texts, which it refuses where they are not UTF-8."""
    sent(f"file:{tmp_path}/rows?record={record}", name)
    first, *others = delimited((tmp_path / "rows").read_bytes())
    (row,) = records(record, first)
    assert row.hostname == cleaned(name)
    if record == "flat":
        assert row.netns == parsed("flat", first).header.hostname == cleaned(name)
        assert parsed("flat", others[0]).trailer.hostname == parsed("flat", others[0]).trailer.netns == cleaned(name)


@every_name
def test_fault_88_datagrams(name: str) -> None:
    """A bare xtcp record, and an envelope, one datagram each."""
    for record in ("xtcp", "flat"):
        with Listener() as there:
            sent(f"udp:{there.address}?record={record}", name)
            (first, *_) = there.wait_for(1)
        message = first if record == "xtcp" else next(delimited(first))
        assert records(record, message)[0].hostname == cleaned(name)


@every_name
def test_fault_88_a_stream(name: str, tmp_path: Path) -> None:
    """One line."""
    with StreamListener(str(tmp_path / "s")) as there:
        sent(f"unix:{tmp_path}/s", name)
        assert until(lambda: bool(there.texts and there.texts[0].endswith(b"\n")))
    (line,) = there.texts[0].splitlines()
    assert json.loads(line)["hostname"] == cleaned(name)


@every_name
def test_fault_88_statsd(name: str) -> None:
    """Lines of one gauge each, none of them made by the name."""
    with Listener() as there:
        sent(f"statsd:{there.address}?prefix={{hostname}}.", name)
        assert until(lambda: b"xtcp_sz" in b"".join(there.datagrams))
        found = gauges(b"\n".join(there.datagrams))
    with Listener() as there:
        sent(f"statsd:{there.address}", name)
        plain = gauges(there.wait_for(1)[0])
    prefixes = {found_name.removesuffix(plain_name) for found_name, plain_name in zip(found, plain, strict=True)}
    assert len(prefixes) == 1


@every_name
def test_fault_88_kafka(name: str) -> None:
    """Key and value of a message; a key is a text that UTF-8 can write."""
    for record in RECORDS:
        made = messages(RecordChoice(record))
        for message in (*made.of(rows(name)), *made.end_poll(replace(TRAILER, hostname=name))):
            key = message.key or b""
            assert (key if isinstance(key, bytes) else key.encode()) == cleaned(name).encode()


@every_name
def test_fault_88_arrow(name: str, tmp_path: Path) -> None:
    """pyarrow's reader gives the name back."""
    pyarrow = library("pyarrow")
    sent(f"file:{tmp_path}/rows.arrow", name)
    table = pyarrow.ipc.open_stream((tmp_path / "rows.arrow").read_bytes()).read_all()
    assert table.column("hostname").to_pylist() == table.column("netns").to_pylist() == [cleaned(name)]


@every_name
@pytest.mark.parametrize("scheme", ["parquet", "lines"])
def test_fault_89_partitions(name: str, scheme: str, tmp_path: Path) -> None:
    """Files stay below their folder, one host a folder, and DuckDB, by the folder's name, finds them."""
    folder = tmp_path / "below"
    folder.mkdir()
    sent(f"{scheme}:{folder}", name)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and all(path.is_relative_to(folder) for path in files)
    assert all(path.relative_to(folder).as_posix().isascii() for path in files)
    if scheme == "parquet":
        import duckdb

        query = "SELECT hostname FROM read_parquet(?, hive_partitioning = true)"
        found = duckdb.execute(query, [f"{folder}/sockets/host=*/*/*/*.parquet"]).fetchall()
        assert found == [(cleaned(name),)]


@every_name
@pytest.mark.parametrize("form", sorted(FORMATS))
def test_fault_88_no_form_of_text_moves_the_cursor(name: str, form: str) -> None:
    """A table, too, shows escapes as text; only CSV gives a name as it is, for programs."""
    encoder = make_encoder(form, ["hostname", "netns", "cong"])
    text = encoder.begin() + "".join(encoder.encode(rows(name))) + encoder.end()
    text.encode()
    if form != "csv":
        assert all(character.isprintable() or character == "\n" for character in text)
        assert len(text.splitlines()) == (2 if form == "table" else 1)


def test_fault_88_the_ledger() -> None:
    """A destination may be named so: a line for people is one that a terminal can show, its JSON is JSON."""
    code = (
        "import json, sys; from xtcp.ledger import Ledger; from xtcp.cli.command import say, _prepare_streams\n"
        "_prepare_streams(); ledger = Ledger()\n"
        "for name in json.load(sys.stdin): ledger.open(name)\n"
        "for line in ledger.lines(): say(line)\n"
    )
    names = [name for name in NAMES.values() if "\n" not in name]
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, input=json.dumps(names).encode(), capture_output=True, check=True
    )
    said = done.stderr.decode().splitlines()
    assert len(said) == len(names) and all(line.isprintable() for line in said)
    ledger = Ledger()
    for name in NAMES.values():
        ledger.open(name)
    assert json.loads(json.dumps(ledger.as_dict()))["balanced"] is True


def test_the_network_is_not_asked_for_such_a_name() -> None:
    """A host of `udp:` that is none: refused when it is parsed, or by the resolver, never by a traceback."""
    for name in NAMES.values():
        if "?" in name:
            continue
        account = Account("udp")
        try:
            sink = parse(f"udp:{name}").maker()(account)
        except UsageError:
            continue
        sink.accept(rows("one"))
        sink.close()
        assert account.balance().balanced
