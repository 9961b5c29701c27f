"""A private engine, and the smallest image that runs a command."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import require_program, require_root
from tests.libraries import library


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of a private engine."""
    library("docker")
    require_root()
    require_dockerd()
    from containers.engine import engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", "unix:///nowhere")
        with engine(tmp_path_factory.mktemp("engine")) as connected:
            yield connected


@pytest.fixture(scope="session")
def userland(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar of this machine's shell and what it is linked with."""
    path = tmp_path_factory.mktemp("userland") / "userland.tar"
    shell = require_program("sh", "dash")
    linked = subprocess.run(["ldd", shell], capture_output=True, text=True, check=True).stdout
    with tarfile.open(path, "w", dereference=True) as tar:
        for file in [shell, *re.findall(r"(/\S+) \(0x", linked)]:
            tar.add(file, "bin/sh" if file == shell else file)
        release = tarfile.TarInfo("etc/release")
        tar.addfile(release, io.BytesIO())
    return path


def require_dockerd() -> str:
    """Docker's engine, or a skip."""
    path = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin"))
    return shutil.which("dockerd", path=path) or require_program("dockerd", "docker.io")
