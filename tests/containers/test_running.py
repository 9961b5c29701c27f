"""Commands in containers: their output, their exit codes, what they may not do, and nothing that is left."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.libraries import library

library("docker")

from containers.image import image  # noqa: E402
from containers.running import LABEL, STOPPED, Folder, Job, run  # noqa: E402

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def tag(client: Any, userland: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with a shell and nothing else."""
    dockerfile = tmp_path_factory.mktemp("image") / "Dockerfile"
    dockerfile.write_text("FROM scratch\nADD userland.tar /\nENV PATH=/bin\n")
    return image(client, "a-test", userland, dockerfile)


@pytest.fixture(autouse=True)
def nothing_is_left(client: Any) -> Iterator[None]:
    """Of no test."""
    yield
    assert client.containers.list(all=True) == []


def shell(script: str, **environment: str) -> Job:
    """A script as a job."""
    return Job(["sh", "-c", script], environment)


def test_output_and_exit_code(client: Any, tag: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Of one command, as if it ran here."""
    assert run(client, tag, [shell("echo $A; echo two; exit 3", A="one")], [], 60) == [3]
    assert capfd.readouterr().out == "one\ntwo\n"


def test_several(client: Any, tag: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Each line says whose it is."""
    assert run(client, tag, [shell("echo a; exit 4"), shell("echo b")], [], 60) == [4, 0]
    assert sorted(capfd.readouterr().out.splitlines()) == ["1| a", "2| b"]


def test_side_by_side(client: Any, tag: str, tmp_path: Path) -> None:
    """The first waits for what only the second does."""
    meeting = Folder(tmp_path, "/meeting", read_only=False)
    waits = shell("until [ -e /meeting/come ]; do :; done")
    assert run(client, tag, [waits, shell(": >/meeting/come")], [meeting], 60) == [0, 0]


def test_the_limit(client: Any, tag: str) -> None:
    """What is not done by then is stopped; what was done is done."""
    assert run(client, tag, [shell("exit 5"), shell("while :; do :; done")], [], 10) == [5, STOPPED]


def test_a_signal_leaves_nothing(client: Any, tag: str, tmp_path: Path) -> None:
    """Nor does any other exception while it waits."""
    begun = tmp_path / "begun"

    def send() -> None:
        end = time.monotonic() + 60
        while not begun.exists():
            if time.monotonic() > end:
                return
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    def wait() -> None:
        sender.start()
        script = shell(": >/meeting/begun; while :; do :; done")
        run(client, tag, [script], [Folder(tmp_path, "/meeting", read_only=False)], 60)

    def stop(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    sender = threading.Thread(target=send)
    try:
        with pytest.raises(KeyboardInterrupt):
            wait()
    finally:
        sender.join()
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    "forbidden",
    [
        ": >/file",
        ": >/repository/file",
        "while read -r name address gateway rest; do [ $gateway = Gateway ] || exit 0; done </proc/net/route; false",
        "read -r a b </proc/self/oom_score_adj; echo -999 >/proc/self/oom_score_adj",
        ": >/proc/sys/kernel/printk",
    ],
    ids=["the image", "what is mounted", "a network", "a privilege", "the kernel's settings"],
)
def test_what_it_may_not(client: Any, tag: str, tmp_path: Path, forbidden: str) -> None:
    """Each command fails."""
    (code,) = run(client, tag, [shell(forbidden)], [Folder(tmp_path, "/repository")], 60)
    assert code not in (0, STOPPED)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "needed",
    [
        ": >/tmp/file",
        "while read -r address rest; do case $address in *1) exit 0; esac; done </proc/net/if_inet6; false",
        "read -r a state </sys/class/net/lo/carrier; [ $a = 1 ]",
    ],
    ids=["files in memory", "::1", "loopback"],
)
def test_what_tests_need(client: Any, tag: str, needed: str) -> None:
    """Each command succeeds."""
    assert run(client, tag, [shell(needed)], [], 60) == [0]


def test_of_a_run_that_was_killed(client: Any, tag: str) -> None:
    """Its containers go before the next begins; those of one that runs stay."""
    with subprocess.Popen(["true"]) as ended:
        pass
    kept = [
        client.containers.create(tag, ["sh"], labels={LABEL: str(number)}, network_mode="none")
        for number in (ended.pid, os.getpid())
    ]
    assert run(client, tag, [shell("exit 0")], [], 60) == [0]
    left = client.containers.list(all=True)
    kept[1].remove()
    assert [each.id for each in left] == [kept[1].id]
