"""An image is built once for its content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.libraries import library

library("docker")

from containers.image import DOCKERFILES, content, image  # noqa: E402
from containers.suite import SUITES  # noqa: E402

pytestmark = pytest.mark.root


@pytest.fixture
def dockerfile(tmp_path: Path) -> Path:
    """One like those of the architectures."""
    path = tmp_path / "Dockerfile"
    path.write_text("FROM scratch\nADD userland.tar /\nENV A=b\n")
    return path


def test_is_built_once(client: Any, userland: Path, dockerfile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tag says what is in it."""
    tag = image(client, "a-test", userland, dockerfile)
    assert tag == f"xtcp-test-a-test:{content(dockerfile, userland)}"
    assert "built" in capsys.readouterr().err
    before = client.images.get(tag)
    assert image(client, "a-test", userland, dockerfile) == tag
    assert capsys.readouterr().err == ""
    assert client.images.get(tag).id == before.id
    assert "A=b" in before.attrs["Config"]["Env"]


def test_other_content_takes_its_place(client: Any, userland: Path, dockerfile: Path) -> None:
    """Of that architecture; what others have stays."""
    old, other = image(client, "a-test", userland, dockerfile), image(client, "b-test", userland, dockerfile)
    dockerfile.write_text(dockerfile.read_text() + "ENV C=d\n")
    new = image(client, "a-test", userland, dockerfile)
    assert new != old
    tags = {tag for each in client.images.list() for tag in each.tags}
    assert {new, other} <= tags and old not in tags


def test_the_userland_is_unpacked_whole(client: Any, userland: Path, dockerfile: Path) -> None:
    """Its shell runs."""
    tag = image(client, "a-test", userland, dockerfile)
    assert client.containers.run(tag, ["/bin/sh", "-c", "echo $A"], remove=True, network_mode="none") == b"b\n"


@pytest.mark.parametrize("architecture", SUITES)
def test_dockerfiles(architecture: str) -> None:
    """Nothing of them needs another image, a registry, or a foreign program while it is built."""
    lines = (DOCKERFILES / architecture / "Dockerfile").read_text().splitlines()
    words = [line.split()[0] for line in lines if line and not line.startswith("#")]
    assert words[:2] == ["FROM", "ADD"] and "FROM scratch" in lines
    assert not {"RUN", "COPY", "FROM"} & set(words[1:])
    assert "WORKDIR /xtcp" in lines
