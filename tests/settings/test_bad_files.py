"""Row 81: configuration files with faults, each told with its file, line and key."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.cli.running import Finished, here, three_parts
from xtcp.cli.main import run
from xtcp.errors import ExitCode
from xtcp.settings.effective import load
from xtcp.settings.problems import BadSettings

SECRET = "hunter2-very-secret"
Command = Callable[..., Finished]

# (content, the line that is named, the key that is named, words of the sentence)
BAD = [
    # not TOML
    ("frequency = ", 1, "", "no TOML"),
    ("frequency = 30s", 1, "", "no TOML"),
    ("[groups\nweb = 80", 1, "", "no TOML"),
    ('listen = "127.0.0.1:9000', 1, "", "no TOML"),
    ("frequency = 30\nfrequency = 40", 2, "", "no TOML"),
    ("this is a sentence", 1, "", "no TOML"),
    ('dest = ["null:"', 1, "", "no TOML"),
    # names
    ('frequncy = "10s"', 1, "frequncy", "Did you mean frequency"),
    ("\n\nmax-loops = 2", 3, "max-loops", "Did you mean max_loops"),
    ('destination = "null:"', 1, "destination", "no such setting"),
    ("samplingModulus = 2", 1, "samplingModulus", "no such setting"),
    ("[polls]\nfrequency = 10", 1, "polls", "no such setting"),
    ('config = "other.toml"', 1, "config", "no such setting"),
    ("zzz = 1", 1, "zzz", "no such setting"),
    # types
    ("frequency = true", 1, "frequency", "true or false"),
    ("frequency = [10]", 1, "frequency", "this is a list"),
    ("frequency = 1979-05-27", 1, "frequency", "a date"),
    ("frequency = { seconds = 10 }", 1, "frequency", "this is a table"),
    ('ipv4 = "yes"', 1, "ipv4", "must be true or false"),
    ("ipv6 = 1", 1, "ipv6", "must be true or false"),
    ("dest = true", 1, "dest", "a list of texts"),
    ('dest = ["null:", ["stdout:"]]', 1, "dest", "a list in the list"),
    ("max_loops = 1.5", 1, "max_loops", "no whole number"),
    ("groups = 80", 1, "groups", "a table of lists"),
    ("[groups]\nweb = true", 2, "groups.web", "it must be a number"),
    ("[groups]\nweb = []", 2, "groups.web", "it must be a number"),
    ("[groups]\nweb = [80, 1.5]", 2, "groups.web", "it must be a number"),
    # values
    ('frequency = "soon"', 1, "frequency", "is no time"),
    ("frequency = 0", 1, "frequency", "is no time"),
    ('frequency = "1ms"', 1, "frequency", "out of range"),
    ('frequency = "2d"', 1, "frequency", "out of range"),
    ("timeout = 50", 1, "timeout", "no unit"),
    ('timeout = "20s"', 1, "timeout", "out of range"),
    ('deadline = "-3s"', 1, "deadline", "is no time"),
    ("max_loops = -1", 1, "max_loops", "no whole number"),
    ("sampling_modulus = 0", 1, "sampling_modulus", "from 1"),
    ('report_modulus = "many"', 1, "report_modulus", "from 1"),
    ("nlmsg_seq = 4294967296", 1, "nlmsg_seq", "4294967295"),
    ("nlmsg_seq = 0", 1, "nlmsg_seq", "from 1"),
    ("nice = -5", 1, "nice", "from 0 to 19"),
    ('memory_limit = "10M"', 1, "memory_limit", "too little"),
    ('memory_limit = "lots"', 1, "memory_limit", "is no size"),
    ('log_level = "verbose"', 1, "log_level", "debug, info, warning, error"),
    ('log_format = "yaml"', 1, "log_format", "auto, text, json"),
    ('listen = "9000x"', 1, "listen", "no address"),
    ('listen = "127.0.0.1:70000"', 1, "listen", "0 to 65535"),
    ('listen = "::1:9000"', 1, "listen", "[::1]:9000"),
    ('listen = ":9000"', 1, "listen", "no address"),
    ('[groups]\nweb = [80]\nother = [25]', 3, "groups.other", "in no group"),
    ('[groups]\n"Web Server" = [80]', 2, "groups.Web Server", "is no group"),
    ("[groups]\nweb = [80, 70000]", 2, "groups.web", "no port from 1 to 65535"),
    ('[groups]\nweb = "90-80"', 2, "groups.web", "ends before it begins"),
    ("[groups]\nweb = [80]\nother_web = [443, 80]", 0, "", "in two groups"),
    # destinations
    ('dest = "kafak:broker:9092/tcp"', 1, "dest", "Did you mean kafka"),
    ('dest = "rows.json"', 1, "dest", "Did you mean file:rows.json?"),
    ('dest = "null:?sampel=2"', 1, "dest", "Did you mean sample"),
    ('dest = "null:?sample=0"', 1, "dest", "no number from 1"),
    ('dest = "null:somewhere"', 1, "dest", "takes no address"),
    ('dest = "file:"', 1, "dest", "file"),
    ('dest = "stdout:?format=yaml"', 1, "dest", "yaml"),
    ('dest = "null:?queue=big"', 1, "dest", "is no size"),
    ('dest = "null:?full=explode"', 1, "dest", "neither drop nor wait"),
    ('dest = ["null:", "null:"]', 1, "", "named twice"),
    ('dest = "null:?full=wait"', 1, "", "hold up the polls"),
    ('dest = ["file:a.json", "file:a.json?format=csv"]', 1, "", "named twice"),
    # together
    ('listen = "off"\nweb_config = "web.yml"', 2, "", "nothing is served"),
]  # fmt: skip


def faults(path: Path, **environ: str) -> BadSettings:
    """What is said of a file."""
    with pytest.raises(BadSettings) as raised:
        load({}, environ, str(path))
    return raised.value


def test_there_are_enough() -> None:
    """The list of bad files is at least as long as the fault list asks."""
    assert len(BAD) >= 40


@pytest.mark.parametrize(("content", "line", "key", "words"), BAD, ids=[f"{n}" for n in range(len(BAD))])
def test_fault_81_bad_file(tmp_path: Path, content: str, line: int, key: str, words: str) -> None:
    """A fault is told with the file, the line and the key; the exit code is 78."""
    path = tmp_path / "xtcp.toml"
    path.write_text(content)
    error = faults(path)
    assert error.exit_code is ExitCode.CONFIGURATION
    assert words in str(error)
    assert len(error.problems) == 1
    where = error.problems[0].where
    assert where.startswith(f"{path}:{line}" if line else str(path)), where
    assert where.endswith(f": {key}" if key else ""), where


@pytest.fixture
def xtcp(capsysbinary: pytest.CaptureFixture[bytes]) -> Command:
    """`xtcp ARGUMENTS`."""
    return partial(here, run, capsysbinary)


def test_fault_81_all_faults_at_once(xtcp: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fault of the file, of the environment and of the command line is told by one run."""
    path = tmp_path / "xtcp.toml"
    path.write_text('frequncy = 1\nmax_loops = "x"\n\n[groups]\nweb = [0]\nmail = [25]\n')
    monkeypatch.setenv("XTCP_DEADLINE", "never")
    finished = xtcp("validate", "--config", path, "--nice", "50", "--dest", "nul:")
    text = three_parts(finished, 78, "has 6 faults", "xtcp run --help")
    for place in (f"{path}:1: frequncy", f"{path}:2: max_loops", f"{path}:5: groups.web", "XTCP_DEADLINE", "--nice"):
        assert place in text
    assert "Did you mean null" in text


