"""pcaps/outputs.sha256: this machine makes of every capture, in every form, the bytes that all others make of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from tests.golden.outputs import PCAPS, batches_of, captures, committed, hashed, hashes
from tests.zoos import of_the_corpus
from xtcp_replay.judging.corpus import Row, read_manifest
from xtcp_replay.judging.golden_file import GoldenFile
from xtcp_replay.reading.opening import Told

CAPTURES = list(captures())
ROWS = read_manifest(PCAPS)
TWINS = [row for row in ROWS if row.made_from]


def test_every_capture_is_in_the_table() -> None:
    """No file more, none less, each in all its forms; damaged ones too."""
    expected = {file: set(forms) for file, _, forms in CAPTURES}
    assert {file: set(forms) for file, forms in committed().items()} == expected
    assert {row.file for row in ROWS} < expected.keys()


@pytest.mark.parametrize(("file", "told", "forms"), CAPTURES, ids=[file for file, _, _ in CAPTURES])
def test_the_same_bytes_as_on_every_machine(file: str, told: Told, forms: Sequence[str]) -> None:
    """Where the product was meant to change: python -m tests.golden.outputs --write."""
    assert hashes(file, told, forms) == committed()[file]


@pytest.mark.parametrize("row", of_the_corpus(TWINS))
def test_a_twin_has_the_hashes_of_its_original(row: Row) -> None:
    """Of its rows, and of all columns but the one that has a struct as it came, its length in the host's order."""
    assert committed()[row.file]["rows"] == committed()[row.made_from]["rows"]
    one, two = (
        hashed("native", [batch.select(frozenset(batch.columns) - {"md5sig"}) for batch in batches_of(PCAPS / file)])
        for file in (row.file, row.made_from)
    )
    assert one == two


def test_forms_are_different() -> None:
    """No two of them are the same thing twice."""
    for table in committed().values():
        assert len(set(table.values())) == len(table)


@pytest.mark.parametrize("row", ROWS, ids=[row.file for row in ROWS])
def test_rows_are_those_of_the_golden_file(row: Row) -> None:
    """What is hashed as `rows` stands there to be read, behind the line that sums it up."""
    lines = b"".join(line for _, line in GoldenFile(PCAPS / row.golden).rows())
    assert hashlib.sha256(lines).hexdigest() == committed()[row.file]["rows"]
