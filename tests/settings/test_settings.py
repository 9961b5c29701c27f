"""One table behind flags, variables and the file: precedence, origins, what comes out."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from tests.cli.running import xtcp
from xtcp.cli.main import parser
from xtcp.settings import values
from xtcp.settings.effective import Settings, load, reloaded
from xtcp.settings.options import given
from xtcp.settings.problems import BadSettings
from xtcp.settings.rendered import effective, render_markdown
from xtcp.settings.secrets import secrets_of
from xtcp.settings.table import SETTINGS, Shape

SECRET = "hunter2-very-secret"


def flags(*arguments: str) -> dict[str, list[str]]:
    """What `xtcp run` makes of these arguments."""
    return given(parser().parse_args(["run", *arguments]))


def test_every_row_is_a_field() -> None:
    """The typed settings are those of the table, in its order."""
    assert [field.name for field in fields(Settings) if field.name != "resolved"] == [s.name for s in SETTINGS]


def test_defaults_are_xtcps() -> None:
    """Without anything: every 30 s, 50 ms a receive, 127.0.0.1:9000, nice 15, moduli 2 and 2000."""
    settings = load({}, {})
    assert (settings.frequency, settings.timeout, settings.deadline) == (30, 0.05, 25)
    assert str(settings.listen) == "127.0.0.1:9000"
    assert (settings.sampling_modulus, settings.report_modulus, settings.nice) == (2, 2000, 15)
    assert not any(settings.asked_for(setting.name) for setting in SETTINGS)


def test_flags_over_environment_over_file(tmp_path: Path) -> None:
    """The nearer source wins, each value knows where it comes from, and lists are not added up."""
    path = tmp_path / "xtcp.toml"
    path.write_text('# a comment\nfrequency = 10\nmax_loops = 1\nnice = 3\ndest = ["file:a"]\n')
    environ = {"XTCP_MAX_LOOPS": "2", "XTCP_NICE": "4", "XTCP_CONFIG": str(path), "XTCP_DEST": "null: 'file:a b'"}
    settings = load(flags("--nice", "5"), environ)
    assert (settings.frequency, settings.max_loops, settings.nice) == (10, 2, 5)
    assert [destination.name for destination in settings.dest] == ["null", "file:a b"]
    origins = {name: value.origin for name, value in settings.resolved.values.items()}
    assert origins["frequency"] == f"{path}:2"
    assert origins["max_loops"] == "XTCP_MAX_LOOPS"
    assert origins["nice"] == "--nice"
    assert origins["timeout"] == "default"


def test_a_fault_under_a_flag_is_still_one(tmp_path: Path) -> None:
    """A bad value does not hide behind a good flag until the day the flag goes."""
    path = tmp_path / "xtcp.toml"
    path.write_text('frequency = "soon"\n')
    with pytest.raises(BadSettings, match="soon"):
        load(flags("--frequency", "1s"), {}, str(path))


def test_an_empty_variable_is_none() -> None:
    """Compose files pass variables on that are not set."""
    assert load({}, {"XTCP_FREQUENCY": ""}).frequency == 30


def test_a_variable_that_is_nearly_a_setting_is_told() -> None:
    """A misspelt variable is a note; one of an orchestrator's service is none of our business."""
    settings = load({}, {"XTCP_FREQENCY": "1s", "XTCP_PORT_9000_TCP_PROTO": "tcp", "HOME": "/"})
    assert [note for note in settings.resolved.notes if "XTCP_FREQENCY" in note and "Did you mean frequency?" in note]
    assert not any("HOME" in note for note in settings.resolved.notes)


def test_an_open_quote_in_a_variable() -> None:
    """Destinations are read as a shell would; what it would refuse is refused."""
    with pytest.raises(BadSettings, match="XTCP_DEST: a quote is open"):
        load({}, {"XTCP_DEST": "file:'a"})


@pytest.mark.parametrize(
    "content", ['[groups]\nweb = [80, 443, "8000-8002"]\nmail = 25', "groups = {web='80,443,8000-8002', mail=25}"]
)
def test_port_groups(tmp_path: Path, content: str) -> None:
    """A table of names; a port, a list, and ranges. The flag says the same."""
    path = tmp_path / "xtcp.toml"
    path.write_text(content)
    expected = {"web": [80, 443, 8000, 8001, 8002], "mail": [25]}
    assert load({}, {}, str(path)).port_groups == expected
    assert load(flags("--group", "web=80,443,8000-8002", "--group", "mail=25"), {}).port_groups == expected
    assert load({}, {"XTCP_GROUPS": "web=80,443,8000-8002 mail=25"}).port_groups == expected


