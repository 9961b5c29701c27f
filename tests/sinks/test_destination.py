"""The grammar of `--dest`: what it means, what it refuses, and what it says then."""

from __future__ import annotations

import errno
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sinks.standins import cookies
from xtcp.errors import PermissionMissing, UsageError, XtcpError
from xtcp.ledger import Account
from xtcp.sinks import destination as destinations
from xtcp.sinks.destination import Destination, parse
from xtcp.sinks.schemes import SCHEMES, overview


@pytest.mark.parametrize(
    ("text", "scheme", "address", "options"),
    [
        ("stdout:", "stdout", "", {}),
        ("stdout", "stdout", "", {}),
        ("stdout:?format=csv", "stdout", "", {"format": "csv"}),
        ("null:", "null", "", {}),
        ("file:rows.json", "file", "rows.json", {}),
        ("file:/a:b/rows?format=csv", "file", "/a:b/rows", {"format": "csv"}),
        ("file:really?.json?", "file", "really?.json", {}),
        ("file:x?y?format=%6Ason", "file", "x?y", {"format": "json"}),
        ("file:100%25.csv", "file", "100%25.csv", {}),
    ],
)
def test_parsed(text: str, scheme: str, address: str, options: dict[str, str]) -> None:
    """Options stand behind the last `?`; addresses are taken as they are, values unquoted."""
    destination = parse(text)
    assert (destination.scheme, destination.address, destination.options) == (scheme, address, options)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nope:127.0.0.1:13000", "All of them: stdout:"),
        ("fil:rows.json", "Did you mean file?"),
        ("stdot", "Did you mean stdout"),
        ("/tmp/rows.json", "Did you mean file:/tmp/rows.json?"),
        ("", "All of them"),
        (":", "All of them"),
        ("file:", "names no file"),
        ("file:-", "stdout:"),
        ("file:rows?formt=csv", "Did you mean format?"),
        ("file:rows?format", "has no value"),
        ("file:rows?format=", "has no value"),
        ("file:rows?format=csv&format=json", "comes twice"),
        ("file:rows?format=cvs", "Did you mean csv?"),
        ("file:what?.json", "no option of the form name=value"),
        ("null:?format=json", "Options of null:: queue, full, sample."),
        ("null:?full=perhaps", "neither drop nor wait"),
        ("null:?queue=much", "is no size"),
        ("null:?sample=0", "is no number from 1"),
        ("null:here", "takes no address"),
        ("stdout:rows.json", "Did you mean file:rows.json?"),
    ],
)
def test_refused(text: str, says: str) -> None:
    """What was wrong, what was meant, what there is."""
    with pytest.raises(UsageError) as raised:
        parse(text)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("text", "first"),
    [("rows.json", '{"idiag'), ("rows.csv", "timestamp_ns,"), ("rows", '{"idiag'), ("rows?format=csv", "timestamp_")],
)
def test_format_by_ending_or_option(tmp_path: Path, text: str, first: str) -> None:
    """CSV where the file is named so, else JSON, whatever else an option says."""
    destination = parse(f"file:{tmp_path}/{text}")
    sink = destination.open(Account("file"))
    sink.accept(cookies(7))
    sink.close()
    assert destination.file is not None
    assert Path(destination.file).read_text().startswith(first)


def test_an_option_says_no_secret() -> None:
    """Names for ledger and metrics have no options."""
    assert Destination("kafka", "broker:9092/topic", {"sasl.password": "secret"}).name == "kafka:broker:9092/topic"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("null:x?sasl.password=hunter2&format=json", "null:x?sasl.password=***&format=json"),
        ("null:x?format=json&ssl.key.password=hunter2", "null:x?format=json&ssl.key.password=***"),
        ("null:http://me:hunter2@host/?nope=1", "null:http://***@host/?nope=1"),
        ("null:x?sasl.password.file=/etc/hunter2&nope=1", "/etc/hunter2"),
    ],
)
def test_a_refusal_says_no_secret(text: str, says: str) -> None:
    """A value that is, or may be part of, a password; a file's name is none."""
    with pytest.raises(UsageError) as raised:
        parse(text)
    assert says in str(raised.value)
    assert "ter2" not in str(raised.value).replace("/etc/hunter2", "")


def test_names_that_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library's own options go through unread; what has not their form is still a slip of the pen."""
    open_ended = replace(SCHEMES["null"], options={"record": ""}, passed_on=r"[a-z]+(\.[a-z]+)+")
    monkeypatch.setattr(destinations, "SCHEMES", {"null": open_ended})
    assert parse("null:?linger.ms=5&record=x").options == {"linger.ms": "5", "record": "x"}
    with pytest.raises(UsageError, match=r"Did you mean record\?"):
        parse("null:?recrod=x")
    with pytest.raises(UsageError, match=r"a part behind the \?") as raised:
        parse("null:?sasl.password=hun&ter2")
    assert "hun" not in str(raised.value) and "ter2" not in str(raised.value)


def test_opening_fails_before_anything_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is not there, a folder that is no file, a file of another user; as errors of ours."""
    for path, kind in ((tmp_path / "none" / "rows", UsageError), (tmp_path, XtcpError)):
        with pytest.raises(kind, match="--dest"):
            parse(f"file:{path}").open(Account("file"))

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(PermissionMissing, match="--dest"):
        parse(f"file:{tmp_path}/rows").open(Account("file"))


def test_closed_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, not met as an AttributeError."""
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(UsageError, match="closed"):
        parse("stdout:").open(Account("stdout"))


def test_overview_lists_all() -> None:
    """`--help` shows every scheme."""
    assert len(overview().splitlines()) == len(SCHEMES)
    assert all(scheme.form in overview() for scheme in SCHEMES.values())
