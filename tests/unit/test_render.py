"""proto/columns.md is what the table renders to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from xtcp.schema import render
from xtcp.schema.columns import COLUMNS
from xtcp.schema.inet_diag import ATTRIBUTES


def test_columns_md_is_up_to_date() -> None:
    """The file in the repository is the rendered text, byte for byte; this never writes it."""
    assert render.COLUMNS_MD.read_text(encoding="utf-8") == render.columns_md(), "run 'make columns'"


def test_every_column_and_attribute_is_listed_once() -> None:
    """One table row a column, one section an attribute, none twice."""
    text = render.columns_md()
    assert sorted(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == sorted(column.name for column in COLUMNS)
    sections = re.findall(r"^## (INET_DIAG_\w+)$", text, re.MULTILINE)
    assert sections == [attribute.name for attribute in ATTRIBUTES]


def test_rows_keep_their_six_cells() -> None:
    """A bar in a meaning (`DSCP << 2 | ECN`) is escaped and makes no cell of its own."""
    rows = [line for line in render.columns_md().splitlines() if line.startswith("| `")]
    assert {len(re.split(r"(?<!\\)\|", row)) for row in rows} == {8}
    assert any(r"\|" in row for row in rows)


def test_heading_says_how_to_remake_it() -> None:
    """Whoever opens the file learns in its first lines that it is made, from what and how."""
    assert "Made from agent/xtcp/schema by 'make columns'. Do not edit." in render.columns_md().splitlines()[:4]


def test_how_an_attribute_comes_is_said() -> None:
    """Number, request bit, release and capability stand under the heading of an attribute."""
    text = render.columns_md()
    assert "number 16, asked for by bit 3, since 4.9, needs no capability." in text
    assert "number 15, sent unasked, since 4.9, needs CAP_NET_ADMIN." in text


def test_prints_without_numpy() -> None:
    """`python -m xtcp.schema.render` prints the document and never imports NumPy."""
    script = (
        "import runpy, sys; sys.modules['numpy'] = None; sys.argv = ['render'];"
        "runpy.run_module('xtcp.schema.render', run_name='__main__')"
    )
    command = [sys.executable, "-X", "utf8", "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(Path(render.__file__).parents[2])}
    printed = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=True)
    assert printed.stdout == render.columns_md()


def test_write_goes_to_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--write` writes the document where it belongs and prints nothing else."""
    monkeypatch.setattr(render, "COLUMNS_MD", tmp_path / "columns.md")
    render.main(["--write"])
    assert (tmp_path / "columns.md").read_text(encoding="utf-8") == render.columns_md()


def test_write_outside_a_source_tree_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An installed package has no proto/ beside it: exit 2 and a sentence, no traceback."""
    monkeypatch.setattr(render, "COLUMNS_MD", tmp_path / "proto" / "columns.md")
    with pytest.raises(SystemExit) as stopped:
        render.main(["--write"])
    assert stopped.value.code == 2
    assert "run it in the source tree" in capsys.readouterr().err