def test_lines_are_found_behind_texts_of_several_lines(tmp_path: Path) -> None:
    """A key inside such a text is none; the line of one behind it is right."""
    path = tmp_path / "xtcp.toml"
    path.write_text('state_dir = """\nnice = 3\n"""\nnice = "x"\n')
    with pytest.raises(BadSettings) as raised:
        load({}, {}, str(path))
    assert raised.value.problems[0].where == f"{path}:4: nice"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("127.0.0.1:9000", values.Address("127.0.0.1", 9000)),
        ("9100", values.Address("127.0.0.1", 9100)),
        ("[::1]:0", values.Address("::1", 0)),
        ("metrics.example:80", values.Address("metrics.example", 80)),
        ("off", None),
    ],
)
def test_addresses_to_listen_on(text: str, meant: values.Address | None) -> None:
    """Host and port, a port alone, IPv6 in brackets, or off."""
    assert values.listen(text) == meant
    assert load(flags("--no-listen"), {}).listen is None


def test_the_moduli_are_for_udp_alone() -> None:
    """1 in 4000 for a bare udp:, its own sample where it has one, every row for all others."""
    settings = load({"dest": ["null:", "udp:", "udp:127.0.0.1:13001?sample=7"]}, {})
    assert [destination.passage.sample for destination in settings.dest] == [None, 4000, 7]
    every = load({"dest": ["udp:"], "sampling_modulus": ["1"], "report_modulus": ["1"]}, {})
    assert every.dest[0].passage.sample == 1


def test_statsd_knows_the_frequency() -> None:
    """The gauge of long polls is judged by the interval of this agent, unless the destination says another."""
    settings = load({"dest": ["statsd:", "statsd:127.0.0.1:8126?frequency=5s"], "frequency": ["1500ms"]}, {})
    assert [destination.options["frequency"] for destination in settings.dest] == ["1.5s", "5s"]


def test_without_a_destination_rows_go_to_the_store() -> None:
    """In the state directory, by whatever name; a store with a folder of its own stays there."""
    assert [d.name for d in load({}, {}).dest] == ["store"]
    assert [d.name for d in load({"state_dir": ["/x"]}, {}).dest] == ["store:/x"]
    assert [d.name for d in load({"state_dir": ["/x"], "dest": ["store:", "null:"]}, {}).dest] == ["store:/x", "null"]
    assert [d.name for d in load({"state_dir": ["/x"], "dest": ["store:/y"]}, {}).dest] == ["store:/y"]


def test_what_a_reload_does_not_change_waits_for_a_restart(tmp_path: Path) -> None:
    """Settings that are read once keep their value, and are named."""
    path = tmp_path / "xtcp.toml"
    path.write_text("frequency = 10\nnice = 3\n")
    before = load({}, {}, str(path))
    path.write_text("frequency = 20\nnice = 4\nmax_loops = 7\n")
    after, waiting = reloaded(before, {}, {})
    assert (after.frequency, after.nice, after.max_loops) == (20, 3, 0)
    assert waiting == ["max_loops", "nice"]
    assert before.changed(after) == ["frequency"]


def test_validate_prints_what_run_would_do(tmp_path: Path) -> None:
    """Each setting with its origin; no password."""
    path = tmp_path / "xtcp.toml"
    path.write_text(f'dest = ["kafka:broker:9092/tcp?sasl.password={SECRET}"]\n\n[groups]\nweb = [80]\n')
    path.chmod(0o600)
    finished = xtcp("validate", "--config", path, "--show-origin", environment={"XTCP_NICE": "7"})
    text = finished.stdout.decode()
    assert finished.returncode == 0, finished.stderr
    assert SECRET not in text and "sasl.password=***" in text
    for line in (("nice = 7", "(XTCP_NICE)"), ("dest = ", f"({path}:1)"), ("groups = ", f"({path}:3)")):
        assert any(row.startswith(line[0]) and row.endswith(line[1]) for row in text.splitlines()), text
    assert {row.lstrip("# ").split(" ")[0].rstrip(":") for row in text.splitlines()} == {s.name for s in SETTINGS}
    assert xtcp("validate", "-q").stdout == b""


def test_passwords_are_known_to_the_log() -> None:
    """As they are written, and as they are meant."""
    settings = load({"dest": ["kafka:b:9092/t?sasl.password=a%26bcdef&sasl.username=joe"]}, {})
    assert secrets_of(settings) == ["a&bcdef"]


def test_the_document_has_every_setting() -> None:
    """A row each, with flag, variable and key; nothing that breaks the table."""
    text = render_markdown()
    for setting in SETTINGS:
        assert f"`{setting.variable}`" in text
        assert all(flag in text for flag in setting.spellings)
    for row in text.splitlines():
        if row.startswith("| "):
            assert row.replace("\\|", "").count("|") == 7, row


def test_help_names_every_setting() -> None:
    """`xtcp run --help` shows each flag with its default."""
    text = " ".join(xtcp("run", "--help").stdout.decode().split())
    for setting in SETTINGS:
        assert all(flag in text for flag in setting.spellings)
        if setting.default and setting.shape is not Shape.SWITCH:
            assert f"(default: {setting.default})" in text
    assert effective(load({}, {}))