def test_fault_81_faults_of_the_command_line_alone_are_usage(xtcp: Command) -> None:
    """Where nothing but options is wrong the exit code is that of wrong usage."""
    three_parts(xtcp("run", "--frequency", "soon", "--max-loops", "x"), 2, "--frequency", "--max-loops")
    three_parts(xtcp("run", "--freqency", "1s"), 2, "Did you mean --frequency")


def test_fault_81_validate_and_run_say_the_same(xtcp: Command, tmp_path: Path) -> None:
    """What `validate` refuses `run` refuses, in the same words, before anything is opened."""
    target = tmp_path / "rows.json"
    path = tmp_path / "xtcp.toml"
    path.write_text(f'dest = "file:{target}"\nfrequency = "soon"\n')
    checked, refused = (three_parts(xtcp(verb, "--config", path), 78) for verb in ("validate", "run"))
    assert checked == refused
    assert not target.exists()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "a directory"),
        (os.mkfifo, "no regular file"),
        (lambda path: path.write_bytes(b"frequency = 1 # \xff\xfe\n"), "not UTF-8"),
        (lambda path: path.write_text("#" * (1 << 20) + "\n"), "larger than 1 MiB"),
        (lambda path: (path.write_text(""), path.chmod(0o666)), "everybody may write"),
        (lambda path: path.symlink_to(path), "symbolic links"),
    ],
    ids=["missing", "directory", "pipe", "bytes", "large", "writable", "loop"],
)
def test_fault_81_a_file_that_is_none(tmp_path: Path, make: object, words: str) -> None:
    """What cannot be read as a file is refused with the reason."""
    path = tmp_path / "xtcp.toml"
    assert callable(make)
    make(path)
    error = faults(path)
    assert words in str(error)
    assert error.exit_code is ExitCode.CONFIGURATION


