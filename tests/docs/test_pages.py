"""Pages say what the product does: rendered parts are fresh, links lead somewhere, commands shown are accepted."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.conftest import ROOT
from tests.docs.pages import PARTS, pages, rendered
from xtcp.cli.main import parser
from xtcp.sinks.destination import parse

TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
TEXTS["README.md"] = (ROOT / "README.md").read_text(encoding="utf-8")


def test_rendered_parts_are_fresh() -> None:
    """What `make docs` would write is what is there, and every part is in a page."""
    for path in pages():
        text = path.read_text(encoding="utf-8")
        assert rendered(text) == text, f"{path.name} is not as the product has it: make docs"
    shown = {name for text in TEXTS.values() for name in re.findall(r"<!-- rendered: (\w+) -->", text)}
    assert shown == set(PARTS)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_links_lead_somewhere(name: str) -> None:
    """Every relative link names a file of this tree."""
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", TEXTS[name]):
        assert ((ROOT / name).parent / target).exists(), target


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_commands_are_accepted(name: str) -> None:
    """Lines of shell blocks that call xtcp parse, and the destinations in them too."""
    for kind, block in re.findall(r"```(sh|console)\n(.*?)```", TEXTS[name], re.DOTALL):
        prompt = r"\$ " if kind == "console" else ""
        for line in re.findall(rf"^{prompt}(?:sudo )?(xtcp [^#|>\\\n]+)$", block, re.MULTILINE):
            words = shlex.split(line, comments=True)
            if "--help" in words or "…" in line:
                continue
            arguments = parser().parse_args(words[1:])
            for destination in getattr(arguments, "dest", None) or []:
                parse(destination)
