"""A bucket, by a real server of S3's protocol (moto) in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow.dataset as ds
import pytest
from pyarrow import fs

from tests.libraries import library
from tests.patience import patient
from tests.store.made import INTERVAL_NS, START_NS, Clock, batch, trailer
from xtcp.errors import Unavailable
from xtcp.ledger import Account
from xtcp.sinks.destination import parse
from xtcp.sinks.folders.parquet import Parquet
from xtcp.sinks.folders.partitioned import Limits, Partitioned
from xtcp.sinks.folders.retention import Keep
from xtcp.sinks.folders.s3_folder import S3Folder


class Server:
    """moto's server, on a port that stays the same when it is started again."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Until it answers, with an empty bucket `rows`."""
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + patient(30)
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"{self.endpoint}/moto-api/", timeout=patient(1)):
                    break
            except OSError:
                time.sleep(0.05)
        self.files().create_dir("rows")

    def stop(self) -> None:
        """At once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def files(self) -> fs.S3FileSystem:
        """What is in it, by a client of our own."""
        return fs.S3FileSystem(endpoint_override=self.endpoint, region="us-east-1", allow_bucket_creation=True)

    def names(self) -> list[str]:
        """The keys of all objects, parted by what is random in them."""
        found = self.files().get_file_info(fs.FileSelector("rows", recursive=True))
        return sorted(info.path for info in found if info.type == fs.FileType.File)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Running."""
    for name in ("moto", "flask", "flask_cors"):
        library(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        made = Server()
        made.start()
        yield made
        made.stop()


def opened(server: Server, account: Account, prefix: str, clock: Clock, limits: Limits) -> Partitioned:
    """A sink into the bucket, with a clock moved by hand."""
    folder = S3Folder("parquet", f"rows/{prefix}", region="us-east-1", endpoint=server.endpoint)
    return Partitioned(folder, Parquet(), account, limits, clock=clock, wall=clock.wall)


def cookies(server: Server, prefix: str) -> list[int]:
    """What pyarrow reads of the bucket."""
    table = ds.dataset(f"rows/{prefix}/sockets", filesystem=server.files(), partitioning="hive").to_table()
    return sorted(table.column("idiag_cookie").to_pylist())


def test_rows_and_polls_in_a_bucket(server: Server) -> None:
    """By the destination's text; objects appear when they are complete."""
    account = Account("parquet")
    text = f"parquet:s3://rows/a/b?region=us-east-1&endpoint={server.endpoint}"
    sink = parse(text).maker()(account)
    sink.accept(batch(1, 2))
    assert server.names() == []
    sink.end_poll(trailer())
    assert [name.split("/xtcp-")[0] for name in server.names()] == [
        "rows/a/b/polls/host=web-1/date=2026-11-23/hour=22",
        "rows/a/b/sockets/host=web-1/date=2026-11-23/hour=22",
    ]
    sink.close()
    assert account.balance().accepted == 2 and sink.error is None
    assert cookies(server, "a/b") == [1, 2]


def test_fault_65_a_bucket_that_is_away(server: Server) -> None:
    """Nothing is lost: the file waits here, and is uploaded when the server is back."""
    clock, account = Clock(), Account("parquet")
    sink = opened(server, account, "away", clock, Limits(age_s=0.0))
    server.stop()
    sink.accept(batch(1, 2))
    sink.end_poll(trailer())
    balance = account.balance()
    assert (balance.in_flight, balance.accepted, dict(balance.dropped)) == (2, 0, {})
    assert sink.error is not None and not sink.ready
    clock.now += 2
    sink.tick()
    assert account.balance().in_flight == 2
    server.start()
    clock.now += 60
    sink.tick()
    assert account.balance().accepted == 2
    sink.close()
    assert cookies(server, "away") == [1, 2]
    assert account.balance().balanced


def test_closing_without_the_bucket(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be uploaded is dropped as `closed`, and nothing stays on this machine."""
    clock, account = Clock(), Account("parquet")
    sink = opened(server, account, "closing", clock, Limits())
    sink.accept(batch(1))
    server.stop()
    sink.close()
    assert dict(account.balance().dropped) == {"closed": 1}
    server.start()
    assert not [name for name in server.names() if "closing" in name]


def test_old_objects_go(server: Server) -> None:
    """By size, here too."""
    clock, account = Clock(), Account("parquet")
    sink = opened(server, account, "old", clock, Limits(age_s=0.0, keep=Keep(size=150_000)))
    for number in range(6):
        start = START_NS + number * INTERVAL_NS
        sink.accept(batch(number, start_ns=start))
        sink.end_poll(trailer(start))
        clock.now += 61
        sink.tick()
    sink.close()
    left = cookies(server, "old")
    assert account.balance().accepted == 6 and left == list(range(left[0], 6)) and left[0] > 0


def test_no_such_bucket(server: Server) -> None:
    """Told when it is opened."""
    with pytest.raises(Unavailable, match="The bucket is not there"):
        parse(f"parquet:s3://none?region=us-east-1&endpoint={server.endpoint}").maker()(Account("x"))


def test_duckdb_is_another_reader(server: Server, tmp_path: Path) -> None:
    """An object is the same file that a folder has."""
    sink = parse(f"parquet:s3://rows/same?region=us-east-1&endpoint={server.endpoint}").maker()(Account("x"))
    sink.accept(batch(7))
    sink.close()
    (name,) = [name for name in server.names() if "rows/same/sockets" in name]
    with server.files().open_input_stream(name) as stream:
        (tmp_path / "x.parquet").write_bytes(stream.read())
    assert duckdb.execute(f"SELECT idiag_cookie FROM '{tmp_path}/x.parquet'").fetchall() == [(7,)]
    assert os.environ["AWS_ACCESS_KEY_ID"] == "testing"
