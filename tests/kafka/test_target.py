"""What a `kafka:` destination means, refuses, and keeps to itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from xtcp.errors import ConfigurationError, UsageError, XtcpError
from xtcp.ledger import Account
from xtcp.sinks.destination import Destination, parse
from xtcp.sinks.kafka.producer import Kafka
from xtcp.sinks.kafka.target import target


def of(text: str, **options: str) -> Destination:
    """A destination whose options have `_` for dots."""
    return Destination("kafka", text, {name.replace("_", "."): value for name, value in options.items()})


@pytest.mark.parametrize(
    ("text", "brokers", "topic"),
    [
        ("broker/xtcp", "broker:9092", "xtcp"),
        ("a:1,b,c:3/x.y_z-1", "a:1,b:9092,c:3", "x.y_z-1"),
        ("[::1]:9093/t", "[::1]:9093", "t"),
        ("[fe80::1%eth0]/t", "[fe80::1%eth0]:9092", "t"),
    ],
)
def test_brokers_and_topic(text: str, brokers: str, topic: str) -> None:
    """A broker without a port has Kafka's."""
    meant = target(of(text))
    assert (meant.brokers, meant.topic, meant.records.layout) == (brokers, topic, "flat")


@pytest.mark.parametrize(
    ("destination", "says"),
    [
        (of(""), "names no brokers and topic"),
        (of("broker:9092"), "names no brokers and topic"),
        (of("/topic"), "names no brokers and topic"),
        (of("broker/"), "no name of a topic"),
        (of("broker/.."), "no name of a topic"),
        (of("broker/two words"), "no name of a topic"),
        (of("broker:0/t"), "'broker:0' is no broker"),
        (of("broker:65536/t"), "is no broker"),
        (of("a,,b/t"), "'' is no broker"),
        (of("::1/t"), "is no broker"),
        (of("b/t", record="json"), "there is no record 'json'"),
        (of("b/t", record="xtcp2"), "Did you mean xtcp2-1"),
        (of("b/t", bootstrap_servers="c"), "The brokers stand in the address"),
        (of("b/t", delivery_report_only_error="true"), "no row would ever be accepted"),
        (of("b/t", sasl_password="x", sasl_password_file="y"), "Leave one of them out"),
    ],
)
def test_refused(destination: Destination, says: str) -> None:
    """Before anything is opened."""
    with pytest.raises(UsageError) as raised:
        target(destination)
    assert says in str(raised.value)


def test_what_librdkafka_is_told() -> None:
    """Ours, idempotent and bounded; what was asked for stands above it."""
    config = target(of("b/t")).config()
    assert (config["enable.idempotence"], config["compression.type"]) == ("true", "zstd")
    assert int(config["queue.buffering.max.kbytes"]) <= 64 << 10
    assert target(of("b/t", compression_type="lz4", linger_ms="5")).config()["compression.type"] == "lz4"


def test_passwords_come_from_files(tmp_path: Path) -> None:
    """The first line; a file that is missing, empty or no text is an error of ours that names file and option."""
    path = tmp_path / "password"
    path.write_text("pä&ss=1 \nmore\n", "utf-8")
    assert target(of("b/t", ssl_key_password_file=str(path))).config()["ssl.key.password"] == "pä&ss=1 "
    for content in (b"", b"\n", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"sasl\.password\.file"):
            target(of("b/t", sasl_password_file=str(path))).config()
    with pytest.raises(XtcpError, match=r"sasl\.password\.file"):
        target(of("b/t", sasl_password_file=str(tmp_path / "none"))).config()


@pytest.mark.needs("confluent_kafka")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"linger_mss": "5"}, "No such configuration property"),
        ({"linger_ms": "soon"}, "Invalid value"),
        ({"security_protocol": "ssl", "ssl_ca_location": "/none"}, "ssl.ca.location"),
        ({"enable_idempotence": "true", "acks": "1"}, "acks"),
    ],
)
def test_what_librdkafka_refuses(options: dict[str, str], says: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Its options are its own: it says what is wrong with them, when the sink is opened, as an error of ours."""
    with pytest.raises(ConfigurationError, match="CONFIGURATION") as raised:
        Kafka(target(of("b/t", **options)), Account("kafka"))
    assert says in str(raised.value)
    assert capfd.readouterr().err == ""


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is said."""
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'xtcp\[kafka\]'"):
        Kafka(target(of("b/t")), Account("kafka"))


def test_options_pass_the_grammar() -> None:
    """Those of librdkafka have a dot or are few; a slip of the pen in ours is found."""
    options = "linger.ms=5&acks=all&sasl.password=%26%3D&record=xtcp"
    assert parse(f"kafka:b/t?{options}").options["sasl.password"] == "&="
    with pytest.raises(UsageError, match=r"Did you mean record\?"):
        parse("kafka:b/t?recrod=xtcp")
