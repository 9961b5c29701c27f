"""pcaps/outputs.sha256: this machine makes of every capture, in every form, the bytes that all others make of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from tests.golden.outputs import FORMS, PCAPS, RAW, batches_of, captures, committed, hashed, hashes
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


@pytest.mark.parametrize("row", TWINS, ids=[row.file for row in TWINS])
def test_a_twin_has_the_hashes_of_its_original(row: Row) -> None:
    """In every form: no output tells the byte order of the captured host, but where it has bytes as they came."""
    table, original = committed()[row.file], committed()[row.made_from]
    assert len(table) == len(FORMS) == len(set(table.values()))
    assert {form: found for form, found in table.items() if original[form] != found}.keys() <= set(RAW)
    ours, theirs = (batches_of(PCAPS / file, Told()) for file in (row.file, row.made_from))
    for form in RAW:
        one, two = (
            hashed(form, [batch.select(frozenset(batch.columns) - {"md5sig"}) for batch in batches])
            for batches in (ours, theirs)
        )
        assert one == two


@pytest.mark.parametrize("row", ROWS, ids=[row.file for row in ROWS])
def test_rows_are_those_of_the_golden_file(row: Row) -> None:
    """What is hashed as `rows` stands there to be read, behind the line that sums it up."""
    lines = b"".join(line for _, line in GoldenFile(PCAPS / row.golden).rows())
    assert hashlib.sha256(lines).hexdigest() == committed()[row.file]["rows"]
