"""CI on a fresh machine: it installs each package that a required program is in, and hides no program from scripts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

import pytest

from qemu.architectures import ARCHITECTURES
from tests.conftest import ROOT

# Debian itself always has these (priority "required", or apt).
ALWAYS: Final = frozenset({"apt", "dash", "dpkg", "mount", "util-linux"})
DEPENDS: Final = {"wireshark-common": "tshark"}
MADE_UP: Final = frozenset({"its-package"})
CALLED: Final = ("require", "require_program")


def asked_for() -> Iterator[tuple[str, str]]:
    """Each package that a program is said to be in, and where that is said."""
    for folder in ("containers", "qemu", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(func=ast.Name(id=name), args=[_, ast.Constant(value=str(package))]) if name in CALLED:
                        yield package, f"{path.relative_to(ROOT)}:{node.lineno}"
    for architecture in ARCHITECTURES:
        yield architecture.system_package, architecture.name
        yield architecture.user_package, architecture.name


@pytest.mark.slow  # it reads this repository: the same on every machine
def test_ci_installs_every_package_that_a_required_program_is_in() -> None:
    """A machine on which something was once installed by hand hides what a new one lacks: `cpio` was missing so."""
    text = (ROOT / ".ci/run").read_text(encoding="utf-8")
    listed = re.search(r"^readonly PACKAGES=\($(.*?)^\)$", text, re.DOTALL | re.MULTILINE)
    assert listed is not None
    installed = {word for line in listed[1].splitlines() for word in line.partition("#")[0].split()}
    asked = list(asked_for())
    assert len({package for package, _ in asked}) > 15  # the calls are found at all
    known = installed | ALWAYS | MADE_UP
    missing = [f"{package}: {where}" for package, where in asked if DEPENDS.get(package, package) not in known]
    assert not missing


def test_ci_exports_no_function() -> None:
    """Every script below would have it instead of a program: with `install` exported, a userland was not built."""
    assert "export -f" not in (ROOT / ".ci/run").read_text(encoding="utf-8")