def test_fault_81_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a traceback nor a default where permission is missing."""

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert "cannot be read: Permission denied" in str(faults(tmp_path / "xtcp.toml"))


@pytest.mark.parametrize(
    "dest",
    [
        f"null:?sample=2&password={SECRET}",
        f"kafka:broker:9092/tcp?sasl.password={SECRET}&nonsense",
        f"file:x?user=a&password={SECRET}",
    ],
)
def test_fault_81_no_secret_is_printed(xtcp: Command, tmp_path: Path, dest: str) -> None:
    """Whatever is wrong with a destination, its password is in no message."""
    path = tmp_path / "xtcp.toml"
    path.write_text(f'dest = "{dest}"\nfrequncy = 1\n')
    path.chmod(0o600)
    finished = xtcp("validate", "--config", path)
    assert finished.returncode == 78
    assert SECRET.encode() not in finished.stderr + finished.stdout


def test_fault_81_a_secret_that_everybody_may_read(tmp_path: Path) -> None:
    """A file with a password is refused as long as everybody may read it, with the command that helps."""
    path = tmp_path / "xtcp.toml"
    path.write_text(f'frequency = 10\ndest = "kafka:broker:9092/tcp?sasl.password={SECRET}"\n')
    path.chmod(0o644)
    error = faults(path)
    assert f"chmod o-r {path}" in str(error)
    assert error.problems[0].where == f"{path}:2: dest"
    assert SECRET not in str(error)
    path.chmod(0o640)
    assert load({}, {}, str(path)).dest[0].options["sasl.password"] == SECRET


def test_fault_81_a_secret_by_a_file_of_its_own(tmp_path: Path) -> None:
    """XTCP_DEST_FILE names a file with a destination a line, which must not be readable by all either."""
    path = tmp_path / "dest"
    path.write_text(f"# two of them\nnull:\nkafka:broker:9092/tcp?sasl.password={SECRET}\n")
    path.chmod(0o600)
    settings = load({}, {"XTCP_DEST_FILE": str(path)})
    assert [destination.scheme for destination in settings.dest] == ["null", "kafka"]
    path.chmod(0o604)
    with pytest.raises(BadSettings, match="chmod o-r"):
        load({}, {"XTCP_DEST_FILE": str(path)})
    with pytest.raises(BadSettings, match="says the same"):
        load({}, {"XTCP_DEST_FILE": str(path), "XTCP_DEST": "null:"})
    path.write_text("# nothing\n")
    with pytest.raises(BadSettings, match="is empty"):
        load({}, {"XTCP_DEST_FILE": str(path)})


@pytest.mark.needs("yaml")
def test_fault_81_validate_reads_the_web_configuration_too(xtcp: Command, tmp_path: Path) -> None:
    """What the server would refuse at its start is refused before."""
    web = tmp_path / "web.yml"
    web.write_text("basic_auth_usrs: {}\n")
    three_parts(xtcp("validate", "--web-config", web), 78, "basic_auth_users")
    web.write_text("{}\n")
    assert xtcp("validate", "--web-config", web).returncode == 0
