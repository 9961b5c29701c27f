"""What a `clickhouse:` destination means, refuses, and keeps to itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from xtcp.errors import ConfigurationError, UsageError, XtcpError
from xtcp.ledger import Account
from xtcp.sinks.clickhouse.inserts import ClickHouse
from xtcp.sinks.clickhouse.target import target
from xtcp.sinks.destination import parse


def test_all_of_it() -> None:
    """Ports by the scheme, a database for the polls, settings by their form."""
    meant = target(
        parse(
            "clickhouse:https://ch.example/d.t?user=u&password=p%26&polls=polls&timeout=2s&keep-trying=1m&async_insert=1"
        )
    )
    assert (meant.tls, meant.host, meant.port, meant.table, meant.polls) == (True, "ch.example", 8443, "d.t", "d.polls")
    assert (meant.user, meant.secret(), meant.timeout_s, meant.keep_trying_s) == ("u", "p&", 2.0, 60.0)
    assert meant.settings == {"async_insert": "1"}
    assert "p&" not in repr(meant)
    plain = target(parse("clickhouse:http://[::1]/d.t?polls=e.p"))
    assert (plain.tls, plain.host, plain.port, plain.polls) == (False, "::1", 8123, "e.p")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("clickhouse:", "names no server and table"),
        ("clickhouse:ch:8123/d.t", "names no server and table"),
        ("clickhouse:tcp://ch:9000/d.t", "names no server and table"),
        ("clickhouse:http://ch:99999/d.t", "Port out of range"),
        ("clickhouse:http://ch:8123", "is no DATABASE.TABLE"),
        ("clickhouse:http://ch:8123/t", "is no DATABASE.TABLE"),
        ("clickhouse:http://ch:8123/d.t;DROP TABLE x", "is no DATABASE.TABLE"),
        ("clickhouse:http://me:hunter2@ch/d.t", "a user stands before the host"),
        ("clickhouse:http://ch/d.t?polls=a b", "names no table"),
        ("clickhouse:http://ch/d.t?timeout=soon", "timeout: 'soon' is no time"),
        ("clickhouse:http://ch/d.t?compression=lz4", "there is no compression 'lz4'"),
        ("clickhouse:http://ch/d.t?password=hunter2&password.file=b", "Leave one of them out"),
        ("clickhouse:http://ch/d.t?user=me%0AX-Other: 1", "do not print"),
        ("clickhouse:http://ch/d.t?wait_end_of_query=0", "cannot be set"),
        ("clickhouse:http://ch/d.t?usr=me", "Did you mean user?"),
    ],
)
def test_refused(text: str, says: str) -> None:
    """Before anything is opened, and without a password."""
    with pytest.raises(UsageError) as raised:
        parse(text)
    assert says in str(raised.value) and "hunter2" not in str(raised.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A password's or a certificate's: said at opening, with the option that named it."""
    (tmp_path / "empty").touch()
    for option, says in (("password.file", "password"), ("ca.file", "ca")):
        with pytest.raises(XtcpError, match=rf"{says}\.file"):
            ClickHouse(target(parse(f"clickhouse:https://ch/d.t?{option}={tmp_path}/none")), Account("ch"))
    with pytest.raises(ConfigurationError, match="first line is empty"):
        ClickHouse(target(parse(f"clickhouse:http://ch/d.t?password.file={tmp_path}/empty")), Account("ch"))


def test_without_zstandard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who asks for it needs it."""
    monkeypatch.setitem(sys.modules, "zstandard", None)
    ClickHouse(target(parse("clickhouse:http://ch/d.t")), Account("ch"))
    with pytest.raises(ConfigurationError, match="pip install"):
        ClickHouse(target(parse("clickhouse:http://ch/d.t?compression=zstd")), Account("ch"))
